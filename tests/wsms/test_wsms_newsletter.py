"""The newsletter against the sandbox, and each of the site's traps closed on our side."""

from typing import Any

import pytest
from odd_sites import OddSite

from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.site import Site
from otp_service.wsms import (
    InvalidParameter,
    NewsletterRefusal,
    NewsletterRefused,
    SiteDown,
    Subscriber,
    Subscription,
    SubscriptionStatus,
    UnexpectedResponse,
    WsmsClient,
)

ANN = {"name": "Ann", "mobile": "+447700900301"}


@pytest.fixture
def sandbox_settings() -> SiteSettings:
    return SiteSettings(newsletter_form_verify=True)


def code_of(sandbox: Site) -> str:
    return sandbox.phone.messages(ANN["mobile"])[0].message.split(": ")[1]


async def refusal(call: Any) -> NewsletterRefusal:
    with pytest.raises(NewsletterRefused) as caught:
        await call
    assert caught.value.by_text
    return caught.value.reason


async def test_subscribe_verify_unsubscribe(wsms: WsmsClient, sandbox: Site) -> None:
    pending = await wsms.newsletter.subscribe(**ANN, group_id=1, custom_fields={"town": "Bath"})

    assert pending == Subscription(status=SubscriptionStatus.PENDING)
    code = code_of(sandbox)
    wrong = "1000" if code != "1000" else "1001"
    assert (
        await refusal(wsms.newsletter.verify(**ANN, activation=wrong, group_id=1))
        is NewsletterRefusal.WRONG_CODE
    )
    await wsms.newsletter.verify(**ANN, activation=code, group_id=1)
    assert (
        await refusal(wsms.newsletter.verify(**ANN, activation=code, group_id=1))
        is NewsletterRefusal.NOT_FOUND
    )
    assert (
        await refusal(wsms.newsletter.subscribe(**ANN, group_id=1))
        is NewsletterRefusal.ALREADY_SUBSCRIBED
    )
    assert await wsms.newsletter.subscribers() == [Subscriber("Ann", ANN["mobile"])]
    await wsms.newsletter.unsubscribe(**ANN)
    assert await wsms.newsletter.subscribers() == []
    assert await refusal(wsms.newsletter.unsubscribe(**ANN)) is NewsletterRefusal.NOT_FOUND


async def test_a_site_without_double_opt_in_says_subscribed(
    wsms: WsmsClient, sandbox: Site
) -> None:
    sandbox.settings.newsletter_form_verify = False

    done = await wsms.newsletter.subscribe(**ANN)

    assert done == Subscription(status=SubscriptionStatus.SUBSCRIBED)
    assert sandbox.phone.messages() == []


async def test_a_translated_site_is_unrecognised_rather_than_guessed(
    wsms: WsmsClient, sandbox: Site
) -> None:
    sandbox.settings.locale = "de_DE"

    done = await wsms.newsletter.subscribe(**ANN)

    assert done.status is SubscriptionStatus.UNRECOGNISED
    assert (
        await refusal(wsms.newsletter.verify(**ANN, activation="0000"))
        is NewsletterRefusal.UNRECOGNISED
    )


async def test_an_unknown_group_is_the_sites_refusal_of_that_parameter(wsms: WsmsClient) -> None:
    with pytest.raises(InvalidParameter) as caught:
        await wsms.newsletter.subscribe(**ANN, group_id=99)

    assert caught.value.name == "group_id"
    assert caught.value.at_site


async def test_groups_required(wsms: WsmsClient, sandbox: Site) -> None:
    sandbox.settings.newsletter_form_groups = True

    assert await refusal(wsms.newsletter.subscribe(**ANN)) is NewsletterRefusal.GROUP_REQUIRED


async def test_unsubscribing_from_one_group_leaves_the_others(
    wsms: WsmsClient, sandbox: Site
) -> None:
    """The site refuses a number and ignores an empty list; only JSON text works [051]."""
    sandbox.settings.newsletter_form_verify = False
    for group in (1, 2):
        await wsms.newsletter.subscribe(**ANN, group_id=group)

    await wsms.newsletter.unsubscribe(**ANN, groups=[1])

    assert [row.group_id for row in sandbox.subscribers.rows()] == [2]


