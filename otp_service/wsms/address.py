"""Where a WordPress site's REST API is: the address an operator types, and each call's URL."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from otp_service.wsms.errors import WsmsConfigurationError

_NAMESPACE = "/wpsms/v1"


class SiteAddress:
    """
    The REST API of one site.

    Understands the site itself, with or without `/wp-json`, and sites with plain permalinks,
    written `https://example.org/?rest_route=/` (contract 2).

    Raises:
        WsmsConfigurationError: Not https (loopback may be http), no host, user name or password
            in the address, or a query that is no rest_route.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url.strip())
            host = parts.hostname or ""
            _ = parts.port
        except ValueError as error:
            raise WsmsConfigurationError("the WSMS address is not a URL") from error
        if parts.scheme not in {"http", "https"} or not host:
            raise WsmsConfigurationError(
                "the WSMS address must be a URL such as https://example.org"
            )
        if parts.username is not None or parts.password is not None:
            raise WsmsConfigurationError("the WSMS address must not hold a user name or password")
        if any(c.isspace() or not c.isprintable() for c in url.strip()):
            raise WsmsConfigurationError("the WSMS address holds blanks or control characters")
        if parts.fragment:
            raise WsmsConfigurationError("the WSMS address must not have a #fragment")
        if parts.scheme == "http" and not _is_loopback(host):
            raise WsmsConfigurationError(
                "the WSMS address must be https: the application password travels in every call"
            )
        self.https = parts.scheme == "https"
        path = parts.path.rstrip("/")
        self._plain = "rest_route" in parts.query
        if self._plain:
            if not parts.query.startswith("rest_route=") or "&" in parts.query:
                raise WsmsConfigurationError("the WSMS address may only have the query rest_route")
            path = parts.path or "/"
        elif parts.query:
            raise WsmsConfigurationError("the WSMS address may only have the query rest_route")
        else:
            path = path if path.endswith("/wp-json") else path + "/wp-json"
        self._root = urlunsplit((parts.scheme, parts.netloc, path, "", ""))

    def __repr__(self) -> str:
        return f"<SiteAddress {self}>"

    def __str__(self) -> str:
        return self._root + ("?rest_route=/" if self._plain else "/")

    def index(self, query: Mapping[str, str] | None = None) -> str:
        """Return the URL of the REST index, which every WordPress site has."""
        return self._url("/", query)

    def plugin(self) -> str:
        """Return the URL of WordPress' own record of the plugin, for those who may manage plugins."""
        return self._url("/wp/v2/plugins/wp-sms/wp-sms", None)

    def readme(self) -> str:
        """Return the URL of the plugin's readme, a public file unless the web server hides it."""
        site = self._root.removesuffix("/wp-json").removesuffix("/index.php").rstrip("/")
        return f"{site}/wp-content/plugins/wp-sms/readme.txt"

    def call(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the URL of a call of the plugin, e.g. `call("/send")`."""
        return self._url(_NAMESPACE + path, query)

    def _url(self, route: str, query: Mapping[str, str] | None) -> str:
        # quote, not quote_plus: a bare "+" silently becomes a blank on the site (contract 2.3).
        pairs = urlencode(query or {}, quote_via=quote, safe="")
        if self._plain:
            return f"{self._root}?rest_route={route}" + (f"&{pairs}" if pairs else "")
        return self._root + route + (f"?{pairs}" if pairs else "")


def _is_loopback(host: str) -> bool:
    if host.rstrip(".") == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
