"""
Every key name of Redis.

What belongs to one subject shares the hash tag `{<bucket>}`, so one script can touch all of it on Redis Cluster too.
Limits over more than one subject end in the hash tag of the number range or of the caller. Personal text is in keys
only as a keyed fingerprint.

    otp:{b}:challenge:<id>        hash    a challenge; a tombstone after its end         retention after its end
    otp:{b}:secret:<id>           hash    sealed recipient, digest of the code           until its expiry or end
    otp:{b}:subject:<tag>         hash    pointers to the live challenges                until the last one's end
    otp:{b}:guard:<tag>:<factor>  hash    wrong codes of the subject                     a year after the last
    otp:{b}:guard:<tag>:all       hash    the same over all factors                      a day after the last
    otp:{b}:timeline:<tag>        list    events of the subject, for the help desk       retention after the last
    otp:{b}:queue                 stream  delivery jobs: ids and callers                 permanent
    otp:{b}:queue-shares          hash    number of those jobs per caller                1 s
    otp:{b}:trace:<id>:<n>        hash    sealed number and digest of a sent code        half an hour; row ids a day
    otp:{b}:events                stream  events for webhooks                            permanent, bounded
    otp:{b}:traces                zset    traces by the time of their next lookup        a day after the newest
    otp:{b}:proof:<digest>        hash    content of an opaque proof                     OTP_PROOF_TTL
    otp:{b}:opt-in:<tag>:<group>  hash    an opt-in of one number and group              until end + retention
    otp:{b}:opt-in-guesses:<tag>  zset    codes typed for one number's opt-ins           OTP_LOCKOUT_LONG's time
    otp:{activations}:due         zset    site activations by time of their next lookup  a day after the newest
    otp:{activations}:trace:<h>   hash    sealed number of a code drawn by the site      half an hour; row ids a day
    otp:{b}:factors:<tag>         hash    authenticators, their seeds sealed             permanent once confirmed
    otp:{b}:recovery:<tag>        hash    digests of recovery codes                      permanent
    otp:{b}:devices:<tag>         hash    remembered devices: generations, sealed names  until the last one's end
    otp:credit                    hash    last reported SMS credit                       a week
    otp:{regions}:codes:<c>:<r>   hash    counts of requested and approved codes         OTP_REGION_PAUSE_FROM's time
    otp:{regions}:paused          hash    paused pairs of caller and region              the same
    otp:turn:<what>               text    lock of a periodic task                        its interval
    otp:{…}:probe                 string  test write before a counted one, in its slot   1 s
    otp:{b}:history               hash    installation id, newest tick, epoch of the fence  permanent
    otp:{b}:tick:<process>        string  newest tick that the process wrote             1 h
    otp:opt-in-seen:<what>        string  observed contradiction to OTP_OPTIN_MODE       a day
    otp:opt-in-refused:<what>     string  the same: no opt-in calls to the site          15 minutes
    otp:opt-in-site-codes:<n>     hash    wrong codes of one number, by the site's count  15 minutes after the last
    otp:outbox-seen:<what>        string  observed behaviour of the site's outbox         a day
    otp:limit:<name>:<digest>…    zset    times of counted calls                         its longest window
    otp:idempotent:<digest>       hash    fingerprint and sealed answer                  24 h
    otp:caller:<name>             hash    scopes and credentials' digests                permanent
    otp:identity:<digest>         string  the caller that a token or certificate names   permanent
    otp:webhooks:<caller>         hash    endpoints, their addresses and secrets sealed  permanent
    otp-audit                     stream  acts of operators and help desks               OTP_AUDIT_DAYS
    otp:{outgoing}:due            zset    endpoints by the time of their next turn       30 days after the last message
    otp:{outgoing}:failing        zset    the same, of endpoints whose last try failed   the same
    otp:{outgoing}:waiting:<e>    zset    messages for an endpoint by due time           the same
    otp:{outgoing}:records:<e>    hash    the messages, sealed, and their results        the same
    otp:{outgoing}:dead:<e>       zset    dead letters by the time they were given up    the same

Refused and unauthenticated calls grow none of them:

    timeline                      begun by accepted calls only; at most 200 lines, at most 10 refusals on end
    guard                         counted only for a try that is evaluated; at most a long window of times
    limit                         charged by accepted calls only, or taken back; at most the count of its longest window
    idempotent                    needs a caller; forgotten when the call is refused without having counted anything
    audit                         needs a caller: looks are limited, unblocks too, erasing nobody writes nothing
    events, outgoing              told of accepted calls and of blocks; at most 2,000 each, 1,000 dead letters
    queue                         at most OTP_QUEUE_LIMIT jobs, by accepted calls
    all others                    written by accepted calls only
"""

