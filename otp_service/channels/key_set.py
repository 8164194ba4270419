"""
Fetching the key set of the issuer of callers' tokens: from the one configured address, and from no other.

No redirect is followed, no proxy of the environment is used, and an answer has a deadline and a size.
"""

import asyncio
import ssl

import httpx

from otp_service.core.issuer_keys import MAX_BYTES

DEADLINE = 3.0  # seconds, connecting included


class JwksUnavailable(Exception):
    """It could not be fetched. `reason` is a stable word: `http_<status>`, `timeout`, `connection`, `too_large`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeySetSource:
    """
    One address.

    Args:
        url: https, or http on loopback.
        ca_file: PEM of the authority that signed its certificate; None for the system's.
        deadline: Seconds for one fetch.
    """

    def __init__(self, url: str, *, ca_file: str | None = None, deadline: float = DEADLINE) -> None:
        self._url = url
        self._ca_file = ca_file
        self._deadline = deadline
        self._tls: ssl.SSLContext | None = None

    async def fetch(self) -> bytes:
        """Return the body of a 200. Raises JwksUnavailable."""
        try:
            async with asyncio.timeout(self._deadline):
                return await self._fetch()
        except TimeoutError:
            raise JwksUnavailable("timeout") from None
        except (httpx.HTTPError, OSError) as error:
            raise JwksUnavailable("connection") from error

    async def _fetch(self) -> bytes:
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca_file)
        # Uncompressed: what is counted is what is held.
        headers = {
            "Accept": "application/jwk-set+json, application/json",
            "Accept-Encoding": "identity",
        }
        async with (
            httpx.AsyncClient(
                verify=self._tls, trust_env=False, follow_redirects=False, timeout=self._deadline
            ) as client,
            client.stream("GET", self._url, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                raise JwksUnavailable(f"http_{answer.status_code}")
            content = bytearray()
            async for chunk in answer.aiter_raw(8192):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise JwksUnavailable("too_large")
            return bytes(content)
