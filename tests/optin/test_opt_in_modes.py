"""A mode of opt-in and a site that do not fit, who is subscribed, and how many codes may be tried."""

import httpx
import pytest

from otp_service.doctor.site import inspect_opt_in
from otp_service.store import keys
from otp_service.store.opt_ins import OptIns
from tests.conftest import TO, Sandbox, Service, Starter
from tests.optin.test_opt_in import PERSON, active, ask, confirm, until_message
from tests.web.hands import redis


@pytest.fixture
async def own_code(start_service: Starter) -> Service:
    return await start_service(OTP_OPTIN_MODE="service")


@pytest.fixture
async def site_draws(start_service: Starter, sandbox: Sandbox) -> Service:
    sandbox.settings(newsletter_form_verify=True)
    return await start_service(OTP_OPTIN_MODE="wsms", OTP_LIMIT_RECIPIENT="100/1d,50/10m")


async def judged(service: Service) -> tuple[str, str]:
    """What the doctor says of the mode, and readiness."""
    opt_ins = OptIns(service.container.scripts, guesses=service.settings.policy().failures)
    finding = await inspect_opt_in(opt_ins, service.settings)
    ready = (await service.http.get("/readyz")).json()
    return finding.level, ready["warnings"].get("opt_in", "")


async def until_asked_again(service: Service) -> None:
    """As if the quarter of an hour had passed in which the site is not asked."""
    for key in await redis(service).keys("otp:opt-in-refused:*"):
        await redis(service).delete(key)


async def test_the_default_is_our_own_code(service: Service) -> None:
    assert service.settings.optin_mode == "service"


async def test_a_site_that_verifies_too_sends_one_sms_of_its_own(own_code: Service) -> None:
    await ask(own_code)
    await until_message(own_code)
    own_code.sandbox.settings(newsletter_form_verify=True)
    code = own_code.code()

    answers = [await confirm(own_code, code) for _ in range(7)]
    again = await ask(own_code)

    for answer in (*answers, again):
        assert (answer.status_code, answer.json()["code"]) == (503, "site_misconfigured")
        assert "retry-after" not in answer.headers
    assert len(own_code.sandbox.messages()) == 2  # ours, and one of the site
    assert active(own_code.sandbox) == {}
    level, warning = await judged(own_code)
    assert level == "refuse"
    assert "switch its verification off" in warning


async def test_a_corrected_site_takes_the_same_code(own_code: Service) -> None:
    await ask(own_code)
    await until_message(own_code)
    code = own_code.code()
    own_code.sandbox.settings(newsletter_form_verify=True)
    await confirm(own_code, code)
    own_code.sandbox.settings(newsletter_form_verify=False)
    await until_asked_again(own_code)

    assert (await confirm(own_code, code)).status_code == 200
    assert active(own_code.sandbox) == {TO: True}
    assert (await judged(own_code))[1] == ""
    assert 0 <= await redis(own_code).ttl(keys.opt_in_seen("verifies_too")) <= 1


async def test_a_site_that_does_not_verify_subscribes_nobody(start_service: Starter) -> None:
    service = await start_service(OTP_OPTIN_MODE="wsms")

    answers = [await ask(service) for _ in range(2)]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "site_misconfigured")
        assert "retry-after" not in answer.headers
    assert active(service.sandbox) == {}
    level, warning = await judged(service)
    assert level == "refuse"
    assert "OTP_OPTIN_MODE=service" in warning
    service.sandbox.settings(newsletter_form_verify=True)
    await until_asked_again(service)
    assert (await ask(service)).status_code == 202  # the refused one was charged nothing


@pytest.mark.parametrize("verifies", [True, False])
async def test_a_translated_site_shows_by_its_rows_what_it_did(
    start_service: Starter, sandbox: Sandbox, verifies: bool
) -> None:
    """Its texts tell nothing."""
    sandbox.settings(newsletter_form_verify=verifies, locale="de_DE")
    service = await start_service(OTP_OPTIN_MODE="wsms")

    assert (await ask(service)).status_code == (202 if verifies else 503)
    assert active(sandbox) == ({TO: False} if verifies else {})


async def test_a_stranger_learns_not_who_is_subscribed(site_draws: Service) -> None:
    new = await ask(site_draws)
    await confirm(site_draws, site_draws.code())
    site_draws.advance(3600)

    known = await ask(site_draws)
    guessed = await confirm(site_draws, "1234")
    soon = await ask(site_draws)

    assert (known.status_code, known.json()) == (202, new.json())
    assert (guessed.status_code, guessed.json()["attempts_remaining"]) == (400, 4)
    assert soon.json()["limit"] == "cooldown"
    assert len(site_draws.sandbox.messages()) == 1
    assert active(site_draws.sandbox) == {TO: True}


