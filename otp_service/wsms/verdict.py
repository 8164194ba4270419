"""From the answer to a send to its outcome: the rules of contract 3.1 and 6, and nothing else.

Statuses, shapes and codes decide. Texts decide only where the plugin gives nothing else, and the
outcome says so (`by_text`); a translated site then gets `Unknown`, never a false certainty.
"""

from collections.abc import Callable, Mapping

from otp_service.wsms.answer import Answer
from otp_service.wsms.calls import IN_MAINTENANCE, CircuitOpen
from otp_service.wsms.outcome import (
    Accepted,
    Json,
    Refused,
    RefusedReason,
    SendOutcome,
    Unknown,
    UnknownReason,
)
from otp_service.wsms.refusal_texts import reason_of_text
from otp_service.wsms.wire import Lost, NotSent

_SENT = {
    "Successfully send SMS!",
    "Message resent successfully",
    "SMS Scheduled Successfully!",
    "Repeating SMS is scheduled successfully!",
}
_QUEUED = "SMS delivery is in progress as a background task"


def outcome_of_answer(
    answer: Answer, asked: Mapping[str, Json], scrub: Callable[[str], str], *, left: str = "balance"
) -> SendOutcome:
    """
    Return what an answer proves about the message.

    Args:
        answer: Read to its end.
        asked: The request's body; some answers mean something only for some requests.
        scrub: Makes a foreign text fit to keep.
        left: The field of `data` that holds the gateway's balance.
    """
    if answer.status == 200:
        return _of_200(answer, asked, scrub, left)
    if answer.status == 400:
        return _of_400(answer, asked, scrub)
    wordpress = answer.wordpress_error
    if answer.status == 401:
        # Whoever asks for a credential, the plugin or something in front, has done nothing yet.
        return Refused(reason=RefusedReason.NOT_AUTHORIZED)
    if answer.status == 403 and wordpress and wordpress.code != "rest_forbidden":
        # Another plugin guards the REST API; permissions come before the plugin's own code.
        return Refused(reason=RefusedReason.INVALID_REQUEST, detail=wordpress.word)
    if answer.status == 403 and wordpress:
        return Refused(
            reason=RefusedReason.CAPABILITY_MISSING, detail="the user lacks wpsms_sendsms"
        )
    if answer.status == 404 and wordpress and wordpress.code == "rest_no_route":
        return Refused(reason=RefusedReason.NO_ROUTE, detail="is WSMS 7 active on the site?")
    if answer.status == 404 and answer.plugin_error is not None:
        return Refused(reason=RefusedReason.ROW_NOT_FOUND)
    if answer.status == 429 and answer.plugin_error is None:
        # The plugin has no rate limit (quirk 10) and turns every provider status into 400, so
        # a 429 comes from something that counts requests before it hands them on.
        return Refused(reason=RefusedReason.RATE_LIMITED, retry_after=answer.retry_after)
    if answer.is_maintenance:
        return Refused(
            reason=RefusedReason.MAINTENANCE,
            detail=IN_MAINTENANCE,
            retry_after=answer.retry_after,
        )
    if answer.status >= 500:
        # Another 503 may be a proxy's whose PHP goes on working.
        word = f": {wordpress.word}" if wordpress else ""
        return Unknown(
            reason=UnknownReason.SERVER_ERROR, detail=f"the site answers {answer.status}{word}"
        )
    if 300 <= answer.status < 400:
        return Unknown(
            reason=UnknownReason.REDIRECTED, detail="the site redirects; is its address right?"
        )
    # A 403 or 404 page is most likely a firewall's or web server's, but filters exist that
    # judge the answer after PHP has run.
    return Unknown(
        reason=UnknownReason.NOT_WSMS, detail=f"status {answer.status} in no shape of WSMS"
    )


def outcome_of_failure(failure: CircuitOpen | NotSent | Lost) -> SendOutcome:
    """Return what the lack of an answer proves."""
    match failure:
        case CircuitOpen():
            return Refused(
                reason=RefusedReason.CIRCUIT_OPEN,
                detail=str(failure),
                retry_after=failure.retry_after,
            )
        case NotSent():
            reason = (
                RefusedReason.UNTRUSTED_CERTIFICATE
                if failure.untrusted
                else RefusedReason.CONNECT_FAILED
            )
            return Refused(reason=reason, detail=str(failure))
        case Lost():
            return Unknown(reason=failure.reason, detail=str(failure))


def _of_200(
    answer: Answer, asked: Mapping[str, Json], scrub: Callable[[str], str], left: str
) -> SendOutcome:
    success = answer.success
    if success is None or (left not in success.data and "schedule" not in asked):
        return Unknown(
            reason=UnknownReason.NOT_WSMS, detail="status 200 in another shape than WSMS gives"
        )
    message = success.message
    if message.startswith(_QUEUED):
        # A balance comes along as for a real send (contract 6.2): nothing but the text differs.
        return Unknown(reason=UnknownReason.BACKGROUND, detail=scrub(message), by_text=True)
    return Accepted(balance=success.data.get(left), text_known=message in _SENT)


def _of_400(answer: Answer, asked: Mapping[str, Json], scrub: Callable[[str], str]) -> SendOutcome:
    wordpress = answer.wordpress_error
    if wordpress:
        names = ", ".join(wordpress.parameters)
        return Refused(
            reason=RefusedReason.INVALID_PARAMETER if names else RefusedReason.INVALID_REQUEST,
            detail=names or wordpress.word,
        )
    text = answer.plugin_error
    if text is None:
        return Unknown(reason=UnknownReason.NOT_WSMS, detail="status 400 in no shape of WSMS")
    if reason := reason_of_text(text):
        return Refused(reason=reason, detail=scrub(text), by_text=True)
    if text == "Array" and "group_ids" in asked:
        # The plugin prints its list of unknown groups as this one word [014].
        return Refused(
            reason=RefusedReason.UNKNOWN_GROUP, detail="a group does not exist", by_text=True
        )
    return Unknown(
        reason=UnknownReason.GATEWAY_ERROR, detail=scrub(text) or "the gateway gave no reason"
    )
