"""
Which addresses a caller may have us call: names on the public internet over https, and nothing inside.

What a URL says is judged here, and so is each address that its host resolves to; both are needed, since a public name
may resolve to an inner address, and to another one tomorrow.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PORTS = frozenset({443, 8443})
MAX_URL = 1000

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(
    r"[0-9]+|0x[0-9a-f]*", re.ASCII
)  # a last label that makes resolvers read an IPv4 address
_PRINTABLE = re.compile(r"[!-\[\]-~]+", re.ASCII)  # no space, no control character, no backslash

_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What `is_global` of one Python or another lets pass: protocol assignments (where a cloud keeps its metadata), relays,
# tunnels, documentation; and the one public address that is inside at a large cloud.
_NOT_FOR_US = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "168.63.129.16/32",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
    )
)


class TargetRefused(ValueError):
    """We don't call that; the message says why and holds neither URL nor address."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where a URL leads.

    Attributes:
        host: In lower case, without brackets.
        path: With the query, as it was given; at least `/`.
        literal: Whether the host is an address and not a name.
    """

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    literal: bool

    @property
    def authority(self) -> str:
        """What belongs into the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


def parse(url: str, *, allow_private: bool = False) -> Target:
    """
    Return where a URL leads.

    Args:
        url: As somebody wrote it.
        allow_private: Also http, any port and names of one label, for local development.

    Raises:
        TargetRefused: it is no URL that we call.
    """
    if len(url) > MAX_URL or _PRINTABLE.fullmatch(url) is None:
        raise TargetRefused(f"must be at most {MAX_URL} printable ASCII characters, without \\")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise TargetRefused("is no URL") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise TargetRefused("must begin with https://")
    if "@" in parts.netloc:
        raise TargetRefused("must hold no user name or password")
    if "#" in url:
        raise TargetRefused("must have no fragment")
    if port is None and not parts.netloc.endswith(":"):
        port = {"https": 443, "http": 80}[parts.scheme]
    if port is None or not (port in PORTS or (allow_private and port > 0)):
        raise TargetRefused(f"the port must be one of {', '.join(map(str, sorted(PORTS)))}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    literal = _literal(host, bracketed="[" in parts.netloc)
    if literal is not None:
        if not allow_private and not is_public(literal):
            raise TargetRefused("the host is no public address")
    else:
        _check_name(host, allow_private=allow_private)
    return Target(parts.scheme, host, port, path, literal is not None)


def is_public(address: str | ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is one global unicast address, whatever it is wrapped in. False for what is no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return False
        if found.ipv4_mapped is not None:
            return is_public(found.ipv4_mapped)
        if found in _NAT64:
            return is_public(ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF))
        if found not in _GLOBAL_6:
            return False
    return (
        found.is_global
        and not (found.is_multicast or found.is_reserved)
        and not any(found in network for network in _NOT_FOR_US)
    )


def _literal(host: str, *, bracketed: bool) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if bracketed:
        try:
            return ipaddress.IPv6Address(host)
        except ValueError:
            raise TargetRefused("the host is no address") from None
    try:
        return ipaddress.IPv4Address(host)
    except ValueError:
        return None


def _check_name(host: str, *, allow_private: bool) -> None:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise TargetRefused("the host must be a name of a-z, 0-9 and -, without a dot at its end")
    if _NUMBER.fullmatch(labels[-1]):
        raise TargetRefused("the host is an address in a spelling that is not used")
    if len(labels) < 2 and not allow_private:
        raise TargetRefused("the host must be a full name")
