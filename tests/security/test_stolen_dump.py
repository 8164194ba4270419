"""
Who steals what Redis wrote to its disk, and not the key ring, learns no code from it (E12).

The thief starts a server of his own on the stolen files and tries codes against what he finds there, with all that the
files and the source of this service tell him. With the ring the same search finds the code: that is the control.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from otp_service.cli import valkey
from otp_service.core import codes, keyring
from otp_service.core.codes import CodeContext
from otp_service.core.keyring import Key, Keyring, Kind
from tests.conftest import Sandbox, base_environment, running_service

GUESSES = 30  # beside the right one


@dataclass
class Loot:
    """What the files hold of one challenge that is alive, and what only the victims know."""

    digest: str
    kid: str
    context: CodeContext
    code: str
    texts: set[bytes]

    def guesses(self) -> list[str]:
        """Codes around the right one, as who goes through all of them gets to it."""
        size = 10 ** len(self.code)
        first = int(self.code) - GUESSES // 2
        return [f"{(first + i) % size:0{len(self.code)}d}" for i in range(GUESSES + 1)]

    def found(self, key: Key) -> list[str]:
        """The guesses that match under this pepper."""
        return [
            guess
            for guess in self.guesses()
            if codes.matches(self.digest, codes.message(key, self.context, guess))
        ]


@pytest.fixture
async def loot(tmp_path: Path, sandbox: Sandbox, ring: str) -> Loot:
    """A login under way, with four digits, and a copy of the files taken meanwhile."""
    victim = valkey.start(tmp_path / "victim")
    with ExitStack() as stack:
        stack.callback(victim.kill)
        short = {"OTP_CODE_DIGITS": "4", "OTP_ALLOW_SHORT_CODES": "true"}
        environment = {**base_environment(victim.url, sandbox.url, ring), **short}
        async with running_service(environment, sandbox) as service:
            challenge = await service.request(subject="ann")
            code = service.code()
            with redis.Redis.from_url(victim.url) as client:
                assert client.execute_command("WAITAOF", 1, 0, 5000)[0] == 1
            shutil.copytree(tmp_path / "victim", tmp_path / "thief")
        thief = valkey.start(tmp_path / "thief")
        stack.callback(thief.kill)
        with redis.Redis.from_url(thief.url) as client:
            return of_dump(client, challenge["challenge_id"], code)


def of_dump(client: redis.Redis, challenge_id: str, code: str) -> Loot:
    """Read what there is of that challenge, and every value that might be a key."""
    hashes = [name for name in client.scan_iter(count=1000) if client.type(name) == b"hash"]
    values = {name: client.hgetall(name) for name in hashes}
    [open_] = [v for name, v in values.items() if f":challenge:{challenge_id}".encode() in name]
    [secret] = [v for name, v in values.items() if f":secret:{challenge_id}".encode() in name]
    context = CodeContext(
        open_[b"caller"].decode(),
        open_[b"purpose"].decode(),
        challenge_id,
        int(open_[b"generation"]),
        open_.get(b"binding", b"").decode(),
    )
    texts = {value for fields in values.values() for value in fields.values()}
    return Loot(secret[b"digest"].decode(), secret[b"kid"].decode(), context, code, texts)


def made_up_keys(loot: Loot) -> Iterator[Key]:
    """Peppers that somebody without the ring can think of."""
    yield Key(loot.kid, b"\0" * 32)
    yield Key(loot.kid, b"")
    yield Key(loot.kid, loot.kid.encode())
    other = Keyring.from_json(keyring.generate(created_at="2026-11-23T00:00:00Z"))
    yield other.active(Kind.PEPPER)


async def test_without_the_pepper_no_code_matches_not_even_the_right_one(loot: Loot) -> None:
    """E12: with everything else that is bound into it known."""
    assert loot.code in loot.guesses()
    assert [loot.found(key) for key in made_up_keys(loot)] == [[]] * 4


async def test_without_the_pepper_no_plain_hash_of_the_code_matches(loot: Loot) -> None:
    """E12: nor is it the code itself, or a text with it, that was hashed."""
    for guess in loot.guesses():
        assert not codes.matches(loot.digest, guess.encode())
    assert not codes.matches(loot.digest, f"{loot.context.challenge_id}{loot.code}".encode())


async def test_with_the_pepper_the_same_search_finds_the_code(loot: Loot, ring: str) -> None:
    """The control of the two above, and why the ring is kept apart from Redis and its backups."""
    pepper = Keyring.from_json(ring).find(Kind.PEPPER, loot.kid)
    assert pepper is not None
    assert loot.found(pepper) == [loot.code]


async def test_no_value_of_the_dump_is_a_pepper_for_it(loot: Loot) -> None:
    """E12: the right code under each of the values that lie beside it."""
    assert len(loot.texts) > 10
    for text in loot.texts:
        message = codes.message(Key(loot.kid, text), loot.context, loot.code)
        assert not codes.matches(loot.digest, message)
