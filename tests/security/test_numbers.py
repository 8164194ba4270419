"""One number has one spelling, and a number that is none, or costs extra, gets no SMS."""

from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otp_service.core.recipients import MAX_TYPED, Reason, RecipientRefused, parse_recipient
from tests.conftest import TO, Service, Starter
from tests.web.hands import redis
from tests.wsms.odd_sites import SUCCESS, odd_site

fuzzed = settings(deadline=None, derandomize=True, database=None, max_examples=300)

SPELLINGS = [
    "+14155550123",
    "+1 415 555 0123",
    "+1 (415) 555-0123",
    "+1-415-555-0123",
    "+1.415.555.0123",
    "+1/415/5550123",
    "  +14155550123\t",
    "＋１４１５５５５０１２３",
    "+١٤١٥٥٥٥٠١٢٣",
    "+۱ ۴۱۵ ۵۵۵ ۰۱۲۳",
    "\u202a+14155550123\u202c",
    "+1\u200b415\u200e555\u00a00123",
    "+1–415—555‐0123",
]


async def ask(service: Service, to: Any, **body: Any) -> httpx.Response:
    return await service.post("/otp/request", to=to, purpose="login", **body)


def reason(typed: str, *regions: str) -> str:
    """Why a number is refused, or "accepted"."""
    try:
        parse_recipient(typed, regions=frozenset(regions) if regions else None)
    except RecipientRefused as refused:
        return refused.reason.value
    return "accepted"


# One bucket


@pytest.mark.parametrize("typed", SPELLINGS)
def test_every_spelling_is_the_one_number(typed: str) -> None:
    """D01, N-061."""
    assert parse_recipient(typed, regions=None).e164 == TO


async def test_spellings_of_one_number_share_one_bucket(start_service: Starter) -> None:
    """D01, D03: whoever asks, under whichever subject, the cooldown is the number's."""
    service = await start_service(OTP_DELIVER="false", OTP_LIMIT_CLIENT_IP="1000/1m")
    assert (await ask(service, SPELLINGS[0], subject="u-0")).status_code == 202
    before = set(await redis(service).keys("otp:limit:*"))
    for n, typed in enumerate(SPELLINGS):
        answer = await ask(service, typed, subject=f"u-{n}")
        assert (answer.status_code, answer.json().get("limit")) == (429, "cooldown"), typed

    assert set(await redis(service).keys("otp:limit:*")) == before


@pytest.mark.parametrize(
    ("spellings", "e164"),
    [
        (["+44 7911 123456", "+44 (0) 7911 123456", "+4407911123456"], "+447911123456"),
        (["+49 1512 3456789", "+49 (0)1512 3456789"], "+4915123456789"),
        (["+39 312 345 6789", "+393123456789"], "+393123456789"),
    ],
)
def test_a_trunk_zero_makes_no_other_number(spellings: list[str], e164: str) -> None:
    """D03: the same bucket, or refused."""
    assert parse_recipient(spellings[0], regions=None).e164 == e164
    for typed in spellings[1:]:
        try:
            found = parse_recipient(typed, regions=None)
        except RecipientRefused:
            continue
        assert found.e164 == e164


@pytest.mark.parametrize(
    ("spellings", "e164"),
    [
        (["+52 1 55 1234 5678", "+5215512345678", "+52 55 1234 5678"], "+525512345678"),
        (["+54 11 1234-5678", "+54 9 11 1234-5678", "+54 11 15 1234-5678"], "+5491112345678"),
        (["+54 351 234-5678", "+5493512345678"], "+5493512345678"),
    ],
)
def test_legacy_spellings_are_one_recipient(spellings: list[str], e164: str) -> None:
    """D01, D03: Mexico's 1 of mobiles until 2019, Argentina's 9."""
    assert {parse_recipient(typed, regions=None).e164 for typed in spellings} == {e164}


@pytest.mark.parametrize(
    "thousand",
    [
        "1134960", "1144960", "1154960", "1164960", "1174960", "1184960", "1214960", "1314960", "1414960", "1514960",
        "1614960", "1914980", "2079460", "2896496", "2920180", "1632960", "7700900", "8081570", "9098790", "3069990",
    ],
)  # fmt: skip
def test_ofcom_drama_numbers_are_fictional(thousand: str) -> None:
    """All twenty ranges; outside test numbers none of them is a recipient."""
    for last in ("000", "123", "999"):
        found = parse_recipient(f"+44{thousand}{last}", regions=None, allow_fictional=True)
        assert (found.fictional, found.region) == (True, "GB")
        assert reason(f"+44{thousand}{last}") != "accepted"


@pytest.mark.parametrize(
    "number", ["+442079461000", "+441632961000", "+441124960123", "+441714960123"]
)
def test_landlines_beside_the_drama_ranges_are_refused(number: str) -> None:
    with pytest.raises(RecipientRefused):
        parse_recipient(number, regions=None, allow_fictional=True)


