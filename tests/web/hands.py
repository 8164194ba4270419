"""Direct hands in Redis, for what a test can't bring about by calls alone."""

from typing import Any

from otp_service.core import codes
from otp_service.core.challenge import ChallengeAddress, address_of
from otp_service.core.codes import CodeContext
from otp_service.core.keyring import Kind
from otp_service.store import keys
from tests.conftest import Service


def redis(service: Service) -> Any:
    """The service's own client."""
    return service.container.scripts.connection.client


def address(service: Service, challenge: dict[str, Any]) -> ChallengeAddress:
    """Where the challenge lies."""
    found = address_of(service.settings.ring(), challenge["challenge_id"])
    assert found is not None
    return found


async def plant(
    service: Service,
    challenge: dict[str, Any],
    code: str,
    *,
    caller: str = "shop",
    purpose: str = "login",
    generation: int = 1,
) -> None:
    """
    Put the digest of this code where a delivery would have put that of the code it drew.

    For challenges without a binding. So a wrong guess needs no SMS, and a code can be one that is seldom drawn.
    """
    ring = service.settings.ring()
    pepper = ring.active(Kind.PEPPER)
    context = CodeContext(caller, purpose, challenge["challenge_id"], generation, "")
    message = codes.message(pepper, context, code)
    digest = codes.digest(message, service.settings.policy().hash_cost)
    where = keys.secret(address(service, challenge))
    await redis(service).hset(where, mapping={"digest": digest, "kid": pepper.kid})
