"""Members are ranked by their own orders or payments, wherever there is no room for all of them."""

from __future__ import annotations

import json

import msgspec
import pytest
from support.publications import AS_OF_MS, publication, status, value

from streams.board.view import market_page
from streams.index import partials as col
from streams.index.indices import live_entries
from streams.index.methodology import parse
from streams.index.panes import rfc3339
from streams.index.partials import CATEGORY_WIDTH, METHOD_WIDTH, Layout
from streams.index.values import Fence, Snapshot
from streams.publish.index_collector import IndexCollector
from streams.publish.ranking import rank_members
from streams.publish.snapshot import Header, encode_snapshot, entry_of

CATEGORIES = [f"c{number:02}" for number in range(60)]
REGIONS = [f"r{number:02}" for number in range(50)]
MARKET = parse(
    f"""
edition = 1
methods.cod.digital = false
methods.card.digital = true
methods.wallet.digital = true
channels.app = {{}}
channels.web = {{}}
category_sets.many = {json.dumps(CATEGORIES)}
[markets.PK]
name = "Pakistan"
currency = "PKR"
time_zone = "Asia/Karachi"
categories = "many"
regions = {json.dumps(REGIONS)}
"""
).markets["PK"]
LAYOUT = Layout(MARKET)


def live_values(categories=(), regions=(), channels=(), orders_by=(), payments_by=()):
    """Values of a minute. ``payments_by``: (captured, failed) of each method."""
    row = [0] * LAYOUT.live_width

    def add(block, members, width, at, numbers):
        for member, number in zip(members, numbers, strict=False):
            row[block.base + width * members.index(member) + at] += number

    row[col.ORDERS] = sum(categories) or sum(orders_by)
    add(LAYOUT.category, MARKET.categories, CATEGORY_WIDTH, 0, categories)
    add(LAYOUT.region, MARKET.regions, LAYOUT.region.width, 0, regions)
    add(LAYOUT.channel, MARKET.channels, LAYOUT.channel.width, 0, channels)
    add(LAYOUT.method, MARKET.methods, METHOD_WIDTH, 0, orders_by)
    for member, (captured, failed) in zip(MARKET.methods, payments_by, strict=False):
        at = LAYOUT.method.base + METHOD_WIDTH * MARKET.methods.index(member)
        row[at + col.CAPTURED_AT] += captured
        row[at + col.FAILED_AT] += failed
        row[col.PAYMENTS] += captured
        row[col.FAILED] += failed
    row[col.CHOSEN] = sum(orders_by)
    return [_value(entry) for entry in live_entries(LAYOUT, row, row)]


def _value(entry):
    made = value(
        entry.name, entry.dimension, entry.member, "1m", entry.value, n=entry.n, unit=entry.unit
    )
    return msgspec.structs.replace(made, observed=entry.observed)


def largest(values, dimension, count):
    ranks = rank_members(values)
    mine = sorted((rank, member) for (own, member), rank in ranks.items() if own == dimension)
    return [member for _, member in mine[:count]]


def scraped(values, name, label, **limits):
    collector = IndexCollector(**limits)
    collector.show(publication(values))
    (family,) = [each for each in collector.collect() if each.name == f"ecindex_{name}"]
    return {sample.labels[label] for sample in family.samples}


def test_of_sixty_categories_a_scrape_keeps_those_that_sold():
    sold = [0] * 20 + list(range(1, 41))  # the first by name sold nothing
    values = live_values(categories=sold)
    assert scraped(values, "orders", "category") == set(CATEGORIES[20:])
    assert scraped(values, "category_share_ratio", "category") == set(CATEGORIES[20:])


def test_a_snapshot_keeps_those_that_sold():
    sold = [0] * 20 + list(range(1, 41))
    values = [each for each in live_values(categories=sold) if each.dimension == "category"]
    at = "2026-01-01T00:00:00Z"
    header = Header("PK", at, at, Fence(1, 0, 0, 0, 0), "live", {"orders": at})
    entries = [entry_of(each) for each in values]
    room = sum(len(each.encoded) + 1 for each in entries) // 2
    text, left_out = encode_snapshot(header, entries, room)
    kept = {each["member"] for each in json.loads(text)["values"]}
    assert left_out > 0
    assert kept == set(CATEGORIES[60 - len(kept) :])


def test_the_page_lists_those_that_sold_first():
    shown = market_page(
        Snapshot(
            "PK",
            rfc3339(AS_OF_MS),
            rfc3339(AS_OF_MS),
            1,
            "live",
            live_values(categories=[0, 5, 9], orders_by=[2, 1], payments_by=[(0, 0), (0, 4)]),
        ),
        MARKET,
    )
    assert [each.member for each in shown.dimensions["category"]][:3] == ["c02", "c01", "c00"]
    assert [each.member for each in shown.dimensions["payment_method"]][:2] == ["card", "cod"]


def test_regions_and_channels_are_ranked_by_their_own_orders():
    values = live_values(categories=[100], regions=[0] * 48 + [7, 9], channels=[3, 90, 7])
    assert largest(values, "region", 2) == ["r49", "r48"]
    assert largest(values, "channel", 3) == ["web", "other", "app"]


@pytest.mark.parametrize(
    ("orders_by", "payments_by", "order"),
    [
        ([1, 5, 3], [], ["card", "wallet", "cod"]),
        ([], [(1, 0), (3, 0), (9, 0)], ["wallet", "card", "cod"]),
        # While every payment by card fails, card is what a reader looks for.
        ([], [(5, 0), (0, 8), (1, 0)], ["card", "cod", "wallet"]),
        ([50, 0, 0], [(0, 0), (4, 0), (60, 0)], ["wallet", "cod", "card"]),
    ],
)
def test_methods_are_ranked_by_orders_payments_or_attempts(orders_by, payments_by, order):
    values = live_values(orders_by=orders_by, payments_by=payments_by)
    assert largest(values, "payment_method", 3) == order


def test_members_of_one_size_are_ordered_by_name():
    values = live_values(categories=[4, 7, 4, 4])
    assert largest(values, "category", 4) == ["c01", "c00", "c02", "c03"]
    assert largest(values[::-1], "category", 4) == ["c01", "c00", "c02", "c03"]


def test_a_member_of_whom_only_one_index_is_known_has_its_size():
    values = [
        value("sales", member="money", number=90_000, n=12, unit="minor"),
        value("category_share_by_orders", member="share", number=0.2, n=1_000),
        value("orders", member="count", number=20),
        value("category_share_by_sales", member="nothing", number=0.9, n=1_000),
    ]
    values[1] = msgspec.structs.replace(values[1], observed=15)
    assert largest(values, "category", 4) == ["count", "share", "money", "nothing"]


def test_what_pages_is_exported_however_small_its_member():
    sold = list(range(60, 0, -1))
    watched = [status(member="c59", direction=-1), status(member="c58")]
    collector = IndexCollector()
    collector.show(publication(live_values(categories=sold), watched=watched))
    (family,) = [
        each for each in collector.collect() if each.name == "ecindex_demand_shift_direction"
    ]
    assert [sample.labels["member"] for sample in family.samples] == ["c59"]
