"""
The site's own webhooks. They are unsigned, so they are only hints.

A hint changes nothing by itself. It is told on to whoever asked for it, without number and text, and it makes
`flows.reconciliation` look now at what is due, where the truth is asked for.
"""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from otp_service.core.challenge import fingerprint
from otp_service.core.keyring import Keyring, Kind
from otp_service.errors import FieldError, InvalidRequest
from otp_service.telemetry import WEBHOOK_HINTS
from otp_service.wsms.errors import UnexpectedResponse
from otp_service.wsms.models import NewSms
from otp_service.wsms.webhooks import parse_delivery

log = structlog.get_logger()

Tell = Callable[[str, Mapping[str, object]], Awaitable[None]]


class Hints:
    """
    Handles the site's webhooks.

    Args:
        keyring: Its phone key names subscribers by pseudonyms.
        tell: Called with the event's type and data.
        wake: Called when something was sent.
    """

    def __init__(
        self, *, keyring: Callable[[], Keyring], tell: Tell, wake: Callable[[], None]
    ) -> None:
        self._keyring = keyring
        self._tell = tell
        self._wake = wake

    async def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """
        Take one announcement.

        Raises:
            InvalidRequest: it is none that WSMS makes.
        """
        try:
            hint = parse_delivery(headers, body)
        except UnexpectedResponse as error:
            raise InvalidRequest(FieldError("body", str(error))) from None
        if isinstance(hint, NewSms):
            # What the gateway class returned may hold anything, number and text included: none of it goes on.
            WEBHOOK_HINTS.labels("new_sms").inc()
            self._wake()
            await self._tell("wsms.sms", {"hint": True})
        else:
            WEBHOOK_HINTS.labels("new_subscriber").inc()
            await self._tell(
                "wsms.subscriber", {"hint": True, "mobile": self._pseudonym(hint.mobile)}
            )

    def _pseudonym(self, mobile: str) -> str:
        """The same for a number with and without its plus, as the site lists both."""
        digits = "".join(c for c in mobile if c.isdecimal())
        return fingerprint(self._keyring().active(Kind.PHONE), "hook/mobile/v1", digits)
