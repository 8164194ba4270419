"""
Re-encryption of stored data with the active keys, so that older ones can be retired.

All of it can be done again and broken off at any time: what is right already is left alone, and nothing that somebody
changed meanwhile is overwritten.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from otp_service.core.challenge import SubjectAddress, is_named_by
from otp_service.core.keyring import Key, Keyring, Kind
from otp_service.core.seal import SealBroken, seal, unseal
from otp_service.store.reencryption import PendingEvent, ReencryptionScan, Sealed, SubjectKey

_TOLD_EVERY = 1000
_LOOKS = 10


@dataclass(slots=True)
class Resealed:
    """
    Counts of re-encrypted values.

    Attributes:
        done: What was sealed anew or moved, counted in words.
        lost: Where lies what no key of the ring opens or recognises.
        missed: Whether something changed while it was sealed anew: then it has to be looked at again.
    """

    done: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    missed: bool = False


async def reseal(
    lasting: ReencryptionScan,
    keyring: Keyring,
    progress: Callable[[int], None] = lambda _: None,
    *,
    erasing: Sequence[Key] = (),
) -> Resealed:
    """
    Seal anew what lasts under an older seal key, and move what lies under an older route key.

    Args:
        lasting: Where it lies.
        keyring: With the keys that are to be active; every process must have read them.
        progress: Told now and then how much has been looked at.
        erasing: Retired route keys: what they named is found by nobody any more, and erased.

    Raises:
        Unavailable: Redis; what was done is done.
    """
    all_of_it = Resealed()
    for _ in range(_LOOKS):
        once = await _once(lasting, keyring, progress, erasing)
        all_of_it.done += once.done
        all_of_it.lost = once.lost
        if not (once.done or once.missed):
            break  # else once more: what was moved or changed while it was looked for is met now
    return all_of_it


async def dependents(
    lasting: ReencryptionScan, keyring: Keyring, kind: Kind, kid: str
) -> Counter[str]:
    """Return what lasts under a seal or route key, counted in words. Raises Unavailable."""
    counted: Counter[str] = Counter()
    async for found in lasting.look(keyring):
        match found:
            case SubjectKey(key=key, kid=by) if kind is Kind.ROUTE and by == kid:
                counted[_word(key)] += 1
            case Sealed(what=what) if kind is Kind.SEAL and _kid(found.sealed) == kid:
                counted[what] += 1
            case PendingEvent() if kind is Kind.SEAL and _kid(found.sealed) == kid:
                counted["event that no worker has read"] += 1
    return counted


async def _once(
    lasting: ReencryptionScan,
    keyring: Keyring,
    progress: Callable[[int], None],
    erasing: Sequence[Key],
) -> Resealed:
    result, looked = Resealed(), 0
    naming, sealing = keyring.active(Kind.ROUTE).kid, keyring.active(Kind.SEAL).kid
    async for found in lasting.look(keyring):
        looked += 1
        if looked % _TOLD_EVERY == 0:
            progress(looked)
        match found:
            case SubjectKey(subject=None) if any(is_named_by(key, found.tag) for key in erasing):
                await lasting.erase(found)
                result.done[f"{_word(found.key)} of nobody, erased"] += 1
            case SubjectKey(key=key, subject=None):
                result.lost.append(f"{key}: named by no live route key")
            case SubjectKey(key=key, subject=SubjectAddress() as subject, kid=kid) if kid != naming:
                await lasting.move(found, subject)
                result.done[_word(key)] += 1
            case Sealed(belongs_to=str()) if _kid(found.sealed) != sealing:
                await _reseal(lasting, keyring, found, result)
    return result


async def _reseal(
    lasting: ReencryptionScan, keyring: Keyring, found: Sealed, result: Resealed
) -> None:
    owner = str(found.belongs_to)
    try:
        text = unseal(keyring, found.sealed, belongs_to=owner)
    except SealBroken as error:
        result.lost.append(f"{found.key} {found.name}: {error}")
        return
    # What has changed meanwhile is left for the next look.
    if await lasting.replace(found, seal(keyring, text, belongs_to=owner)):
        result.done[found.what] += 1
    else:
        result.missed = True


def _kid(sealed: str) -> str:
    return sealed.partition(".")[0]


def _word(key: str) -> str:
    """What a subject's key holds: the word in its name."""
    return key.split(":")[2]
