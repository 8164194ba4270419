"""One-time codes over HTTP: every way a call can go, and what each costs."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from otp_service.core.challenge import fingerprint
from otp_service.core.keyring import Kind
from otp_service.store import keys
from tests.conftest import TO, Sandbox, Service, Starter
from tests.reliability.harness import eventually, gate_before_site
from tests.web.hands import address, plant, redis

OTHER = "+14155550124"
ID = re.compile(r"[0-9a-f]{2}[A-Za-z0-9_-]{32}")


async def ask(
    service: Service, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    sent = {"to": TO, "purpose": "login", **body}
    return await service.post("/otp/request", headers=headers, **sent)


async def tries_left(service: Service, challenge: dict[str, Any]) -> int:
    return int((await service.look(challenge))["attempts_remaining"])


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["code"])


# Requesting


async def test_a_request_tells_all_that_a_login_page_needs(service: Service) -> None:
    answer = await ask(service, {"Prefer": "wait=30"}, client_ref="checkout-17")
    told = answer.json()

    assert answer.status_code == 202
    assert ID.fullmatch(told["challenge_id"])
    assert told.pop("challenge_id") == answer.headers["location"].removeprefix("/otp/")
    assert told.pop("expires_at").endswith("Z")
    assert told == {
        "status": "pending",
        "purpose": "login",
        "channel": "sms",
        "to": "+1•••••23",
        "expires_in": 300,
        "resend_in": 30,
        "sends_remaining": 4,
        "attempts_remaining": 5,
        "delivery": {"status": "accepted", "reason": None},
    }


async def test_the_location_is_where_the_challenge_can_be_looked_at(service: Service) -> None:
    answer = await ask(service, {"Prefer": "wait=30"}, client_ref="checkout-17", subject="u-1")
    looked = await service.http.get(answer.headers["location"])

    assert looked.status_code == 200
    told = looked.json()
    assert told["challenge_id"] == answer.json()["challenge_id"]
    assert told["expires_at"] == answer.json()["expires_at"]
    assert (told["status"], told["client_ref"], told["ended_at"]) == (
        "pending",
        "checkout-17",
        None,
    )
    assert not {"to", "subject", "code", "proof"} & set(told)


async def test_without_prefer_the_answer_does_not_wait_for_the_provider(service: Service) -> None:
    service.sandbox.fail(kind="slow", delay=0.3, times=1)
    answer = await ask(service)

    assert answer.json()["delivery"]["status"] == "queued"
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=10", "wait=10"),
        ("respond-async, wait=7", "wait=7"),
        ("WAIT = 5", "wait=5"),
        ("wait=9999", "wait=30"),
    ],
)
async def test_prefer_wait_is_honoured_up_to_30_seconds_and_said_so(
    service: Service, prefer: str, applied: str
) -> None:
    answer = await ask(service, {"Prefer": prefer})

    assert answer.headers["preference-applied"] == applied
    assert answer.json()["delivery"]["status"] == "accepted"


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-1", "wait=1.5", "wait=x", "wait=0"])
async def test_a_preference_that_can_not_be_read_is_none(quiet: Service, prefer: str) -> None:
    answer = await ask(quiet, {"Prefer": prefer})

    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


async def test_a_wait_ends_when_it_is_over_though_the_send_is_not(
    start_service: Starter, sandbox: Sandbox
) -> None:
    async with gate_before_site(sandbox) as site:
        service = await start_service(OTP_WSMS_URL=site.url)
        answer = await ask(service, {"Prefer": "wait=1"})
        site.open.set()

    assert answer.status_code == 202
    assert answer.json()["delivery"]["status"] in ("queued", "sending")
    assert answer.json()["delivery"]["reason"] is None


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "status", "status": 401}, "failed"),
        ({"kind": "status", "status": 500}, "unknown"),
        ({"kind": "html"}, "unknown"),
        ({"kind": "drop_after"}, "unknown"),
    ],
)
async def test_a_delivery_that_fails_is_no_error_of_the_request(
    service: Service, fault: dict[str, Any], status: str
) -> None:
    service.sandbox.fail(**fault, times=1)
    answer = await ask(service, {"Prefer": "wait=30"})

    assert answer.status_code == 202
    assert answer.json()["delivery"]["status"] == status
    assert answer.json()["delivery"]["reason"]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("to", [None, "", 14155550123, ["+14155550123"], {}, "+" * 41, True]),
        ("purpose", [None, "", "Login", "login ", "login\n", "nothing", "login}:c:{x", 1]),
        ("channel", [None, "", "SMS", "email", 1]),
        (
            "subject",
            ["", " ", " a", "a ", "a\u00a0", "\u200b", "a\u202eb", "x" * 256, 7, ["a"], "a\nb"],
        ),
        ("binding", ["", "x" * 257, "a\x00b", "a\nb", 7, {}]),
        ("locale", ["../../etc/passwd", "x" * 65, "en\n", 7, "de/en", "%s"]),
        ("client_ip", ["", "1.2.3", "1.2.3.4/8", "localhost", "1.2.3.4, 5.6.7.8", "::1%eth0%", 7]),
        ("client_ref", ["", "a b", "ä", "x" * 65, 7]),
        ("context", ["", [], {"amount": 1}, {"a": None}, {str(n): "" for n in range(9)}]),
    ],
)
async def test_a_malformed_field_is_named_and_nothing_is_done(
    quiet: Service, field: str, values: list[Any]
) -> None:
    """N-060, A18, D21, H01: ids that differ only in spelling are never taken for one; they are opaque or refused."""
    for value in values:
        answer = await ask(quiet, **{field: value})

        assert told(answer) == (422, "invalid_request"), value
        fields = [error["field"].partition(".")[0] for error in answer.json()["errors"]]
        assert set(fields) == {field}


@pytest.mark.parametrize(
    "extra",
    [
        {"max_attempts": 10_000},
        {"ttl": 86_400},
        {"code": "111111"},
        {"length": 1},
        {"skip_delete": True},
        {"verified": True},
        {"tenant": "other"},
        {"caller": "other"},
        {"amr": ["mfa"]},
        {"otp": "111111"},
    ],
)
@pytest.mark.parametrize("path", ["/otp/request", "/otp/verify", "/otp/resend", "/otp/cancel"])
async def test_a_caller_can_not_set_the_policy(
    quiet: Service, path: str, extra: dict[str, Any]
) -> None:
    """A13, C16, F04."""
    if (path, *extra) == ("/otp/verify", "code"):
        return
    answer = await quiet.post(path, **extra)

    (field,) = extra
    reasons = {error["field"]: error["reason"] for error in answer.json()["errors"]}
    assert reasons[field] == "is not a field of this call"


async def test_optional_fields_may_be_null(quiet: Service) -> None:
    """What a language's serialiser writes for a field that has no value is no value."""
    nothing = dict.fromkeys(("subject", "binding", "locale", "client_ip", "client_ref", "context"))

    assert (await ask(quiet, **nothing)).status_code == 202


