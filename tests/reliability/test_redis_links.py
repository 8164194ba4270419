"""
What lies between the service and Redis is slow and cuts everything to pieces, or wants another password or certificate.

A slow link makes slow answers and right ones. Who replaces a password or certificate restarts nothing: each new
connection is opened with what holds then.
"""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from otp_service.cli.valkey import Valkey
from tests.conftest import Sandbox, Service, base_environment, running_service
from tests.reliability.harness import count, eventually, number
from tests.reliability.links import by_way_of, link_to
from tests.reliability.own_redis import Own, are_unavailable, is_ready

# --- Slow, and in pieces ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "about",
    [{"piece": 1}, {"delay": (0.01, 0.06)}, {"piece": 7, "delay": (0.0, 0.03)}],
    ids=["single bytes", "late by turns", "both"],
)
async def test_a_link_that_is_slow_and_cuts_answers_to_pieces_makes_no_answer_wrong(
    about: dict[str, object], environment: dict[str, str], sandbox: Sandbox
) -> None:
    """X10: many people at once, each gets its own answers; a code is accepted once."""
    wide = {"OTP_REDIS_TIMEOUT": "10", "OTP_LIMIT_NUMBER_RANGE": "1000/10m"}
    async with link_to(environment["OTP_REDIS_URL"], **about) as link:
        slow = {**environment, **wide, "OTP_REDIS_URL": by_way_of(link.target, link)}
        async with running_service(slow, sandbox) as service:
            people = [f"user-{i}" for i in range(4)]
            opened = await asyncio.gather(
                *(
                    service.request(to=number(i), subject=who, wait=60)
                    for i, who in enumerate(people)
                )
            )
            assert [each["delivery"]["status"] for each in opened] == ["accepted"] * len(people)
            for i, challenge in enumerate(opened):
                wrong = await service.verify(challenge, service.wrong_code(number(i)))
                assert wrong.json()["attempts_remaining"] == 4
            answers = await asyncio.gather(
                *(
                    service.verify(challenge, service.code(number(i)))
                    for i, challenge in enumerate(opened)
                    for _ in range(3)
                )
            )
            assert count(answers)["200"] == len(people)
            assert set(count(answers)) <= {"200", "challenge_used", "challenge_exhausted"}
            proven = [a.json()["subject"] for a in answers if a.status_code == 200]
            assert proven == people
            looks = await asyncio.gather(*(service.look(challenge) for challenge in opened))
            assert [(look["challenge_id"], look["status"]) for look in looks] == [
                (challenge["challenge_id"], "approved") for challenge in opened
            ]
        assert link.pieces > (2000 if link.piece else 50)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_connections_that_ended_while_nobody_used_them_cost_no_call(
    reset: bool, environment: dict[str, str], sandbox: Sandbox
) -> None:
    """X09, X19: nothing was sent on them, so they are opened anew, for every one of many calls at once."""
    async with link_to(environment["OTP_REDIS_URL"]) as link:
        behind = {**environment, "OTP_REDIS_URL": by_way_of(link.target, link)}
        async with running_service({**behind, "OTP_DELIVER": "false"}, sandbox) as service:
            path = "/readyz"  # which asks Redis to write
            for _ in range(2):
                answers = await asyncio.gather(*(service.http.get(path) for _ in range(24)))
                assert [answer.status_code for answer in answers] == [200] * 24
                assert (opened := len(link._clients)) > 4
                await link.cut(reset=reset)
                await eventually(lambda: not link._clients, "all are gone")
            assert opened > 4


# --- Another password ------------------------------------------------------------------------------------------------


