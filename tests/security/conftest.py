"""What the attacks run against."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial

import pytest

from otp_service.connections import open_redis
from otp_service.core.credentials import SCOPES
from otp_service.core.identities import Identity, bind
from otp_service.settings.environment import load
from otp_service.settings.table import Settings
from otp_service.store.callers import CallerRecord, Callers
from tests.conftest import Service, Starter
from tests.security.issuer import Issuer, running_issuer


@pytest.fixture
async def quiet(start_service: Starter) -> Service:
    """The service, which delivers nothing: what is counted is counted before any code is drawn."""
    return await start_service(OTP_DELIVER="false")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer of callers' tokens."""
    with running_issuer() as found:
        yield found


Register = Callable[..., Awaitable[None]]


@pytest.fixture
def register(environment: dict[str, str]) -> Register:
    """Create a caller that is known by these: `await register("shop", subject("svc-shop"), scopes=…)`."""

    return partial(register_caller, load(environment))


async def register_caller(
    settings: Settings, name: str, *given: Identity, scopes: Iterable[str] = SCOPES
) -> None:
    """Create a caller with these identities and no credential."""
    connection = open_redis(settings)
    try:
        callers = Callers(connection)
        bound = tuple(bind(settings.ring(), name, one) for one in given)
        await callers.replace(CallerRecord(name, frozenset(scopes), 0, (), identities=bound))
        for one in given:
            assert await callers.bind(one, name) is None
    finally:
        await connection.aclose()