async def test_a_payment_names_amount_and_payee_and_nothing_else_does(quiet: Service) -> None:
    """N-108, D14, D15: what may be shown is a closed list with a closed alphabet."""
    good = {"amount": "19.90 EUR", "payee": "Acme Books"}
    assert (await ask(quiet, purpose="payment", context=good)).status_code == 202

    wrong: list[tuple[str, dict[str, str] | None, set[str]]] = [
        ("payment", None, {"context.amount", "context.payee"}),
        ("payment", {"amount": "19.90 EUR"}, {"context.payee"}),
        ("payment", {**good, "note": "x"}, {"context.note"}),
        ("payment", {**good, "payee": "Ann\nYour code 999999"}, {"context.payee"}),
        ("payment", {**good, "payee": "%order_meta_x%"}, {"context.payee"}),
        ("payment", {**good, "payee": "http://evil.example"}, {"context.payee"}),
        ("payment", {**good, "amount": "111111"}, {"context.amount"}),
        ("login", good, {"context.amount", "context.payee"}),
    ]
    for purpose, context, fields in wrong:
        answer = await ask(quiet, to=OTHER, purpose=purpose, context=context)
        assert told(answer) == (422, "invalid_request")
        assert {error["field"] for error in answer.json()["errors"]} == fields


async def test_the_name_of_an_unknown_context_field_is_not_repeated_at_length(
    quiet: Service,
) -> None:
    answer = await ask(quiet, context={"x" * 5000: "1"})

    assert told(answer) == (422, "invalid_request")
    assert len(answer.text) < 1000


async def test_a_locale_that_nobody_wrote_falls_back_to_the_nearest(service: Service) -> None:
    async def text(n: int, locale: str) -> str:
        answer = await ask(service, {"Prefer": "wait=30"}, to=f"+1415555012{n}", locale=locale)
        assert answer.status_code == 202
        to = f"+1415555012{n}"
        message = str(service.sandbox.messages(to)[0]["message"])
        return message.replace(service.code(to), "")

    texts = [await text(n, tag) for n, tag in enumerate(["de-AT", "de", "tlh", "en", "pt_br"])]

    assert texts[0] == texts[1]
    assert texts[2] == texts[3]
    assert len({texts[0], texts[2], texts[4]}) == 3


@pytest.mark.parametrize(
    "locale", ["*", "i-klingon", "English_United States.1252", "Norwegian Bokmål_Norway.1252", "e"]
)
async def test_a_locale_without_language_gets_the_default(quiet: Service, locale: str) -> None:
    assert (await ask(quiet, locale=locale)).status_code == 202


