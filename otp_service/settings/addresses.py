"""What addresses in settings may be: of Redis, the site, this service, the issuer's keys, and trusted proxies."""

import ipaddress
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, SecretStr

from otp_service.settings.values import Words
from otp_service.store.connection import SCHEMES
from otp_service.wsms.address import SiteAddress
from otp_service.wsms.errors import WsmsConfigurationError


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _readable_redis(value: SecretStr) -> SecretStr:
    if urlsplit(value.get_secret_value()).scheme not in SCHEMES:
        raise ValueError(f"the scheme must be one of {', '.join(SCHEMES)}")
    _require_readable(value.get_secret_value())
    return value


def _require_readable(redis_url: str) -> None:
    """Raise ValueError when a part of the URL can't be read. redis-py would repeat it, or take another database."""
    parts = urlsplit(redis_url)
    path = parts.path.strip("/")
    try:
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError(
            "host or port can't be read; write special characters of a password as %XX"
        ) from None
    if {"username", "password"} & parse_qs(parts.query).keys():
        raise ValueError("user and password belong before the host, as user:password@host")
    if parts.scheme == "unix":
        if not path:
            raise ValueError("names no socket")
        return
    if "sentinel" in parts.scheme:
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("redis+sentinel:// needs /service behind the hosts")
    if path and not (path.isascii() and path.isdigit()):
        raise ValueError("the database behind the host must be a number")


def _safe_site(value: str) -> str:
    parts = urlsplit(value)
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise ValueError("must be an https:// URL")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(
            "must be https, or the application password and every code would be sent in clear text"
        )
    try:
        SiteAddress(value)
    except WsmsConfigurationError as error:
        raise ValueError(str(error)) from None
    return value


def _public_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or not value.isascii():
        raise ValueError("must be an https:// URL with an ASCII host")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must have no query, no fragment and no user name")
    return value.rstrip("/")


def _safe_key_set(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
        raise ValueError("must be an https:// URL without a user name")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https, or an attacker on the network could replace the keys")
    return value


def _named_proxies(value: frozenset[str]) -> frozenset[str]:
    for word in value:
        try:
            network = ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise ValueError("must be addresses or networks; * is not allowed") from None
        if network.prefixlen == 0:
            raise ValueError(
                "must be addresses or networks; a network of all addresses is not allowed"
            )
    return value


RedisUrl = Annotated[SecretStr, AfterValidator(_readable_redis)]
SiteUrl = Annotated[str, AfterValidator(_safe_site)]
PublicUrl = Annotated[str, AfterValidator(_public_address)]
KeySetUrl = Annotated[str, AfterValidator(_safe_key_set)]
Proxies = Annotated[Words, AfterValidator(_named_proxies)]
