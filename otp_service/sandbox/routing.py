"""The routes that the plugin registers, their permissions, and the public index of them."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from otp_service.sandbox.answers import Answer
from otp_service.sandbox.call import Call
from otp_service.sandbox.php import Value
from otp_service.sandbox.users import CAPABILITIES, User
from otp_service.sandbox.validation import Args

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

Handler: TypeAlias = Callable[["Site", Call], Awaitable[Answer]]
NAMESPACE = "/wpsms/v1"


@dataclass(frozen=True)
class Endpoint:
    """One registration: some methods of a route."""

    methods: tuple[str, ...]
    handler: Handler
    capability: str | None
    """None: public."""
    args: Args = field(default_factory=dict)

    def open_to(self, site: "Site", user: User | None) -> bool:
        return self.capability is None or (
            user is not None and self.capability in capabilities(site, user)
        )

    def described(self) -> dict[str, Value]:
        shown: Value = {
            name: {
                "required": False,
                **{k: v for k, v in arg.items() if k not in ("validate", "sanitize")},
            }
            for name, arg in self.args.items()
        }
        return {"methods": list(self.methods), "args": shown or []}


@dataclass(frozen=True)
class Route:
    """A path pattern below the namespace, with WordPress' names for its parts: `(?P<id>...)`."""

    pattern: str
    endpoints: tuple[Endpoint, ...]

    @property
    def path(self) -> str:
        return NAMESPACE + self.pattern

    def match(self, path: str) -> Mapping[str, str] | None:
        found = re.fullmatch(self.path, path, re.I | re.A)
        return found.groupdict() if found else None

    def endpoint(self, method: str) -> Endpoint | None:
        """HEAD is GET without the body."""
        method = "GET" if method == "HEAD" else method
        return next((one for one in self.endpoints if method in one.methods), None)

    def allowed(self, site: "Site", user: User | None) -> list[str]:
        """The methods this caller has the right to, for the header Allow."""
        return [m for one in self.endpoints if one.open_to(site, user) for m in one.methods]

    def described(self, site: "Site") -> dict[str, Value]:
        shown: dict[str, Value] = {
            "namespace": NAMESPACE.removeprefix("/"),
            "methods": [method for one in self.endpoints for method in one.methods],
            "endpoints": [one.described() for one in self.endpoints],
        }
        if "(" not in self.pattern:
            shown["_links"] = {"self": [{"href": f"{site.settings.url}/wp-json{self.path}"}]}
        return shown


def find(
    routes: Iterable[Route], path: str, method: str
) -> tuple[Route, Endpoint | None, Mapping[str, str]] | None:
    """The first route that fits the path and takes the method; OPTIONS is taken by every one."""
    for route in routes:
        caught = route.match(path)
        endpoint = route.endpoint(method)
        if caught is not None and (endpoint is not None or method == "OPTIONS"):
            return route, endpoint, caught
    return None


def capabilities(site: "Site", user: User) -> set[str]:
    """An administrator gets the plugin's capabilities only once wp-admin has been opened (contract 2.2)."""
    granted = site.settings.capabilities_granted and user.role == "administrator"
    return user.capabilities | (set(CAPABILITIES) if granted else set())