async def test_groups_travel_as_json_text(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(200, {"message": "m", "error": [], "data": []})

    await client.newsletter.unsubscribe(**ANN, groups=(1, 2))
    await client.newsletter.unsubscribe(**ANN)

    assert odd.seen[0].json == {**ANN, "group_id": "[1,2]"}
    assert odd.seen[1].json == ANN


async def test_a_row_stored_as_typed_can_be_unsubscribed_as_listed(
    odd: OddSite, client: WsmsClient
) -> None:
    """Numbers with one leading zero keep their blanks (contract 3.2)."""
    odd.answers(200, {"message": "m", "error": [], "data": []})

    await client.newsletter.unsubscribe(name="Ann", mobile="07700 900-104")

    assert odd.seen[0].json["mobile"] == "07700 900-104"


@pytest.mark.parametrize(
    "activation",
    [
        "",
        "0",
        "123",
        "12345",
        "01103",
        "+946",
        "5401.0",
        "37e2",
        "1e3 ",
        " 123",
        "1234\n",
        "٥٥٠٧",
        1234,
        True,
        ["1234"],
        None,
    ],
)
async def test_an_activation_is_four_ascii_digits(
    odd: OddSite, client: WsmsClient, activation: Any
) -> None:
    """The site compares loosely, and crashes on lists (contract 3.3)."""
    with pytest.raises(InvalidParameter) as caught:
        await client.newsletter.verify(**ANN, activation=activation)

    assert caught.value.name == "activation"
    assert odd.seen == []


@pytest.mark.parametrize("group_id", [0, -1, True, "1", [1], [], 1.0])
async def test_a_group_is_one_positive_integer(
    odd: OddSite, client: WsmsClient, group_id: Any
) -> None:
    """A list crashes subscribe, and `[]` makes verify answer 200 for anything."""
    for call in (
        client.newsletter.subscribe(**ANN, group_id=group_id),
        client.newsletter.verify(**ANN, activation="1234", group_id=group_id),
        client.newsletter.unsubscribe(**ANN, groups=[group_id]),
    ):
        with pytest.raises(InvalidParameter) as caught:
            await call
        assert caught.value.name == "group_id"
    assert odd.seen == []


@pytest.mark.parametrize(
    "mobile", ["447700900301", "0044770090301", "07700 900301", "abc", "", ["+447700900301"], None]
)
async def test_a_mobile_is_e164_where_the_site_would_guess(
    odd: OddSite, client: WsmsClient, mobile: Any
) -> None:
    """Without a plus, verifying would activate somebody else's row [041]."""
    for call in (
        client.newsletter.subscribe(name="Ann", mobile=mobile),
        client.newsletter.verify(name="Ann", mobile=mobile, activation="1234"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            await call
        assert caught.value.name == "mobile"
    assert odd.seen == []


@pytest.mark.parametrize("mobile", ["", "abc", ["+447700900301"], None])
async def test_unsubscribing_needs_a_digit(client: WsmsClient, mobile: Any) -> None:
    with pytest.raises(InvalidParameter):
        await client.newsletter.unsubscribe(name="Ann", mobile=mobile)


@pytest.mark.parametrize("name", ["", " ", "0", "x" * 251, "\ud83d"])
async def test_a_name_the_site_takes_for_nothing_is_refused(client: WsmsClient, name: str) -> None:
    for call in (
        client.newsletter.subscribe(name=name, mobile=ANN["mobile"]),
        client.newsletter.verify(name=name, mobile=ANN["mobile"], activation="1234"),
        client.newsletter.unsubscribe(name=name, mobile=ANN["mobile"]),
    ):
        with pytest.raises(InvalidParameter) as caught:
            await call
        assert caught.value.name == "name"


async def test_a_crash_of_the_site_may_have_done_it(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(500, {"code": "internal_server_error", "message": "<p>", "data": {"status": 500}})

    with pytest.raises(SiteDown) as caught:
        await client.newsletter.subscribe(**ANN)
    assert caught.value.maybe_done


@pytest.mark.parametrize("body", [{}, [1], [{"name": "x"}], b"<html>"])
async def test_a_list_of_another_shape_is_no_wsms_answer(
    odd: OddSite, client: WsmsClient, body: Any
) -> None:
    odd.answers(200, body)

    with pytest.raises(UnexpectedResponse):
        await client.newsletter.subscribers()


async def test_a_refusal_does_not_repeat_the_person(odd: OddSite, client: WsmsClient) -> None:
    odd.answers(400, {"error": {"code": 400, "message": "Ann (+447700900301) is 5678 odd"}})

    with pytest.raises(NewsletterRefused) as caught:
        await client.newsletter.subscribe(**ANN)
    assert "Ann" not in str(caught.value)
    assert "7700900301" not in str(caught.value)
    assert "5678" not in str(caught.value)
