"""What the site says about itself, and which capabilities the credential has.

Everything here is cheap and without effect: the two public indexes, and for each capability one
call that the plugin refuses or answers with nothing once it has let the user in. Parameters are
checked before the capability (contract 2.2), so the probes are well-formed.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from otp_service.wsms.answer import Answer
from otp_service.wsms.calls import IN_MAINTENANCE, Calls
from otp_service.wsms.errors import SiteDown, UnexpectedResponse
from otp_service.wsms.models import Capability
from otp_service.wsms.outcome import Json
from otp_service.wsms.wire import Lost, NotSent

_VERSION = re.compile(r"[0-9]+(\.[0-9]+){1,3}")
_STABLE_TAG = re.compile(rb"^Stable tag:\s*([0-9]+(?:\.[0-9]+){1,3})\s*$", re.M | re.I)
_ZONE_SECONDS = 600.0  # an administrator may change it

_FIELDS = "name,namespaces,authentication,timezone_string,gmt_offset"

ROUTES = (
    "/send",
    "/newsletter",
    "/newsletter/verify",
    "/newsletter/unsubscribe",
    "/outbox",
    "/credit",
    "/webhook",
)


@dataclass(frozen=True, kw_only=True)
class SiteIndex:
    """
    The public REST index.

    Attributes:
        version: "7" or "8" by the API it offers, None if WSMS is off or absent.
        application_passwords: Whether the site says it takes them; they need https.
        zone: The site's. UTC if it does not say.
    """

    name: str
    namespaces: tuple[str, ...]
    version: str | None
    application_passwords: bool
    zone: tzinfo


@dataclass(frozen=True, kw_only=True)
class SiteReport:
    """
    The result of a check.

    Attributes:
        https: Whether the address is https.
        missing_routes: Of the seven public endpoints.
        authorized: False if the credential is not accepted, None if nothing told.
        capabilities: True or False for each, None where the probe told nothing.
        notes: What went wrong with a probe, by capability.
        release: The plugin's exact version, e.g. "7.2.8"; None where it could not be seen.
        translated: Whether the plugin's texts are not its English ones, None if no text was seen.
    """

    address: str
    https: bool
    index: SiteIndex
    missing_routes: tuple[str, ...]
    authorized: bool | None
    capabilities: Mapping[Capability, bool | None]
    notes: Mapping[Capability, str]
    translated: bool | None = None
    release: str | None = None

    @property
    def ready_to_send(self) -> bool:
        """Whether POST /send is there and this credential may call it."""
        return "/send" not in self.missing_routes and bool(self.capabilities[Capability.SEND])


_PROBES: dict[Capability, tuple[str, str, dict[str, Json] | None, dict[str, str] | None]] = {
    # No numbers: 400 "Parameter numbers is required" once the capability is there.
    Capability.SEND: (
        "POST",
        "/send",
        {"sender": "", "recipients": "numbers", "message": "check", "numbers": []},
        None,
    ),
    # An empty activation: 400 "The required parameters must be valued!".
    Capability.SUBSCRIBERS: (
        "POST",
        "/newsletter/verify",
        {"name": "", "mobile": "", "activation": ""},
        None,
    ),
    # Page 0 is an empty page, so that no message is read.
    Capability.OUTBOX: ("GET", "/outbox", None, {"page": "0", "per_page": "1"}),
    Capability.SETTING: ("GET", "/credit", None, None),
}


# What the plugin says to these probes where nobody translated it.
_ENGLISH = {
    Capability.SUBSCRIBERS: "The required parameters must be valued!",
    Capability.OUTBOX: "Outbox retrieved successfully",
}


class Site:
    """The site as such. Calls here pass the breaker by: a check must work when it is open."""

    def __init__(self, calls: Calls, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._clock = clock
        self._zone: tzinfo | None = None
        self._zone_until = 0.0

    async def index(self) -> SiteIndex:
        """
        Return the public index; the credential is not sent.

        Raises:
            SiteDown: No answer, or 5xx.
            UnexpectedResponse: No REST API of WordPress at this address.
        """
        url = self._calls.address.index({"_fields": _FIELDS})
        answer = await self._ask("GET", url, None, anonymous=True)
        told = answer.json
        if answer.status == 200 and isinstance(told, dict):
            names = told.get("namespaces")
            if isinstance(names, list):
                return _index(tuple(n for n in names if isinstance(n, str)), told)
        if answer.is_maintenance:
            raise SiteDown(IN_MAINTENANCE, maybe_done=False)
        if answer.status >= 500:
            raise SiteDown(f"the site answers {answer.status}", maybe_done=False)
        raise UnexpectedResponse(
            f"status {answer.status}, and no REST index of WordPress there;"
            " sites with plain permalinks need /?rest_route=/ behind their address"
        )

    async def zone(self) -> tzinfo:
        """Return the site's zone, asked every ten minutes at most. Raises as `index` does."""
        if self._zone is None or self._clock() >= self._zone_until:
            self._zone = (await self.index()).zone
            self._zone_until = self._clock() + _ZONE_SECONDS
        return self._zone

    async def check(self) -> SiteReport:
        """
        Report what the site offers and what the credential may do; no effects on the site.

        Raises:
            SiteDown: No answer to the index, or 5xx.
            UnexpectedResponse: No REST API of WordPress at this address.
        """
        index = await self.index()
        routes = await self._routes() if index.version == "7" else ()
        probes = dict(
            zip(
                _PROBES,
                await asyncio.gather(*(self._probe(*p) for p in _PROBES.values())),
                strict=True,
            )
        )
        told = [answer for answer in probes.values() if isinstance(answer, Answer)]
        return SiteReport(
            address=str(self._calls.address),
            https=self._calls.address.https,
            index=index,
            missing_routes=tuple(r for r in ROUTES if f"/wpsms/v1{r}" not in routes),
            authorized=_authorized(told),
            capabilities={c: _has(p) for c, p in probes.items()},
            notes={c: note for c, p in probes.items() if (note := _note(p))},
            translated=_translated(probes),
            release=await self._release() if index.version == "7" else None,
        )

    async def _routes(self) -> tuple[str, ...]:
        answer = await self._ask("GET", self._calls.address.call(""), None, anonymous=True)
        match answer.json:
            case {"routes": dict(routes)} if answer.status == 200:
                return tuple(routes)
        return ()

    async def _release(self) -> str | None:
        """
        Return the plugin's version from its readme, or from WordPress' list of plugins.

        The plugin's own API does not tell it. Hardened sites hide the readme, and only who may manage plugins sees the
        list.
        """
        try:
            readme = await self._ask("GET", self._calls.address.readme(), None, anonymous=True)
            found = _STABLE_TAG.search(readme.body[:4096]) if readme.status == 200 else None
            if found:
                return found[1].decode()
            listed = await self._ask("GET", self._calls.address.plugin(), None)
        except SiteDown:
            return None
        match listed.json:
            case {"version": str(version)} if listed.status == 200 and _VERSION.fullmatch(version):
                return version
        return None

    async def _probe(
        self,
        method: str,
        path: str,
        body: Mapping[str, Json] | None,
        query: Mapping[str, str] | None,
    ) -> Answer | str:
        try:
            return await self._ask(method, self._calls.address.call(path, query), body)
        except SiteDown as error:
            return str(error)

    async def _ask(
        self, method: str, url: str, body: Mapping[str, Json] | None, *, anonymous: bool = False
    ) -> Answer:
        try:
            return await self._calls.wire.ask(
                method,
                url,
                body=body,
                deadline=self._calls.deadline,
                max_bytes=self._calls.max_listing,
                anonymous=anonymous,
            )
        except (NotSent, Lost) as error:
            raise SiteDown(str(error), maybe_done=False) from None


