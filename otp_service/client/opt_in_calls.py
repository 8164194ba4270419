"""The calls for double opt-in."""

from collections.abc import Mapping

from otp_service.client.call import Call, given, key
from otp_service.client.results import OptInAsked, OptInSubscribed, OptInUnsubscribed


def request_opt_in(
    *,
    name: str,
    mobile: str,
    group_id: int | None = None,
    custom_fields: Mapping[str, str | int | bool] | None = None,
    consent_text: str | None = None,
    consent_version: str | None = None,
    locale: str | None = None,
    client_ip: str | None = None,
    idempotency_key: str | None = None,
) -> Call[OptInAsked]:
    """
    Ask a person to confirm a subscription.

    Args:
        mobile: A number in international form, in any usual spelling.
        group_id: One group of the site, or none.
        custom_fields: As the site's form defines them.
        consent_text: What the person agreed to; only its SHA-256 is kept, for the receipt.
        consent_version: Your name for that text.
        client_ip: The end user's address; sends are limited for it.

    Raises:
        DestinationRefused: nothing is sent to this number.
        RateLimited, SubjectBlocked, QuotaExceeded: wait `retry_after` seconds.
        SiteMisconfigured: the WordPress site does not fit the service's mode; repeating the call does not help.
    """
    body = given(
        name=name,
        mobile=mobile,
        group_id=group_id,
        custom_fields=dict(custom_fields) if custom_fields is not None else None,
        consent_text=consent_text,
        consent_version=consent_version,
        locale=locale,
        client_ip=client_ip,
    )
    return Call(
        method="POST",
        path="/optin/request",
        result=OptInAsked,
        body=body,
        idempotency_key=key(idempotency_key),
    )


def verify_opt_in(
    *,
    name: str,
    mobile: str,
    activation: str,
    group_id: int | None = None,
    idempotency_key: str | None = None,
) -> Call[OptInSubscribed]:
    """
    Confirm a subscription; keep the receipt of the answer.

    Args:
        activation: The code as the person typed it.
        group_id: As at the request.

    Raises:
        InvalidCode: wrong; `attempts_remaining` tries are left.
        ChallengeEnded, ChallengeNotFound, ChallengeMismatch: ask again.
        CodeNotSent: wait `retry_after` seconds, or ask again when `delivery.status` was `failed`.
        RateLimited, SubjectBlocked: wait `retry_after` seconds.
        DestinationRefused: the number is none.
        SubscriptionUndone: repeat it with the same code when the site's gateway works.
        SiteMisconfigured: the WordPress site does not fit the service's mode; repeating the call does not help.
    """
    body = given(name=name, mobile=mobile, activation=activation, group_id=group_id)
    return Call(
        method="POST",
        path="/optin/verify",
        result=OptInSubscribed,
        body=body,
        idempotency_key=key(idempotency_key),
    )


def unsubscribe(*, name: str, mobile: str, group_id: int | None = None) -> Call[OptInUnsubscribed]:
    """
    End a subscription in one group, or in all when none is given. Again: the same answer.

    Raises:
        DestinationRefused: the number is none.
    """
    body = given(name=name, mobile=mobile, group_id=group_id)
    return Call(method="POST", path="/optin/unsubscribe", result=OptInUnsubscribed, body=body)