async def test_lost_answers_confirm_nobody_who_was_subscribed(site_draws: Service) -> None:
    """The site has no pending row, which is not the trace of a right code."""
    await ask(site_draws)
    await confirm(site_draws, site_draws.code())
    site_draws.advance(3600)
    await ask(site_draws)
    site_draws.sandbox.fail(kind="drop_before", endpoint="newsletter/verify")

    answers = [await confirm(site_draws, "1234") for _ in range(2)]

    assert {answer.json()["code"] for answer in answers} == {"invalid_code"}


async def guess_until_refused(service: Service, groups: list[int]) -> tuple[int, httpx.Response]:
    """Ask for codes and type wrong ones, in every group; return how many were judged, and the refusal."""
    judged = 0
    for group in groups * 10:
        asked = await ask(service, group_id=group)
        while asked.status_code == 429 and asked.json()["code"] == "rate_limited":
            service.advance(int(asked.headers["retry-after"]))
            asked = await ask(service, group_id=group)
        if asked.status_code == 429:
            return judged, asked
        await until_message(service)
        while True:
            answer = await confirm(service, "00000000"[: len(service.code())], group_id=group)
            if answer.json()["code"] == "code_not_sent":
                continue
            if answer.status_code not in (400, 410):
                return judged, answer
            judged += answer.json()["code"] == "invalid_code" or answer.status_code == 410
            if answer.status_code == 410:
                break
    raise AssertionError("guesses were never refused")


@pytest.mark.parametrize("mode", ["wsms", "service"])
async def test_guesses_are_counted_over_all_groups_and_requests(
    start_service: Starter, sandbox: Sandbox, mode: str
) -> None:
    sandbox.settings(newsletter_form_verify=mode == "wsms")
    service = await start_service(
        OTP_OPTIN_MODE=mode, OTP_COOLDOWN="1", OTP_LIMIT_RECIPIENT="1000/1d"
    )
    groups = [sandbox.group(f"Group {n}") for n in range(3)]

    count, refused = await guess_until_refused(service, groups)

    assert count == 10
    assert (refused.status_code, refused.json()["code"]) == (429, "subject_blocked")
    stranger = await service.caller("stranger")
    other = await service.post("/optin/request", headers=stranger, **PERSON)
    assert other.status_code == 202


async def test_a_right_code_gives_new_guesses(site_draws: Service) -> None:
    for _ in range(3):
        await ask(site_draws)
        for _ in range(4):
            assert (await confirm(site_draws, site_draws.wrong_code())).status_code == 400
        assert (await confirm(site_draws, site_draws.code())).status_code == 200
        await site_draws.post("/optin/unsubscribe", **PERSON)
        site_draws.advance(120)


async def test_used_up_tries_remove_only_the_pending_row(site_draws: Service) -> None:
    news, offers = site_draws.sandbox.group("News"), site_draws.sandbox.group("Offers")
    await ask(site_draws, group_id=news)
    await confirm(site_draws, site_draws.code(), group_id=news)
    site_draws.advance(120)
    await ask(site_draws, group_id=offers)

    for _ in range(5):
        last = await confirm(site_draws, site_draws.wrong_code(), group_id=offers)

    assert last.json()["code"] == "challenge_exhausted"
    rows = site_draws.sandbox.state()["subscribers"]
    assert [(row["group"], row["active"]) for row in rows] == [("News", True)]


async def test_a_request_that_the_site_refuses_counts_nothing(site_draws: Service) -> None:
    group = site_draws.sandbox.group("News")

    refused = await ask(site_draws, group_id=99)
    corrected = await ask(site_draws, group_id=group)

    assert (refused.status_code, corrected.status_code) == (422, 202)


async def test_a_wrong_group_is_told_before_our_code_goes_out(own_code: Service) -> None:
    group = own_code.sandbox.group("News")

    unknown = await ask(own_code, group_id=99)
    own_code.sandbox.settings(newsletter_form_groups=True)
    missing = await ask(own_code)
    corrected = await ask(own_code, group_id=group)

    assert [unknown.json()["errors"], missing.json()["errors"]] == [
        [{"field": "group_id", "reason": "is refused by the site"}],
        [{"field": "group_id", "reason": "is required by the site"}],
    ]
    assert corrected.status_code == 202
    await until_message(own_code)
    assert own_code.sandbox.state()["subscribers"] == []


def pending_groups(sandbox: Sandbox) -> list[str]:
    return sorted(row["group"] for row in sandbox.state()["subscribers"] if not row["active"])