import re
from collections.abc import Iterable
from typing import Self

from otp_service.core.challenge import BUCKETS, ChallengeAddress, OptInAddress, SubjectAddress

PERMANENT = (
    re.compile(
        r"otp:\{[0-9a-f]{2}\}:(queue|events|history|factors:[0-9a-f]{32}|recovery:[0-9a-f]{32})"
    ),
    re.compile(r"otp:(caller|webhooks):[a-z0-9-]+"),
    re.compile(r"otp-audit"),
    re.compile(r"otp:identity:[0-9a-f]{64}"),
)

_SUBJECTS = re.compile(
    r"otp:\{([0-9a-f]{2})\}:(?P<kind>[a-z-]+):([0-9a-f]{32})(?P<after>:[a-z0-9-]+)?"
)
_P = "otp:"
_OUTGOING = f"{_P}{{outgoing}}:"
_ACTIVATIONS = f"{_P}{{activations}}:"
_REGIONS = f"{_P}{{regions}}:"


class Movable(str):
    """
    The name of a key of a subject, while more than one route key is live.

    Attributes:
        former: Its names under the other route keys; `Scripts.run` moves what lies there before the script begins.
    """

    __slots__ = ("former",)
    former: tuple[str, ...]

    def __new__(cls, name: str, former: Iterable[str]) -> Self:
        self = super().__new__(cls, name)
        self.former = tuple(former)
        return self


def _tag(bucket: int) -> str:
    return f"{_P}{{{bucket:02x}}}:"


def _of_subject(address: SubjectAddress, before: str, after: str = "") -> str:
    name, *former = (
        f"{_tag(address.bucket)}{before}:{tag}{after}" for tag in (address.tag, *address.former)
    )
    return Movable(name, former) if former else name


def subject_in(name: str) -> tuple[int, str] | None:
    """Return bucket and tag in the name of a key of a subject, or None for any other."""
    match = _SUBJECTS.fullmatch(name)
    return (int(match[1], 16), match[3]) if match else None


def for_subject(name: str, address: SubjectAddress) -> str:
    """Return the name that such a key has under the active route key, with the given one as its former."""
    return Movable(_SUBJECTS.sub(rf"otp:{{\1}}:\g<kind>:{address.tag}\g<after>", name), [name])


def challenge(address: ChallengeAddress) -> str:
    return f"{_tag(address.subject.bucket)}challenge:{address.challenge_id}"


def secret(address: ChallengeAddress) -> str:
    return f"{_tag(address.subject.bucket)}secret:{address.challenge_id}"


def subject(address: SubjectAddress) -> str:
    return _of_subject(address, "subject")


def of_challenge(address: ChallengeAddress) -> list[str]:
    """Return what a script on the life of a challenge begins with."""
    return [challenge(address), secret(address), subject(address.subject)]


def guard(address: SubjectAddress, factor: str) -> str:
    return _of_subject(address, "guard", f":{factor}")


def timeline(address: SubjectAddress) -> str:
    return _of_subject(address, "timeline")


def queue(bucket: int) -> str:
    return f"{_tag(bucket)}queue"


