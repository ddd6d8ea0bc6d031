"""Commands refuse times that nothing could use, before they send anything."""

from __future__ import annotations

import pytest

from streams.cli.options import instant_of
from streams.console.errors import OperationError
from streams.index.instants import parse_instant
from streams.operate.seeding import expect
from streams.settings import load_settings
from streams.shops.simulate_options import ShopOptions
from streams.shops.simulate_profile import load_profile
from streams.shops.simulate_run import Planted, simulate_command
from tests.support.methodologies import DEMO


@pytest.mark.parametrize("start", ["0001-01-01", "0026-11-29", "9999-12-30", "2100-01-02"])
async def test_a_slip_in_the_year_is_refused(start):
    nowhere = load_settings(None, {"kafka.bootstrap_servers": "127.0.0.1:1", "methodology": DEMO})
    with pytest.raises(OperationError, match=f"{start}.*1970 to 2099"):
        await expect(nowhere, "PK", "all", start, "9999-12-31", "2")


@pytest.mark.parametrize("typed", ["2026-11-30T15:00Z", "2026-11-30T20:00+05:00"])
async def test_an_hour_is_taken_as_commands_print_it(monkeypatch, typed):
    async def send(_settings, _records):
        pass

    monkeypatch.setattr("streams.operate.seeding.send_history", send)
    nowhere = load_settings(None, {"methodology": DEMO})
    declared = await expect(nowhere, "PK", "all", typed, "2026-12-01", "2")
    assert declared.start == "2026-11-30T15:00:00.000Z"
    assert instant_of("--since", typed) == parse_instant(declared.start)
    with pytest.raises(OperationError, match=r"whole hour such as .* or a local date"):
        await expect(nowhere, "PK", "all", "2026-11-30T15:01Z", "2026-12-01", "2")


@pytest.mark.parametrize("history", [{"backfill_s": 1e12}, {"backfill_s": 0, "seed_weeks": 4_000}])
async def test_simulated_shops_had_no_history_before_1970(history):
    nowhere = load_settings(None, {"kafka.bootstrap_servers": "127.0.0.1:1", "methodology": DEMO})
    with pytest.raises(OperationError, match="after 1970"):
        await simulate_command(
            nowhere, load_profile(), ShopOptions(), Planted((), ()), for_s=1.0, **history
        )