async def test_the_first_of_a_list_of_locales_counts(service: Service) -> None:
    await ask(service, {"Prefer": "wait=30"}, to=TO, locale="de-AT,de;q=0.9,en;q=0.8")
    await ask(service, {"Prefer": "wait=30"}, to=OTHER, locale="de")
    of_list, german = (service.sandbox.messages(to)[0]["message"] for to in (TO, OTHER))
    assert of_list.replace(service.code(TO), "") == german.replace(service.code(OTHER), "")


# Verifying


SCRIPTS = {
    "persian": "۰۱۲۳۴۵۶۷۸۹",
    "arabic": "٠١٢٣٤٥٦٧٨٩",
    "devanagari": "०१२३४५६७८९",
    "full-width": "０１２３４５６７８９",
    "bold": "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
}


@pytest.mark.parametrize("script", SCRIPTS)
async def test_digits_of_any_script_are_the_digits_they_mean(service: Service, script: str) -> None:
    """C03, as design.md settles it: normalised once, then strict."""
    challenge = await service.request()
    typed = service.code().translate(str.maketrans("0123456789", SCRIPTS[script]))

    assert (await service.verify(challenge, typed)).status_code == 200


@pytest.mark.parametrize(
    "shape",
    [
        " {0}{1} ",
        "{0} {1}",
        "{0}-{1}",
        "{0}–{1}",
        "\u200f{0}{1}\u200e",
        "{0}\u00a0{1}",
        "{0}{1}\n",
        "（{0}{1}）",
        "{0}．{1}",
    ],
)
async def test_layout_around_and_between_digits_is_no_part_of_a_code(
    service: Service, shape: str
) -> None:
    """C04: spaces, dashes and direction marks, as phones and people put them there."""
    challenge = await service.request()
    code = service.code()

    assert (await service.verify(challenge, shape.format(code[:3], code[3:]))).status_code == 200


async def test_no_other_type_and_no_other_text_is_a_code_and_none_costs_a_try(
    service: Service,
) -> None:
    """C01, C03, C04, C05: refused before anything is counted."""
    challenge = await service.request()
    code = service.code()
    others = [
        int(code),
        float(code),
        True,
        None,
        [code],
        {"$ne": 1},
        "",
        "abcdef",
        "12345²",
        "①②③④⑤⑥",
        f"{code}\x00",
        f"+{code}",
        f"{code[:3]},{code[3:]}",
        f"0x{code[:4]}",
        f"{code}, {code}",
        "1" * 65,
        "1" * 11,
        "123",
        "一二三四五六",
    ]
    for other in others:
        answer = await service.verify(challenge, other)
        assert told(answer) == (422, "invalid_request"), other
        assert [error["field"] for error in answer.json()["errors"]] == ["code"]

    assert await tries_left(service, challenge) == 5
    assert (await service.verify(challenge, code)).status_code == 200


async def test_a_code_of_another_length_costs_no_try(service: Service) -> None:
    """C05: neither a longer one that begins right nor a shorter one."""
    challenge = await service.request()
    code = service.code()
    for other in (code[:5], f"{code}0", f"0{code}", code[:4]):
        answer = await service.verify(challenge, other)
        assert told(answer) == (422, "invalid_request")
        assert answer.json()["errors"] == [{"field": "code", "reason": "must have 6 digits"}]

    assert await tries_left(service, challenge) == 5


async def test_leading_zeros_are_part_of_a_code(service: Service) -> None:
    """C02: only "000042" is 000042."""
    challenge = await service.request()
    await plant(service, challenge, "000042")

    for other in ("42", 42, "0042"):
        assert (await service.verify(challenge, other)).status_code == 422  # type: ignore[arg-type]
    assert told(await service.verify(challenge, "420000")) == (400, "invalid_code")
    assert (await service.verify(challenge, "000042")).status_code == 200


@pytest.mark.parametrize("tempting", ["000000", "123456", "111111", "999999"])
async def test_no_code_is_accepted_because_of_what_it_is(service: Service, tempting: str) -> None:
    """E07: there is no master code."""
    challenge = await service.request()
    if service.code() == tempting:
        return

    assert told(await service.verify(challenge, tempting)) == (400, "invalid_code")


async def test_n_minus_one_wrong_then_right_passes_and_n_wrong_then_right_does_not(
    start_service: Starter,
) -> None:
    """A15."""
    service = await start_service(OTP_MAX_ATTEMPTS="3")
    passing, failing = await service.request(), await service.request(to=OTHER)
    for _ in range(2):
        assert (await service.verify(passing, service.wrong_code())).status_code == 400
    statuses = [
        (await service.verify(failing, service.wrong_code(OTHER))).status_code for _ in range(3)
    ]

    assert (await service.verify(passing, service.code())).status_code == 200
    assert statuses == [400, 400, 410]
    assert told(await service.verify(failing, service.code(OTHER))) == (410, "challenge_exhausted")