def queue_shares(bucket: int) -> str:
    return f"{_tag(bucket)}queue-shares"


def queues() -> list[str]:
    return [queue(bucket) for bucket in range(BUCKETS)]


def trace(address: ChallengeAddress, generation: int) -> str:
    return f"{_tag(address.subject.bucket)}trace:{address.challenge_id}:{generation}"


def traces(bucket: int) -> str:
    return f"{_tag(bucket)}traces"


def history(bucket: int) -> str:
    return f"{_tag(bucket)}history"


def tick(bucket: int, process: str) -> str:
    return f"{_tag(bucket)}tick:{process}"


def events(bucket: int) -> str:
    return f"{_tag(bucket)}events"


def event_streams() -> list[str]:
    return [events(bucket) for bucket in range(BUCKETS)]


def proof(bucket: int, digest: str) -> str:
    return f"{_tag(bucket)}proof:{digest}"


def attempt(bucket: int, handle: str) -> str:
    return f"{_tag(bucket)}attempt:{handle}"


def limit(name: str, digest: str, *, slot: str = "") -> str:
    """Return the key of a limit; limits with the same `slot` share one on Redis Cluster."""
    return f"{_P}limit:{name}:{digest}" + (f":{{{slot}}}" if slot else "")


def idempotent(digest: str) -> str:
    return f"{_P}idempotent:{digest}"


def factors(address: SubjectAddress) -> str:
    return _of_subject(address, "factors")


def recovery(address: SubjectAddress) -> str:
    return _of_subject(address, "recovery")


def devices(address: SubjectAddress) -> str:
    return _of_subject(address, "devices")


def outbox_seen(what: str) -> str:
    return f"{_P}outbox-seen:{what}"


def opt_in_seen(what: str) -> str:
    return f"{_P}opt-in-seen:{what}"


def opt_in_refused(what: str) -> str:
    return f"{_P}opt-in-refused:{what}"


def opt_in(address: OptInAddress) -> str:
    return _of_subject(address.number, "opt-in", f":{address.group_id or 0}")


def opt_in_guesses(number: SubjectAddress) -> str:
    return _of_subject(number, "opt-in-guesses")


def site_codes(number: str) -> str:
    return f"{_P}opt-in-site-codes:{number}"


def activation(handle: str) -> str:
    return f"{_ACTIVATIONS}trace:{handle}"


def region_codes(caller_name: str, region: str) -> str:
    return f"{_REGIONS}codes:{caller_name}:{region}"


def caller(name: str) -> str:
    return f"{_P}caller:{name}"


def identity(digest: str) -> str:
    return f"{_P}identity:{digest}"


def webhooks(caller_name: str) -> str:
    return f"{_P}webhooks:{caller_name}"


def waiting(endpoint: str) -> str:
    return f"{_OUTGOING}waiting:{endpoint}"


def records(endpoint: str) -> str:
    return f"{_OUTGOING}records:{endpoint}"


def dead(endpoint: str) -> str:
    return f"{_OUTGOING}dead:{endpoint}"


def turn(what: str) -> str:
    return f"{_P}turn:{what}"


def probe(key: str) -> str:
    """Return the key of the probe in the slot of another key."""
    tag = re.search(r"\{([^}]+)\}", key)
    return f"{_P}{{{tag[1] if tag else key}}}:probe"


ALL = f"{_P}*"
OFF = ":off"  # after an endpoint's id: the field that says why nothing is sent to it
CALLERS = f"{_P}caller:*"
FACTORS = f"{_P}{{*}}:factors:*"
WEBHOOKS = f"{_P}webhooks:*"
DUE = f"{_OUTGOING}due"
FAILING = f"{_OUTGOING}failing"
ACTIVATIONS = f"{_ACTIVATIONS}due"
CREDIT = f"{_P}credit"
PAUSED = f"{_REGIONS}paused"
AUDIT = "otp-audit"  # not below `otp:`: there our own user may delete, and here it may not
