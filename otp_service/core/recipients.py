"""Phone numbers: one canonical spelling (E.164), and a refusal with a reason for everything else."""

from dataclasses import dataclass, field
from enum import StrEnum

from phonenumbers import (
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    format_number,
    number_type,
    parse,
    region_code_for_number,
)

from otp_service.core.codes import normalise

MAX_TYPED = 40  # characters of a number as typed; longer is refused before any parsing

REGIONS = frozenset(SUPPORTED_REGIONS)  # ISO 3166-1 alpha-2, all that have numbers

_RECEIVES_SMS = {
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE,
    PhoneNumberType.VOIP,
}
_WORLDWIDE = "001"  # libphonenumber's region of satellite and global service numbers


class Reason(StrEnum):
    """Why a number is refused."""

    NOT_A_NUMBER = "not_a_number"
    EXTENSION = "extension"
    CANNOT_RECEIVE_SMS = "cannot_receive_sms"
    REGION = "region"


_TEXTS = {
    Reason.NOT_A_NUMBER: "not one valid international number: give it as +<country code><number>",
    Reason.EXTENSION: "a number with an extension receives no SMS",
    Reason.CANNOT_RECEIVE_SMS: "numbers of this type receive no SMS, or at a price of their own",
    Reason.REGION: "numbers of this region are not served here",
}


class RecipientRefused(ValueError):
    """
    The number is none we send to.

    Attributes:
        reason: A member of Reason; `str(error)` is the sentence for it and never holds the number.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(_TEXTS[reason])
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    A number that can receive SMS.

    Attributes:
        e164: `+` and at most 15 digits (ITU-T E.164).
        region: ISO 3166-1 alpha-2 code, of the region and not of the calling code: +1 876 is JM.
        masked: What may be shown: the calling code and the last two digits.
    """

    e164: str = field(repr=False)
    region: str
    masked: str

    @property
    def block(self) -> str:
        """The number without its last three digits: the thousand numbers that are often rented together."""
        return self.e164[:-3]


def parse_recipient(typed: str, *, regions: frozenset[str] | None) -> Recipient:
    """
    Return the recipient that a typed number means.

    Args:
        typed: `+` first; digits of any script; spaces, dashes, dots, slashes and parentheses are taken as layout.
        regions: The ISO regions that are served, or None for every one.

    Raises:
        RecipientRefused: letters, several numbers, no `+`, an extension, not valid in its numbering plan, a type that
            cannot receive SMS (landline, premium, shared cost, pager …), a region that is not served.
    """
    number = _parse(typed)
    if number.extension:
        raise RecipientRefused(Reason.EXTENSION)
    kind = number_type(number)
    if kind == PhoneNumberType.UNKNOWN:  # says what `is_valid_number` says, by the same search
        raise RecipientRefused(Reason.NOT_A_NUMBER)
    region = region_code_for_number(number) or _WORLDWIDE
    if kind not in _RECEIVES_SMS or region == _WORLDWIDE:
        raise RecipientRefused(Reason.CANNOT_RECEIVE_SMS)
    if regions is not None and region not in regions:
        raise RecipientRefused(Reason.REGION)
    e164 = format_number(number, PhoneNumberFormat.E164)
    return Recipient(e164=e164, region=region, masked=mask(e164, number.country_code))


def mask(e164: str, country_code: int | None = None) -> str:
    """Return `+49•••••34`: always five dots, so that the length is not told."""
    code = country_code if country_code is not None else parse(e164).country_code
    return f"+{code}•••••{e164[-2:]}"


def _parse(typed: str) -> PhoneNumber:
    if len(typed) > MAX_TYPED:
        raise RecipientRefused(Reason.NOT_A_NUMBER)
    text = normalise(typed).replace("＋", "+")
    for layout in "().-/":
        text = text.replace(layout, "")
    lower = text.lower()
    if "ext" in lower or "x" in lower or "#" in text:
        raise RecipientRefused(Reason.EXTENSION)
    if not (text.startswith("+") and text[1:].isascii() and text[1:].isdigit()):
        raise RecipientRefused(Reason.NOT_A_NUMBER)
    try:
        return parse(text)
    except NumberParseException:
        raise RecipientRefused(Reason.NOT_A_NUMBER) from None
