"""The newsletter: subscribe, verify, unsubscribe, list (contract 3.2 to 3.4).

The site's traps are closed here: a group is one integer or none, numbers are E.164 (without `+`
they hit other people's rows), an activation is four ASCII digits, and unsubscribing names its
groups as JSON text, the only form the site obeys. Bring your own attempt limits: a site has none
before 7.2.6, and then one for each number over all callers of this client.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence

from otp_service.wsms.calls import Calls
from otp_service.wsms.errors import (
    InvalidParameter,
    NewsletterRefusal,
    NewsletterRefused,
    RowNotFound,
    UnexpectedResponse,
)
from otp_service.wsms.models import (
    Capability,
    ListedSubscriber,
    Subscriber,
    Subscription,
    SubscriptionStatus,
)
from otp_service.wsms.outcome import Json
from otp_service.wsms.sending import require_e164, require_text

# Only these texts tell the two apart; both come with status 200 and the same empty data.
_STATUS = {
    "Your mobile number has been successfully subscribed.": SubscriptionStatus.SUBSCRIBED,
    "To activate your subscription, the activation has been sent to your number.": (
        SubscriptionStatus.PENDING
    ),
}

# Only these texts tell them apart; all are 400 in shape E1.
_REFUSALS = (
    ("This mobile is already registered", NewsletterRefusal.ALREADY_SUBSCRIBED),
    ("Activation code is wrong!", NewsletterRefusal.WRONG_CODE),
    ("Too many attempts.", NewsletterRefusal.TOO_MANY_ATTEMPTS),
    ("Not found the number!", NewsletterRefusal.NOT_FOUND),
    ("The mobile number does not exist in the specified group(s)!", NewsletterRefusal.NOT_FOUND),
    ("Please select a specific group.", NewsletterRefusal.GROUP_REQUIRED),
    ("Invalid Mobile Number.", NewsletterRefusal.INVALID_NUMBER),
    ("The mobile number length is invalid.", NewsletterRefusal.INVALID_NUMBER),
    ("The mobile number doesn't contain the country code.", NewsletterRefusal.INVALID_NUMBER),
    ("The mobile number is not valid for your country.", NewsletterRefusal.INVALID_NUMBER),
    ("Name and Mobile Number are required!", NewsletterRefusal.INVALID_REQUEST),
    ("The required parameters must be valued!", NewsletterRefusal.INVALID_REQUEST),
    ("Invalid group_id format!", NewsletterRefusal.INVALID_REQUEST),
)


class Newsletter:
    """The subscribers of the site. All calls need wpsms_subscribers."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def subscribe(
        self,
        *,
        name: str,
        mobile: str,
        group_id: int | None = None,
        custom_fields: Mapping[str, Json] | None = None,
    ) -> Subscription:
        """
        Add a number; with double opt-in the site sends it a code of four digits.

        Asking again while pending replaces the code, but inside a group it adds a second row
        whose code does not count (contract 3.2).

        Args:
            name: 1 to 250 characters, not "0".
            mobile: E.164.
            group_id: One group, or none.
            custom_fields: As the site's form defines them.

        Raises:
            InvalidParameter: A malformed argument, or a group the site does not know.
            NewsletterRefused: E.g. already subscribed. From 7.2.7 on also `unrecognised` with the
                gateway's text: it refused the SMS, and the site undid the subscription.
            SiteDown: With `maybe_done`, the row may be there and the code under way.
            WsmsError: See `errors`.
        """
        body = _person(name, require_e164("mobile", mobile)) | _group(group_id)
        if custom_fields:
            body["custom_fields"] = dict(custom_fields)
        message = await self._say("/newsletter", body)
        return Subscription(status=_STATUS.get(message, SubscriptionStatus.UNRECOGNISED))

    async def verify(
        self, *, name: str, mobile: str, activation: str, group_id: int | None = None
    ) -> None:
        """
        Confirm a pending number with the code it was sent.

        Args:
            name: Needed by the site, compared with nothing.
            mobile: E.164, as it was subscribed.
            activation: Four ASCII digits; the site itself would also take "+9464" or "3700e0".
            group_id: The group it was subscribed to; None confirms all rows of the number.

        Raises:
            InvalidParameter: A malformed argument; no try was used up.
            NewsletterRefused: `wrong_code`, or `not_found`, which also means already verified, or
                `too_many_attempts`, which tells nothing about the code.
            WsmsError: See `errors`.
        """
        if not isinstance(activation, str) or not re.fullmatch(r"[0-9]{4}", activation):
            raise InvalidParameter("activation", "must be four ASCII digits")
        body = _person(name, require_e164("mobile", mobile)) | _group(group_id)
        body["activation"] = activation
        await self._say("/newsletter/verify", body)

    async def unsubscribe(self, *, name: str, mobile: str, groups: Sequence[int] = ()) -> None:
        """
        Remove a number, pending rows included.

        Args:
            name: Needed by the site, compared with nothing.
            mobile: In the spelling the site lists; "+44…" and "44…" are different rows.
            groups: Only these; without any, all.

        Raises:
            InvalidParameter: A malformed argument.
            NewsletterRefused: `not_found`, also when it is gone already.
            WsmsError: See `errors`.
        """
        if not isinstance(mobile, str) or not any(c.isdecimal() for c in mobile):
            raise InvalidParameter("mobile", "holds no digit")
        body = _person(name, require_text("mobile", mobile))
        if groups:
            for group in groups:
                _group(group)
            # A list is ignored or refused; its JSON text works [051].
            body["group_id"] = json.dumps(list(groups), separators=(",", ":"))
        await self._say("/newsletter/unsubscribe", body)

    async def subscribers(self) -> list[Subscriber]:
        """
        Return every row, pending ones too; a number in two groups comes twice. No paging.

        Raises:
            WsmsError: See `errors`.
        """
        answer = await self._calls.ask(
            "GET", "/newsletter", capability=Capability.SUBSCRIBERS, listing=True
        )
        if not isinstance(answer.json, list):
            raise UnexpectedResponse("status 200, but no list of subscribers")
        return [_subscriber(row) for row in answer.json]

    async def check_group(self, name: str, group_id: int | None) -> None:
        """
        Raise what the site would refuse a subscription to this group for, or one without a group. Changes nothing.

        The site checks the group before the number, so a subscription without a number tells.

        Raises:
            InvalidParameter: A malformed argument, or a group the site does not know.
            NewsletterRefused: `group_required`.
            WsmsError: See `errors`.
        """
        try:
            await self._say("/newsletter", _person(name, "") | _group(group_id))
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.GROUP_REQUIRED:
                raise

    async def find(self, mobile: str) -> list[ListedSubscriber]:
        """
        Return the rows that may be of a number, confirmed or not, the newest 100 at most.

        They have the last eight digits in common with it: so it is found in every spelling, and
        also with a country code that the site has put before it.

        Raises:
            WsmsError: See `errors`.
        """
        digits = require_e164("mobile", mobile).removeprefix("+")
        query = {"search": digits[-8:], "per_page": "100"}
        success = await self._calls.succeed(
            "GET", "/subscribers", capability=Capability.SUBSCRIBERS, query=query, listing=True
        )
        match success.data:
            case {"items": list(items)}:
                return [_listed(item) for item in items]
        raise UnexpectedResponse("status 200, but no list of subscribers")

    async def delete_row(self, row: int) -> None:
        """
        Delete one row of the list by its id; one that is gone is no error.

        Raises:
            WsmsError: See `errors`.
        """
        try:
            await self._calls.succeed(
                "DELETE", f"/subscribers/{int(row)}", capability=Capability.SUBSCRIBERS
            )
        except RowNotFound:
            return

    async def _say(self, path: str, body: dict[str, Json]) -> str:
        success = await self._calls.succeed(
            "POST",
            path,
            capability=Capability.SUBSCRIBERS,
            body=body,
            secrets=tuple(str(body[key]) for key in ("name", "mobile") if body[key]),
            refused=_refusal,
        )
        return html.unescape(success.message)


