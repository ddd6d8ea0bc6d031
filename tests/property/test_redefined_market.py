"""A market that is defined anew while it runs is the one that a new owner takes over, and a batch's."""

from __future__ import annotations

import random
from dataclasses import replace
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.flow import sliced_takeover
from streams.flow.history_book import HistoryBook, Seed
from streams.flow.market import MarketCompile
from streams.flow.merged import PANES_KEPT_MS
from streams.index import summed_labels
from streams.index.definition_mistakes import definition_mistakes
from streams.index.definitions import Definitions, MemberDefinition, definitions_of
from streams.index.history_records import SeededRow
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support.events import T0
from tests.support.flow_harness import METHODOLOGY, Flow, order, payment

PK = METHODOLOGY.markets["PK"]
ONE = replace(METHODOLOGY, markets={"PK": PK})
SAID = ("books", "Books!", "computing", "garden gnomes", "Gnomes", "mobiles", "unheard of")
METHODS = ("cod", "card", "crypto", "easy pay")
REGIONS = ("punjab", "sindh", "nowhere", None)
START_MS = T0 + 9 * HOUR_MS
WATCHED = 40 * DAY_MS
SEEDED = ("books", "computing")


def history() -> HistoryBook:
    """Six weeks of ten orders an hour, half of them books."""
    book = HistoryBook(ONE.markets)
    rows = {("market", "all"): SeededRow("market", "all", orders=10, sales="1000")}
    rows |= {
        ("category", each): SeededRow("category", each, orders=5, sales="500") for each in SEEDED
    }
    begin_ms = START_MS - WATCHED
    hours = {begin_ms + at * HOUR_MS: rows for at in range(WATCHED // HOUR_MS)}
    given = {
        (dimension, each) for dimension in ("market", "category") for each in ("orders", "sales")
    }
    book.markets["PK"].seeds["before"] = Seed(begin_ms, START_MS, frozenset(given), hours)
    book.markets["PK"].version += 1
    return book


def define(flow: Flow, document: Definitions, version: int) -> None:
    held = flow.book.definitions.markets["PK"]
    held.take_document(document, version)


def follow(flow: Flow) -> bool:
    """Go on to the definitions in force; return whether a market had others."""
    compiled = flow.compiles[0]
    found = compiled.follow()
    while compiled.following:
        found |= compiled.follow()
    return found


def read_in_slices(picks: random.Random, flows: list[Flow], number: int) -> int:
    """Let the first market be read anew in slices, while the same happens to all.

    Returns the number of what happens next. At last some rows are not published, and some not folded.
    """
    compiled, most = flows[0].compiles[0], number + picks.choice((1, 4))
    with patch.object(sliced_takeover, "READ_ANEW_MAX", picks.choice((1, 7, 60))):
        compiled.follow()
        while compiled.following:
            if number < most and picks.random() < 0.3:
                happen(picks, flows, number)
                number += 1
                if picks.random() < 0.5:
                    for flow in flows:
                        flow.run()
                else:
                    apply(flows[:2])
            elif number < most and not compiled._takeovers["PK"]._left:
                happen(picks, flows, number)
                apply(flows[:2])
                number = most
            compiled.follow()
    return number


def apply(flows: list[Flow]) -> None:
    """Count what came, and publish nothing."""
    for flow in flows:
        for sp in flow.logs:
            flow.fold(sp)
            flow.send_partials(sp)
        flow.apply(0)


def begun(document: Definitions | None = None, version: int = 0) -> Flow:
    flow = Flow(ONE, 2, 1, follows_definitions=True)
    flow.book = history()
    flow.now_ms = START_MS
    if document is not None:
        define(flow, document, version)
    flow.start_compile(0)
    return flow


def edited(picks: random.Random, document: Definitions) -> Definitions:
    """Some of: an alias, a merge, a rename, a parent, members that come and go. Books stay."""
    members = dict(document.category)
    free = [each for each in members if each not in ("books", "all")]
    for kind in picks.sample(("alias", "appears", "merge", "rename", "parent", "goes"), 3):
        one, other = picks.sample(free, 2)
        was = members.get(one, MemberDefinition())
        if kind == "alias":
            members[other] = replace_of(members[other], labels=("unheard of",))
        elif kind == "appears":
            members["gnomes"] = MemberDefinition(labels=("garden gnomes",))
        elif kind == "parent" and not was.parent and not is_parent(members, one):
            members["above"] = members.get("above", MemberDefinition())
            members[one] = replace_of(was, parent="above")
        elif kind in ("merge", "rename", "goes") and not is_parent(members, one):
            del members[one]
            free.remove(one)
            if kind == "merge":
                members[other] = replace_of(members[other], formerly=(one,))
            elif kind == "rename":
                members[f"{one} new"] = MemberDefinition(formerly=(one,))
    found = replace_of(document, category=members)
    assert list(definition_mistakes(found)) == []
    return found


def replace_of(struct, **changes):
    return type(struct)(
        **{name: getattr(struct, name) for name in struct.__struct_fields__} | changes
    )


def is_parent(members, one: str) -> bool:
    return any(each.parent == one for each in members.values())


def happen(picks: random.Random, flows: list[Flow], number: int) -> None:
    """Some time passes, and the same events come to all."""
    step_ms = picks.choice((5_000, 20_000, MINUTE_MS, 7 * MINUTE_MS, 25 * MINUTE_MS))
    now_ms = flows[0].now_ms + step_ms
    events = []
    for at in range(picks.choice((0, 1, 3, 6))):
        occurred_ms = now_ms - picks.choice((0, 1_000, 30_000, 100_000))
        name, kind = f"{number}.{at}", picks.random()
        if kind < 0.6:
            lines = [
                (picks.choice(SAID), 1, picks.choice((1, 7)))
                for _ in range(picks.choice((1, 1, 2, 3)))
            ]
            events.append(order(name, occurred_ms, lines=lines, region=picks.choice(REGIONS)))
        elif kind < 0.8:
            again = f"{picks.randrange(number + 1)}.0"
            event = order(
                name, occurred_ms, kind=picks.choice(("order.cancelled", "order.refunded"))
            )
            placed = flows[0].now_ms - picks.choice((0, HOUR_MS))
            events.append(
                event
                | {"order_id": f"order-{again}", "placed_at": order("", placed)["occurred_at"]}
            )
        else:
            events.append(payment(name, occurred_ms, method=picks.choice(METHODS)))
    which = [picks.randrange(2) for _ in events]
    for flow in flows:
        flow.now_ms = now_ms
        for event, partition in zip(events, which, strict=True):
            topic = "orders" if event["type"].startswith("order") else "payments"
            flow.produce(flow.sps[topic][partition], event, now_ms)


def market_of(flow: Flow) -> MarketCompile:
    return flow.compiles[0].markets["PK"]


def sums_of(market: MarketCompile) -> dict:
    """What the ledger counts, by every slot that it keeps."""
    ledger = market.ledger
    minutes = {start for kind, start in ledger.merged if kind == "m"}
    minutes |= {pane - pane % MINUTE_MS for pane in ledger._open_panes}
    panes = [
        minute + at
        for minute in minutes
        # How far a ledger has dropped depends on how many steps its owner has made.
        if ledger.keeps_panes(minute) and minute >= market.progress.horizon_ms - PANES_KEPT_MS
        for at in range(0, MINUTE_MS, ledger.pane_ms)
    ]
    return {
        **{("pane", pane): ledger.pane_sum(pane) for pane in panes},
        **{("minute", minute): ledger.minute_sum(minute) for minute in minutes},
        **{("hour", hour): ledger.hour_sum(hour) for hour in ledger.hours()},
        **{("day", day): ledger.day_sum(day) for day in ledger.days()},
    }


def bits_of(market: MarketCompile) -> dict:
    return {slot: merged.folded for slot, merged in market.ledger.merged.items()}


def kept_of(market: MarketCompile) -> dict:
    """What of the market lasts beside its ledger."""
    return {
        "expected": market.expectation.held,
        "detectors": market.shifts._record(),
        "buyers": market.shoppers._days,
        "fence": market.progress.fence_record(0),
        "days": {
            day: (shown.row, shown.revisions) for day, shown in market.days._book.days.items()
        },
    }


def values_of(flow: Flow) -> dict[str, tuple]:
    found = flow.published["PK"]
    return {
        each.field: (each.as_of, each.value, each.observed, each.n, each.expected, each.status)
        for each in found.values
    }


def closed_of(flow: Flow, first: int = 0) -> dict[tuple[str, int], dict[str, tuple]]:
    """What the journal says of every final hour and day, as whoever reads it in order knows it."""
    found: dict[tuple[str, int], dict[str, tuple]] = {}
    for publication in flow.history[first:]:
        for each in publication.closings:
            slot = each.kind, each.start_ms
            known = found[slot] = dict(found[slot]) if each.cause is not None else {}
            for name in each.gone:
                known.pop(name, None)
            for value in each.values:
                name = f"{value.index}:{value.dimension}:{value.member}"
                known[name] = value.value, value.observed, value.n
    return found


def counted(closed: dict) -> dict:
    """Only what has a count: a member that lost everything is said with 0, in a whole closing not."""
    found = {
        slot: {name: each for name, each in values.items() if each[1]}
        for slot, values in closed.items()
    }
    return {slot: values for slot, values in found.items() if values}


def states_of(market: MarketCompile) -> dict:
    return market.shifts._record().watch.states


@given(seed=st.integers(0, 2**32))
@settings(max_examples=4)
def test_a_market_defined_anew_while_it_runs_is_as_taken_over_and_as_a_batch(seed):
    picks = random.Random(seed)
    document = edited(picks, definitions_of(PK))
    # What is cut stays with its member; a batch by the last definitions has cut nothing by others.
    with patch.object(summed_labels, "LABEL_EVENTS_MIN", 0):
        running, taken, batch, plain = begun(), begun(), begun(document, 3), begun()
        flows = [running, taken, batch, plain]
        steps = picks.choice((3, 10))
        for number in range(steps):
            happen(picks, flows, number)
            for flow in flows:
                flow.run()
        before = market_of(running)
        define(running, document, 3)
        define(taken, document, 3)
        steps = read_in_slices(picks, flows, steps)
        assert not follow(running)
        taken.start_compile(0)
        assert market_of(running) is not before
        assert sums_of(market_of(running)) == sums_of(market_of(taken))
        assert bits_of(market_of(running)) == bits_of(market_of(taken))
        for number in range(steps, steps + picks.choice((1, 5))):
            for flow in flows:
                flow.run()
            assert sums_of(market_of(running)) == sums_of(market_of(taken))
            assert bits_of(market_of(running)) == bits_of(market_of(taken))
            assert kept_of(market_of(running)) == kept_of(market_of(taken))
            assert values_of(running) == values_of(taken)
            happen(picks, flows, number)
        for flow in flows:
            flow.run()
    assert sums_of(market_of(running)) == sums_of(market_of(batch))
    assert {field: each[:4] for field, each in values_of(running).items()} == {
        field: each[:4] for field, each in values_of(batch).items()
    }
    assert running.published["PK"].fence.definitions == 3
    assert counted(closed_of(running)) == counted(closed_of(batch))
    own, control = values_of(running), values_of(plain)
    untouched = [field for field in control if ":market:all" in field or ":category:books" in field]
    assert len(untouched) > 20
    assert {field: own[field] for field in untouched} == {
        field: control[field] for field in untouched
    }
    states, control_states = states_of(market_of(running)), states_of(market_of(plain))
    for name in ("market:all", "category:books", "payment_method:cod"):
        assert states[name] == control_states[name]
    assert plain.compiles[0].detecting or market_of(plain).shifts.done_until_ms
