"""What the gateway says is left: a number with its unit where it is one, else its text."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from otp_service.wsms.calls import Calls
from otp_service.wsms.errors import GatewayRefused, UnexpectedResponse
from otp_service.wsms.models import Capability
from otp_service.wsms.outcome import Json
from otp_service.wsms.scrub import scrub

_SPACE = r"[\s\u00a0\u2009\u202f]"  # with no-break and thin spaces
_AMOUNT = re.compile(
    rf"""
    (?P<amount> [+-]? (?:
        [0-9]{{1,3}} (?: \.[0-9]{{3}} )+ ,[0-9]{{1,2}}           # 1.234,56
        | [0-9]{{1,3}} (?: ,[0-9]{{3}} )+ \.[0-9]{{1,2}}         # 1,234.56
        | [0-9]+ (?: \.[0-9]+ | ,[0-9]{{1,2}} )? (?: [eE][+-]?[0-9]{{1,3}} )?
    ))
    (?: {_SPACE}+ (?P<unit> [^\s\u00a0\u2009\u202f] .{{0,19}} )?
        | (?P<attached> [$\u00a2-\u00a5\u20a0-\u20cf] | [A-Z]{{3}} ) )?
    """,
    re.ASCII | re.VERBOSE,
)


class CreditKind(StrEnum):
    """How much can be made of what the gateway says."""

    AMOUNT = "amount"
    TEXT = "text"
    UNSUPPORTED = "unsupported"


class CreditSource(StrEnum):
    """How fresh it is."""

    STORED = "stored"  # left by the last send or test, whenever that was; may be another gateway's
    ASKED = "asked"  # the gateway was asked for this answer


@dataclass(frozen=True, kw_only=True)
class Credit:
    """
    What is left at the gateway.

    Attributes:
        amount: With kind `amount`, else None.
        unit: What stands behind the amount, e.g. "EUR"; None if nothing does.
        text: With kind `text`: what the gateway says instead of a number.
        doubtful: The amount may be a failed query: 0 looks the same as an empty account, and
            "0 " (a currency that never came) almost surely is one (contract 3.1, quirk 8).
    """

    kind: CreditKind
    source: CreditSource
    amount: Decimal | None = None
    unit: str | None = None
    text: str | None = None
    doubtful: bool = False


def parse_balance(value: Json, *, source: CreditSource = CreditSource.ASKED) -> Credit:
    """Read `Accepted.balance` or a credit of the site, of whatever type it is."""
    if isinstance(value, bool) or value is None or isinstance(value, (list, dict)):
        return Credit(kind=CreditKind.UNSUPPORTED, source=source)
    text = str(value)
    match = _AMOUNT.fullmatch(text)
    if match:
        try:
            amount = _decimal(match["amount"])
        except InvalidOperation:  # pragma: no cover
            return Credit(kind=CreditKind.TEXT, source=source, text=scrub(text))
        unit = match["unit"] or match["attached"]
        return Credit(
            kind=CreditKind.AMOUNT,
            source=source,
            amount=amount,
            unit=unit,
            doubtful=amount == 0 and not unit,
        )
    if text.strip() in {"", "N/A"}:
        return Credit(kind=CreditKind.UNSUPPORTED, source=source)
    return Credit(kind=CreditKind.TEXT, source=source, text=scrub(text))


def _decimal(number: str) -> Decimal:
    """Return the value; the last comma or point is the decimal one."""
    if number.rfind(",") > number.rfind("."):
        return Decimal(number.replace(".", "").replace(",", "."))
    return Decimal(number.replace(",", ""))


class CreditCalls:
    """GET /credit and the gateway test (contract 3.6). Both need wpsms_setting."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def stored(self) -> Credit:
        """
        Return what the site remembers; the gateway is not asked.

        Raises:
            WsmsError: See `errors`.
        """
        answer = await self._calls.ask("GET", "/credit", capability=Capability.SETTING)
        match answer.json:
            case {"credit": credit, "creditSupported": bool(supported)}:
                if not supported:
                    return Credit(kind=CreditKind.UNSUPPORTED, source=CreditSource.STORED)
                return parse_balance(credit, source=CreditSource.STORED)
        raise UnexpectedResponse("status 200, but no credit in it")

    async def refresh(self) -> Credit:
        """
        Let the site ask its gateway, and return the fresh answer. No message is sent.

        Raises:
            GatewayRefused: The gateway could not be asked.
            WsmsError: See `errors`.
        """
        success = await self._calls.succeed(
            "POST",
            "/settings/test-gateway",
            capability=Capability.SETTING,
            refused=lambda _, detail: GatewayRefused(detail),
        )
        if "credit" not in success.data:
            raise UnexpectedResponse("status 200, but no credit in it")
        return parse_balance(success.data["credit"])