def _refusal(text: str, detail: str) -> NewsletterRefused:
    plain = html.unescape(text)
    for beginning, reason in _REFUSALS:
        if plain.startswith(beginning):
            return NewsletterRefused(reason, detail)
    return NewsletterRefused(NewsletterRefusal.UNRECOGNISED, detail)


def _person(name: str, mobile: str) -> dict[str, Json]:
    # PHP takes "0" for nothing; over 250 characters the site blames something else.
    if not name.strip() or name == "0" or len(name) > 250:
        raise InvalidParameter("name", 'must be 1 to 250 characters and not "0"')
    return {"name": require_text("name", name), "mobile": mobile}


def _group(group_id: int | None) -> dict[str, Json]:
    if group_id is None:
        return {}
    if type(group_id) is not int or group_id < 1:
        raise InvalidParameter("group_id", "must be one positive integer")
    return {"group_id": group_id}


def _listed(item: Json) -> ListedSubscriber:
    match item:
        case {"id": row, "name": name, "mobile": mobile, "group_id": group, "status": status}:
            return ListedSubscriber(
                id=int(str(row)),
                name=str(name),
                mobile=str(mobile),
                group_id=int(str(group or 0)) or None,
                active=str(status) == "1",
            )
    raise UnexpectedResponse("a row of the list is no subscriber")


def _subscriber(row: Json) -> Subscriber:
    match row:
        case {"name": name, "mobile": mobile}:
            return Subscriber(name=str(name), mobile=str(mobile))
    raise UnexpectedResponse("a row of the list is no subscriber")