def test_a_national_number_needs_a_default_region() -> None:
    assert reason("090 1234 5678") == Reason.NOT_A_NUMBER
    found = parse_recipient("0415 550 123", regions=frozenset({"AU"}), default_region="AU")
    assert found.e164 == "+61415550123"
    with pytest.raises(RecipientRefused):
        parse_recipient("090 1234 5678", regions=None, default_region="DE")


async def test_one_served_region_reads_national_numbers(start_service: Starter) -> None:
    service = await start_service(OTP_DELIVER="false", OTP_REGIONS="JP")
    answer = await ask(service, "090ー1234ー5678")
    assert (answer.status_code, answer.json().get("to")) == (202, "+81•••••78")

    service = await start_service(OTP_DELIVER="false", OTP_REGIONS="JP,DE")
    answer = await ask(service, "090ー1234ー5678")
    assert (answer.status_code, answer.json()["reason"]) == (422, "not_a_number")


# None at all


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "+",
        "14155550123",  # no +: which country?
        "0014155550123",
        "4155550123",
        "++14155550123",
        "+1415555012",  # a digit short
        "+141555501234",  # a digit long
        "+1415555O123",  # a letter
        "+1-800-FLOWERS",
        "tel:tel:+14155550123",
        "tel:+14155550123,+14155550124",
        "sip:+14155550123@a.example",
        "+14155550123,+14155550124",
        "+14155550123;+14155550124",
        "+14155550123 +14155550124",
        "+14155550123|+14155550124",
        "+14155550123\r\nX-A: b",
        "+14155550123\n+14155550124",
        "+14155550123\x00",
        "+1415555012३a",
        "+1415²555012",
        "+99999999999",
        "+" + "1" * 39,
        "%2B14155550123",
        "users",
    ],
)
def test_what_is_not_one_number_is_refused(typed: str) -> None:
    """D01, D04, D05."""
    assert reason(typed) in (Reason.NOT_A_NUMBER, Reason.EXTENSION)


@pytest.mark.parametrize(
    "value",
    [["+14155550123"], {"to": TO}, 14155550123, None, True, "+14155550123" + " " * 40],
)
async def test_the_field_is_one_text(quiet: Service, value: Any) -> None:
    """D04."""
    answer = await ask(quiet, value)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_two_numbers_in_one_field_reach_nobody(service: Service) -> None:
    """D04, D23: exactly one number goes to WSMS, and never a list."""
    for to in ("+14155550123,+14155550124", "+14155550123;+14155550124"):
        answer = await ask(service, to)
        assert (answer.status_code, answer.json().get("code")) == (422, "destination_refused")
        assert answer.json()["reason"] == "not_a_number"
        assert to not in answer.text
    await service.request()

    assert len(service.sandbox.messages("+14155550123")) == 1
    assert service.sandbox.messages("+14155550124") == []


# By these WSMS sends to more people, at another time, again and again, with pictures, or under another name.
SITES_FIELDS = {
    "recipients": "users", "numbers": ["+14155550124"], "users": [1], "role_ids": ["subscriber"], "group_ids": [1],
    "schedule": "2030-01-01T00:00:00", "repeat": {"interval": {"value": 1, "unit": "minute"}}, "flash": True,
    "media_urls": ["https://evil.example/x.png"], "sender": "Bank", "notification_handler": "WordPressUserNotification",
    "handler_id": 1, "vars": {"recipients": "users"}, "metadata": {"schedule": "2030-01-01T00:00:00"},
}  # fmt: skip


async def test_a_caller_adds_no_field_to_what_the_site_is_sent(start_service: Starter) -> None:
    """D23: such fields are refused, inside of `context` too, and what goes out is one number, a text and the sender."""
    async with odd_site() as site:
        site.answers(200, SUCCESS)
        service = await start_service(OTP_WSMS_URL=site.url)
        for name, value in SITES_FIELDS.items():
            answer = await ask(service, TO, **{name: value})
            assert (answer.status_code, answer.json().get("code")) == (422, "invalid_request"), name
            answer = await ask(service, TO, context={name: str(value)})
            assert (answer.status_code, answer.json().get("code")) == (422, "invalid_request"), name
        told = await service.request(subject='1","recipients":"users', client_ref="schedule")
        assert told["delivery"]["status"] == "accepted"
        [sent] = [seen.json for seen in site.seen if seen.method == "POST"]

    assert set(sent) == {"sender", "message", "recipients", "numbers"}
    assert (sent["sender"], sent["recipients"], sent["numbers"]) == ("", "numbers", [TO])


@pytest.mark.parametrize("form", [";ext={}", " ext. {}", " x{}", "#{}", " extension {}", "x{}"])
async def test_no_extension_makes_a_new_key(quiet: Service, form: str) -> None:
    """D02: fifty of them."""
    for n in (1, 7, 42, 999):
        answer = await ask(quiet, TO + form.format(n))
        assert (answer.status_code, answer.json()["code"]) == (422, "destination_refused")
        assert answer.json()["reason"] == "extension"

    assert await redis(quiet).keys("otp:limit:*") == []


