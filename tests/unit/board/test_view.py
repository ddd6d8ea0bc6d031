"""The page's content from a snapshot."""

from __future__ import annotations

import msgspec
from support.publications import AS_OF_MS, others_of_day, value
from support.shopfloor import METHODOLOGY

from streams.board.view import encode, market_page, points_of
from streams.index.panes import rfc3339
from streams.index.values import Snapshot
from streams.publish.other_records import other_fields

PK = METHODOLOGY.markets["PK"]


def page(values, market=PK, **more):
    as_of = rfc3339(AS_OF_MS)
    snapshot = Snapshot("PK", as_of, as_of, 1, "live", list(values))
    return market_page(snapshot, market, **more)


def total(number, window="1m", **more):
    return value("orders", "market", "all", window, number, **more)


def expecting(made, expected, lower, upper):
    return msgspec.structs.replace(made, expected=expected, lower=lower, upper=upper)


def test_numbers_stay_the_text_of_the_contract():
    shown = page([value("sales", "market", "all", number=2**70, unit="minor"), total(1e-7)])
    assert shown.totals["sales"]["1m"].value == str(2**70)
    assert shown.totals["orders"]["1m"].value == "0.0000001"
    assert (shown.currency, shown.exponent, shown.time_zone) == ("PKR", 2, "Asia/Karachi")
    assert shown.zone == "PKT", "not GMT+5, as a browser would say beside cards with PKT"


def test_a_market_that_the_methodology_does_not_name_is_shown_in_minor_units():
    shown = page([total(1)], market=None)
    assert (shown.name, shown.currency, shown.exponent) == ("PK", None, 0)


def test_a_missing_value_is_shown_as_missing():
    shown = page([total(None, status="filling", covered=0.2)])
    assert shown.totals["orders"]["1m"].value is None
    assert shown.totals["orders"]["1m"].status == "filling"
    assert shown.windows["1m"].covered == 0.2
    encoded = msgspec.json.decode(encode(shown))
    assert encoded["totals"]["orders"]["1m"] == {"status": "filling"}
    assert "shifts" not in encoded
    assert b"\n" not in encode(shown)


def test_members_are_ranked_by_the_longest_window_that_is_covered():
    shown = page(
        [
            total(3), total(50, "5m"), total(None, "1h", status="filling"),
            value(member="books", window="1m", number=2),
            value(member="books", window="5m", number=10),
            value(member="toys", window="1m", number=1),
            value(member="toys", window="5m", number=40),
        ]
    )  # fmt: skip
    assert [each.member for each in shown.dimensions["category"]] == ["toys", "books"]


def test_methods_are_ranked_by_their_orders_or_payments():
    shown = page(
        [
            total(20),
            value("orders", "payment_method", "card", number=2),
            value("orders", "payment_method", "cod", number=7),
            value("payments", "payment_method", "card", number=9),
            value("payment_chosen_share", "payment_method", "wallet", number=0.9, n=20),
        ]
    )
    assert [each.member for each in shown.dimensions["payment_method"]] == ["card", "cod", "wallet"]


def test_movers_are_against_the_expectation_where_there_is_one():
    shown = page(
        [
            total(100, "1m"), total(500, "5m"),
            expecting(value(member="books", window="5m", number=90), 50.0, 40.0, 60.0),
            expecting(value(member="toys", window="5m", number=10), 90.0, 70.0, 110.0),
            value(member="new", window="5m", number=1_000),
        ]
    )  # fmt: skip
    assert (shown.movers.window, shown.movers.basis) == ("5m", "expected")
    assert [(each.member, each.expected) for each in shown.movers.members] == [
        ("toys", 90),
        ("books", 50),
    ]


def test_without_an_expectation_movers_name_their_comparison():
    values = [total(10, "1m"), total(50, "5m")]
    for member, now, before in (("books", 30, 50), ("toys", 9, 50), ("same", 10, 50)):
        values.append(value(member=member, window="1m", number=now))
        values.append(value(member=member, window="5m", number=before))
    shown = page(values)
    assert (shown.movers.window, shown.movers.basis) == ("1m", "5m")
    assert [(each.member, each.orders, each.expected) for each in shown.movers.members] == [
        ("books", 30, 10),
        ("toys", 9, 10),
    ]


def test_a_window_covered_in_part_is_not_taken_for_a_whole_one():
    values = [total(10, "1m"), total(300, "1h", covered=0.5)]
    values += [value(member="books", window="1m", number=30)]
    values += [value(member="books", window="1h", number=300, covered=0.5)]
    (mover,) = page(values).movers.members
    assert mover.expected == 10


def test_there_are_no_movers_without_a_comparison():
    assert page([total(10), value(number=3)]).movers is None


def test_day_values_are_left_out():
    shown = page([total(3), value("orders", "market", "all", "day", 99, day="2023-11-14")])
    assert set(shown.totals["orders"]) == {"1m"}


def test_history_becomes_points_and_what_is_none_is_left_out():
    members = [
        '{"as_of":"2023-11-14T22:13:00.000Z","orders":12,"sales":null}',
        "no json",
        '{"as_of":7}',
    ]
    assert points_of(members) == [[1_699_999_980_000, 12, None]]


def test_what_other_is_made_of_is_shown_of_the_newest_day_and_only_where_a_label_has_no_member():
    hostile = "<img src=x>\u202e\x1b[31m"
    labels = [(hostile, 300), *((f"label {number}", 9 - number) for number in range(6))]
    days = [others_of_day(("old", 1), day=19_999), others_of_day(*labels, unnamed=5)]
    days[1].dimensions.extend(others_of_day(dimension="region", other=30, unnamed=30).dimensions)
    slip = others_of_day(("web shop", 9), dimension="channel", total=10_000)
    days[1].dimensions.extend(slip.dimensions)
    shown = page([total(1)], others=other_fields("PK", days) | {"x": "?"})
    (category,) = shown.others
    assert (category.id, category.head) == (
        "category:orders", "category 33.9 % of 1,000 orders on 2024-10-04",
    )  # fmt: skip
    assert category.labels[0] == ("<img src=x>\N{REPLACEMENT CHARACTER}[31m", "300")
    assert [label for label, _ in category.labels[1:]] == [
        "label 0",
        "label 1",
        "label 2",
        "label 3",
    ]
    assert category.rest == "2 more labels, unnamed 5"
    assert page([total(1)]).others == []
