"""The shapes in which the site answers: three for success, three for errors (contract 2.1)."""

import json
from dataclasses import dataclass, field
from html import escape

from otp_service.sandbox.php import Value

JSON_TYPE = "application/json; charset=UTF-8"
HTML_TYPE = "text/html; charset=UTF-8"


@dataclass
class Answer:
    """What goes back to the caller, before it is put on the wire."""

    status: int
    body: Value
    """Anything JSON; text when `html`."""
    html: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    """PHP notices that a site with WP_DEBUG_DISPLAY prints before the answer."""

    def encoded(self) -> bytes:
        if self.html:
            return str(self.body).encode()
        return json.dumps(self.body, separators=(",", ":"), allow_nan=False).encode()


def success(message: str, data: Value = None, status: int = 200) -> Answer:
    """S1. `data` is an empty list when there is nothing."""
    return Answer(status, {"message": message, "error": [], "data": [] if data is None else data})


def plugin_error(message: str, status: int = 400) -> Answer:
    """E1: every error out of the plugin's own code; only the text tells them apart."""
    return Answer(status, {"error": {"code": status, "message": message}})


def wordpress_error(code: str, message: str, status: int, **data: Value) -> Answer:
    """E2: authentication, parameters, routing."""
    return Answer(status, {"code": code, "message": message, "data": {"status": status, **data}})


def forbidden(message: str, *, known: bool) -> Answer:
    """401 for strangers, 403 for users without the capability."""
    return wordpress_error("rest_forbidden", message, 403 if known else 401)


NO_ROUTE_TEXT = "No route was found matching the URL and request method."


def no_route(message: str = NO_ROUTE_TEXT) -> Answer:
    """Wrong method, unknown path, and the plugin switched off, all alike."""
    return wordpress_error("rest_no_route", message, 404)


CRITICAL = (
    "<p>There has been a critical error on this website.</p><p>"
    '<a href="https://wordpress.org/documentation/article/faq-troubleshooting/">'
    "Learn more about troubleshooting WordPress.</a></p>"
)
MAINTENANCE = "Briefly unavailable for scheduled maintenance. Check back in a minute."
DATABASE_DOWN = "<h1>Error establishing a database connection</h1>"


def broken(
    message: str, status: int, *, code: str, wants_json: bool, title: str, **data: Value
) -> Answer:
    """E3: an HTML page unless JSON was asked for."""
    if wants_json:
        return Answer(
            status,
            {
                "code": code,
                "message": message,
                "data": {"status": status, **data},
                "additional_errors": [],
            },
        )
    return Answer(status, error_page(message, title), html=True)


def maintenance(wants_json: bool) -> Answer:
    """What WordPress says while the file `.maintenance` is fresh, before any plugin runs."""
    answer = broken(MAINTENANCE, 503, code="wp_die", wants_json=wants_json, title="Maintenance")
    answer.headers["Retry-After"] = "600"
    return answer


def error_page(message: str, title: str) -> str:
    """The page of `wp_die`, without WordPress' style sheet."""
    return (
        '<!DOCTYPE html>\n<html lang="en-US">\n<head>\n'
        '\t<meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />\n'
        f"\t<title>{escape(title)}</title>\n"
        "</head>\n"
        f'<body id="error-page">\n\t<div class="wp-die-message">{message}</div></body>\n</html>\n'
    )