async def test_another_purpose_or_binding_is_a_mismatch_and_costs_no_try(service: Service) -> None:
    """A16, B05, B08: fifty times, and then the right party succeeds."""
    bound = await service.request(binding="session-1", subject="u-1")
    code = service.code()
    for n in range(50):
        wrong: dict[str, Any] = [
            {"purpose": "signup", "binding": "session-1"},
            {"binding": "session-2"},
            {},
            {"binding": "Session-1"},
        ][n % 4]
        answer = await service.verify(bound, code, **wrong)
        assert told(answer) == (409, "challenge_mismatch")

    assert await tries_left(service, bound) == 5
    assert (await service.verify(bound, code, binding="session-1")).status_code == 200


async def test_a_binding_that_was_not_asked_for_is_a_mismatch_too(service: Service) -> None:
    free = await service.request()

    answer = await service.verify(free, service.code(), binding="x")

    assert told(answer) == (409, "challenge_mismatch")
    assert (await service.verify(free, service.code())).status_code == 200


async def test_before_a_code_was_drawn_there_is_none_to_verify(quiet: Service) -> None:
    challenge = (await ask(quiet)).json()

    answer = await quiet.verify(challenge, "123456")

    assert told(answer) == (409, "code_not_sent")
    assert answer.headers["retry-after"] == str(answer.json()["retry_after"])
    assert await tries_left(quiet, challenge) == 5


async def test_a_code_that_never_left_is_none_and_a_resend_brings_one(service: Service) -> None:
    service.sandbox.fail(kind="status", status=401, times=1)
    challenge = await service.request()
    assert challenge["delivery"]["status"] == "failed"

    assert told(await service.verify(challenge, "123456")) == (409, "code_not_sent")
    assert await tries_left(service, challenge) == 5
    service.advance(30)
    resent = await service.post(
        "/otp/resend", headers={"Prefer": "wait=30"}, challenge_id=challenge["challenge_id"]
    )
    assert resent.json()["delivery"]["status"] == "accepted"
    assert (await service.verify(challenge, service.code())).status_code == 200


async def test_a_verification_says_what_was_proven(service: Service) -> None:
    challenge = await service.request(subject="u-1", purpose="recovery")
    answer = await service.verify(challenge, service.code(), purpose="recovery")
    told = answer.json()

    assert told.pop("verified_at").endswith("Z")
    assert re.fullmatch(r"otpp_[0-9a-f]{2}[A-Za-z0-9_-]{43}", told.pop("proof"))
    assert told == {
        "verified": True,
        "challenge_id": challenge["challenge_id"],
        "purpose": "recovery",
        "subject": "u-1",
        "method": "sms",
        "amr": ["sms"],
        "proof_expires_in": 120,
    }


# How a challenge ends, and what is told of it


async def end_used(service: Service) -> dict[str, Any]:
    challenge = await service.request()
    assert (await service.verify(challenge, service.code())).status_code == 200
    return challenge


async def end_expired(service: Service) -> dict[str, Any]:
    challenge = await service.request()
    service.advance(300)
    return challenge


async def end_exhausted(service: Service) -> dict[str, Any]:
    challenge = await service.request()
    for _ in range(5):
        await service.verify(challenge, service.wrong_code())
    return challenge


async def end_canceled(service: Service) -> dict[str, Any]:
    challenge = await service.request()
    await service.post("/otp/cancel", challenge_id=challenge["challenge_id"])
    return challenge


async def end_replaced(service: Service) -> dict[str, Any]:
    challenge = await service.request()
    service.advance(30)
    await service.request()
    return challenge


