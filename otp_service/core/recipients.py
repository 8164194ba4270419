"""Phone numbers: one canonical spelling (E.164), and a refusal with a reason for everything else."""

import re
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

from otp_service.core.typed import normalise

MAX_TYPED = 40  # characters of a number as typed; longer is refused before any parsing

REGIONS = frozenset(SUPPORTED_REGIONS)  # ISO 3166-1 alpha-2, all that have numbers

_RECEIVES_SMS = {
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE,
    PhoneNumberType.VOIP,
}
# Numbers reserved for films and books: Ofcom's "numbers for drama", a thousand of each kind, and 555-0100 to 555-0199
# of the North American plan. libphonenumber takes some for invalid, others for landlines or premium numbers.
_OFCOM_DRAMA = (
    "11[3-8]4960",  # Leeds, Sheffield, Nottingham, Leicester, Bristol, Reading
    "1[2-6]14960",  # Birmingham, Edinburgh, Glasgow, Liverpool, Manchester
    "1914980",  # Tyneside, Durham, Sunderland
    "2079460",  # London
    "2896496",  # Northern Ireland
    "2920180",  # Cardiff
    "1632960",  # no area
    "7700900",  # mobile
    "8081570",  # freephone
    "9098790",  # premium rate
    "3069990",  # UK-wide
)
_FICTIONAL = {
    "GB": re.compile(rf"\+44(?:{'|'.join(_OFCOM_DRAMA)})[0-9]{{3}}"),
    "US": re.compile(r"\+1[2-9][0-9]{2}55501[0-9]{2}"),
}
_NATIONAL = re.compile(r"0[1-9][0-9]{6,14}")
_WORLDWIDE = "001"  # libphonenumber's region of satellite and global service numbers


class Reason(StrEnum):
    """Why a number is refused."""

    NOT_A_NUMBER = "not_a_number"
    EXTENSION = "extension"
    CANNOT_RECEIVE_SMS = "cannot_receive_sms"
    REGION = "region"


