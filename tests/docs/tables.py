"""
The tables of the documents, made from the code: `python -m tests.docs.tables` writes them anew.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from otp_service import telemetry
from otp_service.cli.doctor import setting_rows
from otp_service.core.caller_rules import RULES
from otp_service.core.credentials import SCOPES
from otp_service.sandbox.settings import SiteSettings
from otp_service.store import keys
from otp_service.web.problems import INTERNAL, TABLE
from otp_service.web.routes import OPERATIONS
from tests.docs import attacks

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# The endpoints that are no operations: (call, success, what).
_PLAIN = (
    ("GET /healthz", "200", "Liveness: the process answers"),
    (
        "GET /readyz",
        "200, 503",
        "Readiness: whether codes can be requested, with reasons and warnings",
    ),
    ("GET /.well-known/jwks.json", "200", "Public keys of signed proofs and receipts"),
    ("GET /openapi.json", "200", "The API description, OpenAPI 3.1"),
    ("GET /metrics", "200", "Prometheus, on the admin port only"),
)


def endpoints() -> Iterable[str]:
    """Yield the table of every call."""
    yield "| call | scope | success | what |"
    yield "| --- | --- | --- | --- |"
    for operation in OPERATIONS:
        call = f"{operation.method} {operation.path}"
        scope = " or ".join(f"`{scope}`" for scope in operation.scopes)
        yield f"| `{call}` | {scope} | {operation.status} | {operation.summary} |"
    for call, status, what in _PLAIN:
        yield f"| `{call}` | | {status} | {what} |"


def refusals() -> Iterable[str]:
    """Yield the table of every code that a problem may have."""
    yield "| status | `code` | what it says |"
    yield "| --- | --- | --- |"
    rows = [(row.status, error.code, row) for error, row in TABLE.items()]
    rows.append((INTERNAL.status, "internal", INTERNAL))
    for status, code, row in sorted(rows, key=lambda found: found[0]):
        detail = f". {row.detail}" if row.detail else ""
        yield f"| {status} | `{code}` | {row.title}{detail} |"


def scopes() -> Iterable[str]:
    """Yield the table of what a credential may do."""
    yield "| scope | allows to |"
    yield "| --- | --- |"
    for scope, what in SCOPES.items():
        yield f"| `{scope}` | {what} |"


def policy() -> Iterable[str]:
    """Yield the table of what an operator may set for one caller."""
    yield "| field | what |"
    yield "| --- | --- |"
    for field, rule in RULES.items():
        yield f"| `{field}` | {rule.about} |"


def metrics() -> Iterable[str]:
    """Yield the table of metrics."""
    yield "| metric | labels | what |"
    yield "| --- | --- | --- |"
    found = [m for m in vars(telemetry).values() if isinstance(m, MetricWrapperBase)]
    for metric in sorted(found, key=lambda m: m._name):
        name = metric._name + ("_total" if metric._type == "counter" else "")
        labels = ", ".join(metric._labelnames)
        yield f"| `{name}` | {labels} | {metric._documentation} |"


def redis_keys() -> Iterable[str]:
    """Yield the table of keys, as the docstring of `otp_service.store.keys` has it."""
    yield "| key | type | holds | until |"
    yield "| --- | --- | --- | --- |"
    for line in (keys.__doc__ or "").splitlines():
        if line.startswith(("    otp:", "    otp-")):
            cells = re.split(r" {2,}", line.strip())
            yield f"| `{cells[0]}` | " + " | ".join(cells[1:]) + " |"


def sandbox_settings() -> Iterable[str]:
    """Yield the table of the sandbox's switches."""
    yield "| setting | default | what |"
    yield "| --- | --- | --- |"
    for name, field in SiteSettings.model_fields.items():
        default = json.dumps(field.default, ensure_ascii=False)
        what = " ".join((field.description or "").split())
        yield f"| `{name}` | `{default}` | {what} |"


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "settings": setting_rows,
    "endpoints": endpoints,
    "refusals": refusals,
    "scopes": scopes,
    "policy": policy,
    "metrics": metrics,
    "keys": redis_keys,
    "sandbox": sandbox_settings,
    "attacks": attacks.table,
}


def rewritten(text: str) -> str:
    """Return the text with every table as the code has it now."""

    def table(found: re.Match[str]) -> str:
        return found[1] + "\n".join(TABLES[found[2]]()) + "\n" + found[3]

    return _BLOCK.sub(table, text)


def main() -> None:
    for path in DOCUMENTS:
        path.write_text(rewritten(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
