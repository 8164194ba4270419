"""A caller's own policy tightens and never loosens: each field at its edge, under settings that change later."""

from dataclasses import fields, replace

import pytest

from otp_service.core.caller_policy import CallerPolicy, CallerPolicyInvalid
from otp_service.core.caller_rules import RULES
from otp_service.core.limits import Window
from otp_service.core.policy import Policy

SERVICE = Policy(
    digits=6,
    code_ttl=300,
    resend_grace=20,
    regions=frozenset({"DE", "AT"}),
    brand="Service",
    sender="SERVICE",
)
LOCALES = ("de", "en", "fa", "pt-BR")


def check(service: Policy = SERVICE, **texts: str) -> list[str]:
    """What is refused of these texts, one line each."""
    try:
        CallerPolicy.read(texts).check(service, available_locales=LOCALES)
    except CallerPolicyInvalid as error:
        return list(error.lines)
    return []


def under(service: Policy, **texts: str) -> Policy:
    return CallerPolicy.read(texts).tighten(service)


def test_every_field_has_its_rule_and_is_one_of_the_services() -> None:
    names = [field.name for field in fields(CallerPolicy)]

    assert list(RULES) == names
    assert set(names) <= {field.name for field in fields(Policy)}


@pytest.mark.parametrize(
    ("field", "holds", "loosens", "bound"),
    [
        ("purposes", "login,payment", "login,gambling", "signup"),
        ("digits", "6", "5", "6"),
        ("code_ttl", "300", "301", "300"),
        ("max_attempts", "5", "6", "5"),
        ("max_sends", "5", "6", "5"),
        ("resend_grace", "20", "21", "20"),
        ("proof_ttl", "120", "121", "120"),
        ("cooldown", "30,60,120", "30,60,119", "30,60,120"),
        ("cooldown", "30,60,120,120", "30,60", "30,60,120"),
        ("cooldown", "120", "119", "30,60,120"),
        ("per_recipient", "5/10m", "6/10m", "5/10m"),
        ("per_recipient", "5/1m", "6/1m", "5/10m"),
        ("per_recipient", "6/11m", "11/1d", "10/1d"),
        ("per_client_ip", "10/10m", "11/10m", "10/10m"),
        ("per_caller", "10000/1d", "10001/1d", "10000/1d"),
        ("regions", "DE", "DE,CH", "AT, DE"),
        ("locales", "en,de", "en,nl", "pt-BR"),
        ("locale", "de", "nl", "pt-BR"),
    ],
)
def test_what_would_loosen_is_refused_with_the_field_and_the_bound(
    field: str, holds: str, loosens: str, bound: str
) -> None:
    """A13: one step further than the service is one too far."""
    assert check(**{field: holds}) == []
    (line,) = check(**{field: loosens})

    assert line.startswith(f"{field}: ")
    assert bound in line


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("digits", ["0", "-1", "", "5 6", "1e9", "11", "99999999", "null", "٨"]),
        ("code_ttl", ["0", "59", "601", "", "5m"]),
        ("max_attempts", ["0", "-1", "", "11", "1000000000"]),
        ("max_sends", ["0", "", "11"]),
        ("resend_grace", ["-1", "", "121"]),
        ("proof_ttl", ["29", "601", ""]),
        ("cooldown", ["", "0", "30,", "3601", "1,1,1,1,1,1,1,1,1,1,1", "a"]),
        ("per_recipient", ["", "0/10m", "5", "5/0m", "5/32d", "-5/10m", "unlimited"]),
        ("per_client_ip", ["", "0/10m"]),
        ("per_caller", ["", "0/1d", "1000001/1d"]),
        ("purposes", ["", ",", "login,"]),
        ("regions", ["", "de", "XX", "*"]),
        ("locales", ["", "en,", "../etc"]),
        ("locale", ["", "../etc"]),
        ("enrollment_proof", ["", "false", "1", "True"]),
        ("brand", ["", "www.evil.example", "a" * 21, "1234"]),
        ("sender", ["", "a" * 21, "a\nb", "a\x00"]),
        ("origin", ["", "https://x.example", "a b.example"]),
        ("app_hash", ["", "FA+9qCX9VS", "FA+9qCX9VSu\n", "abc123456de"]),
        ("hash_cost", ["1"]),
        ("max_bindings", ["100"]),
        ("DIGITS", ["8"]),
    ],
)
def test_zero_empty_huge_and_unknown_are_refused_by_name(field: str, texts: list[str]) -> None:
    """A14: nothing falls back to a default, and nothing to unlimited."""
    for text in texts:
        (line,) = check(**{field: text})
        assert line.startswith(f"{field}: "), text


