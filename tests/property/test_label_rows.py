"""Rows count by label: definitions unite labels when they are read; a row keeps what it has room for."""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.flow import plain
from streams.flow.chain import Identity
from streams.flow.chunk import SourcePartition
from streams.flow.source import SourceLevel
from streams.flow.state import DAY, FOREVER_MS, LIVE
from streams.index import label_rows
from streams.index.definition_mistakes import RESERVED_IDS, definition_mistakes
from streams.index.definitions import (
    Definitions,
    MemberDefinition,
    definitions_of,
    market_with,
)
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK, PackedRow, unpacked
from streams.index.label_text import MORE, label_of
from streams.index.member_rows import MemberRows
from streams.index.methodology import OTHER, Market
from streams.index.panes import DAY_MS, HOUR_MS, rfc3339
from streams.index.partials import Layout
from streams.index.slugs import slug
from tests.support.by_name import expected_row, named, said_row, without_zeros
from tests.support.draws import examples
from tests.support.events import T0, Sent, chunk_of, encoded, tuned
from tests.support.flow_harness import METHODOLOGY
from tests.support.reference import Limits, Rules, SourceReference
from tests.support.reference.rules import MarketRules, to_label, to_slug

PK = METHODOLOGY.markets["PK"]
IDENTITY = Identity(1, METHODOLOGY.content_hash, "topic-id", 1)
DEFINITIONS = 10
"""Definitions that each log is read by."""
CATEGORIES = (
    *(
        "books",
        "Books",
        "toys",
        "garden",
        "computing",
        "shoes",
        "shirts",
        "চাল",
        "other",
        "more",
        "all",
    ),
    *("a b", "a-b", "a_b", "A  B!", "---", "", None, "x" * 5_000, "x" * 200, "y" * 90),
)
METHODS = ("cod", "C.O.D", "easy pay", "easy-pay", "card", "barter", "other", "more", "", None)
REGIONS = ("punjab", "Punjab ", "sindh", "nowhere", "", None)
CHANNELS = ("web", "iOS", "ios app", "fax", None)
HALVES = [False, True] if plain.COMPILED else [False]


def orders_log(picks: random.Random, size: int) -> list[Sent]:
    """A few orders of several labels: placed, late, refused, cancelled, refunded, again and again."""
    log, now_ms = [], T0 + 6 * HOUR_MS
    pools = [
        picks.choices(each, k=picks.choice((2, 4, 12)))
        for each in (CATEGORIES, METHODS, REGIONS, CHANNELS)
    ]
    away = picks.random() < 0.3
    for number in range(size):
        now_ms += picks.choice((0, 0, 0, 100, 1_000, 20_000, *((10 * 60_000,) * (number % 7 == 0))))
        kind = picks.choice(("placed", "placed", "cancelled", "refunded"))
        occurred_ms = now_ms - picks.choice((0, 0, 0, 0, 1_000, METHODOLOGY.grace_ms + 1))
        line_count = picks.choice((1, 2, 2, 3, 5, 8))
        event = {
            "event_id": f"e{number}",
            "type": f"order.{kind}",
            "occurred_at": rfc3339(occurred_ms),
            "market": "PK",
            "order_id": picks.choice("opqr"),
            "currency": "PKR",
            "payment_method": picks.choice(pools[1]),
            "region": picks.choice(pools[2]),
            "channel": picks.choice(pools[3]),
            "lines": [
                {
                    "sku": picks.choice(("s", "t", "")),
                    "category": picks.choice(pools[0]),
                    "quantity": picks.choice((1, 1, 2)),
                    "unit_price_minor": picks.choice((0, 1, 7)),
                }
                for _ in range(line_count)
            ],
        }
        if kind == "placed" and picks.random() < 0.15:
            event["currency"] = "XXX"
        if kind != "placed" or picks.random() < 0.1:
            back_ms = picks.choice((0, DAY_MS)) if away else 0
            event["placed_at"] = rfc3339(min(occurred_ms, T0 + 6 * HOUR_MS) - back_ms)
        if picks.random() < 0.5:
            event["refund_id"] = picks.choice("rs")
        log.append(Sent(encoded(event), now_ms))
    return log


