"""The site each recording was made on: settings, accounts and rows, and what changed between exchanges.

Only state and the provider's behaviour stand here, never an answer. Recordings seldom say on what site they
were made, so this is read out of their notes and of the contract.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from otp_service.sandbox.faults import Fault
from otp_service.sandbox.php import var_export
from otp_service.sandbox.site import Site
from otp_service.sandbox.subscribers import Subscribers
from otp_service.sandbox.users import OUTBOX, SEND, SUBSCRIBERS, User

PASSWORD = "AbCd EfGh IjKl MnOp QrSt UvWx"
GROUPS = ("Staff", "Ops")
DOWN = Fault(kind="provider_error", status=500, text="rig provider is down")

Hook = Callable[[Site], None]


class Clock:
    """A time that only moves when told to; sleeping moves it too."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 10, 46, 35, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class Recorded:
    """How to make the site of one recording, and what to do before which exchange."""

    settings: dict[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = GROUPS
    prepare: Hook = lambda site: None
    before: dict[int, Hook] = field(default_factory=dict)


def accounts() -> list[User]:
    def user(login: str, role: str, *capabilities: str) -> User:
        return User(
            login,
            f"{login}@rig.test",
            role,
            set(capabilities),
            [PASSWORD],
        )

    return [
        user("admin", "administrator"),
        user("smsbot", "smsbot", SEND, SUBSCRIBERS, OUTBOX),
        user("sendonly", "sendonly", SEND),
        user("lowpriv", "subscriber"),
    ]


def settings(**changes: Any) -> Hook:
    def change(site: Site) -> None:
        for name, value in changes.items():
            setattr(site.settings, name, value)

    return change


def breaking(*faults: Fault) -> Hook:
    return lambda site: site.break_with(*(fault.model_copy() for fault in faults))


def both(*hooks: Hook) -> Hook:
    def run(site: Site) -> None:
        for hook in hooks:
            hook(site)

    return run


def provider_state(state: dict[str, Any]) -> Hook:
    """The rig's words for what gateway and provider did, as `gateway_state` notes them."""
    sends = {
        "http500": Fault(kind="provider_error", status=500, text="rig provider is down"),
        "http400": Fault(kind="provider_error", status=400, text="Recipient rejected (rig)"),
        "http401": Fault(kind="provider_error", status=401, text="Invalid credentials (rig)"),
        "drop": Fault(kind="provider_drop"),
        "html": Fault(kind="provider_html"),
        "empty": Fault(kind="provider_empty"),
        "slow": Fault(kind="slow", delay=state.get("delay", 0)),
        "accept_then_500": Fault(
            kind="provider_error_after_sending", status=500, text="rig provider is down"
        ),
        "accept_then_drop": Fault(kind="provider_drop_after_sending"),
    }
    credits = {
        "http500": Fault(kind="balance_error", status=500, text="rig provider is down"),
        "http401": Fault(kind="balance_error", status=401, text="Invalid credentials (rig)"),
    }
    faults = [sends[state["send"]]] if "send" in state else []
    faults += [credits[state["credit"]]] if "credit" in state else []
    hooks = [breaking(*faults)]
    if state["gateway"] != "as before":
        hooks.append(settings(gateway_name={"none": ""}.get(state["gateway"], state["gateway"])))
    return both(*hooks)


def subscribers(*rows: tuple[str, str, int], groups: tuple[str, ...] = GROUPS) -> Hook:
    """Exactly these active rows: name, number, group; numbered from 1."""

    def fill(site: Site) -> None:
        site.subscribers = Subscribers(groups)
        for name, mobile, group in rows:
            site.subscribers.add(site.local_time(), name, mobile, active=True, group_id=group)

    return fill


AFTER_029 = (
    ("Ann", "+447700900101", 0),
    ("Other", "447700900101", 0),
    ("Ann", "+447700900101", 1),
    ("Bob", "+447700900102", 2),
    ("Bob", "+447700900102", 1),
)
AFTER_030 = (*AFTER_029, ("X", "+447700900103", 0))
AFTER_032 = (
    *AFTER_030,
    ("X", "12345678", 0),
    ("X", "+12345678901234", 0),
    ("X", "+447700900104", 0),
    ("X", "447700900104", 0),
    ("X", "07700900104", 0),
    ("X", "7700900104", 0),
    ("X", "0447700900104", 0),
    ("X", "77009001045", 0),
    ("<script>alert(1)</script>", "+447700900110", 0),
    ("", "+447700900112", 0),
    ("5", "+447700900113", 0),
    ("Form", "+447700900114", 0),
    ("Form", "447700900115", 0),
    ("X", "+447700900116", 0),
    ("X", "+447700900117", 0),
    ("G", "+447700900200", 1),
    ("G", "+447700900201", 1),
    ("G", "+447700900215", 2),
    ("G", "+447700900241", 1),
    ("G", "+447700900250", 2),
)
THREE_ROWS = (
    ("Ann", "+447700900401", 1),
    ("Ann", "+447700900401", 2),
    ("Ann", "+447700900401", 0),
)
GONE = "'Failed to get success response, rig provider is down'"


def log(site: Site, date: datetime, to: list[str], text: str, sender: str = "RigApp") -> None:
    results = "".join(
        f"    {i} => \n    (object) array(\n       'to' => {var_export(number)},\n"
        f"       'status' => 'success',\n       'message_id' => 'rig-{i}',\n    ),\n"
        for i, number in enumerate(to)
    )
    response = (
        f"(object) array(\n   'status' => 'complete',\n   'total_cost' => {len(to)},\n"
        f"   'results' => \n  array (\n{results}  ),\n)"
    )
    failed = text == "fails"
    site.outbox.write(
        date,
        sender=sender,
        message=text,
        recipients=to,
        response=GONE if failed else response,
        status="error" if failed else "success",
        media=[],
    )


def twenty_six_rows(site: Site) -> None:
    """The outbox of 053 to 058: three rows dated back by hand, the rest within two seconds."""
    first, second = "+447700900501", "+447700900502"
    at = datetime(2026, 11, 23, 10, 46, 34)
    dated = {
        0: datetime(2026, 1, 15),
        1: datetime(2026, 1, 15, 23, 59, 59),
        2: datetime(2026, 1, 16),
    }
    later = at + timedelta(seconds=1)
    for i in range(23):
        date = dated.get(i, at if i < 11 else later)
        log(site, date, [first if i % 2 else second], f"Msg {i} code {100000 + i}")
    log(site, later, [first, second], "two recipients")
    log(site, later, [first], "fails")
    log(site, later, [first], "100% _under_ <b>x</b> کد", "Bank")


def earlier_sends(count: int) -> Hook:
    def send(site: Site) -> None:
        for _ in range(count):
            log(site, site.local_time(), ["+447700900701"], "Your code is 123456")
        site.stored_credit = 4711

    return send


def with_mobile(site: Site) -> None:
    admin = site.users.get("admin")
    assert admin is not None
    admin.mobile = "+447700900903"


def later(seconds: int) -> Hook:
    def move(site: Site) -> None:
        clock = site.now.__self__  # type: ignore[attr-defined]
        clock.time += timedelta(seconds=seconds)

    return move


def hooks(site_urls: dict[str, list[str]]) -> Hook:
    return lambda site: site.webhooks.update({k: list(v) for k, v in site_urls.items()})


WORKING, OPT_IN = breaking(), {"newsletter_form_verify": True}
EMPTY = subscribers()

SITES: dict[str, Recorded] = {
    "001": Recorded({"capabilities_granted": False}),
    "011": Recorded(before={8: settings(gateway_name="gatewayapi")}),
    "012": Recorded(
        before={1: settings(gateway_name="test"), 2: settings(gateway_name="mobilemessage")}
    ),
    "017": Recorded({"gateway_name": "twilio"}),
    "024": Recorded(
        {"gateway_username": "", "gateway_password": ""},
        prepare=lambda site: setattr(site, "stored_credit", 4711),
    ),
    "026": Recorded(prepare=breaking(DOWN)),
    "027": Recorded({"store_outbox_messages": False}),
    "030": Recorded(prepare=subscribers(*AFTER_029)),
    "031": Recorded(prepare=subscribers(*AFTER_030)),
    "033": Recorded(prepare=subscribers(*AFTER_032), before={3: EMPTY}),
    "034": Recorded(OPT_IN),
    "035": Recorded(OPT_IN, before=dict.fromkeys(range(0, 34, 2), EMPTY)),
    "037": Recorded(OPT_IN),
    "038": Recorded(OPT_IN),
    "040": Recorded(OPT_IN, before={3: EMPTY, 5: EMPTY}),
    "043": Recorded({**OPT_IN, "newsletter_form_welcome": True}),
    "044": Recorded({**OPT_IN, "newsletter_form_groups": True}),
    "045": Recorded(
        {"international_mobile": True},
        before={6: settings(international_mobile_only_countries=["US"])},
    ),
    "047": Recorded({"mobile_terms_minimum": 11, "mobile_terms_maximum": 12}),
    "048": Recorded(OPT_IN),
    "049": Recorded(prepare=subscribers(("Ann", "+447700900401", 0), ("Bob", "+447700900402", 0))),
    "051": Recorded(
        before={
            **dict.fromkeys(range(14), subscribers(*THREE_ROWS)),
            **dict.fromkeys(
                (14, 15, 16),
                both(subscribers(*THREE_ROWS), settings(newsletter_form_groups=True)),
            ),
        }
    ),
    "053": Recorded(prepare=twenty_six_rows),
    "054": Recorded(prepare=twenty_six_rows),
    "056": Recorded(prepare=twenty_six_rows),
    "057": Recorded(prepare=twenty_six_rows),
    "058": Recorded(
        prepare=twenty_six_rows,
        before={
            4: later(1),
            7: both(later(1), breaking(DOWN)),
            8: both(WORKING, settings(gateway_name="")),
            9: settings(gateway_name="mobilemessage"),
        },
    ),
    "060": Recorded({"gateway_name": "test"}),
    "062": Recorded(
        before={5: breaking(DOWN), 6: both(WORKING, settings(newsletter_form_verify=True))}
    ),
    "064": Recorded(
        prepare=hooks({"new_sms": ["https://hooks.rig.test/ok", "https://blocked.rig.test/x"]})
    ),
    "065": Recorded(before={7: breaking(DOWN), 8: WORKING}),
    "071": Recorded({"debug_display": True}, prepare=earlier_sends(1)),
    "072": Recorded({"debug": True}, prepare=earlier_sends(5)),
    "074": Recorded({"database_down": True}),
    "075": Recorded({"plugin_active": False}),
    "076": Recorded({"application_passwords": False}),
    "078": Recorded({"gateway_name": "wali"}, before={3: breaking(DOWN)}),
    "079": Recorded(prepare=breaking(Fault(kind="slow", delay=3))),
    "080": Recorded(
        prepare=hooks({"new_sms": ["https://hooks.rig.test/500"]}),
        before={1: hooks({"new_sms": ["https://hooks.rig.test/slow"]})},
    ),
    "083": Recorded(groups=(), before={1: settings(newsletter_form_verify=True)}),
    "084": Recorded(prepare=with_mobile),
}
"""By the recording's number; one that is not here needs nothing but the defaults."""