def test_a_policy_is_read_as_it_was_written() -> None:
    texts = {
        "purposes": "login,signup",
        "digits": "8",
        "cooldown": "60,90,180",
        "per_recipient": "3/1h,2/5m",
        "regions": "DE",
        "enrollment_proof": "true",
        "locales": "de,en",
        "brand": "Shop & Co",
        "sender": "Shop",
        "origin": "shop.example",
        "app_hash": "FA+9qCX9VSu",
    }

    assert CallerPolicy.read(texts).texts() == texts
    assert CallerPolicy.read(CallerPolicy.read(texts).texts()) == CallerPolicy.read(texts)


def test_without_a_policy_of_its_own_the_services_holds() -> None:
    assert CallerPolicy().tighten(SERVICE) is SERVICE


def test_a_later_tightening_of_the_service_wins() -> None:
    """What was allowed when it was set is no way around settings that came after."""
    later = replace(
        SERVICE,
        purposes=frozenset({"login"}),
        digits=9,
        code_ttl=120,
        max_attempts=2,
        max_sends=2,
        resend_grace=0,
        proof_ttl=60,
        cooldown=(100, 200),
        per_recipient=(Window(4, 86_400), Window(2, 600)),
        per_caller=(Window(10, 86_400),),
        regions=frozenset({"AT"}),
    )
    found = under(
        later,
        purposes="login,signup",
        digits="8",
        code_ttl="200",
        max_attempts="4",
        max_sends="4",
        resend_grace="10",
        proof_ttl="100",
        cooldown="60,60,300",
        per_recipient="9/1d,3/10m,1/1m",
        per_caller="100/1d",
        regions="DE,AT",
    )

    assert found.purposes == {"login"}
    assert (found.digits, found.code_ttl, found.max_attempts, found.max_sends) == (9, 120, 2, 2)
    assert (found.resend_grace, found.proof_ttl) == (0, 60)
    assert found.cooldown == (100, 200, 300)
    assert found.per_recipient == (Window(4, 86_400), Window(2, 600), Window(1, 60))
    assert found.per_caller == (Window(10, 86_400),)
    assert found.regions == {"AT"}


def test_a_short_window_of_its_own_does_not_shorten_the_memory_of_the_cooldown() -> None:
    """Else a caller with `1/1m` more would have the first, shortest cooldown again after each minute."""
    assert under(SERVICE, per_recipient="4/1m").cooldown_window == SERVICE.cooldown_window


def test_what_messages_say_is_the_callers_own() -> None:
    found = under(SERVICE, brand="Shop", sender="SHOP", origin="shop.example", locale="de")

    assert (found.brand, found.sender, found.origin, found.locale) == (
        "Shop",
        "SHOP",
        "shop.example",
        "de",
    )


def test_locales_without_the_default_need_a_default() -> None:
    (line,) = check(locales="de,fa")

    assert line.startswith("locale: ")
    assert check(locales="de,fa", locale="fa") == []


def test_a_life_shorter_than_a_send_needs_is_refused_and_later_settings_do_not_stop_the_codes() -> (
    None
):
    (line,) = check(code_ttl="60")
    assert line.startswith("code_ttl: ")
    assert check(code_ttl="61") == []

    assert under(replace(SERVICE, min_life_at_send=120), code_ttl="100").min_life_at_send == 50
    assert under(SERVICE, code_ttl="100").min_life_at_send == 60


def test_a_cooldown_that_no_window_remembers_is_refused() -> None:
    service = replace(SERVICE, per_recipient=(Window(5, 600),))

    (line,) = check(service, cooldown="601")
    assert line.startswith("cooldown: ")
    assert check(service, cooldown="601", per_recipient="9/1h") == []
    assert check(service, cooldown="600") == []


def test_where_the_service_serves_every_region_a_caller_may_name_some() -> None:
    everywhere = replace(SERVICE, regions=None)

    assert check(everywhere, regions="DE,CH") == []
    assert under(everywhere, regions="DE,CH").regions == {"DE", "CH"}


def test_everything_wrong_is_told_at_once() -> None:
    assert len(check(digits="5", max_attempts="9", regions="FR")) == 3