async def test_last_guess_removes_all_pending_rows(site_draws: Service) -> None:
    """The site's public form takes any number of guesses for a pending row."""
    sandbox = site_draws.sandbox
    groups = [sandbox.group(name) for name in "ABC"]
    other = sandbox.group("Other")
    stranger = await site_draws.caller("stranger")
    await site_draws.post("/optin/request", headers=stranger, **PERSON, group_id=other)
    for group, guesses in zip(groups, (4, 4, 2), strict=True):
        site_draws.advance(120)
        assert (await ask(site_draws, group_id=group)).status_code == 202
        for _ in range(guesses):
            assert pending_groups(sandbox)[-1] == "Other"
            last = await confirm(site_draws, site_draws.wrong_code(), group_id=group)

    assert last.json()["code"] == "challenge_exhausted"
    assert pending_groups(sandbox) == ["Other"]  # of another caller
    again = [await confirm(site_draws, site_draws.code(), group_id=group) for group in groups]
    assert {answer.status_code for answer in again} == {410}
    assert (await ask(site_draws)).json()["code"] == "subject_blocked"


async def test_refused_calls_remove_no_pending_row(site_draws: Service) -> None:
    """Only a wrong code that the site has judged ends an opt-in."""
    sandbox = site_draws.sandbox
    first, second = sandbox.group("A"), sandbox.group("B")
    for group in (first, second):
        assert (await ask(site_draws, group_id=group)).status_code == 202
        for _ in range(4):
            await confirm(site_draws, site_draws.wrong_code(), group_id=group)
        site_draws.advance(120)
    await ask(site_draws)
    await confirm(site_draws, site_draws.wrong_code())
    sandbox.fail(kind="drop_before", endpoint="newsletter/verify")

    unsure = await confirm(site_draws, site_draws.wrong_code())
    blocked = await confirm(site_draws, site_draws.wrong_code(), group_id=first)

    assert (unsure.status_code, blocked.status_code) == (503, 429)
    assert len([row for row in sandbox.state()["subscribers"] if not row["active"]]) == 3


def subscribe_by_hand(service: Service, mobile: str) -> None:
    """Put a number on the site's list as it is spelled."""
    settings = service.settings
    url = f"{service.sandbox.url}/wp-json/wpsms/v1/newsletter"
    auth = (settings.wsms_username, settings.wsms_application_password.get_secret_value())
    row = {"name": "Ann Lee", "mobile": mobile}
    httpx.post(url, json=row, auth=auth, trust_env=False).raise_for_status()


@pytest.mark.parametrize(
    ("listed", "typed"),
    [
        ("+4915123456789", "+49 1512 3456789"),  # a region that is not served
        ("+493012345678", "+49 30 12345678"),  # a landline
        ("447700900123", "+44 7700 900123"),  # as the site's own form may list it
        ("+5215512345678", "+52 1 55 1234 5678"),  # a legacy spelling
        (TO, TO),
    ],
)
async def test_everybody_on_the_list_can_leave_it(
    start_service: Starter, sandbox: Sandbox, listed: str, typed: str
) -> None:
    service = await start_service(OTP_REGIONS="US")
    await leaves(service, listed, typed)


async def leaves(service: Service, listed: str, typed: str) -> None:
    subscribe_by_hand(service, listed)
    assert active(service.sandbox) == {listed: True}

    answer = await service.post("/optin/unsubscribe", name="Ann Lee", mobile=typed)

    assert (answer.status_code, answer.json()["mobile"][-7:]) == (200, f"•••••{typed[-2:]}")
    assert active(service.sandbox) == {}


@pytest.mark.parametrize("regions", ["GB", "US", "GB,US"])
@pytest.mark.parametrize(
    ("listed", "typed"),
    [
        ("07700 900-104", "07700 900-104"),
        ("07700900104", "07700 900104"),
        ("07700900104", "07700900104"),
    ],
)
async def test_national_form_on_the_list_can_leave_it(
    start_service: Starter, regions: str, listed: str, typed: str
) -> None:
    """WSMS stores a number with one leading 0 as typed."""
    await leaves(await start_service(OTP_REGIONS=regions), listed, typed)


@pytest.mark.parametrize(
    "typed", ["2025550123", "1 202 555 0123", "00 12025550123", "0 12", "07x9"]
)
async def test_only_national_forms_are_looked_for_as_typed(
    start_service: Starter, typed: str
) -> None:
    """The site would put its country code before the others: +442025550123 is somebody else."""
    service = await start_service(OTP_REGIONS="GB,US")
    service.sandbox.settings(mobile_county_code="+44")

    answer = await service.post("/optin/unsubscribe", name="Ann Lee", mobile=typed)

    assert answer.status_code == 422
