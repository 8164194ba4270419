"""What a balance of any type means, and where it comes from."""

from decimal import Decimal
from typing import Any

import pytest
from odd_sites import NUMBER, OddSite

from otp_service.sandbox.faults import Fault
from otp_service.sandbox.site import Site
from otp_service.wsms import (
    Accepted,
    Credit,
    CreditKind,
    CreditSource,
    GatewayRefused,
    UnexpectedResponse,
    WsmsClient,
    parse_balance,
)


@pytest.mark.parametrize(
    ("value", "amount", "unit", "doubtful"),
    [
        (4711, "4711", None, False),
        (12.5, "12.5", None, False),
        ("4711", "4711", None, False),
        ("4711 EUR", "4711", "EUR", False),
        ("143 USD", "143", "USD", False),
        ("-3.20 €", "-3.20", "€", False),
        ("1.0E+20", "1.0E+20", None, False),
        ("12,50", "12.50", None, False),
        ("12,5 EUR", "12.5", "EUR", False),
        ("1.234,56 EUR", "1234.56", "EUR", False),
        ("-1.234.567,8", "-1234567.8", None, False),
        ("1,234.56 USD", "1234.56", "USD", False),
        ("1,234,567.8", "1234567.8", None, False),
        ("12,5€", "12.5", "€", False),
        ("12.50$", "12.50", "$", False),
        ("12EUR", "12", "EUR", False),
        ("12,5\u00a0€", "12.5", "€", False),
        ("12,5\u202fEUR", "12.5", "EUR", False),
        ("0€", "0", "€", False),
        ("0\u00a0", "0", None, True),
        ("0 EUR", "0", "EUR", False),
        ("0", "0", None, True),
        (0, "0", None, True),
        ("0 ", "0", None, True),
    ],
)
def test_an_amount_with_its_unit(value: Any, amount: str, unit: str | None, doubtful: bool) -> None:
    credit = parse_balance(value)

    assert credit.kind is CreditKind.AMOUNT
    assert credit.amount == Decimal(amount)
    assert credit.unit == unit
    assert credit.doubtful is doubtful


@pytest.mark.parametrize(
    "value",
    [
        "Unable to check balance!",
        "1,250",
        "12,5,0",
        "1.23,45",
        "1.234,567",
        "1,234.567,8",
        "12,345€x",
        "12SMS left",
        "٤٧",
        "1e9999999",
        "0x1F",
        "nan",
        "Infinity",
    ],
)
def test_a_text_stays_a_text(value: str) -> None:
    credit = parse_balance(value)

    assert credit.kind is CreditKind.TEXT
    assert credit.text
    assert credit.amount is None


@pytest.mark.parametrize("value", [None, True, False, [], {}, {"balance": 3}, "", " ", "N/A"])
def test_anything_else_is_unsupported(value: Any) -> None:
    assert parse_balance(value).kind is CreditKind.UNSUPPORTED


def test_a_text_of_a_gateway_is_scrubbed() -> None:
    """It ends up in logs and metrics."""
    assert "4155550123" not in (parse_balance("account +14155550123 is empty").text or "")


async def test_stored_and_fresh_credit(wsms: WsmsClient, sandbox: Site) -> None:
    before = await wsms.credit.stored()
    sent = await wsms.send(message="hi", numbers=NUMBER)
    assert isinstance(sent, Accepted)
    sandbox.settings.balance = 12
    stored = await wsms.credit.stored()
    fresh = await wsms.credit.refresh()

    assert before == Credit(kind=CreditKind.UNSUPPORTED, source=CreditSource.STORED)
    assert parse_balance(sent.balance).amount == 4711
    assert stored.amount == 4711
    assert stored.source is CreditSource.STORED
    assert fresh.amount == 12
    assert fresh.source is CreditSource.ASKED


async def test_a_gateway_that_cannot_be_asked(wsms: WsmsClient, sandbox: Site) -> None:
    sandbox.break_with(Fault(kind="balance_error"))

    with pytest.raises(GatewayRefused, match="provider is down"):
        await wsms.credit.refresh()


async def test_a_site_without_gateway_has_no_credit(wsms: WsmsClient, sandbox: Site) -> None:
    """As seen on a real site: the test succeeds, and says null."""
    sandbox.settings.gateway_name = ""

    assert (await wsms.credit.refresh()).kind is CreditKind.UNSUPPORTED


@pytest.mark.parametrize("body", [{}, [], {"credit": 1}, {"credit": 1, "creditSupported": "yes"}])
async def test_another_shape_is_no_wsms_answer(odd: OddSite, client: WsmsClient, body: Any) -> None:
    odd.answers(200, body)

    with pytest.raises(UnexpectedResponse):
        await client.credit.stored()


async def test_a_test_without_credit_is_no_wsms_answer(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(200, {"message": "m", "error": [], "data": []})

    with pytest.raises(UnexpectedResponse):
        await client.credit.refresh()
