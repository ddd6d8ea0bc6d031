"""`ecindex demo`: real parts, simulated shops, and snapshots that keep the contract."""

from __future__ import annotations

import json
import re
import signal
from collections import defaultdict
from contextlib import aclosing

import msgspec
import pytest
from support.command import Command, until
from support.methodologies import DEMO

from streams.index.values import Snapshot
from streams.operate.board_stream import board_events, markets_shown
from streams.settings import default_config

SHARES = ("payment_share_by_count", "payment_share_by_amount", "payment_chosen_share")
METHODS = {"cod", "card", "wallet", "bank_transfer", "voucher", "bnpl"}

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture(scope="module")
def finished():
    """Exit code, stdout and stderr of one whole demo."""
    with Command("demo", "--for", "8s", "--json") as command:
        code, out, err = command.finish()
    assert code == 0, err
    return out, err


@pytest.fixture(scope="module")
def snapshots(finished):
    out, _err = finished
    return json.loads(out.splitlines()[-1])


def test_stdout_is_one_line_of_snapshots_as_the_contract_has_them(finished, snapshots):
    out, _err = finished
    assert len(out.splitlines()) == 1
    assert len(snapshots) >= 2
    read = msgspec.convert(snapshots, list[Snapshot])
    assert len({snapshot.market for snapshot in read}) == len(read)
    assert all(value.market == snapshot.market for snapshot in read for value in snapshot.values)


def test_orders_and_sales_are_there_for_ten_categories(snapshots):
    for snapshot in snapshots:
        for index in ("orders", "sales"):
            members = {
                value["member"]
                for value in snapshot["values"]
                if value["index"] == index
                and value["dimension"] == "category"
                and value["window"] == "5m"
                and value["status"] == "ok"
                and value["value"] > 0
            }
            assert len(members) >= 10, (snapshot["market"], index, members)


def test_payment_shares_are_of_six_methods_and_sum_to_one(snapshots):
    for snapshot in snapshots:
        shares = defaultdict(dict)
        for value in snapshot["values"]:
            if value["index"] in SHARES and value["status"] == "ok":
                shares[value["index"], value["window"]][value["member"]] = value["value"]
        assert {(index, "5m") for index in SHARES} <= set(shares)
        for which, by_member in shares.items():
            assert set(by_member) >= METHODS, (snapshot["market"], which)
            assert sum(by_member.values()) == pytest.approx(1, abs=1e-9), which


def test_demand_is_known_and_near_100_where_nothing_was_planted(snapshots):
    values = {(each["market"], value["index"]): value for each in snapshots for value in each["values"]
              if value["dimension"] == "market" and value["window"] == "5m"}  # fmt: skip
    for market in ("LK", "MM", "NP"):
        for measure in ("orders", "units", "sales"):
            value = values[market, f"demand_index_{measure}"]
            assert value["status"] == "ok"
            assert value["lower"] < value["expected"] < value["upper"]
            assert 80 <= value["value"] <= 120, (market, measure)


def test_planted_shifts_are_announced_with_where_to_see_them(finished):
    _out, err = finished
    assert "will be planted: demand for womens_fashion in PK times 6" in err
    assert "will be planted: outage of" in err
    assert f"markets   BD, LK, MM, NP, PK  {DEMO}\n" in err
    assert "board     http://127.0.0.1:" in err
    assert "redis://127.0.0.1:" in err
    assert "http://127.0.0.1:" in err
    assert "takes 16 minutes" in err
    assert err.index("will be planted") < err.index("live values in Redis")


def test_a_stop_asked_for_is_a_clean_end_and_what_was_kept_is_kept(tmp_path):
    with Command("demo", "--keep", tmp_path, "--markets", "PK,LK", "--json") as command:
        until((tmp_path / "pids" / "worker-0.pid").exists)
        children = command.children()
        code, out, err = command.end(signal.SIGINT)
    assert code == 0, err
    assert json.loads(out.splitlines()[-1]) == []
    assert not [child for child in children if child.is_running()]
    assert (tmp_path / "logs" / "worker-0.log").exists()


@pytest.mark.deep
async def test_the_one_page_has_two_markets_with_live_values_and_the_demo_says_since_when():
    with Command("demo", "--json") as command:
        errors = iter(command.process.stderr)
        url = next(line.split()[1] for line in errors if line.startswith("board "))
        shown = await markets_shown(url, 2)
        pages = {}
        for market in shown:
            async with aclosing(board_events(url, market)) as events:
                async for event in events:
                    if event.kind == "market":
                        pages[market] = json.loads(event.data)
                        break
        seen = next(line for line in errors if "the board has live values of" in line)
        code, _, err = command.end(signal.SIGINT)
    assert code == 0, err
    assert len(shown) >= 2
    for market in shown:
        assert pages[market]["market"] == market
        orders = pages[market]["totals"]["orders"]["1m"]
        assert orders.get("status", "ok") == "ok"
        assert int(orders["value"]) > 0
        categories = pages[market]["dimensions"]["category"]
        assert sum("orders" in each["cells"] for each in categories) >= 10
    live = re.fullmatch(r"\[ *[0-9.]+ s\] the board has live values of (.+)\n", seen)
    assert {"PK", "BD", "LK", "NP", "MM"} >= set(live[1].split(" and "))
    assert len(live[1].split(" and ")) >= 2


def test_a_methodology_without_the_simulated_markets_is_refused_before_anything_starts():
    own = {"ECINDEX_METHODOLOGY": str(default_config("methodology.toml"))}
    with Command("demo", env=own) as command:
        code, out, err = command.finish()
    assert (code, out) == (2, "")
    assert "(environment ECINDEX_METHODOLOGY)" in err
    assert str(DEMO) in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--markets", "PK,XX"), "--markets"),
        (("--rate", "0"), "--rate"),
        (("--for", "soon"), "--for"),
        (("--workers", "0"), "--workers"),
    ],
)
def test_a_wrong_option_is_named_before_anything_starts(arguments, named):
    with Command("demo", *arguments) as command:
        code, out, err = command.finish()
    assert (code, out) == (2, "")
    assert named in err
