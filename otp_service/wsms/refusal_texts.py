"""Texts that the plugin throws before it calls its gateway, so that certainly nothing was sent."""

from otp_service.wsms.outcome import RefusedReason

# All are 400 in shape E1, as are the gateway's own errors, so that only the text tells them apart.
_BEFORE_THE_GATEWAY = (
    ("Parameter numbers is required", RefusedReason.INVALID_PARAMETER),
    ("Parameter group_ids is required", RefusedReason.INVALID_PARAMETER),
    ("Parameter role_ids is required", RefusedReason.INVALID_PARAMETER),
    ("Parameter users is required", RefusedReason.INVALID_PARAMETER),
    ("The message body can not be empty.", RefusedReason.EMPTY_MESSAGE),
    ("Message content cannot be empty.", RefusedReason.EMPTY_MESSAGE),
    ("Could not find any mobile numbers.", RefusedReason.NO_RECIPIENTS),
    ("Mobile number not found,", RefusedReason.NO_RECIPIENTS),
    ("WooCommerce or WP-SMS Pro is not enabled", RefusedReason.RECIPIENTS_UNAVAILABLE),
    ("BuddyPress or WP SMS Pro is not enabled", RefusedReason.RECIPIENTS_UNAVAILABLE),
    ("Scheduled SMS requires", RefusedReason.SCHEDULE_REFUSED),
    ("Repeating SMS requires", RefusedReason.SCHEDULE_REFUSED),
    ("Selected start date must be in future", RefusedReason.SCHEDULE_REFUSED),
    ("Selected end date must be after start date", RefusedReason.SCHEDULE_REFUSED),
    ("Call to undefined function WP_SMS\\Notification\\", RefusedReason.HANDLER_UNAVAILABLE),
    (
        "The SMS gateway in the plugin is not configured yet.",
        RefusedReason.GATEWAY_NOT_CONFIGURED,
    ),
)


def reason_of_text(text: str) -> RefusedReason | None:
    """Return why nothing was sent, or None if the text may be the gateway's own."""
    return next((reason for start, reason in _BEFORE_THE_GATEWAY if text.startswith(start)), None)
