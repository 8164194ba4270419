"""The SMS provider behind the site: delivers messages to the phones, or fails on demand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otp_service.sandbox.php import Value

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site


@dataclass(frozen=True)
class Sms:
    """What a gateway class hands over: one text for one or more numbers."""

    to: list[str]
    message: str
    sender: str | None
    media: tuple[str, ...] = ()
    flash: bool = False


@dataclass(frozen=True)
class Reply:
    """The provider's HTTP answer as the gateway class gets it."""

    status: int
    body: str
    ids: Sequence[str] = ()

    @property
    def failed(self) -> bool:
        return self.status >= 400

    def decoded(self) -> Value:
        """The JSON in it, or the text as it is."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body


class CurlError(Exception):
    """No answer from the provider; the text is what reaches the caller of /send (contract 3.1)."""


EMPTY_REPLY = "cURL error 52: Empty reply from server"
SEND_KINDS = (
    "provider_error",
    "provider_error_after_sending",
    "provider_drop",
    "provider_drop_after_sending",
    "provider_html",
    "provider_empty",
    "slow",
)


class Provider:
    """Stands for all providers; the classes in `gateways` differ in what they make of its replies."""

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._last_id = 0

    async def send(self, sms: Sms, gateway: str) -> Reply:
        """Delivers to the phones and answers, unless a fault says otherwise."""
        fault = self._site.faults.at_provider(SEND_KINDS, sms.to)
        kind = fault.kind if fault else "ok"
        if fault and fault.delay:
            await self._wait(fault.delay)
        if kind not in ("provider_error", "provider_drop"):
            self._deliver(sms, gateway)
        if kind.startswith("provider_drop"):
            raise CurlError(EMPTY_REPLY)
        if fault and kind.startswith("provider_error"):
            return _failure(fault.status or 500, fault.text)
        if fault and kind == "provider_html":
            return Reply(200, fault.text or "<html><body>Queued</body></html>")
        if kind == "provider_empty":
            return Reply(200, "")
        return Reply(200, "{}", [self._new_id() for _ in sms.to])

    async def balance(self) -> Reply:
        """The body is JSON: what is left, or an error."""
        fault = self._site.faults.at_provider(("balance_error", "balance"))
        if fault and fault.delay:
            await self._wait(fault.delay)
        if fault and fault.kind == "balance_error":
            return _failure(fault.status or 500, fault.text)
        return Reply(200, json.dumps(fault.value if fault else self._site.settings.balance))

    async def _wait(self, delay: float) -> None:
        limit = self._site.settings.provider_timeout
        await self._site.sleep(min(delay, limit))
        if delay >= limit:
            elapsed = round(limit * 1000) + 1
            raise CurlError(
                f"cURL error 28: Operation timed out after {elapsed} milliseconds"
                " with 0 bytes received"
            )

    def _deliver(self, sms: Sms, gateway: str) -> None:
        for number in sms.to:
            self._site.phone.receive(
                number,
                sms.message,
                sms.sender,
                gateway=gateway,
                flash=sms.flash,
                media=sms.media,
            )

    def _new_id(self) -> str:
        self._last_id += 1
        return f"sandbox-{self._last_id}"


def _failure(status: int, words: str | None) -> Reply:
    """Providers say what the caller did wrong as JSON, and their own failures as text."""
    if status >= 500:
        return Reply(status, words or "provider is down")
    default = "Invalid credentials" if status == 401 else "Recipient rejected"
    return Reply(status, json.dumps({"error": words or default}))
