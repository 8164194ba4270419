"""An operator sees which regions are paused, and lets one go on: with a reason, audited."""

import pytest

from otp_service.core.region_pauses import PauseMode
from otp_service.store.region_codes import Codes, Pair, RegionCodes
from tests.conftest import Service, Starter
from tests.operators.conftest import Run, audited

REASON = "our own campaign, ticket 17"


@pytest.fixture
async def paused(start_service: Starter) -> Service:
    """A service where SN is paused for `shop` and for `desk`."""
    service = await start_service(OTP_REGION_PAUSE="enforce")
    codes = RegionCodes(service.container.scripts)
    news = {Pair(caller, "SN"): Codes(60, 2) for caller in ("shop", "desk")}
    await codes.weigh(news, service.settings.pause_rules())
    service.advance(180)
    await codes.weigh(dict.fromkeys(news, Codes()), service.settings.pause_rules())
    return service


async def test_what_is_paused_is_listed_by_caller_with_its_counts(
    paused: Service, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTP_REGION_PAUSE", "enforce")
    listed = (await run("regions")).stdout.splitlines()

    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in listed if "SN" in line]
    assert [(row[0], row[1], row[3], row[4], row[5]) for row in rows] == [
        ("desk", "SN", "60", "2", "trickle 10/10m"),
        ("shop", "SN", "60", "2", "trickle 10/10m"),
    ]
    assert max(map(len, listed)) <= 80

    monkeypatch.setenv("OTP_REGION_PAUSE", "off")
    assert (await run("regions")).stdout == "no region is paused (OTP_REGION_PAUSE=off)\n"


@pytest.mark.parametrize("mode", [PauseMode.OFF, PauseMode.RECORD])
async def test_where_nothing_is_paused_it_is_said_under_which_mode(
    run: Run, mode: PauseMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTP_REGION_PAUSE", mode)
    assert (await run("regions")).stdout == f"no region is paused (OTP_REGION_PAUSE={mode})\n"


async def test_a_region_that_is_resumed_is_judged_anew_and_it_is_audited(
    paused: Service, run: Run
) -> None:
    done = await run("regions", "resume", "sn", "--caller", "shop", "--reason", REASON)

    assert done.stdout == "SN is no longer paused for shop\n"
    (entry,) = await audited(run, "--act", "region.resumed")
    assert (entry["caller"], entry["reason"]) == ("shop", REASON)
    assert entry["details"] == {"region": "SN"}
    codes, rules = RegionCodes(paused.container.scripts), paused.settings.pause_rules()
    assert [pause.pair for pause in await codes.paused()] == [Pair("desk", "SN")]
    again = await codes.weigh({Pair("shop", "SN"): Codes(49, 0)}, rules)
    paused.advance(180)
    again = await codes.weigh({Pair("shop", "SN"): Codes(1, 0)}, rules)
    assert [pause.pair for pause in again.paused] == [Pair("desk", "SN")]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("US", "--caller", "shop", "--reason", REASON), "US is not paused for shop"),
        (("SN", "--caller", "nobody", "--reason", REASON), "SN is not paused for nobody"),
        (("SN", "--caller", "shop", "--reason", "+14155550123"), "--reason: must not name"),
        (("SN", "--caller", "shop", "--reason", " "), "--reason: must be"),
    ],
)
async def test_what_is_not_paused_is_not_resumed_and_nothing_is_written(
    paused: Service, run: Run, arguments: tuple[str, ...], why: str
) -> None:
    done = await run("regions", "resume", *arguments)

    assert done.exit_code == 1
    assert why in done.stderr
    assert await audited(run) == []