ENDS = {
    "used": (end_used, "approved"),
    "expired": (end_expired, "expired"),
    "exhausted": (end_exhausted, "exhausted"),
    "canceled": (end_canceled, "canceled"),
    "replaced": (end_replaced, "replaced"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_how_a_challenge_ended_is_told_to_its_caller_for_a_day_and_then_forgotten(
    service: Service, end: str
) -> None:
    """Guarantee 6: a tombstone without number or digest; afterwards it never existed."""
    finish, status = ENDS[end]
    challenge = await finish(service)
    body = {"challenge_id": challenge["challenge_id"]}
    where = address(service, challenge)

    verified = await service.verify(challenge, service.code())
    resent = await service.post("/otp/resend", **body)
    canceled = await service.post("/otp/cancel", **body)
    looked = await service.look(challenge)

    assert told(verified) == told(resent) == (410, f"challenge_{end}")
    if end == "canceled":
        assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    else:
        assert told(canceled) == (410, f"challenge_{end}")
    ended_at = {answer.json()["ended_at"] for answer in (verified, resent, canceled)}
    assert ended_at == {looked["ended_at"]}
    assert (looked["status"], looked["expires_in"]) == (status, 0)
    tombstone = keys.challenge(where)
    assert 86_400_000 - 60_000 <= await redis(service).pttl(tombstone) <= 86_400_000 + 300_000
    assert not await redis(service).exists(keys.secret(where))

    await redis(service).delete(tombstone)  # what its TTL does in a day
    for path in ("/otp/resend", "/otp/cancel"):
        assert told(await service.post(path, **body)) == (404, "challenge_not_found")
    assert told(await service.verify(challenge, "123456")) == (404, "challenge_not_found")


def without_instance(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Everything of an answer but the request's id."""
    own = answer.headers["x-request-id"]
    assert own.encode() in answer.content
    headers = sorted((k, v) for k, v in answer.headers.items() if k != "x-request-id")
    return answer.status_code, answer.content.replace(own.encode(), b""), headers


async def test_unknown_foreign_and_forgotten_are_one_answer_byte_for_byte(service: Service) -> None:
    """B06, E05, F17, guarantee 6."""
    ring, stranger = service.settings.ring(), await service.caller("stranger")
    mine = await service.request()
    code = service.code()
    forgotten = await service.request(to=OTHER)
    await redis(service).delete(keys.challenge(address(service, forgotten)))
    own = mine["challenge_id"]
    unknown = [
        own[:-1] + ("A" if own[-1] != "A" else "B"),
        "00" + "A" * 32,
        "ff" + "A" * 32,
        "x",
        fingerprint(ring.active(Kind.ROUTE), "any"),
    ]
    cases = [(own, stranger), (forgotten["challenge_id"], {}), *((one, {}) for one in unknown)]
    for path in ("/otp/verify", "/otp/resend", "/otp/cancel", "/otp/"):
        answers = []
        for challenge_id, headers in cases:
            if path == "/otp/":
                answer = await service.http.get(f"/otp/{challenge_id}", headers=headers)
            else:
                more = {"code": code, "purpose": "login"} if path == "/otp/verify" else {}
                answer = await service.post(
                    path, headers=headers, challenge_id=challenge_id, **more
                )
            assert told(answer) == (404, "challenge_not_found")
            answers.append(without_instance(answer))
        assert all(answer == answers[0] for answer in answers)

    assert await tries_left(service, mine) == 5
    assert (await service.verify(mine, code)).status_code == 200


@pytest.mark.parametrize(
    "subject", ["علی\u200cرضا", "tenant 7|é", "x" * 255, "é" * 255, "👨\u200d👩\u200d👧"]
)
async def test_a_subject_may_be_any_printable_text(service: Service, subject: str) -> None:
    """OIDC `sub` values, names with joiners: returned as given."""
    challenge = await service.request(subject=subject)
    verified = await service.verify(challenge, service.code())
    assert (verified.status_code, verified.json()["subject"]) == (200, subject)
    listed = await service.http.get("/factors", params={"subject": subject})
    assert (listed.status_code, listed.json()["subject"]) == (200, subject)
    history = await service.post("/timeline", subject=subject)
    [timeline] = history.json()["timelines"]
    assert (timeline["subject"], timeline["entries"] != []) == (subject, True)


async def test_composed_and_decomposed_subjects_are_one(service: Service) -> None:
    """A18, H01: NFC, then byte for byte."""
    older = await service.request(subject="jo\u0308rg")
    newer = await service.request(subject="j\u00f6rg", to=OTHER)
    assert (await service.look(older))["status"] == "replaced"
    verified = await service.verify(newer, service.code(OTHER))
    assert verified.json()["subject"] == "j\u00f6rg"
    other = await service.request(subject="J\u00f6rg", to="+14155550125")
    assert (await service.look(other))["status"] == "pending"


async def test_a_long_subject_is_refused_with_the_limit(quiet: Service) -> None:
    answer = await ask(quiet, subject="x" * 256)
    assert answer.json()["errors"] == [
        {"field": "subject", "reason": "must have 1 to 255 characters"}
    ]


@pytest.mark.parametrize(
    ("subject", "status"),
    [("e\u0301" * 200, 202), ("e\u0301" * 256, 422), ("\u0958" * 128, 422), ("", 422)],
)
async def test_the_limit_of_a_subject_counts_after_nfc(
    quiet: Service, subject: str, status: int
) -> None:
    """The same rule as the CLI has: `text.subject`. U+0958 is two characters in NFC."""
    answer = await ask(quiet, subject=subject)
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["errors"] == [
            {"field": "subject", "reason": "must have 1 to 255 characters"}
        ]


async def test_a_newer_request_replaces_the_older_of_the_same_purpose_subject_and_binding(
    service: Service,
) -> None:
    """A05: one live challenge for each."""
    first = await service.request(subject="u-1")
    code = service.code()
    second = await service.request(subject="u-1", to=OTHER)
    elsewhere = await service.request(subject="u-1", to="+14155550125", purpose="signup")

    assert told(await service.verify(first, code)) == (410, "challenge_replaced")
    assert (await service.look(first))["status"] == "replaced"
    assert (await service.verify(second, service.code(OTHER))).status_code == 200
    late = await service.verify(elsewhere, service.code("+14155550125"), purpose="signup")
    assert late.status_code == 200


async def test_three_bindings_live_side_by_side_and_a_fourth_waits(service: Service) -> None:
    """A05: a stranger's request, under another binding, does not end a person's own."""
    numbers = [f"+1415555012{n}" for n in range(4)]
    live = [
        await service.request(subject="u-1", binding=f"session-{n}", to=numbers[n])
        for n in range(3)
    ]

    refused = await ask(service, subject="u-1", binding="session-3", to=numbers[3])

    assert told(refused) == (429, "rate_limited")
    assert refused.json()["limit"] == "live_challenges"
    wait = int(refused.headers["retry-after"])
    assert 298 <= wait <= 300
    for n in (0, 1):
        right = await service.verify(live[n], service.code(numbers[n]), binding=f"session-{n}")
        assert right.status_code == 200
    fourth = await service.request(subject="u-1", binding="session-3", to=numbers[3])
    assert (await service.look(live[2]))["status"] == "pending"
    assert fourth["status"] == "pending"


async def test_the_wait_that_a_fourth_binding_is_told_is_long_enough(quiet: Service) -> None:
    for n in range(3):
        assert (
            await ask(quiet, subject="u", binding=f"b{n}", to=f"+1415555012{n}")
        ).status_code == 202
        quiet.advance(10)
    refused = await ask(quiet, subject="u", binding="b3", to="+14155550123")
    quiet.advance(int(refused.headers["retry-after"]))

    assert (await ask(quiet, subject="u", binding="b3", to="+14155550123")).status_code == 202


# Resending


async def resend(service: Service, challenge: dict[str, Any], **headers: str) -> httpx.Response:
    return await service.post(
        "/otp/resend",
        headers={"Prefer": "wait=30", **headers},
        challenge_id=challenge["challenge_id"],
    )


async def test_the_old_code_is_dead_the_moment_a_resend_is_accepted(start_service: Starter) -> None:
    """B04, N-010: also before the new one has left."""
    service = await start_service()
    challenge = await service.request()
    old = service.code()
    service.advance(30)
    service.sandbox.fail(kind="slow", delay=0.3, times=1)
    answer = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])

    assert answer.json()["delivery"]["status"] == "queued"
    refused = await service.verify(challenge, old)
    assert told(refused) in ((409, "code_not_sent"), (400, "invalid_code"))


async def test_with_a_grace_the_old_code_works_that_long_and_no_longer(
    start_service: Starter,
) -> None:
    service = await start_service(OTP_RESEND_GRACE="60", OTP_COOLDOWN="1")
    in_time, late = await service.request(), await service.request(to=OTHER)
    olds = service.code(), service.code(OTHER)
    service.advance(1)
    for challenge in (in_time, late):
        assert (await resend(service, challenge)).status_code == 202
    news = service.code(), service.code(OTHER)
    service.advance(50)
    assert (await service.verify(in_time, olds[0])).status_code == 200
    service.advance(10)
    if olds[1] != news[1]:
        assert told(await service.verify(late, olds[1])) == (400, "invalid_code")
    assert (await service.verify(late, news[1])).status_code == 200


async def test_a_grace_gives_no_code_a_longer_life_than_it_had(start_service: Starter) -> None:
    """N-001: a code is dead when its own time is over, whatever was asked for since."""
    service = await start_service(
        OTP_RESEND_GRACE="120", OTP_CODE_TTL="100", OTP_MIN_LIFE_AT_SEND="30"
    )
    challenge = await service.request()
    old = service.code()
    service.advance(90)
    assert (await resend(service, challenge)).status_code == 202
    service.advance(10)

    if old != service.code():
        assert told(await service.verify(challenge, old)) == (400, "invalid_code")
    assert (await service.verify(challenge, service.code())).status_code == 200


async def test_old_and_new_code_share_the_same_tries_within_the_grace(
    start_service: Starter,
) -> None:
    """A03: two live codes do not mean twice the guesses."""
    service = await start_service(OTP_RESEND_GRACE="60", OTP_COOLDOWN="1")
    challenge = await service.request()
    old = service.code()
    service.advance(1)
    await resend(service, challenge)
    wrong = next(c for c in ("000000", "000001", "000002") if c not in (old, service.code()))
    answers = [await service.verify(challenge, wrong) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 410]
    assert told(await service.verify(challenge, old)) == (410, "challenge_exhausted")


async def test_a_challenge_has_so_many_codes_and_then_no_more(start_service: Starter) -> None:
    service = await start_service(OTP_MAX_SENDS="2", OTP_DELIVER="false")
    challenge = (await ask(service)).json()
    service.advance(30)
    second = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])
    service.advance(60)
    third = await service.post("/otp/resend", challenge_id=challenge["challenge_id"])

    assert (challenge["sends_remaining"], second.json()["sends_remaining"]) == (1, 0)
    assert second.json()["resend_in"] is None
    assert told(third) == (429, "rate_limited")
    assert third.json()["limit"] == "challenge_sends"


