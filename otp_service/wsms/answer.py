"""One answer of the site, and the plugin's shapes in it (contract 2.1)."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property

from otp_service.wsms.outcome import Json


@dataclass(frozen=True)
class Answer:
    """
    Status, headers (names in lower case) and the whole body.

    The shapes are exclusive: at most one of `success`, `plugin_error` and `wordpress_error`
    is not None. Bodies that are no JSON have none.
    """

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @cached_property
    def json(self) -> Json:
        """The parsed body, or None if it is not JSON or not called so by its content type."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return None
        try:
            parsed: Json = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return parsed

    @property
    def success(self) -> "Success | None":
        """Shape S1 with status 200 or 201."""
        match self.json:
            case {"message": str(message), "error": [], "data": (dict() | list()) as data} if (
                message and self.status in {200, 201}
            ):
                return Success(
                    message=message,
                    data=data if isinstance(data, dict) else {},
                    site_time=self.site_time,
                )
        return None

    @property
    def plugin_error(self) -> str | None:
        """Shape E1: the text of an error out of the plugin's own code; it may be empty."""
        match self.json:
            case {"error": {"code": int(code), "message": str(message)}} if code == self.status:
                return message
        return None

    @property
    def wordpress_error(self) -> "WordPressError | None":
        """Shape E2 or E3: an error out of WordPress itself."""
        match self.json:
            case {"code": str(code), "message": str(), "data": {"status": int(status)} as data} if (
                status == self.status
            ):
                return WordPressError(code=code, parameters=_names(data.get("params")))
        return None

    @property
    def is_maintenance(self) -> bool:
        """Whether this is WordPress' own maintenance answer, given before any plugin runs."""
        wordpress = self.wordpress_error
        return self.status == 503 and wordpress is not None and wordpress.code == "wp_die"

    @property
    def site_time(self) -> datetime | None:
        """The site's clock as it answered, in whole seconds (RFC 9110 section 6.6.1), or None."""
        try:
            told = parsedate_to_datetime(self.headers.get("date", ""))
        except (ValueError, TypeError):
            return None
        return told if told.tzinfo else None

    @property
    def retry_after(self) -> float | None:
        """Seconds of the Retry-After header (RFC 9110 section 10.2.3), or None."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) <= 9:
            return float(value)
        try:
            when = parsedate_to_datetime(value)
            now = parsedate_to_datetime(self.headers.get("date", ""))
            return max(0.0, (when - now).total_seconds())
        except (ValueError, TypeError, OverflowError):
            return None


@dataclass(frozen=True)
class Success:
    """
    Shape S1.

    Attributes:
        data: An empty dict where the site says `[]`, its way to say nothing.
        site_time: The site's clock as it answered, if it told.
    """

    message: str
    data: dict[str, Json]
    site_time: datetime | None = None


@dataclass(frozen=True)
class WordPressError:
    """Shape E2/E3 without its translated texts."""

    code: str
    parameters: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The code if it looks like one, for details."""
        return self.code if _is_word(self.code) else "an error"


def _names(params: Json) -> tuple[str, ...]:
    # A list for missing parameters, a map for invalid ones; the map's values are texts that may
    # repeat what was sent, so only the names are kept.
    if isinstance(params, (list, dict)):
        return tuple(name for name in params if isinstance(name, str) and _is_word(name))
    return ()


def _is_word(text: str) -> bool:
    return text.isascii() and len(text) <= 60 and text.replace("_", "").replace("-", "").isalpha()
