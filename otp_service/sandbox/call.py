"""One REST request as WordPress sees it: where its parameters come from, and whether it wants JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from otp_service.sandbox.answers import Answer, wordpress_error
from otp_service.sandbox.php import JsonError, Value, json_decode, parse_form
from otp_service.sandbox.users import User

JSON_TYPES = ("application/json", "+json")


@dataclass
class Call:
    """A request on its way through the site."""

    method: str
    route: str
    """Path inside the REST API, without a trailing slash: `/wpsms/v1/send`; `/` is the index."""
    headers: Mapping[str, str]
    """Names in lower case."""
    query: str
    body: bytes
    remote_addr: str = ""
    """The address that the call comes from: PHP's `REMOTE_ADDR`."""
    user: User | None = None
    url: Mapping[str, str] = field(default_factory=dict)
    """What the route's pattern caught, e.g. `id`."""
    params: dict[str, Value] = field(default_factory=dict)
    """Checked and sanitised parameters; what was not sent and has no default is absent."""
    sources: list[dict[str, Value]] = field(default_factory=list)

    @property
    def sends_json(self) -> bool:
        kind = self.headers.get("content-type", "").split(";")[0].strip().lower()
        return kind.endswith(JSON_TYPES)

    @property
    def wants_json(self) -> bool:
        """`wp_is_json_request`: decides between JSON and an HTML page when PHP fails."""
        return "application/json" in self.headers.get("accept", "") or self.sends_json

    def read_parameters(self) -> Answer | None:
        """Fills `sources`: JSON body, form body, query, pattern. The answer is a refusal.

        JSON sent as text/plain is not read at all (contract 2).
        """
        found: list[dict[str, Value]] = []
        if self.sends_json and self.body:
            try:
                decoded = json_decode(self.body)
            except JsonError as error:
                return wordpress_error(
                    "rest_invalid_json",
                    "Invalid JSON body passed.",
                    400,
                    json_error_code=error.code,
                    json_error_message=str(error),
                )
            if isinstance(decoded, dict):
                found.append(decoded)
        elif self.method != "GET" and self._sends_form:
            found.append(parse_form(self.body.decode(errors="replace")))
        found += [parse_form(self.query), dict(self.url)]
        self.sources = found
        return None

    @property
    def _sends_form(self) -> bool:
        kind = self.headers.get("content-type", "").split(";")[0].strip().lower()
        return kind == "application/x-www-form-urlencoded"

    def raw(self, name: str) -> Value:
        """A parameter as sent, the first source that has it; None when absent."""
        return next((source[name] for source in self.sources if source.get(name) is not None), None)

    def get(self, name: str, default: Value = None) -> Value:
        found = self.params.get(name)
        return default if found is None else found
