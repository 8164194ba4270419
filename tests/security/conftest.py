"""What the attacks run against."""

import pytest

from tests.conftest import Service, Starter


@pytest.fixture
async def quiet(start_service: Starter) -> Service:
    """The service, which delivers nothing: what is counted is counted before any code is drawn."""
    return await start_service(OTP_DELIVER="false")
