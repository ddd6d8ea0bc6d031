"""Hourly counts of a warehouse -> records of ecindex.history."""

from datetime import UTC, datetime

import pytest

from streams.flow.history_book import HistoryBook
from streams.index.panes import HOUR_MS
from streams.sources.imports import SourceError
from streams.sources.seed_rows import seed_of
from tests.support.flow_harness import METHODOLOGY

MARKETS = METHODOLOGY.markets
FIRST = 1_790_000_000_000 // HOUR_MS * HOUR_MS


def hour(number):
    return datetime.fromtimestamp((FIRST + number * HOUR_MS) / 1000, UTC).isoformat()


PK = {"market": "PK", "hour": hour(0)}


def rows(*each):
    return enumerate(each, 2)


def book_of(seeds):
    book = HistoryBook(MARKETS)
    for market, seed in seeds.items():
        for key, value in seed.records(market):
            book.apply_record(key, value)
    assert not book.take_refused()
    return book


def test_what_a_query_gives_is_what_the_market_knows():
    seeds = seed_of(
        rows(
            {"market": "PK", "hour": hour(0), "orders": "7", "sales_minor": "900"},
            {"market": "PK", "hour": hour(2), "orders": "5", "sales_minor": ""},
            {"market": "PK", "hour": hour(0), "dimension": "category", "member": "Men's Fashion",
             "orders": "3"},
            {"market": "PK", "hour": hour(0), "dimension": "payment_method", "member": "Easypay",
             "payments": "2", "amount_minor": "250"},
        ),
        MARKETS,
    )  # fmt: skip
    market = book_of(seeds).markets["PK"]
    seed = market.seed_of(FIRST)
    assert seed.hours[FIRST]["market", "all"].orders == 7
    assert seed.hours[FIRST]["category", "mens_fashion"].orders == 3
    assert seed.hours[FIRST]["payment_method", "wallet"].amount == 250
    assert FIRST + HOUR_MS not in seed.hours, "an hour without a row had nothing"
    assert market.seed_of(FIRST + HOUR_MS) is seed, "but it is known"
    assert market.seed_of(FIRST + 3 * HOUR_MS) is None
    assert seed.given == {
        ("market", "orders"), ("market", "sales"), ("category", "orders"),
        ("payment_method", "payments"), ("payment_method", "amount"),
    }  # fmt: skip


def test_labels_of_one_member_add_up_and_unknown_ones_are_other():
    seeds = seed_of(
        rows(
            {**PK, "dimension": "payment_method", "member": "jazzcash", "payments": 2},
            {**PK, "dimension": "payment_method", "member": "easypaisa", "payments": 3},
            {**PK, "dimension": "region", "member": "Atlantis", "orders": 4},
        ),
        MARKETS,
    )  # fmt: skip
    cells = seeds["PK"].cells
    assert cells[FIRST, "payment_method", "wallet"][3] == 5
    assert cells[FIRST, "region", "other"][0] == 4
    assert seeds["PK"].unknown == {"region Atlantis"}


def test_the_same_file_gives_the_same_records_in_any_order():
    some = [{"market": "PK", "hour": hour(n), "orders": str(n)} for n in range(5)]
    first = seed_of(rows(*some), MARKETS)["PK"].records("PK")
    assert seed_of(rows(*reversed(some)), MARKETS)["PK"].records("PK") == first


@pytest.mark.parametrize(
    "text",
    ["2026-09-21T14:00:00Z", "2026-09-21 14:00:00", "2026-09-21 14:00", "2026-09-21T19:00:00+05:00",
     datetime(2026, 9, 21, 14, tzinfo=UTC), datetime(2026, 9, 21, 14)],  # noqa: DTZ001
)  # fmt: skip
def test_hours_as_warehouses_write_them(text):
    seeds = seed_of(rows({"market": "PK", "hour": text, "orders": 1}), MARKETS)
    ((hour_ms, _, _),) = seeds["PK"].cells
    assert hour_ms == 1_789_999_200_000


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"market": "XX", "hour": hour(0), "orders": 1}, "market 'XX'"),
        ({"market": "PK", "hour": "noon", "orders": 1}, "hour 'noon'"),
        ({"market": "PK", "hour": "2026-09-21 14:30:00", "orders": 1}, "whole UTC hour"),
        ({"market": "PK", "hour": "9999-12-31T23:00:00Z", "orders": 1}, "a year from 1970 to 2099"),
        ({"market": "PK", "hour": "0026-09-21T14:00:00Z", "orders": 1}, "a year from 1970 to 2099"),
        ({"market": "PK", "hour": hour(0), "orders": "-1"}, "orders '-1'"),
        ({"market": "PK", "hour": hour(0), "orders": "1.5"}, "orders '1.5'"),
        ({"market": "PK", "hour": hour(0), "dimension": "sku", "orders": 1}, "dimension 'sku'"),
    ],
)
def test_a_wrong_row_is_named(row, what):
    with pytest.raises(SourceError, match="line 2") as caught:
        seed_of(rows(row), MARKETS)
    assert what in str(caught.value)


def test_no_row_is_no_seed():
    with pytest.raises(SourceError, match="no row"):
        seed_of(rows(), MARKETS)
