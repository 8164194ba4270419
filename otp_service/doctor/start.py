"""What a start looks at."""

import structlog

from otp_service.connections import load_catalogue, open_redis
from otp_service.doctor.process import (
    inspect_messages,
    inspect_region_pause,
    inspect_state_dir,
    inspect_test_numbers,
)
from otp_service.doctor.redis import inspect_redis
from otp_service.doctor.secret_files import inspect_secret_files
from otp_service.settings.environment import SettingsError
from otp_service.settings.table import Settings

log = structlog.get_logger()


async def check(settings: Settings) -> None:
    """
    Refuse to go on when it would be unsafe; log what deserves a look.

    Raises:
        SettingsError: the refusals, one a line.
    """
    connection = open_redis(settings, name="otp_service_doctor")
    try:
        findings = [
            *inspect_messages(load_catalogue(settings), settings),
            inspect_region_pause(settings),
            *inspect_test_numbers(settings),
            *inspect_secret_files(settings),
            *inspect_state_dir(settings),
            *await inspect_redis(connection, settings),
        ]
    finally:
        await connection.aclose()
    for finding in findings:
        if finding.level == "warn":
            log.warning("doctor.warning", what=finding.what, message=finding.message)
    refused = [
        f"{finding.what}: {finding.message}" for finding in findings if finding.level == "refuse"
    ]
    if refused:
        raise SettingsError(*refused)
