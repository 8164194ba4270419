"""All that `otp-service doctor` looks at."""

from otp_service.connections import load_catalogue, open_redis, site_client
from otp_service.doctor.finding import Finding
from otp_service.doctor.issuer import inspect_issuer
from otp_service.doctor.process import (
    inspect_argon2,
    inspect_messages,
    inspect_region_pause,
    inspect_state_dir,
    inspect_test_numbers,
)
from otp_service.doctor.redis import inspect_redis
from otp_service.doctor.secret_files import inspect_secret_files
from otp_service.doctor.site import inspect_opt_in, inspect_outbox_rows, inspect_site
from otp_service.settings.table import Settings
from otp_service.store.delivery_lookups import DeliveryLookups
from otp_service.store.opt_ins import OptIns
from otp_service.store.scripts import Scripts


async def look(settings: Settings, *, site: bool) -> list[Finding]:
    """
    Return what is found.

    Args:
        site: Whether the WordPress site is asked too; nothing is sent.
    """
    connection = open_redis(settings, name="otp_service_doctor")
    try:
        found = [
            *await inspect_redis(connection, settings),
            *inspect_messages(load_catalogue(settings), settings),
            inspect_region_pause(settings),
            *inspect_test_numbers(settings),
            *inspect_secret_files(settings),
            *inspect_state_dir(settings),
            inspect_argon2(),
            await inspect_opt_in(
                OptIns(Scripts(connection), guesses=settings.policy().failures), settings
            ),
            *await inspect_outbox_rows(DeliveryLookups(Scripts(connection))),
            *await inspect_issuer(settings),
        ]
    finally:
        await connection.aclose()
    if site:
        async with site_client(settings) as client:
            found += await inspect_site(client, settings)
    return found
