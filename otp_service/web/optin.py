"""Double opt-in over HTTP."""

from otp_service.core.receipts import Consent, text_sha256
from otp_service.services.opt_in import OptInRequest
from otp_service.web.operations import Answer, Call
from otp_service.web.optin_models import (
    OptInAsked,
    OptInRequestBody,
    OptInSubscribed,
    OptInUnsubscribeBody,
    OptInUnsubscribed,
    OptInVerifyBody,
)
from otp_service.web.otp_models import Delivery
from otp_service.web.problems import rfc3339


async def request_opt_in(call: Call) -> Answer:
    sent: OptInRequestBody = call.body
    request = OptInRequest(
        name=sent.name,
        mobile=sent.mobile,
        group_id=sent.group_id,
        custom_fields=sent.custom_fields or {},
        client_ip=sent.client_ip,
        consent=Consent(
            text_sha256=text_sha256(sent.consent_text) if sent.consent_text else None,
            version=sent.consent_version,
            locale=sent.locale,
        ),
    )
    asked = await call.service.opt_in.request(
        call.caller.name, request, policy=call.caller.policy, handle=call.handle
    )
    return Answer(
        OptInAsked(
            status="pending",
            mobile=asked.mobile,
            expires_in=asked.expires_in,
            resend_in=asked.resend_in,
            delivery=Delivery(status=asked.delivery, reason=asked.reason or None),
        )
    )


async def verify_opt_in(call: Call) -> Answer:
    sent: OptInVerifyBody = call.body
    subscribed = await call.service.opt_in.verify(
        call.caller.name,
        name=sent.name,
        mobile=sent.mobile,
        activation=sent.activation,
        group_id=sent.group_id,
        handle=call.handle,
    )
    return Answer(
        OptInSubscribed(
            status="subscribed",
            mobile=subscribed.mobile,
            group_id=subscribed.group_id,
            confirmed_at=rfc3339(subscribed.confirmed_at),
            receipt=subscribed.receipt,
        )
    )


async def unsubscribe(call: Call) -> Answer:
    sent: OptInUnsubscribeBody = call.body
    masked = await call.service.opt_in.unsubscribe(
        call.caller.name, name=sent.name, mobile=sent.mobile, group_id=sent.group_id
    )
    return Answer(OptInUnsubscribed(status="unsubscribed", mobile=masked))