_TEXTS = {
    Reason.NOT_A_NUMBER: "not one valid number: give it as +<country code><number>",
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
        fictional: Whether it is reserved for fiction: allowed as a test number only.
    """

    e164: str = field(repr=False)
    region: str
    masked: str
    fictional: bool = False

    @property
    def block(self) -> str:
        """The number without its last three digits: the thousand numbers that are often rented together."""
        return self.e164[:-3]


def parse_recipient(
    typed: str,
    *,
    regions: frozenset[str] | None,
    default_region: str | None = None,
    allow_fictional: bool = False,
) -> Recipient:
    """
    Return the recipient that a typed number means.

    Args:
        typed: Digits of any script; spaces, dashes, dots, slashes, brackets and `tel:` are ignored. Legacy spellings
            of Mexico (`+52 1 …`) and Argentina (`+54 …` without 9) are read as the number that they mean today.
        regions: The ISO regions that are served, or None for every one.
        default_region: Region of numbers without a calling code; None: they are refused.
        allow_fictional: Whether a number reserved for fiction is accepted, of whatever type it is.

    Raises:
        RecipientRefused: letters, several numbers, no calling code, an extension, not valid in its numbering plan, a
            type that cannot receive SMS (landline, premium, shared cost, pager …), a region that is not served.
    """
    number = _parse(typed, default_region)
    if number.extension:
        raise RecipientRefused(Reason.EXTENSION)
    number = _current_number(number)
    e164 = format_number(number, PhoneNumberFormat.E164)
    kind, fictional = number_type(number), None
    if allow_fictional and kind not in _RECEIVES_SMS:
        fictional = _fictional_region(e164)
    # UNKNOWN says what `is_valid_number` says, by the same search.
    if kind == PhoneNumberType.UNKNOWN and fictional is None:
        raise RecipientRefused(Reason.NOT_A_NUMBER)
    region = fictional or region_code_for_number(number) or _WORLDWIDE
    if (kind not in _RECEIVES_SMS and not fictional) or region == _WORLDWIDE:
        raise RecipientRefused(Reason.CANNOT_RECEIVE_SMS)
    if regions is not None and region not in regions:
        raise RecipientRefused(Reason.REGION)
    return Recipient(
        e164=e164,
        region=region,
        masked=mask(e164, number.country_code),
        fictional=fictional is not None,
    )


def listed_spellings(typed: str, *, default_region: str | None = None) -> list[str]:
    """
    Return how a list of subscribers may spell a typed number: today's E.164 first, then the legacy one, each without
    `+` too, then a national form as typed.

    A number that receives no SMS, or of a region that is not served, has spellings too: it may be on the list all the
    same. Without a default region a national form has no E.164 spelling.

    Raises:
        RecipientRefused: it is not one number.
    """
    national = _national_spellings(typed)
    try:
        number = _parse(typed, default_region)
    except RecipientRefused as error:
        if national and error.reason is Reason.NOT_A_NUMBER:
            return national
        raise
    if number.extension:
        raise RecipientRefused(Reason.EXTENSION)
    spellings = [
        format_number(one, PhoneNumberFormat.E164) for one in (_current_number(number), number)
    ]
    return list(dict.fromkeys([*spellings, *(spelling[1:] for spelling in spellings), *national]))


def is_same_number(listed: str, e164: str) -> bool:
    """Return whether a list's spelling means this number: with `+` or without, today's or a legacy one."""
    if listed == e164:
        return True
    try:
        return e164 in listed_spellings(f"+{listed.removeprefix('+')}")
    except RecipientRefused:
        return False


def mask(e164: str, country_code: int | None = None) -> str:
    """Return `+49•••••34`, or `•••••34` of a national form: always five dots, so that the length is not told."""
    code = ""
    if e164.startswith("+"):
        code = f"+{country_code if country_code is not None else parse(e164).country_code}"
    return f"{code}•••••{e164[-2:]}"


def _current_number(number: PhoneNumber) -> PhoneNumber:
    """Return the number in today's numbering plan where it is spelled as in an older one."""
    national = str(number.national_number)
    match number.country_code:
        case 52 if len(national) == 11 and national[0] == "1":  # mobiles, until August 2019
            current = national[1:]
        case 54 if (
            len(national) == 10 and national[0] != "9"
        ):  # mobiles, as written within Argentina
            current = f"9{national}"
        case _:
            return number
    found = PhoneNumber(country_code=number.country_code, national_number=int(current))
    return found if number_type(found) in _RECEIVES_SMS else number


def _fictional_region(e164: str) -> str | None:
    return next((region for region, range_ in _FICTIONAL.items() if range_.fullmatch(e164)), None)


def _national_spellings(typed: str) -> list[str]:
    """
    Return a number with exactly one leading 0 as typed, and its digits; [] for any other.

    WSMS stores such a number as typed. Others it may rewrite (`mobile_county_code`), and then the text as typed could
    be the number of somebody else.
    """
    digits = normalise(typed).replace("/", "")
    if len(typed) > MAX_TYPED or not _NATIONAL.fullmatch(digits):
        return []
    return list(dict.fromkeys([digits, typed] if typed.isprintable() else [digits]))


def _parse(typed: str, default_region: str | None) -> PhoneNumber:
    if len(typed) > MAX_TYPED:
        raise RecipientRefused(Reason.NOT_A_NUMBER)
    text = normalise(typed).replace("/", "")
    if text[:4].lower() == "tel:":  # RFC 3966
        text = text[4:]
    lower = text.lower()
    if "ext" in lower or "x" in lower or "#" in text:
        raise RecipientRefused(Reason.EXTENSION)
    international = text.startswith("+")
    digits = text[1:] if international else text
    if not (digits.isascii() and digits.isdigit() and (international or default_region)):
        raise RecipientRefused(Reason.NOT_A_NUMBER)
    try:
        return parse(text, None if international else default_region)
    except NumberParseException:
        raise RecipientRefused(Reason.NOT_A_NUMBER) from None
