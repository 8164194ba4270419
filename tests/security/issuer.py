"""An issuer of callers' tokens: a real HTTP server with a key set, and tokens signed as told, well or badly."""

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

AUDIENCE = "https://otp.internal"
Key = ECKey | RSAKey | OKPKey


def ec_key(kid: str, curve: str = "P-256") -> ECKey:
    return ECKey.generate_key(curve, {"kid": kid})


def rsa_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


def ed_key(kid: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid})


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(header: Mapping[str, Any], claims: Any, key: Any) -> str:
    """A compact JWS of that very header, whatever it says; signed by the algorithm that it names."""
    text = f"{segment(dict(header))}.{segment(claims)}"
    model = JWSRegistry.algorithms[str(header["alg"])]
    return f"{text}.{segment(model.sign(text.encode(), key))}"


@dataclass
class Issuer:
    """
    What the server says: its keys as a set, or `answer` (status, body) instead; `paths` are all that were asked for.
    """

    url: str = ""
    keys: list[Any] = field(default_factory=lambda: [ec_key("one")])
    answer: tuple[int, bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        return {
            "OTP_CALLER_ISSUER": self.url,
            "OTP_CALLER_JWKS_URL": f"{self.url}/jwks",
            "OTP_CALLER_AUDIENCE": AUDIENCE,
        }

    @property
    def key_set(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a good token says; None leaves a claim out."""
        now = int(time.time())
        told = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "svc-shop",
            "iat": now,
            "exp": now + 300,
            **changes,
        }
        return {name: value for name, value in told.items() if value is not None}

    def token(
        self,
        claims: Mapping[str, Any] | None = None,
        *,
        key: Any = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """A token of the first key, or of another; None in `header` leaves a parameter out."""
        key = key or self.keys[0]
        told = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt", **(header or {})}
        told = {name: value for name, value in told.items() if value is not None}
        return signed(told, self.claims() if claims is None else dict(claims), key)

    def bearer(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(*args, **kwargs)}"}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.paths.append(self.path)
            status, body = issuer.answer or (200, json.dumps(issuer.key_set).encode())
            self.send_response(status)
            for name, value in issuer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # who asked has heard enough
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