def set_password(server: Valkey, user: str, *rules: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", user, *rules)


def cut_off(server: Valkey, user: str) -> None:
    """End every connection of that user, as a restart of Redis would."""
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("CLIENT", "KILL", "USER", user)


def url_of(server: Valkey, user: str, password: str) -> str:
    return f"redis://{user}:{password}@127.0.0.1:{server.port}/0"


@asynccontextmanager
async def service_by_file(
    server: Valkey, file: Path, sandbox: Sandbox, ring: str
) -> AsyncIterator[Service]:
    environment = base_environment("", sandbox.url, ring)
    del environment["OTP_REDIS_URL"]
    async with running_service({**environment, "OTP_REDIS_URL_FILE": str(file)}, sandbox) as found:
        yield found


async def logs_in(service: Service, i: int) -> None:
    challenge = await service.request(to=number(i))
    assert challenge["delivery"]["status"] == "accepted"
    assert (await service.verify(challenge, service.code(number(i)))).status_code == 200


async def test_a_password_that_is_replaced_while_both_hold_refuses_nobody(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X19: the new one beside the old, the file, then the old one goes. No restart."""
    server, file = own_valkey(), tmp_path / "redis_url"
    set_password(server, "otp", "on", ">first", "~*", "&*", "+@all")
    file.write_text(url_of(server, "otp", "first") + "\n")
    async with service_by_file(server, file, sandbox, ring) as service:
        await logs_in(service, 0)
        open_ = await service.request(to=number(1))
        set_password(server, "otp", ">second")
        await logs_in(service, 2)
        file.write_text(url_of(server, "otp", "second") + "\n")
        set_password(server, "otp", "<first")
        await logs_in(service, 3)

        cut_off(server, "otp")
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        await logs_in(service, 4)
        assert (await service.verify(open_, service.code(number(1)))).status_code == 200


async def test_another_user_and_password_at_once_is_a_503_until_the_file_names_them(
    own_valkey: Own, sandbox: Sandbox, ring: str, tmp_path: Path
) -> None:
    """X19: nothing is accepted meanwhile, nothing is lost, and no restart is needed."""
    server, file = own_valkey(), tmp_path / "redis_url"
    set_password(server, "otp", "on", ">first", "~*", "&*", "+@all")
    file.write_text(url_of(server, "otp", "first"))
    async with service_by_file(server, file, sandbox, ring) as service:
        challenge = await service.request()
        code = service.code()
        set_password(server, "otp2", "on", ">second", "~*", "&*", "+@all")
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "DELUSER", "otp")
        are_unavailable([await service.verify(challenge, code) for _ in range(2)])
        assert not await is_ready(service)
        for unreadable in ("", "redis://[half", "nonsense"):
            file.write_text(unreadable)
            are_unavailable([await service.verify(challenge, code)])
        file.unlink()
        are_unavailable([await service.verify(challenge, code)])

        file.write_text(url_of(server, "otp2", "second"))
        await eventually(lambda: is_ready(service), "ready again", seconds=30)
        assert (await service.verify(challenge, code)).status_code == 200
        await logs_in(service, 1)


async def test_a_password_in_the_environment_is_replaced_by_a_restart_only(
    own_valkey: Own, sandbox: Sandbox, ring: str
) -> None:
    """X19, the control: what nobody can change under a process is not read again."""
    server = own_valkey()
    set_password(server, "otp", "on", ">first", "~*", "&*", "+@all")
    first = base_environment(url_of(server, "otp", "first"), sandbox.url, ring)
    async with running_service(first, sandbox) as service:
        challenge = await service.request()
        code = service.code()
        set_password(server, "otp", ">second", "<first")
        cut_off(server, "otp")
        are_unavailable([await service.verify(challenge, code)])
        assert not await is_ready(service)
    second = {**first, "OTP_REDIS_URL": url_of(server, "otp", "second")}
    async with running_service(second, sandbox) as service:
        assert (await service.verify(challenge, code)).status_code == 200


# --- Another certificate ---------------------------------------------------------------------------------------------


class Authority:
    """Signs certificates for 127.0.0.1; `file` is its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._made(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def _made(self, who: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def certificate(self, name: str) -> Path:
        """A new key and certificate of a server, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = self._made(who, key).add_extension(names, critical=False)
        pem = self._directory / f"{name}.server.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return pem


async def test_another_certificate_of_the_same_authority_needs_no_restart(
    environment: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    """X19: and one of another authority is a 503, for as long as it is there."""
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    presented = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    presented.load_cert_chain(ours.certificate("first"))
    async with link_to(environment["OTP_REDIS_URL"], tls=presented) as link:
        url = by_way_of(link.target, link).replace("redis://", "rediss://")
        secure = {**environment, "OTP_REDIS_URL": f"{url}?ssl_ca_certs={ours.file}"}
        async with running_service(secure, sandbox) as service:
            await logs_in(service, 0)
            challenge = await service.request(to=number(1))
            code = service.code(number(1))

            presented.load_cert_chain(ours.certificate("second"))
            await link.cut()
            await eventually(lambda: is_ready(service), "ready again", seconds=30)
            await logs_in(service, 2)

            presented.load_cert_chain(other.certificate("third"))
            await link.cut()
            are_unavailable([await service.verify(challenge, code) for _ in range(2)])
            assert not await is_ready(service)

            presented.load_cert_chain(ours.certificate("fourth"))
            await eventually(lambda: is_ready(service), "ready again", seconds=30)
            assert (await service.verify(challenge, code)).status_code == 200
