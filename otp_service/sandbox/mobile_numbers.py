"""What the newsletter makes of a mobile number: its checks, and the text it stores (contract 3.2).

Sending follows other rules (`sending`): there numbers are cleaned but never checked.
"""

import re
import sys
from typing import TYPE_CHECKING

import phonenumbers

from otp_service.sandbox.php import PhpError, Value, is_numeric, text

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

SHORTEST, LONGEST = 8, 15
"""Characters, the plus counted."""

_DIGITS = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩", "01234567890123456789")


class InvalidNumber(Exception):
    """The plugin's words for what is wrong with a number."""


def stored_number(site: "Site", given: Value) -> str:
    """The number as the plugin would store or look it up; raises InvalidNumber."""
    if isinstance(given, (list, dict)):
        raise PhpError("strtr(): Argument #1 ($string) must be of type string, array given")
    typed = text(given).translate(_DIGITS)
    number = re.sub(r"[^0-9+]", "", typed).lstrip("0")
    if not is_numeric(number):
        raise InvalidNumber("Invalid Mobile Number.")
    if site.settings.international_mobile and not number.startswith("+"):
        raise InvalidNumber("The mobile number doesn't contain the country code.")
    shortest, longest = _bounds(site)
    if not shortest <= len(number) <= longest:
        raise InvalidNumber("The mobile number length is invalid.")
    if site.settings.international_mobile and not _country_allowed(site, number):
        raise InvalidNumber("The mobile number is not valid for your country.")
    if site.settings.international_mobile:
        return number
    prefix = site.settings.mobile_county_code
    if prefix:
        plus = number if number.startswith("+") else f"+{number}"
        return plus if plus.startswith(prefix) else prefix + plus.removeprefix("+")
    # With exactly one leading zero the typed text is kept, blanks and all.
    return typed if typed.startswith("0") and not typed.startswith("00") else number


def _bounds(site: "Site") -> tuple[int, int]:
    settings = site.settings
    minimum, maximum = settings.mobile_terms_minimum, settings.mobile_terms_maximum
    if settings.international_mobile or not (minimum or maximum):
        return SHORTEST, LONGEST
    return minimum or 0, maximum or sys.maxsize


def _country_allowed(site: "Site", number: str) -> bool:
    only = set(site.settings.international_mobile_only_countries)
    codes = [
        f"+{code}"
        for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
        if not only or only & set(regions)
    ]
    return number.startswith(tuple(codes))