def payments_log(picks: random.Random, size: int) -> list[Sent]:
    log, now_ms = [], T0 + 6 * HOUR_MS
    for number in range(size):
        now_ms += picks.choice((0, 0, 100, 1_000, 20_000))
        event = {
            "event_id": f"e{number}",
            "type": f"payment.{picks.choice(('captured', 'captured', 'failed', 'refunded'))}",
            "occurred_at": rfc3339(now_ms),
            "placed_at": rfc3339(now_ms - picks.choice((0, DAY_MS, 40 * DAY_MS))),
            "market": "PK",
            "order_id": "o",
            "currency": "PKR",
            "method": picks.choice(METHODS),
            "amount_minor": picks.choice((0, 1, 7)),
        }
        log.append(Sent(encoded(event), now_ms))
    return log


def defined(picks: random.Random) -> Market:
    """The market by other definitions: which labels are members, which are others' names."""

    def some(texts):
        known = sorted({slug(text) for text in texts if text} - {"", "other"})
        return (*picks.sample(known, picks.randint(0, len(known))), "other")

    def aliases(texts, members):
        free = sorted({slug(text) for text in texts if text} - {"", *members})
        return {name: picks.choice(members) for name in free if picks.random() < 0.7}

    methods, channels = some(METHODS), some(CHANNELS)
    return replace(
        PK,
        categories=some(CATEGORIES),
        methods=methods,
        regions=some(REGIONS),
        channels=channels,
        digital=frozenset(),
        method_aliases=aliases(METHODS, methods),
        channel_aliases=aliases(CHANNELS, channels),
    )


def drawn_document(picks: random.Random) -> Definitions:
    """Members of any labels, some of them within others."""

    def drawn(texts):
        labels = sorted({label_of(text) for text in texts if text} - {""})
        free = sorted({slug(label) for label in labels} - {"", *RESERVED_IDS})
        ids = picks.sample(free, picks.randint(0, len(free)))
        listed = {member: [] for member in ids}
        for label in labels:
            if ids and label not in ids and picks.random() < 0.5:
                listed[picks.choice(ids)].append(label)
        above = picks.sample(ids, picks.randint(0, min(3, len(ids))))
        return {
            member: MemberDefinition(
                labels=tuple(listed[member]),
                parent=""
                if not above or member in above or picks.random() < 0.3
                else picks.choice(above),
            )
            for member in ids
        }

    return Definitions("PK", *map(drawn, (CATEGORIES, METHODS, REGIONS, CHANNELS)))


@dataclass(frozen=True)
class DocumentRules(MarketRules):
    """The document, read plainly: every member is asked whether a label is its own."""

    document: Definitions
    is_within: bool
    """Whether a label of a child counts in its parent instead."""

    def member(self, dimension, label):
        members, name = getattr(self.document, dimension), to_slug(label)
        listed = [m for m, own in members.items() if to_label(label) in map(to_label, own.labels)]
        by_id = [m for m in members if name and to_slug(m) == name] or [OTHER] * (name == OTHER)
        alike = [m for m, own in members.items() if name and name in map(to_slug, own.labels)]
        (found, *_) = listed or by_id or (alike if len(alike) == 1 else [OTHER])
        parent = self.is_within and found != OTHER and members[found].parent
        return parent or found


def batch(log, *, payments=False, market: Market = PK, limits: Limits | None = None, read_by=None):
    rules = Rules.of(tuned(markets={"PK": market}))
    if read_by is not None:
        own = rules.markets["PK"]
        rules.markets["PK"] = DocumentRules(**vars(own), document=read_by[0], is_within=read_by[1])
    reference = SourceReference(rules, payments)
    reference.limits = limits or Limits()
    for offset, (value, timestamp_ms, doubtful) in enumerate(log):
        reference.add(offset, value, timestamp_ms, doubtful=doubtful)
    return reference


