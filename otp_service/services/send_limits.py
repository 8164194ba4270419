"""The limits that one SMS to one recipient is charged to."""

import time
from collections.abc import Sequence
from dataclasses import replace

from otp_service.core.challenge import fingerprint
from otp_service.core.keyring import Key
from otp_service.core.limits import Window, network
from otp_service.core.policy import Policy
from otp_service.core.recipients import Reason, Recipient, RecipientRefused, parse_recipient
from otp_service.errors import DestinationRefused
from otp_service.store import keys
from otp_service.store.limits import SHARED, ChargedLimit


def send_limits(
    policy: Policy,
    phones: Sequence[Key],
    *,
    caller: str,
    recipient: Recipient,
    client_ip: str | None,
    purpose: str,
    trickle: Window | None = None,
) -> list[ChargedLimit]:
    """
    Return the limits of one send, that on the caller's own recipient first.

    A send for an open purpose, one that anybody can start with anybody's number, is also charged to a share of each
    limit. So strangers never use up what is left to people who log in, and no limit allows more sends than before. Each
    kind has a cooldown of its own.

    While phone keys are rotated a send is counted under each: so the older one still refuses what it has counted, and
    the newer one has counted as much when the older one goes.

    Args:
        policy: The rules.
        phones: The keys that make the fingerprints in the limits' names, the one that has counted longest first.
        caller: Who asks.
        recipient: Where it goes.
        client_ip: The end user's address, or None.
        purpose: What the code is for.
        trickle: What a paused region lets through of this caller; None when it is not paused.
    """
    limits = [
        limit
        for phone in phones
        for limit in _under(phone, policy, caller=caller, recipient=recipient, client_ip=client_ip)
    ]
    if trickle is not None:
        name = fingerprint(phones[0], "limit/region/v1", caller, recipient.region)
        key = keys.limit("region", name, slot=_slot(phones[0], caller))
        limits.append(ChargedLimit(key=key, windows=[("region", trickle)]))
    kind = "open" if purpose in policy.open_purposes else "own"
    cooldowns = [
        ChargedLimit(
            key=f"{recipient_limit_key(phone, caller, recipient)}:{kind}",
            windows=[],
            cooldown=policy.cooldown,
            cooldown_window=policy.cooldown_window,
            shown=True,
        )
        for phone in phones
    ]
    if kind == "open":
        return [*limits, *cooldowns, *map(_open_share, limits)]
    return [*limits, *cooldowns]


def _open_share(limit: ChargedLimit) -> ChargedLimit:
    """Return what open purposes may use of a limit: half, rounded up."""
    windows = [(name, Window((w.count + 1) // 2, w.seconds)) for name, w in limit.windows]
    return replace(limit, key=f"{limit.key}:share", windows=windows)


def _under(
    phone: Key, policy: Policy, *, caller: str, recipient: Recipient, client_ip: str | None
) -> list[ChargedLimit]:
    of_range, of_caller = _slot(phone, recipient.block), _slot(phone, caller)

    def key(slot: str, name: str, *parts: str) -> str:
        return keys.limit(name, fingerprint(phone, f"limit/{name}/v1", *parts), slot=slot)

    limits = [
        ChargedLimit(
            key=recipient_limit_key(phone, caller, recipient),
            windows=[("recipient", window) for window in policy.per_recipient],
            shown=True,
        ),
        ChargedLimit(
            key=key(of_range, "recipient_total", recipient.e164),
            windows=[(SHARED, window) for window in policy.per_recipient_total],
        ),
        ChargedLimit(
            key=key(of_range, "number_block", caller, recipient.block),
            windows=[("number_block", window) for window in policy.per_block],
        ),
        ChargedLimit(
            key=key(of_range, "block", recipient.block),
            windows=[(SHARED, window) for window in policy.per_block_total],
        ),
        ChargedLimit(
            key=key(of_caller, "caller", caller),
            windows=[("caller_budget", window) for window in policy.per_caller],
        ),
    ]
    if client_ip is not None:
        limits.append(
            ChargedLimit(
                key=key(of_caller, "client_ip", caller, network(client_ip)),
                windows=[("client_ip", window) for window in policy.per_client_ip],
            )
        )
    return limits


def recipient_limit_key(phone: Key, caller: str, recipient: Recipient) -> str:
    """Return the key of the limit on a caller's sends to one number: what it counts are ids of challenges."""
    digest = fingerprint(phone, "limit/recipient/v1", caller, recipient.e164)
    return keys.limit("recipient", digest, slot=_slot(phone, recipient.block))


def _slot(phone: Key, shared: str) -> str:
    """
    Return the hash tag of the limits that share a number range or a caller.

    A send touches these two slots and its subject's, so on Redis Cluster fewer sends depend on a lost node.
    """
    return fingerprint(phone, "limit/slot/v1", shared)[:16]


def served_recipient(policy: Policy, typed: str, *, caller: str = "") -> Recipient:
    """
    Return the recipient that a typed number means.

    Args:
        policy: Says which regions are served, and which test numbers there are.
        typed: A number as typed.
        caller: Whose test numbers count; none by default.

    Raises:
        DestinationRefused: it is no number that codes are sent to.
    """
    try:
        found = parse_recipient(
            typed,
            regions=policy.regions,
            default_region=policy.default_region,
            allow_fictional=True,
        )
        if found.fictional and not policy.test_numbers.holds(caller, found.e164, now=time.time()):
            # Refused for the reason that any other number of its type has.
            parse_recipient(typed, regions=policy.regions, default_region=policy.default_region)
            raise RecipientRefused(Reason.NOT_A_NUMBER)
    except RecipientRefused as error:
        raise DestinationRefused(error.reason.value, str(error)) from None
    return found