async def test_a_resend_in_says_when_a_resend_passes_and_not_sooner(quiet: Service) -> None:
    challenge = (await ask(quiet)).json()
    body = {"challenge_id": challenge["challenge_id"]}
    quiet.advance(challenge["resend_in"] - 1)
    early = await quiet.post("/otp/resend", **body)
    quiet.advance(1)
    due = await quiet.post("/otp/resend", **body)

    assert told(early) == (429, "rate_limited")
    assert early.json()["limit"] == "cooldown"
    assert (due.status_code, due.json()["resend_in"]) == (202, 60)


# Refusals that are nobody's code's fault


async def test_a_provider_that_keeps_failing_closes_the_door_and_says_until_when(
    service: Service,
) -> None:
    """X32: nothing is counted for a code that could not go out."""
    service.sandbox.fail(kind="status", status=500)
    for n in range(5):
        await service.request(to=f"+1415555012{n}")

    answer = await ask(service, to="+14155550130")

    assert told(answer) == (503, "unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 30


async def test_a_full_queue_sheds_and_counts_nothing(start_service: Starter) -> None:
    """I05."""
    service = await start_service(OTP_QUEUE_LIMIT="10", OTP_DELIVER="false")
    asked = [
        {"purpose": purpose, "binding": f"b{n}", "to": f"+14155550{100 + 3 * i + n}"}
        for i, purpose in enumerate(("login", "signup", "verification", "recovery"))
        for n in range(3)
    ]
    answers = [await ask(service, subject="one", **body) for body in asked]

    assert [answer.status_code for answer in answers] == [202] * 10 + [503] * 2
    assert told(answers[10]) == (503, "overloaded")
    charged = await redis(service).keys("otp:limit:recipient:*}")
    assert len(charged) == 10


async def test_verifications_beyond_the_places_for_hashing_cost_no_try(
    start_service: Starter,
) -> None:
    """I01: shed before anything is counted."""
    service = await start_service(OTP_HASH_THREADS="1", OTP_HASH_QUEUE="0")
    challenge = await service.request()
    wrong = service.wrong_code()
    answers = await asyncio.gather(*(service.verify(challenge, wrong) for _ in range(8)))
    counted = [told(answer) for answer in answers].count((400, "invalid_code"))

    shed = [answer for answer in answers if told(answer) == (503, "overloaded")]
    assert counted >= 1
    assert shed
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in shed)
    assert counted + len(shed) == 8
    assert await tries_left(service, challenge) == 5 - counted