def level1(log, picks: random.Random, *, payments=False, compiled=plain.COMPILED) -> dict:
    """Rows that level 1 sends of a log, whatever its chunks and whoever dies: slot -> (row, sketch)."""
    sp = SourcePartition("payments" if payments else "orders", 0)
    table: dict[bytes, bytes] = {}

    def owner(nonce: int) -> SourceLevel:
        level = SourceLevel(
            sp, METHODOLOGY, IDENTITY, f"w{nonce}", 3, payments=payments, chain_length=2
        )
        if not payments:
            level._fold._orders = plain.OrderFold(level.source, compiled=compiled)
        level.recover(dict(table))
        return level

    level, found = owner(0), {}
    while level.through + 1 < len(log):
        start = level.through + 1
        stop = min(len(log), start + picks.choice((1, 2, 5, 20, 100)))
        level.fold_chunk(chunk_of(log, sp, start, stop))
        done = picks.choice("     ffx")
        if done != " " or stop == len(log):
            found |= level.source.take_touched_live(FOREVER_MS)
            found |= level.source.take_touched_days()
            flush = level.flush()
            table[flush.key] = flush.value
            for key in flush.delete_keys:
                table.pop(key, None)
        if done == "x" and stop < len(log):
            level = owner(stop)
    return {tuple(key): (slot.row.packed(), slot.shoppers()) for key, slot in found.items()}


def books() -> dict:
    """The shapes of the books as the fold has them now."""
    from streams.flow import state

    return {LIVE: state.LIVE_BOOK, DAY: state.DAY_BOOK}


def limited(limits: Limits) -> ExitStack:
    """Make the limits of rows those of the reference."""
    stack = ExitStack()
    for module in ("state", "chain"):
        for name, most in (("LIVE_BOOK", limits.pane_labels), ("DAY_BOOK", limits.day_labels)):
            book = getattr(label_rows, name)._replace(labels_max=most)
            stack.enter_context(patch(f"streams.flow.{module}.{name}", book))
    for name, most in (
        ("ROW_BYTES_MAX", limits.size),
        ("SETS_MAX", limits.sets),
        ("SET_SIZE_MAX", limits.labels_of_set),
    ):
        stack.enter_context(patch.object(label_rows, name, most))
    return stack


@pytest.mark.parametrize("payments", [False, True])
@given(seed=st.integers(0, 2**32))
def test_rows_that_knew_no_definition_are_read_by_any_as_if_it_had_been_the_first(payments, seed):
    picks = random.Random(seed)
    log = (payments_log if payments else orders_log)(picks, picks.choice((10, 30, 60)))
    rows = level1(log, picks, payments=payments)
    for _ in range(DEFINITIONS):
        market = defined(picks)
        reference, layout = batch(log, payments=payments, market=market), Layout(market)
        members = MemberRows(layout)
        wanted = {slot for slot in reference.slots() if reference.row(*slot, len(log))}
        assert wanted <= rows.keys()
        for (code, book, slot), (row, sketch) in rows.items():
            read = (members.live if book == LIVE else members.day)(row)
            expected = without_zeros(reference.row(code, book, slot, len(log)))
            assert named(layout, book, read, sketch) == expected


@pytest.mark.parametrize("payments", [False, True])
@given(seed=st.integers(0, 2**32))
def test_a_member_and_its_parent_count_what_a_batch_counts_by_the_document(payments, seed):
    picks = random.Random(seed)
    log = (payments_log if payments else orders_log)(picks, picks.choice((10, 30, 60)))
    rows = level1(log, picks, payments=payments)
    for _ in range(DEFINITIONS):
        document = drawn_document(picks)
        assert list(definition_mistakes(document)) == []
        market = market_with(PK, document)
        assert market_with(PK, definitions_of(market)) == market
        parents = {
            (dimension, each.parent)
            for dimension, members in document.by_dimension()
            for each in members.values()
        }
        flat, within = (
            batch(log, payments=payments, market=market, read_by=(document, is_within))
            for is_within in (False, True)
        )
        layout = Layout(market)
        members = MemberRows(layout)
        for (code, book, slot), (row, sketch) in rows.items():
            read = (members.live if book == LIVE else members.day)(row)
            counts = [reference.row(code, book, slot, len(log)) for reference in (flat, within)]
            expected = {
                name: count
                for is_parent, found in enumerate(map(without_zeros, counts))
                for name, count in found.items()
                if (name[1:] in parents) == bool(is_parent)
            }
            assert named(layout, book, read, sketch) == expected


