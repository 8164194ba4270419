"""The REST server: the order in which WordPress looks at a request, and the headers of its answers."""

from typing import TYPE_CHECKING

from otp_service.sandbox import answers, routing
from otp_service.sandbox.answers import Answer
from otp_service.sandbox.call import Call
from otp_service.sandbox.php import PhpError, Value
from otp_service.sandbox.routes import ROUTES
from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.users import User
from otp_service.sandbox.validation import check

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

FORBIDDEN = "Sorry, you are not allowed to do that."
PLUGIN = "wpsms/v1"
PLUGIN_RECORD = "/wp/v2/plugins/wp-sms/wp-sms"
NAMESPACES = (
    "oembed/1.0",
    PLUGIN,
    "wp/v2",
    "wp-site-health/v1",
    "wp-block-editor/v1",
    "wp-abilities/v1",
)
EARLY_TEXTS = {
    "incorrect_password": "The provided password is an invalid application password.",
    "invalid_username": "<strong>Error:</strong> Unknown username."
    " Check again or try your email address.",
    "invalid_email": "<strong>Error:</strong> Unknown email address."
    " Check again or try your username.",
}
NOTICE = (
    "<b>Notice</b>:  Function WP_Block_Type_Registry::register was called"
    " <strong>incorrectly</strong>. Block type names must contain a namespace prefix."
)


async def respond(site: "Site", call: Call) -> Answer:
    """The answer with its headers, whatever state the site is in (contract 2.1, 2.2)."""
    answer = _site_down(site, call)
    if answer is None:
        try:
            answer = await _dispatch(site, call)
        except PhpError as error:
            answer = _crashed(site, call, error)
        _add_headers(site, call, answer)
    if site.settings.debug_display and not call.wants_json:
        _show_notices(answer)
    return answer


def _site_down(site: "Site", call: Call) -> Answer | None:
    if site.settings.database_down:
        return answers.broken(
            answers.DATABASE_DOWN,
            500,
            code="wp_die",
            wants_json=call.wants_json,
            title="Database Error",
        )
    if site.settings.maintenance:
        return answers.maintenance(call.wants_json)
    return None


async def _dispatch(site: "Site", call: Call) -> Answer:
    if site.settings.application_passwords:
        found = site.users.authenticate(call.headers.get("authorization"))
        if isinstance(found, User):
            call.user = found
        elif found is not None and site.settings.early_authentication:
            return answers.wordpress_error(found, EARLY_TEXTS[found], 401)
    if call.route == "/" and call.method in ("GET", "HEAD", "OPTIONS"):
        return _allowing(Answer(200, index(site)), "GET")
    if call.route == PLUGIN_RECORD and call.method in ("GET", "HEAD"):
        return _allowing(plugin_record(site, call), "GET")
    if not site.settings.plugin_active or site.settings.wsms_version == "8":
        return answers.no_route(site.say(answers.NO_ROUTE_TEXT))
    if call.route == routing.NAMESPACE and call.method in ("GET", "HEAD", "OPTIONS"):
        return _allowing(Answer(200, namespace_index(site)), "GET")
    matched = routing.find(ROUTES, call.route, call.method)
    if matched is None:
        return answers.no_route(site.say(answers.NO_ROUTE_TEXT))
    route, endpoint, call.url = matched
    if endpoint is None:
        shown = route.described(site)
        shown.pop("_links", None)
        return _allowing(Answer(200, shown), ", ".join(route.allowed(site, call.user)))
    # Parameters come before the capability: a bad body gives 400 even to a stranger.
    answer = call.read_parameters() or check(site, call, endpoint.args)
    if answer is None and not endpoint.open_to(site, call.user):
        answer = answers.forbidden(site.say(FORBIDDEN), known=call.user is not None)
    if answer is None:
        answer = await endpoint.handler(site, call)
    return _allowing(answer, ", ".join(route.allowed(site, call.user)))


def _allowing(answer: Answer, methods: str) -> Answer:
    if methods:
        answer.headers["Allow"] = methods
    return answer