def _index(namespaces: tuple[str, ...], rest: Mapping[str, Json]) -> SiteIndex:
    authentication = rest.get("authentication")
    # Version 8 keeps no wpsms/v1 (contract 5).
    version = "7" if "wpsms/v1" in namespaces else "8" if "wsms/v1" in namespaces else None
    return SiteIndex(
        name=str(rest.get("name", ""))[:200],
        namespaces=namespaces,
        version=version,
        application_passwords=(
            isinstance(authentication, dict) and "application-passwords" in authentication
        ),
        zone=_zone(rest.get("timezone_string"), rest.get("gmt_offset")),
    )


def _zone(name: Json, offset: Json) -> tzinfo:
    if isinstance(name, str) and name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    try:
        # Sites without a city have hours, also halves and quarters, as a number or as text.
        return timezone(timedelta(hours=float(str(offset))))
    except (ValueError, OverflowError):
        return UTC


def _has(probe: Answer | str) -> bool | None:
    if isinstance(probe, str):
        return None
    if probe.status in {401, 403, 404}:
        return False if probe.wordpress_error else None
    if probe.status == 400:
        return True if probe.plugin_error is not None else None
    return True if probe.status == 200 and probe.json is not None else None


def _authorized(answers: list[Answer]) -> bool | None:
    if any(answer.status == 401 for answer in answers):
        return False
    return True if any(_has(a) or a.status == 403 for a in answers) else None


def _translated(probes: Mapping[Capability, Answer | str]) -> bool | None:
    seen = [
        _text(probes[capability]) == english
        for capability, english in _ENGLISH.items()
        if _text(probes[capability])
    ]
    return None if not seen else not any(seen)


def _text(probe: Answer | str) -> str:
    """The plugin's own text in its answer, and no other's."""
    if isinstance(probe, str):
        return ""
    return probe.success.message if probe.success else probe.plugin_error or ""


def _note(probe: Answer | str) -> str:
    if isinstance(probe, str):
        return probe
    if probe.is_maintenance:
        return IN_MAINTENANCE
    if _has(probe) is None:
        return f"status {probe.status} in no shape of WSMS"
    return "no such route" if probe.status == 404 else ""