def tiny(picks: random.Random) -> Limits:
    most = picks.choice
    return Limits(
        most((1, 2, 3, 1_000)),
        most((1, 2, 3, 5, 1_000)),
        most((0, 60, 200, 500, 131_072)),
        most((0, 1, 3, 512)),
        most((2, 3, 32)),
    )


@examples(400)
@given(seed=st.integers(0, 2**32))
def test_what_a_row_has_room_for_follows_from_the_events_alone(seed):
    picks = random.Random(seed)
    log, limits = orders_log(picks, picks.choice((10, 30, 60))), tiny(picks)
    reference = batch(log, limits=limits)
    with limited(limits):
        for compiled in HALVES:
            rows = level1(log, picks, compiled=compiled)
            for slot, (row, sketch) in rows.items():
                assert said_row(slot[1], row, sketch) == expected_row(reference, slot, len(log))
                assert unpacked(books()[slot[1]], row).packed() == row


@examples(400)
@given(seed=st.integers(0, 2**32))
def test_what_found_no_room_is_in_more_and_the_rest_is_as_if_there_were_room(seed):
    picks = random.Random(seed)
    log, limits = orders_log(picks, picks.choice((10, 30, 60))), tiny(picks)
    unlimited = batch(log)
    with limited(limits):
        rows = level1(log, picks)
    for slot, (row, _) in rows.items():
        found, labels, _ = said_row(slot[1], row)
        true = without_zeros(unlimited.said(*slot, len(log)))
        more = [Counter(), Counter()]
        for counts, into in zip((found, true), more, strict=True):
            for name, count in counts.items():
                apart = name[0] == "set" or (len(name) == 3 and (*name[1:],) in labels)
                if name[0] != "set" and len(name) == 3 and not name[0].endswith("orders"):
                    into[name[:2]] += count
                if apart and name[-1] != MORE and name[0] != "set":
                    assert found[name] == true[name], (slot, name)
        assert more[0] == more[1]


@examples(400)
@given(seed=st.integers(0, 2**32))
def test_members_are_off_by_the_uncertain_orders_at_most(seed):
    picks = random.Random(seed)
    log, limits = orders_log(picks, picks.choice((10, 30, 60))), tiny(picks)
    with limited(limits):
        rows = level1(log, picks)
    market = defined(picks)
    reference, layout = batch(log, market=market, limits=limits), Layout(market)
    members = MemberRows(layout)
    for (code, book, slot), (row, sketch) in rows.items():
        read = (members.live if book == LIVE else members.day)(row)
        found = named(layout, book, read, sketch)
        expected = without_zeros(reference.row(code, book, slot, len(log)))
        uncertain = found["uncertain",]
        for name in found.keys() | expected.keys():
            if name[0].endswith("orders") and len(name) == 3:
                assert 0 <= found[name] - expected[name] <= uncertain, (book, name)
            else:
                assert found[name] == expected[name], (book, name)


