"""
Which shared resources each operation takes, and what bounds each of them.

The table below is compared with what the operations really do: the keys that their scripts name, their hashes, their
connections to the site. A new operation needs a row, a new kind of key a resource, and each resource a test that shows
its bound.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from otp_service.web.routes import OPERATIONS
from tests.conftest import Sandbox
from tests.reliability.harness import Command, Gate
from tests.reliability.keyed_calls import KEYED, UNKEYED, Flow, Prepare, Ready, flow_through
from tests.reliability.links import by_way_of, link_to

TESTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class Resource:
    """
    What callers share.

    Attributes:
        bound: What limits it: a setting, or a number with its place.
        shown_by: The test that shows the limit, below `tests/`.
        kinds: The kinds of Redis keys that it is made of.
    """

    bound: str
    shown_by: str
    kinds: frozenset[str] = frozenset()


def resource(bound: str, shown_by: str, *kinds: str) -> Resource:
    return Resource(bound, shown_by, frozenset(kinds))


# Any call may take these.
COMMON = {
    "client connection": resource(
        "OTP_HTTP_CONNECTIONS, and 10 s for a head, a body and a response",
        "web/test_connections.py::test_connection_over_the_limit_gets_503",
    ),
    "event loop": resource(
        "16 KiB and 256 members of a body",
        "web/test_body.py::test_thousands_of_unknown_fields_get_a_short_refusal",
    ),
    "Redis connection": resource(
        "OTP_REDIS_CONNECTIONS and OTP_REDIS_TIMEOUT",
        "reliability/test_redis_faults.py::test_a_frozen_redis_is_a_503_within_the_deadline",
    ),
    "caller records": resource(
        "one for each caller that an operator made",
        "security/test_exhaustion.py::test_every_key_of_a_whole_life_has_an_end",
        "caller",
        "identity",
        "webhooks",
    ),
    "history": resource(
        "one record a server, and a tick of each process that ends an hour after it",
        "reliability/test_history.py::test_first_start_needs_no_ceremony",
        "history",
        "tick",
    ),
    # A process counts by itself, and writes now and then.
    "region counts": resource(
        "one for each caller and region, with an end",
        "security/test_region_pauses.py::test_what_it_counts_has_an_end_and_names_no_person",
        "regions",
    ),
}
RESOURCES = {
    "verification hash": resource(
        "OTP_HASH_THREADS, OTP_HASH_QUEUE and OTP_CALLER_SHARE",
        "security/test_exhaustion.py::test_a_full_hash_pool_refuses_at_once",
    ),
    "issuing hash": resource(
        "ISSUING_CAPACITY sets, on half of the threads",
        "security/test_exhaustion.py::test_issuing_leaves_hash_capacity_for_verifications",
    ),
    "QR code": resource(
        "qr_codes.CAPACITY and OTP_CALLER_SHARE, on one thread",
        "factors/test_qr_capacity.py::test_full_capacity_refuses_the_next_code",
    ),
    "site connection": resource(
        "OTP_OPTIN_CONCURRENCY and OTP_CALLER_SHARE; codes have connections of their own",
        "optin/test_opt_in_load.py::test_sign_ups_beyond_the_bound_are_503_at_once",
    ),
    "delivery queue": resource(
        "a length, and OTP_CALLER_SHARE of it",
        "security/test_fair_queues.py::test_a_caller_gets_half_of_a_queue_beside_others",
        "queue",
        "queue-shares",
    ),
    "send limits": resource(
        "the OTP_LIMIT_ settings",
        "security/test_limits.py::test_refused_calls_leave_no_keys_behind",
        "limit",
    ),
    "challenges": resource(
        "three live ones of a subject, and a day for tombstones",
        "web/test_otp.py::test_three_bindings_live_side_by_side_and_a_fourth_waits",
        "challenge",
        "secret",
        "subject",
    ),
    "failure counts": resource(
        "OTP_LOCKOUT_SHORT, OTP_LOCKOUT_LONG and OTP_LOCKOUT_CONSECUTIVE",
        "security/test_exhaustion.py::test_no_call_costs_more_the_longer_somebody_has_been_at_it",
        "guard",
    ),
    "kept answers": resource(
        "one for each key and call, with an end",
        "security/test_exhaustion.py::test_every_key_of_a_whole_life_has_an_end",
        "idempotent",
        "attempt",
    ),
    "proofs": resource(
        "one for each success, with an end",
        "security/test_exhaustion.py::test_every_key_of_a_whole_life_has_an_end",
        "proof",
    ),
    "authenticators": resource(
        "MAX_FACTORS of a subject",
        "factors/test_totp.py::test_an_eleventh_authenticator_is_refused",
        "factors",
    ),
    "recovery codes": resource(
        "ten of a subject",
        "factors/test_recovery_codes.py::test_a_new_set_voids_the_old_one",
        "recovery",
    ),
    "devices": resource(
        "MAX_DEVICES of a subject",
        "devices/test_remembered_devices.py::"
        "test_the_eleventh_device_takes_the_place_of_the_one_longest_not_used",
        "devices",
    ),
    "opt-ins": resource(
        "one for each number, with an end",
        "optin/test_opt_in_load.py::test_sign_ups_beyond_the_bound_are_503_at_once",
        "opt-in",
        "opt-in-guesses",
        "opt-in-refused",
        "opt-in-seen",
        "activations",
    ),
    "timeline": resource(
        "a length, kept by every writer",
        "operators/test_timeline.py::test_every_writer_trims_a_timeline",
        "timeline",
    ),
    "audit log": resource(
        "a limit of acts for each person, and retention",
        "operators/test_unblock.py::test_a_person_is_freed_so_often_a_day_and_not_more",
        "audit",
    ),
    "webhook messages": resource(
        "a length; the oldest go",
        "events/test_webhook_retries.py::test_a_storm_for_a_dead_endpoint_is_bounded_and_the_oldest_go",
        "events",
    ),
}
SENDING = {
    "send limits",
    "delivery queue",
    "challenges",
    "failure counts",
    "kept answers",
    "timeline",
    "webhook messages",
}
VERIFYING = {
    "verification hash",
    "challenges",
    "failure counts",
    "kept answers",
    "proofs",
    "timeline",
    "webhook messages",
}
# What each operation takes beside that.
ROWS: dict[str, set[str]] = {
    "requestCode": SENDING,
    "verifyCode": VERIFYING,
    "resendCode": SENDING,
    "cancelChallenge": {"challenges", "timeline"},
    "getChallenge": {"challenges"},
    "requestOptIn": {*SENDING, "site connection", "opt-ins"},
    "verifyOptIn": {*VERIFYING, "site connection", "opt-ins"},
    "unsubscribe": {"site connection", "opt-ins"},
    "enrollTotp": {"QR code", "authenticators", "kept answers", "timeline"},
    "verifyTotp": {
        "authenticators",
        "failure counts",
        "kept answers",
        "proofs",
        "timeline",
        "webhook messages",
    },
    "confirmTotp": {
        "authenticators",
        "failure counts",
        "kept answers",
        "timeline",
        "webhook messages",
    },
    "listFactors": {"authenticators", "recovery codes"},
    # One script renames and removes, and names the keys of both.
    "renameFactor": {"authenticators", "devices", "timeline", "webhook messages"},
    "removeFactor": {"authenticators", "devices", "timeline", "webhook messages"},
    "removeFactorWithProof": {
        "authenticators",
        "devices",
        "proofs",
        "timeline",
        "webhook messages",
    },
    "issueRecoveryCodes": {
        "issuing hash",
        "send limits",
        "authenticators",
        "recovery codes",
        "kept answers",
        "timeline",
        "webhook messages",
    },
    "redeemRecoveryCode": {
        "verification hash",
        "recovery codes",
        "failure counts",
        "kept answers",
        "proofs",
        "timeline",
        "webhook messages",
    },
    "rememberDevice": {"devices", "kept answers", "proofs", "timeline", "webhook messages"},
    "verifyDevice": {"devices", "kept answers", "proofs", "timeline", "webhook messages"},
    "listDevices": {"devices"},
    "forgetDevices": {"devices", "timeline", "webhook messages"},
    "forgetDevice": {"devices", "timeline", "webhook messages"},
    "introspectProof": {"proofs"},
    "readTimeline": {"send limits", "challenges", "failure counts", "timeline", "audit log"},
    "unblockSubject": {
        "send limits",
        "failure counts",
        "kept answers",
        "timeline",
        "audit log",
    },
    "eraseSubject": {
        "challenges",
        "failure counts",
        "authenticators",
        "recovery codes",
        "devices",
        "kept answers",
        "timeline",
        "audit log",
    },
}


def test_runbook_names_each_setting_that_bounds_a_resource() -> None:
    bounds = " ".join(found.bound for found in (COMMON | RESOURCES).values())
    runbook = (TESTS.parent / "docs" / "operations.md").read_text("utf-8")

    assert [name for name in re.findall(r"OTP_[A-Z_]*[A-Z]\b", bounds) if name not in runbook] == []


# Calls that succeed


async def get_challenge(flow: Flow) -> Ready:
    subject, to = flow.person()
    challenge = await flow.near.request(to=to, subject=subject)
    return Ready(f"/otp/{challenge['challenge_id']}", {}, method="GET")


async def unsubscribe(flow: Flow) -> Ready:
    _, to = flow.person()
    return Ready("/optin/unsubscribe", {"name": "A B", "mobile": to})


async def list_factors(flow: Flow) -> Ready:
    subject, _ = flow.person()
    await flow.app(subject)
    return Ready(f"/factors?subject={subject}", {}, method="GET")


async def rename_factor(flow: Flow) -> Ready:
    subject, _ = flow.person()
    found = await flow.pending_app(subject)
    return Ready(f"/factors/{found['factor_id']}", {"name": "mine"}, method="PATCH")


async def remove_factor_with_proof(flow: Flow) -> Ready:
    redeemed = await KEYED["redeemRecoveryCode"](flow)
    proven = await redeemed.call(flow.near, None)
    found = await flow.pending_app(redeemed.body["subject"])
    return Ready(f"/factors/{found['factor_id']}/remove", {"proof": proven.json()["proof"]})


async def list_devices(flow: Flow) -> Ready:
    subject, to = flow.person()
    await flow.device(subject, to)
    return Ready(f"/devices?subject={subject}", {}, method="GET")


async def forget_devices(flow: Flow) -> Ready:
    listed = await list_devices(flow)
    return Ready(listed.path, {}, method="DELETE")


async def forget_device(flow: Flow) -> Ready:
    listed = await list_devices(flow)
    [device] = (await listed.call(flow.near, None)).json()["devices"]
    return Ready(f"/devices/{device['device_id']}", {}, method="DELETE")


async def read_timeline(flow: Flow) -> Ready:
    subject, to = flow.person()
    await flow.near.request(to=to, subject=subject)
    return Ready("/timeline", {"subject": subject})


async def unblock_subject(flow: Flow) -> Ready:
    """One who is blocked."""
    subject, _ = flow.person()
    await flow.app(subject)
    for n in range(10):
        await flow.near.post(
            "/factors/totp/verify", subject=subject, code=f"{n:06d}", purpose="login"
        )
    body = {"subject": subject, "reason": "asked by phone", "factor": "totp"}
    return Ready("/subjects/unblock", body)


CALLS: dict[str, Prepare] = {
    **KEYED,
    **UNKEYED,
    "getChallenge": get_challenge,
    "unsubscribe": unsubscribe,
    "listFactors": list_factors,
    "renameFactor": rename_factor,
    "removeFactorWithProof": remove_factor_with_proof,
    "listDevices": list_devices,
    "forgetDevices": forget_devices,
    "forgetDevice": forget_device,
    "readTimeline": read_timeline,
    "unblockSubject": unblock_subject,
}


def kinds(command: Command) -> Iterator[str]:
    """The kinds of the keys that a command names; of those with a tag of their own, that tag."""
    for argument in command[1:]:
        # Each process reads the newest entry by itself; operations append one.
        if argument == b"otp-audit" and any(b'"keep_ms"' in other for other in command):
            yield "audit"
        found = re.match(rb"otp:(?:\{([a-z]+)\}|\{[0-9a-f]{2}\}:([a-z-]+)|([a-z-]+))", argument)
        if found is not None:
            yield next(part for part in found.groups() if part).decode()


def hashes(use: str) -> float:
    return REGISTRY.get_sample_value("otp_hashes_total", {"use": use}) or 0


def test_every_operation_has_a_row() -> None:
    assert set(ROWS) == {operation.name for operation in OPERATIONS} == set(CALLS)
    assert set().union(*ROWS.values()) == set(RESOURCES)


@pytest.mark.parametrize("name", COMMON | RESOURCES)
def test_every_bound_is_shown_by_a_test(name: str) -> None:
    file, _, test = (COMMON | RESOURCES)[name].shown_by.partition("::")
    assert re.search(rf"^(async )?def {test}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE)


async def test_operations_take_what_their_rows_say(
    gate: tuple[Gate, dict[str, str]], sandbox: Sandbox, valkey_url: str
) -> None:
    """One call of each, which succeeds; a delivery is the worker's, whose process is another."""
    all_of_them = COMMON | RESOURCES
    owner = {kind: name for name, about in all_of_them.items() for kind in about.kinds}
    async with link_to(sandbox.url) as link:
        site = by_way_of(f"{sandbox.url}/", link)
        async with flow_through(gate, sandbox, valkey_url, OTP_WSMS_URL=site) as flow:
            taken: dict[str, set[str]] = {}
            for operation in OPERATIONS:
                ready = await CALLS[operation.name](flow)
                seen: set[str] = set()

                def note(command: Command, seen: set[str] = seen) -> bool:
                    seen.update(kinds(command))
                    return False

                flow.gate.add(note, "reset_after")
                before = link.pieces, hashes("verify"), hashes("issue")
                answer = await ready.call(flow.far, "key" if operation.idempotent else None)
                assert answer.status_code < 300, (operation.name, answer.text)
                flow.gate.release()
                found = {owner[kind] for kind in seen} - set(COMMON)
                after = link.pieces, hashes("verify"), hashes("issue")
                uses = ("site connection", "verification hash", "issuing hash")
                found |= {uses[n] for n in range(3) if after[n] != before[n]}
                found |= {"QR code"} if "qr_svg" in answer.text else set()
                taken[operation.name] = found
    assert taken == ROWS
