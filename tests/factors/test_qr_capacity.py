"""QR codes are rendered off the event loop, within a bound that callers share."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from otp_service.core import totp
from otp_service.errors import Overloaded
from otp_service.services.qr_codes import CAPACITY, QrCodes
from tests.conftest import Service


async def test_event_loop_goes_on_while_codes_render() -> None:
    """I03: twenty of the largest take most of a second; the loop turns many times for each of them."""
    codes = QrCodes(caller_share=50)
    uri = "otpauth://totp/" + "a" * (totp.MAX_URI - 15)
    try:
        async with codes.rendering("shop") as render:
            rendering = asyncio.gather(*(render(uri) for _ in range(20)))
            turns = 0
            while not rendering.done():
                await asyncio.sleep(0)
                turns += 1
            assert len(set(await rendering)) == 1
    finally:
        codes.close()
    assert turns > 200


async def test_full_capacity_refuses_the_next_code() -> None:
    """I01."""
    codes = QrCodes(caller_share=50)
    async with AsyncExitStack() as held:
        for _ in range(CAPACITY):
            await held.enter_async_context(codes.rendering("shop"))
        with pytest.raises(Overloaded):
            await held.enter_async_context(codes.rendering("shop"))
        await held.enter_async_context(codes.rendering("bank"))  # has its share
    async with codes.rendering("shop"):
        pass
    codes.close()


async def test_names_too_long_for_a_qr_code_are_refused(service: Service) -> None:
    """Before anything is stored. Each name is within its own length."""
    about = {"subject": "user-1", "account_name": "😀" * 64, "issuer": "😀" * 64}
    refused = await service.post("/factors/totp", **about)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["account_name"]
    listed = await service.http.get("/factors?subject=user-1")
    assert listed.json()["factors"] == []

    about["issuer"] = "Acme"
    assert (await service.post("/factors/totp", **about)).status_code == 201