def test_panes_and_days_are_as_full_as_rows_may_be_and_no_fuller():
    picks, log = random.Random(7), []
    for number in range(4_000):
        event = {
            "event_id": f"e{number}",
            "type": "order.placed",
            "market": "PK",
            "currency": "PKR",
        }
        event |= {"occurred_at": rfc3339(T0 + number // 2_000 * 5_000), "order_id": f"o{number}"}
        event |= {"region": f"region {number % 1_500}", "channel": f"{'c' * 80}{number}"}
        event["lines"] = [
            {"category": f"c{picks.randrange(2_500)}", "quantity": 1, "unit_price_minor": 1}
            for _ in range(picks.choice((1, 2, 3, 40)))
        ]
        log.append(Sent(encoded(event), T0 + 5_000))
    reference = batch(log)
    rows = [level1(log, picks, compiled=compiled) for compiled in HALVES]
    assert rows[0] == rows[-1]
    found = {slot: said_row(slot[1], *row) for slot, row in rows[0].items()}
    for slot, row in found.items():
        assert row == expected_row(reference, slot, len(log))
    panes = [row for slot, row in found.items() if slot[1] == LIVE]
    assert [Counter(each for each, _ in labels)["category"] for _, labels, _ in panes] == [
        1_025
    ] * 2
    assert all(counts["uncertain",] and len(sets) < 512 for counts, _, sets in found.values())


broken = st.sampled_from(["\ud800", "a\udfff", "\ud83d\ud83d"])
any_texts = st.one_of(
    st.text(max_size=8),
    st.text(st.characters(min_codepoint=0, max_codepoint=0x9F), max_size=4),
    broken,
    st.sampled_from(["other", "more", "all", MORE, "\0\0", "0", "1books", "|", '"', "z" * 5_000]),
    st.text(min_size=1, max_size=3).map(lambda text: text * 2_000),
)


@examples(200)
@given(
    st.lists(
        st.tuples(st.lists(any_texts, max_size=3), any_texts, any_texts, any_texts), max_size=6
    )
)
def test_any_text_is_a_label_that_a_row_keeps_apart(said):
    log = []
    for number, (categories, method, region, channel) in enumerate(said):
        event = {
            "event_id": f"e{number}",
            "type": "order.placed",
            "market": "PK",
            "currency": "PKR",
        }
        event |= {"occurred_at": rfc3339(T0), "payment_method": method, "region": region}
        event |= {"channel": channel, "order_id": "o"}
        event["lines"] = [
            {"sku": "s", "category": each, "quantity": 1, "unit_price_minor": 1}
            for each in categories
        ]
        log.append(Sent(json.dumps(event).encode(), T0))
    reference = batch(log)
    for compiled in HALVES:
        rows = level1(log, random.Random(0), compiled=compiled)
        for slot, (row, sketch) in rows.items():
            found, labels, _ = said_row(slot[1], row, sketch)
            assert (found, labels) == expected_row(reference, slot, len(log))[:2]
            assert MORE not in {label for _, label in labels}
            assert all(label == label_of(label) for _, label in labels)
            assert unpacked(books()[slot[1]], row).packed() == row


CHANGES = {
    "a dimension that is none": lambda row: row.labels.append("4x"),
    "no dimension": lambda row: row.labels.append(""),
    "a label twice": lambda row: row.labels.append(row.labels[0]),
    "a column beyond the labels": lambda row: row.numbers.extend([999, 1]),
    "a column without a number": lambda row: row.numbers.append(0),
    "a set of nothing": lambda row: row.sets.append([]),
    "a set of one label": lambda row: row.sets.append([1, 0, 24 << 2]),
    "a set of a column that is no label's": lambda row: row.sets.append([1, 0, 24 << 2, 25 << 2]),
    "a set of labels of two dimensions": lambda row: row.sets.append([1, 0, 24 << 2, 30 << 2]),
    "a set that is not sorted": lambda row: row.sets.append([1, 0, 27 << 2, 24 << 2]),
    "a set of a label twice": lambda row: row.sets.append([1, 0, 24 << 2, 24 << 2]),
    "a set twice": lambda row: row.sets.append(row.sets[0]),
    "a part that is none": lambda row: row.sets.append([1, 4, 24 << 2, 27 << 2]),
    "a part of the other book": lambda row: row.sets.append([1, 1, 24 << 2, 27 << 2]),
    "a part below the first": lambda row: row.sets.append([1, -1, 24 << 2, 27 << 2]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_row_that_its_book_cannot_have_written_is_refused(change):
    def row() -> PackedRow:
        return PackedRow([0, 1, 24, 1], ["0books", "0toys", "1cod"], [[2, 0, 24 << 2, 27 << 2]])

    assert unpacked(LIVE_BOOK, row()).packed() == row()
    changed = row()
    change(changed)
    with pytest.raises((ValueError, LookupError)):
        unpacked(LIVE_BOOK, changed)


def test_a_day_has_parts_of_its_own():
    row = PackedRow([], ["0books", "0toys"], [[-1, 3, 32 << 2 | 1, 50 << 2 | 2]])
    assert unpacked(DAY_BOOK, row).packed() == row
