"""Replaying a recording against the sandbox, and saying where the two differ.

Ids, times and what is random are made equal on both sides first. Pages of HTML and PHP's printed
notices are compared by what they say: which kinds of notice, how many, and the message of the page.
"""

import base64
import json
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from recorded_sites import PASSWORD, SITES, Clock, Recorded, accounts, provider_state

from otp_service.sandbox.app import create_app
from otp_service.sandbox.php import serialize, text, var_export
from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.site import Site
from otp_service.sandbox.webhooks import Delivery

RECORDINGS = Path(__file__).parent.parent / "wsms_recordings"
Json = Any


def recordings() -> list[Path]:
    return sorted(RECORDINGS.glob("*.json"))


class Replay:
    """One recording and the site to replay it on."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.recording: Json = json.loads(path.read_text())
        self.exchanges: list[Json] = self.recording["exchanges"]
        self.recorded: Recorded = SITES.get(self.name[:3], Recorded())
        self.deliveries: list[Delivery] = []
        self.codes = deque(self._codes())
        clock = Clock()
        self.site = Site(
            SiteSettings(
                wsms_version="7.2",
                name="Rig Site",
                url="http://wordpress.test",
                gateway_username="riguser",
                gateway_password="rigpass",
                gateway_sender_id="RIGDEFAULT",
            ).model_copy(update=self.recorded.settings),
            users=accounts(),
            groups=self.recorded.groups,
            now=clock.now,
            sleep=clock.sleep,
            draw_code=self.codes.popleft if self.codes else lambda: 4321,
            deliver=self._deliver,
        )
        self.recorded.prepare(self.site)
        transport = httpx.ASGITransport(create_app(self.site, hosts=["wordpress.test"]))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://wordpress.test")
        self.client.headers.clear()

    def _codes(self) -> Iterator[int]:
        """The random numbers the plugin drew: the only thing taken from recorded answers, since later
        requests repeat them."""
        for exchange in self.exchanges:
            for sms in exchange.get("sms_captured", []):
                found = re.fullmatch(r"Your activation code: (\d+)", sms["message"] or "")
                if found:
                    yield int(found.group(1))

    async def _deliver(self, delivery: Delivery) -> None:
        if "blocked" in delivery.url:
            raise PermissionError(delivery.url)
        self.deliveries.append(delivery)
        if delivery.url.endswith("/500"):
            raise ConnectionError
        if delivery.url.endswith("/slow"):
            await self.site.sleep(delivery.limit)
            raise TimeoutError

    async def exchange(self, index: int) -> list[str]:
        """Replay one; where it differs from the recording, as paths with both values."""
        recorded = self.exchanges[index]
        if index in self.recorded.before:
            self.recorded.before[index](self.site)
        if "gateway_state" in recorded:
            provider_state(recorded["gateway_state"])(self.site)
        self.site.phone.forget()
        rows_before = {row.id for row in self.site.outbox.rows()}
        response = await self.client.send(request(self.client, recorded["request"]))
        added = [row for row in self.site.outbox.rows() if row.id not in rows_before]
        differences: list[str] = []
        if "failed" not in recorded["response"]:
            differences += list(differing(answer(recorded["response"]), ours(response)))
        differences += self._captured(recorded)
        differences += self._rows(recorded, added)
        if "subscribers_after" in recorded:
            rows = subscriber_rows(self.site, len((recorded["subscribers_after"] or [[0] * 6])[0]))
            differences += differing(recorded["subscribers_after"], rows, "subscribers_after")
        if "stored_credit_after" in recorded:
            stored = self.site.stored_credit
            shown = "false" if stored is False else var_export(text(stored))
            differences += differing(recorded["stored_credit_after"], shown, "stored_credit_after")
        return differences

    def _captured(self, recorded: Json) -> list[str]:
        """SMS as the provider got them: one line for each number."""
        theirs = []
        for sms in recorded.get("sms_captured", []):
            for to in sms["to"] or ["<not parsed by the rig>"]:
                theirs.append([to or "", sms["sender"], expanded(sms["message"])])
        mine = [[m.to, m.sender, m.message] for m in reversed(self.site.phone.messages())]
        for one, other in zip(theirs, mine, strict=False):
            if one[0].startswith("<not parsed"):
                one[:] = other
        return list(differing(theirs, mine, "sms_captured"))

    def _rows(self, recorded: Json, added: list[Any]) -> list[str]:
        differences: list[str] = []
        if "outbox_message" in recorded:
            differences += differing(
                recorded["outbox_message"], added[-1].message, "outbox_message"
            )
        if "outbox_rows_added" in recorded:
            names = recorded["outbox_rows_added"][0] if recorded["outbox_rows_added"] else ()
            mine = [outbox_row(row, names) for row in added]
            differences += differing(
                plain(recorded["outbox_rows_added"]), mine, "outbox_rows_added"
            )
        if "outbox_row" in recorded:
            last = self.site.outbox.rows()[-1]
            mine = [outbox_row(last, recorded["outbox_row"][0])]
            differences += differing(plain(recorded["outbox_row"]), mine, "outbox_row")
        return differences


def request(client: httpx.AsyncClient, recorded: Json) -> httpx.Request:
    headers = dict(recorded.get("headers", {}))
    headers.setdefault("Accept", "")
    if not headers["Accept"]:
        del headers["Accept"]
    if "Authorization" in headers:
        headers["Authorization"] = authorization(headers["Authorization"])
    content: str | None = recorded.get("raw", recorded.get("form"))
    if "json" in recorded:
        body = recorded["json"]
        if isinstance(body.get("message"), str):
            body = {**body, "message": expanded(body["message"])}
        content = json.dumps(body)
    return client.build_request(
        recorded["method"], recorded["path"], headers=headers, content=content
    )


def authorization(recorded: str) -> str:
    found = re.fullmatch(r"Basic <([^:]+):(.+)>", recorded)
    if not found:
        return recorded
    name, password = found.groups()
    if name == "e-mail":
        name = "admin@rig.test"
    if password.startswith("its application password"):
        password = PASSWORD if "spaced" in password else PASSWORD.replace(" ", "")
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def expanded(message: str | None) -> str | None:
    """`x * 160` stands for so many of them."""
    found = re.fullmatch(r"x \* (\d+)", message or "")
    return "x" * int(found.group(1)) if found else message


CUT = "<the recording was cut off here>"
HEADERS = ("Content-Type", "Allow", "X-WP-DoingItWrong")


def answer(recorded: Json) -> Json:
    headers = {name: recorded["headers"].get(name) for name in HEADERS}
    if "json" in recorded:
        body: Json = {"json": plain(recorded["json"])}
    else:
        body = {"text": said(recorded["text"])}
    return {"status": recorded["status"], "headers": headers, **body}


def ours(response: httpx.Response) -> Json:
    headers = {name: response.headers.get(name) for name in HEADERS}
    try:
        body = {"json": plain(response.json())}
    except ValueError:
        body = {"text": said(response.text)}
    return {"status": response.status_code, "headers": headers, **body}


def said(page: str) -> Json:
    """What printed notices and an error page say, without their looks and paths."""
    *notices, rest = page.split("<br />\n")
    kinds = [found for one in notices for found in re.findall(r"<b>(\w+(?: \w+)?)</b>:", one)]
    message = re.search(r'<div class="wp-die-message">(.*?)</div>', rest, re.S)
    if message:
        return {"notices": kinds, "page": message.group(1)}
    if "<!DOCTYPE html>" in rest and "</html>" not in rest:
        return {"notices": kinds, "page": CUT}
    try:
        return {"notices": kinds, "json": plain(json.loads(rest))}
    except ValueError:
        return {"notices": kinds, "text": rest}


UNEQUAL = (
    (r"(rig|sandbox)-\d+", "<id>"),
    (r"sms_[0-9a-f]{13}", "<id>"),
    (r"'debug_id' => \d+", "'debug_id' => <random>"),
    (r"'cost' => '[\d.]+ USD'", "'cost' => <random>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
    (r"0 => 42133\d{4}", "0 => <id>"),
    (r"[A-Z][a-z]+ \d+, \d{4}(, \d+:\d\d [ap]m)?", "<time>"),
    (r"export-\d{4}-\d\d-\d\d", "export-<time>"),
)


def plain(value: Json, name: str = "") -> Json:
    """Without ids, times and random parts; the shapes stay."""
    match value:
        case dict():
            if set(value) == {"type", "message", "file", "line"}:
                return {key: type(one).__name__ for key, one in value.items()}
            return {key: plain(one, key) for key, one in value.items()}
        case list():
            return [plain(one) for one in value]
        case int() if name == "id":
            return "<id>"
        case str() if name == "ID":
            return "<id>"
        case str():
            for pattern, stand_in in UNEQUAL:
                value = re.sub(pattern, stand_in, value)
    return value


def outbox_row(row: Any, names: Json) -> Json:
    whole = {
        "ID": "<id>",
        "date": "<time>",
        "sender": row.sender,
        "message": row.message,
        "len": str(len(row.message)),
        "recipient": row.recipient,
        "media": serialize(row.media),
        "response": plain(row.response),
        "status": row.status,
    }
    return {name: whole[name] for name in names}


def subscriber_rows(site: Site, columns: int) -> Json:
    rows = []
    for row in site.subscribers.rows():
        status, group = "1" if row.active else "0", str(row.group_id)
        whole = [str(row.id), row.name, row.mobile, status, row.activate_key, group]
        rows.append(whole if columns == 6 else [*whole[:4], group])
    return rows


def differing(recorded: Json, mine: Json, path: str = "") -> Iterator[str]:
    """Every place where two values differ, as `path: recorded / ours`."""
    if isinstance(recorded, dict) and isinstance(mine, dict):
        for key in {**recorded, **mine}:
            where = f"{path}.{key}".lstrip(".")
            if key not in recorded or key not in mine:
                yield f"{where}: only {'ours' if key in mine else 'recorded'}"
            else:
                yield from differing(recorded[key], mine[key], where)
    elif isinstance(recorded, list) and isinstance(mine, list) and len(recorded) == len(mine):
        for i, (one, other) in enumerate(zip(recorded, mine, strict=True)):
            yield from differing(one, other, f"{path}[{i}]")
    elif recorded != CUT and (recorded != mine or type(recorded) is not type(mine)):
        yield f"{path}: {short(recorded)} / {short(mine)}"


def short(value: Json) -> str:
    shown = repr(value)
    return shown if len(shown) < 400 else f"{shown[:400]}..."
