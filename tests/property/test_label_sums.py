"""Label sums: any definitions read them as they read the rows; a cut keeps what it says it keeps."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from unittest.mock import patch
from urllib.parse import unquote

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.flow.held_labels import HeldLabels, decode_labels, encode_labels
from streams.flow.state import DAY, LIVE
from streams.index import summed_labels
from streams.index.definitions import Definitions, MemberDefinition, definitions_of, market_with
from streams.index.identifiers import DIMENSIONS
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK, PackedRow
from streams.index.label_text import ABSENT, MORE
from streams.index.member_rows import MemberRows
from streams.index.methodology import OTHER, Market
from streams.index.partials import LIVE_TOTALS, Layout, Row, sum_rows
from streams.index.summed_labels import LabelSum, LargestLabels, encode_row
from tests.property.test_label_rows import (
    DEFINITIONS,
    PK,
    defined,
    drawn_document,
    level1,
    limited,
    orders_log,
    payments_log,
    tiny,
)
from tests.support.by_name import said_row

BOOKS = {LIVE: LIVE_BOOK, DAY: DAY_BOOK}


def rows_of(picks: random.Random) -> dict[str, list[PackedRow]]:
    """Rows of some source partitions, by book; in a third of the draws with room for little."""
    found: dict[str, list[PackedRow]] = {LIVE: [], DAY: []}
    for payments in picks.choice(((False,), (False, False), (False, True, False))):
        log = (payments_log if payments else orders_log)(picks, picks.choice((5, 20, 40)))
        if not payments and picks.random() < 0.3:
            with limited(tiny(picks)):
                rows = level1(log, picks)
        else:
            rows = level1(log, picks, payments=payments)
        for (_, book, _), (row, _) in rows.items():
            found[book].append(row)
    return found


def added(book: str, rows: list[PackedRow], picks: random.Random) -> PackedRow:
    """The sum of the rows in some order and grouping, encoded now and then."""
    rows = picks.sample(rows, len(rows))
    while len(rows) > 1:
        first, size = picks.randrange(len(rows) - 1), picks.choice((2, 2, 3, 9))
        held = HeldLabels(BOOKS[book])
        for row in rows[first : first + size]:
            held.add(encode_row(row))
            if picks.random() < 0.3:
                again, _, _ = decode_labels(encode_labels(held, {}, None), BOOKS[book])
                held = again
        rows[first : first + size] = [held.packed()]
    return rows[0] if rows else PackedRow([])


def straight(book: str, rows: list[PackedRow], counted_as=None) -> PackedRow:
    total = LabelSum(BOOKS[book])
    for row in rows:
        total.add(row, counted_as)
    return total.packed()


def said(book: str, row: PackedRow) -> tuple[Counter, set]:
    counts, labels, _ = said_row(book, row)
    return counts, set(labels)


def read(members: MemberRows, book: str, row: PackedRow) -> Row:
    return (members.live if book == LIVE else members.day)(row)


@given(seed=st.integers(0, 2**32))
def test_any_definitions_read_a_sum_as_they_read_its_rows(seed):
    picks = random.Random(seed)
    for book, rows in rows_of(picks).items():
        total = added(book, rows, picks)
        assert said(book, total) == said(book, straight(book, rows))
        for _ in range(DEFINITIONS):
            layout = Layout(defined(picks))
            members = MemberRows(layout)
            width = layout.live_width if book == LIVE else layout.day_width
            expected = sum_rows([read(members, book, row) for row in rows], width)
            assert read(members, book, total) == expected


def test_counts_of_equal_labels_and_sets_are_added_by_their_texts():
    one = PackedRow([0, 1, 24, 1, 27, 1], ["0books", "0toys"], [[1, 0, 24 << 2, 27 << 2]])
    other = PackedRow(
        [0, 2, 24, 2, 27, 1, 30, 2], ["0toys", "0shoes", "0books"], [[2, 0, 24 << 2, 30 << 2]]
    )
    total = straight(LIVE, [one, other])
    assert total == PackedRow(
        [0, 3, 24, 3, 27, 3, 30, 1], ["0books", "0toys", "0shoes"], [[3, 0, 24 << 2, 27 << 2]]
    )


def cutting(market: Market, kept):
    """As what labels count that a market cuts: as their members, or `more`."""
    members = MemberRows(Layout(market))

    def counted_as(stored: str) -> str:
        member = members.named(int(stored[0]), stored[1:])
        return stored if stored in kept else stored[0] + (
            MORE if member in (None, OTHER) else f"\1{member}"
        )  # fmt: skip

    return counted_as


def following(market: Market, cut: dict[str, str | None]) -> MemberRows:
    """The definitions, but that these labels are of members of other definitions, or of none."""
    members = MemberRows(Layout(market))
    find = members._find

    def found(dimension: int, label: str) -> int | None:
        stored = f"{dimension}{label}"
        return find(dimension, label) if stored not in cut else follow(dimension, cut[stored])

    def follow(dimension: int, member: str | None) -> int | None:
        name, indices = DIMENSIONS[dimension], members._indices[dimension]
        if member is None or member in indices:
            return indices[member or OTHER]
        renamed = [new for old, new in market.renamed.items() if old == (name, member)]
        return indices[renamed[0]] if renamed else find(dimension, unquote(member))

    members._find = found
    return members


@given(seed=st.integers(0, 2**32))
def test_a_cut_sum_counts_its_labels_and_the_rest_is_of_the_members_of_then(seed):
    picks = random.Random(seed)
    for book, rows in rows_of(picks).items():
        whole = straight(book, rows)
        texts = whole.labels
        kept = picks.sample(texts, picks.randint(0, len(texts)))
        before = picks.randint(0, len(rows))
        was = defined(picks)
        cut_as = MemberRows(Layout(was)).cut
        held = HeldLabels(BOOKS[book])
        list(held.cutting(kept, rows[:before], cut_as, 7))
        held, _, _ = decode_labels(encode_labels(held, {}, None), BOOKS[book])
        assert held.cut_by == 7
        for row in rows[before:]:
            held.add(held.as_cut(encode_row(row), cut_as))
        found = held.packed()
        counts, labels = said(book, found)
        assert counts == said(book, straight(book, rows, cutting(was, kept)))[0]
        places = {(DIMENSIONS[int(text[0])], text[1:]) for text in kept}
        assert labels >= places
        assert all(label[0] in (MORE, "\1") for _, label in labels - places)
        members = MemberRows(Layout(was))
        assert read(members, book, found) == read(members, book, whole)
        cut = {text: members.named(int(text[0]), text[1:]) for text in set(texts) - set(kept)}
        for _ in range(DEFINITIONS):
            market = defined_after(picks, was)
            apart = read(MemberRows(Layout(market)), book, found)
            assert apart == read(following(market, cut), book, whole)


def test_what_was_cut_stays_with_its_member_and_goes_where_that_one_went():
    was = replace(PK, categories=("boots", "books", "other"))
    row = straight(
        LIVE,
        [PackedRow([0, 2, 24, 2, 27, 1], ["0boots", "0books"], [[1, 0, 24 << 2, 27 << 2]])],
        MemberRows(Layout(was)).cut,
    )
    assert row.labels == ["0\1boots", "0\1books"]
    member = MemberDefinition
    for members, expected in (
        ({"boots": member(), "books": member()}, {"boots": 2, "books": 1}),
        ({"books": member(), "shoes": member(formerly=("boots",))}, {"shoes": 2, "books": 1}),
        ({"books": member(formerly=("boots",))}, {"books": 2}),
        ({"books": member(labels=("Boots",))}, {"books": 2}),
        ({"books": member()}, {"books": 1, "other": 2}),
        ({"books": member(), "boots": member(parent="books")}, {"boots": 2, "books": 2}),
        ({"boots": member(), "books": member(formerly=("boots",))}, {"boots": 2, "books": 1}),
        ({}, {"other": 2}),
    ):
        layout = Layout(market_with(was, Definitions("PK", category=members), 1))
        block = layout.category
        found = MemberRows(layout).live(row)
        orders = {name: found[block.at(name)] for name in block.members}
        assert {name: count for name, count in orders.items() if count} == expected


def defined_after(picks: random.Random, was: Market, version: int = 1) -> Market:
    """Other definitions, in which some members of these have other ids."""
    return market_with(PK, document_after(picks, was), version)


def document_after(picks: random.Random, was: Market) -> Definitions:
    drawn = definitions_of(defined(picks)) if picks.random() < 0.5 else drawn_document(picks)
    found = {}
    for dimension, members in drawn.by_dimension():
        gone = [each for each in was.members()[dimension][:-1] if each not in members]
        former = {each: [] for each in members}
        for each in gone if members else ():
            if picks.random() < 0.5:
                former[picks.choice(sorted(members))].append(each)
        found[dimension] = {
            name: msgspec.structs.replace(each, formerly=tuple(former[name]))
            for name, each in members.items()
        }
    return Definitions("PK", **found)


@given(seed=st.integers(0, 2**32))
def test_which_labels_are_the_largest_follows_from_the_sum(seed):
    picks = random.Random(seed)
    least, most = picks.choice((1, 2, 5)), picks.choice((0, 1, 2, 100))
    for book, rows in rows_of(picks).items():
        events: Counter = Counter()
        counts, labels = said(book, straight(book, rows))
        for (what, *place), count in counts.items():
            of_method = place[:1] == ["payment_method"] and what in ("failed", "payment_refunds")
            if len(place) == 2 and (what.endswith("orders") or of_method or what == "payments"):
                events[tuple(place)] += count
        expected = {place for place in labels if place[1] in (ABSENT, MORE)}
        for dimension in ("category", "payment_method", "region", "channel"):
            own = [
                (-events[place], place[1])
                for place in labels - expected
                if place[0] == dimension and events[place] >= least
            ]
            expected |= {(dimension, label) for _, label in sorted(own)[:most]}
        with (
            patch.object(summed_labels, "LABEL_EVENTS_MIN", least),
            patch.object(summed_labels, "LABELS_MAX", most),
        ):
            largest = LargestLabels(BOOKS[book])
            for row in picks.sample(rows, len(rows)):
                largest.add(row)
            kept = largest.kept()
        names = ("category", "payment_method", "region", "channel")
        assert {(names[int(text[0])], text[1:]) for text in kept} == expected
        assert len(set(kept)) == len(kept)


def test_what_nobody_knows_the_labels_of_is_other():
    layout = Layout(PK)
    totals = list(range(1, LIVE_TOTALS + 1))
    row = MemberRows(layout).unsaid(totals)
    assert row[:LIVE_TOTALS] == totals
    for block in (layout.category, layout.region, layout.channel):
        assert row[block.at("other") : block.end] == [1, 2, 3]
        assert not any(row[block.base : block.at("other")])
    assert row[layout.method.at("other") : layout.method.end] == [18, 2, 3, 4, 5, 6]