# Proofs


async def test_what_is_no_proof_of_mine_is_inactive_and_nothing_more(service: Service) -> None:
    """F18, RFC 7662 section 2.2."""
    challenge = await service.request()
    proof = (await service.verify(challenge, service.code())).json()["proof"]
    stranger = await service.caller("stranger", "proof:redeem")
    guesses = ["otpp_" + "00" + "A" * 43, proof[:-1], proof + "A", "x", challenge["challenge_id"]]
    for guess in guesses:
        answer = await service.post("/proofs/introspect", proof=guess)
        assert (answer.status_code, answer.json()) == (200, {"active": False})
    foreign = await service.post("/proofs/introspect", headers=stranger, proof=proof)
    assert foreign.json() == {"active": False}

    assert (await service.post("/proofs/introspect", proof=proof)).json()["active"] is True


async def test_a_proof_is_inactive_after_its_time(service: Service) -> None:
    """F10, N-086."""
    challenge = await service.request()
    verified = (await service.verify(challenge, service.code())).json()
    service.advance(verified["proof_expires_in"])

    answer = await service.post("/proofs/introspect", proof=verified["proof"])

    assert answer.json() == {"active": False}


# The same call again


KEY = {"Idempotency-Key": "0f8fad5b-d9cb-469f-a165-70867728950e", "Prefer": "wait=30"}


async def test_the_same_key_gives_the_same_answer_and_one_sms(service: Service) -> None:
    """N-084, D-7."""
    first, second = await ask(service, KEY), await ask(service, KEY)

    assert first.status_code == second.status_code == 202
    assert first.content == second.content
    assert first.headers["location"] == second.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(service.sandbox.messages(TO)) == 1


async def test_a_quoted_key_is_the_same_key(quiet: Service) -> None:
    """The draft says a structured-field string; many clients send it bare."""
    bare = await ask(quiet, {"Idempotency-Key": "k-1"})
    quoted = await ask(quiet, {"Idempotency-Key": '"k-1"'})

    assert quoted.headers["idempotency-replayed"] == "true"
    assert quoted.json() == bare.json()


async def test_the_same_key_with_another_body_is_refused(quiet: Service) -> None:
    """B14."""
    key = {"Idempotency-Key": "k-1"}
    await ask(quiet, key)

    answer = await ask(quiet, key, to=OTHER)

    assert told(answer) == (422, "idempotency_key_reused")