# Numbers that cost


@pytest.mark.parametrize(
    "typed",
    [
        "+979 1 1234 5678",  # international premium
        "+44 909 8790123",  # UK premium
        "+44 871 234 5678",  # UK shared cost
        "+44 7012 345678",  # UK personal number
        "+44 7640 123456",  # UK pager
        "+1 900 234 5678",  # US premium
        "+1 800 234 5678",  # US toll-free
        "+49 700 12345678",  # DE personal number
        "+49 900 1 234567",  # DE premium
        "+49 30 12345678",  # a landline
        "+44 20 7946 0018",  # a landline
        "+800 1234 5678",  # universal toll-free
    ],
)
def test_premium_shared_cost_and_landline_numbers_are_refused(typed: str) -> None:
    """D06: revenue share fraud lives of them."""
    assert reason(typed) in (Reason.CANNOT_RECEIVE_SMS, Reason.NOT_A_NUMBER)


@pytest.mark.parametrize(
    "typed",
    ["+870 7731 11632", "+881 6123 45678", "+882 13 100 12345", "+883 5100 1234 5678", "+878 10"],
)
def test_satellite_and_global_networks_are_refused_whatever_they_parse_as(typed: str) -> None:
    """D07."""
    assert reason(typed) in (Reason.CANNOT_RECEIVE_SMS, Reason.NOT_A_NUMBER)


@pytest.mark.parametrize(
    ("typed", "region"),
    [
        ("+1 473 403 1234", "GD"),
        ("+1 268 464 1234", "AG"),
        ("+1 876 210 1234", "JM"),
        ("+1 809 234 5678", "DO"),
        ("+1 613 555 0123", "CA"),
        ("+7 701 123 4567", "KZ"),
        ("+44 7624 123456", "IM"),
    ],
)
def test_regions_are_regions_and_not_calling_codes(typed: str, region: str) -> None:
    """D08: the Caribbean lies inside +1, and costs ten times as much."""
    assert reason(typed, "US", "GB", "RU") == Reason.REGION
    assert reason(typed, region) == "accepted"


async def test_a_region_that_is_not_served_is_refused_before_anything_is_counted(
    start_service: Starter,
) -> None:
    service = await start_service(OTP_DELIVER="false", OTP_REGIONS="US")
    refused = await ask(service, "+4915123456789")

    assert (refused.status_code, refused.json()["reason"]) == (422, "region")
    assert await redis(service).keys("otp:limit:*") == []
    assert (await ask(service, TO)).status_code == 202


# What is shown


def test_a_mask_tells_the_calling_code_and_two_digits_whatever_the_length() -> None:
    """E18."""
    masks = [
        parse_recipient(typed, regions=None).masked
        for typed in ("+14155550123", "+4915123456789", "+6421345678", "+85251234567")
    ]

    assert masks == ["+1•••••23", "+49•••••89", "+64•••••78", "+852•••••67"]


def test_a_recipient_shows_no_number_when_it_is_printed() -> None:
    """E10."""
    found = parse_recipient(TO, regions=None)

    assert TO.lstrip("+") not in f"{found!r} {found}"


# Anything


@fuzzed
@given(st.text(max_size=60))
@example("+" * 40)
@example("(" * 100_000)
@example("+1" + " (" * 18)
@example("\ud800")
def test_any_text_is_a_number_or_a_refusal_that_does_not_repeat_it(typed: str) -> None:
    """C26, Q5."""
    try:
        found = parse_recipient(typed, regions=None)
        said = found.masked
        assert found.e164.startswith("+")
        assert 8 <= len(found.e164) <= 16
        assert found.e164[1:].isascii()
        assert found.e164[1:].isdigit()
    except RecipientRefused as refused:
        said = str(refused)
    assert len(typed) < 6 or typed not in said
    assert len(said) < 120


@fuzzed
@given(
    st.sampled_from(["+14155550123", "+447911123456", "+4915123456789"]),
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(" -.()/\u00a0\u200e–")), max_size=12),
    st.sampled_from(["0123456789", "۰۱۲۳۴۵۶۷۸۹", "०१२३४५६७८९", "０１２３４５６７８９"]),
)
def test_layout_and_script_never_make_another_number(
    e164: str, layout: list[tuple[int, str]], digits: str
) -> None:
    """D01."""
    typed = list(e164.translate(str.maketrans("0123456789", digits)))
    for where, character in layout:
        typed.insert(min(where, len(typed)), character)
    text = "".join(typed)
    if len(text) <= MAX_TYPED:
        assert parse_recipient(text, regions=None).e164 == e164


@pytest.mark.parametrize("piece", ["+", "(", " ", "-", "1", "x", "\u200e"])
def test_a_long_text_is_refused_by_its_length_before_any_parsing(piece: str) -> None:
    """C26."""
    assert reason(piece * 100_000) == Reason.NOT_A_NUMBER