def _crashed(site: "Site", call: Call, error: PhpError) -> Answer:
    """E3; with WP_DEBUG shown, JSON callers get the error itself as well."""
    shown = {}
    if site.settings.debug_display:
        shown["error"] = {
            "type": 1,
            "message": f"Uncaught {error}",
            "file": error.file,
            "line": error.line,
        }
    answer = answers.broken(
        answers.CRITICAL,
        500,
        code="internal_server_error",
        wants_json=call.wants_json,
        title="WordPress › Error",
        **shown,
    )
    answer.notices.append(f"<b>Fatal error</b>:  Uncaught {error}")
    return answer


def _add_headers(site: "Site", call: Call, answer: Answer) -> None:
    """As recorded in 082; only answers to known users are marked as not to be cached."""
    answer.headers |= {
        "X-Robots-Tag": "noindex",
        "Link": f'<{site.settings.url}/wp-json/>; rel="https://api.w.org/"',
        "X-Content-Type-Options": "nosniff",
        "Access-Control-Expose-Headers": "X-WP-Total, X-WP-TotalPages, Link",
        "Access-Control-Allow-Headers": "Authorization, X-WP-Nonce, Content-Disposition,"
        " Content-MD5, Content-Type",
    }
    if call.user is None:
        answer.headers["Vary"] = "Origin"
    else:
        answer.headers["Expires"] = "Wed, 11 Jan 1984 05:00:00 GMT"
        answer.headers["Cache-Control"] = "no-cache, must-revalidate, max-age=0, no-store, private"


def _show_notices(answer: Answer) -> None:
    """WP_DEBUG_DISPLAY prints before the body, so that what looked like JSON is none any more."""
    printed = "".join(f"<br />\n{one}<br />\n" for one in (NOTICE, NOTICE, *answer.notices))
    body = printed + answer.encoded().decode()
    answer.headers.setdefault(
        "Content-Type", answers.HTML_TYPE if answer.html else answers.JSON_TYPE
    )
    answer.body, answer.html = body, True


def index(site: "Site") -> Value:
    """What anybody may learn: names, zone, namespaces, and whether application passwords are there."""
    settings = site.settings
    offset = site.now().astimezone(site.zone).utcoffset()
    hours = offset.total_seconds() / 3600 if offset else 0.0
    endpoint = {
        "endpoints": {"authorization": f"{settings.url}/wp-admin/authorize-application.php"}
    }
    return {
        "name": settings.name,
        "description": "A stand-in for development and tests: no real site, no SMS leaves it.",
        "url": settings.url,
        "home": settings.url,
        "gmt_offset": int(hours) if hours == int(hours) else hours,
        "timezone_string": settings.timezone,
        "namespaces": namespaces(settings),
        "authentication": {"application-passwords": endpoint}
        if settings.application_passwords
        else [],
    }


def namespaces(settings: SiteSettings) -> list[Value]:
    """The plugin's is there while it is active; version 8 has another."""
    plugin = (
        ("wsms/v1" if settings.wsms_version == "8" else PLUGIN,) if settings.plugin_active else ()
    )
    return [one for name in NAMESPACES for one in (plugin if name == PLUGIN else (name,))]


def plugin_record(site: "Site", call: Call) -> Answer:
    """WordPress' own record of the plugin, for administrators."""
    if call.user is None or call.user.role != "administrator":
        words = "Sorry, you are not allowed to manage plugins for this site."
        status = 401 if call.user is None else 403
        return answers.wordpress_error("rest_cannot_view_plugin", words, status)
    state = "active" if site.settings.plugin_active else "inactive"
    found = {"plugin": "wp-sms/wp-sms", "status": state, "version": site.settings.wsms_version}
    return Answer(200, found)


def namespace_index(site: "Site") -> Value:
    """Every route with its arguments, without asking who is there."""
    own = {"namespace": {"default": "wpsms/v1"}, "context": {"default": "view"}}

    async def unused(_: "Site", __: Call) -> Answer:
        raise NotImplementedError

    root = routing.Route("", (routing.Endpoint(("GET",), unused, None, own),))
    shown = {route.path: route.described(site) for route in (root, *ROUTES)}
    up = {"up": [{"href": f"{site.settings.url}/wp-json/"}]}
    return {"namespace": "wpsms/v1", "routes": shown, "_links": up}