async def test_a_key_belongs_to_its_caller_and_its_call(quiet: Service) -> None:
    """B16: the same key of another caller, or for another call, is another key."""
    key = {"Idempotency-Key": "k-1"}
    mine = await ask(quiet, key)
    theirs = await ask(quiet, {**key, **await quiet.caller("stranger")}, to=OTHER)
    quiet.advance(30)
    resent = await quiet.post("/otp/resend", headers=key, challenge_id=mine.json()["challenge_id"])

    assert theirs.status_code == resent.status_code == 202
    assert theirs.json()["challenge_id"] != mine.json()["challenge_id"]
    assert "idempotency-replayed" not in theirs.headers
    assert "idempotency-replayed" not in resent.headers


async def test_while_a_call_runs_the_same_key_is_told_to_wait(
    start_service: Starter, sandbox: Sandbox
) -> None:
    """B15."""
    async with gate_before_site(sandbox) as site:
        service = await start_service(OTP_WSMS_URL=site.url)
        running = asyncio.create_task(ask(service, KEY))
        await eventually(lambda: site.arrived, "the SMS at the site")
        second = await ask(service, KEY)
        site.open.set()
        first = await running
        third = await ask(service, KEY)

    assert first.status_code == 202
    assert told(second) == (409, "idempotency_in_progress")
    assert int(second.headers["retry-after"]) >= 1
    assert third.json()["challenge_id"] == first.json()["challenge_id"]


async def test_many_calls_at_once_with_one_key_are_one_challenge(service: Service) -> None:
    """B15."""
    answers = await asyncio.gather(*(ask(service, KEY) for _ in range(20)))

    assert {answer.status_code for answer in answers} <= {202, 409}
    made = {a.json()["challenge_id"] for a in answers if a.status_code == 202}
    assert len(made) == 1
    assert len(service.sandbox.messages(TO)) == 1


async def test_a_key_is_remembered_for_a_day(quiet: Service) -> None:
    await ask(quiet, {"Idempotency-Key": "k-1"})
    (name,) = await redis(quiet).keys("otp:idempotent:*")

    assert 86_340_000 <= await redis(quiet).pttl(name) <= 86_400_000


async def test_a_refusal_is_not_kept_under_a_key(quiet: Service) -> None:
    """It counted nothing, so the same call may succeed later."""
    key = {"Idempotency-Key": "k-1", "Prefer": "wait=1"}
    await ask(quiet)
    early = await ask(quiet, key)
    quiet.advance(30)
    later = await ask(quiet, {"Idempotency-Key": "k-1"})

    assert told(early) == (429, "rate_limited")
    assert later.status_code == 202
    assert "idempotency-replayed" not in later.headers


async def test_a_repeated_verification_gives_the_same_proof_which_still_redeems_once(
    service: Service,
) -> None:
    """X35, B12."""
    challenge = await service.request()
    key = {"Idempotency-Key": "v-1"}
    body = {
        "challenge_id": challenge["challenge_id"],
        "code": service.code(),
        "purpose": "login",
    }
    first, second = [await service.post("/otp/verify", headers=key, **body) for _ in range(2)]
    without = await service.post("/otp/verify", **body)

    assert first.status_code == 200
    assert first.content == second.content
    assert told(without) == (410, "challenge_used")
    proof = first.json()["proof"]
    redeemed = [
        (await service.post("/proofs/introspect", proof=proof)).json()["active"] for _ in range(2)
    ]
    assert redeemed == [True, False]


async def test_a_repeated_wrong_code_is_counted_once(service: Service) -> None:
    challenge = await service.request()
    key = {"Idempotency-Key": "v-1"}
    body = {
        "challenge_id": challenge["challenge_id"],
        "code": service.wrong_code(),
        "purpose": "login",
    }
    answers = [await service.post("/otp/verify", headers=key, **body) for _ in range(3)]

    assert [told(answer) for answer in answers] == [(400, "invalid_code")] * 3
    assert answers[0].content == answers[2].content
    assert await tries_left(service, challenge) == 4
    counted = await service.post("/otp/verify", headers={"Idempotency-Key": "v-2"}, **body)
    assert counted.json()["attempts_remaining"] == 3


async def test_a_repeated_resend_sends_once(service: Service) -> None:
    challenge = await service.request()
    service.advance(30)
    key = {"Idempotency-Key": "r-1"}
    first, second = [await resend(service, challenge, **key) for _ in range(2)]

    assert first.content == second.content
    assert len(service.sandbox.messages(TO)) == 2


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "\xe4", "a\tb"])
async def test_a_key_that_is_none_is_refused(quiet: Service, key: str) -> None:
    answer = await ask(quiet, {"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]

    assert told(answer) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_two_keys_are_refused(quiet: Service) -> None:
    headers = [*quiet.http.headers.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await quiet.http.post(
        "/otp/request",
        content=json.dumps({"to": TO, "purpose": "login"}),
        headers=[*headers, ("Content-Type", "application/json")],
    )

    assert told(answer) == (422, "invalid_request")
