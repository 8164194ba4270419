"""Texts that people choose: what is a name in Persian, Hindi or emoji, and what a terminal would obey."""

import pytest
from pydantic import ValidationError

from otp_service.core import audit, text
from otp_service.core.message_values import name_problem
from otp_service.web.factor_models import TotpBody
from otp_service.web.optin_models import OptInRequestBody


@pytest.mark.parametrize(
    "name",
    [
        "علی\u200cرضا",
        "क्\u200dष",
        "👨\u200d👩\u200d👧 Family",
        "Jean\u00a0Dupont",
        "\u200fאבי\u200e",
        "🏴\U000e0067\U000e0062\U000e007f",
        "\U0001fae9",
    ],
)
def test_names_of_people_are_accepted_everywhere(name: str) -> None:
    """Joiners, no-break spaces, direction marks, emoji newer than this Python."""
    assert TotpBody(subject=name, account_name=name, issuer=name, name=name).account_name == name
    assert OptInRequestBody(name=name, mobile="+14155550123").name == name
    assert audit.checked_reason(f"{name}: ticket 7") == f"{name}: ticket 7"
    assert text.subject(name) == name


@pytest.mark.parametrize(
    "wrong", ["\x00", "\x1b", "\x7f", "\x85", "\n", "\t", "\u2028", "\u202e", "\u2066"]
)
def test_controls_and_changes_of_direction_are_found(wrong: str) -> None:
    """H01, J04."""
    assert text.has_controls(f"a{wrong}b")
    for field in ("account_name", "issuer", "name", "subject"):
        with pytest.raises(ValidationError) as refused:
            TotpBody(**{"subject": "u", "account_name": "a", field: f"a{wrong}b"})
        assert refused.value.errors()[0]["loc"] == (field,)
    with pytest.raises(ValueError, match="printable"):
        audit.checked_reason(f"a{wrong}b")


@pytest.mark.parametrize(
    "blank",
    [" ", "\u200b", "\u00a0\u200d", "\u3000", "\u2800", "\u3164", "\uffa0 \u115f", "\u2800\ufe0f"],
)
def test_a_name_must_show_something(blank: str) -> None:
    assert text.is_blank(blank)
    assert name_problem(blank)
    with pytest.raises(ValueError, match="must not be blank"):
        text.subject(blank)
    with pytest.raises(ValidationError, match="must not be blank"):
        OptInRequestBody(name=blank, mobile="+14155550123")
