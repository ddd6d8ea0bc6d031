"""What records keep of members goes on under other members: bit for bit, in whatever place they are."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples
from support.methodologies import METHODOLOGY

from streams.flow.daybook import Shown, decode_shown, encode_shown, shown_of
from streams.flow.shift_watch import ShiftWatch
from streams.flow.shifts_record import ShiftsRecord, decode_shifts, encode_shifts
from streams.flow.vintages import HeldVintage, decode_vintage, encode_vintage, held_of
from streams.index.expectation import Vintage
from streams.index.kept_members import called_now, scope_of_text
from streams.index.ledgers import book_entries
from streams.index.noise import Noise
from streams.index.panes import HOUR_MS
from streams.index.partials import Layout
from streams.index.series import series_table
from streams.index.shift_budget import ShiftRules
from streams.index.shift_states import OpenShift

NAMES = ["books", "mobiles", "shoes", "toys", "x:y", "other"]
DIMENSIONS = ("categories", "methods", "regions", "channels")
OF_LAYOUT = dict(zip(("category", "payment_method", "region", "channel"), DIMENSIONS, strict=True))
MEMBERS = st.fixed_dictionaries(
    dict.fromkeys(DIMENSIONS, st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple))
)


@st.composite
def changes(draw):
    """Layouts before and after a change, and some members of before that have another id after it."""
    before, after = draw(MEMBERS), draw(MEMBERS)
    renamed = {}
    for dimension, members in OF_LAYOUT.items():
        came = [name for name in after[members] if name not in before[members]]
        went = [name for name in before[members] if name not in after[members]]
        pairs = list(zip(went, came, strict=False))
        for old, new in draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else ():
            renamed[dimension, old] = new
    market = METHODOLOGY.markets["PK"]
    return (
        Layout(dataclasses.replace(market, **before)),
        Layout(dataclasses.replace(market, **after, definitions=1, renamed=renamed)),
    )


def detectors(layout, seed):
    """Detectors in any state, some with a shift that goes on."""
    watch = ShiftWatch(layout, ShiftRules(), 1.0)
    own, rng = watch._final, np.random.default_rng(seed)
    for part in (
        *(each for clock in (own.fast, own.slow) for each in (clock.days, clock.since)),
        *(own.drift.days[:, :1], own.drift.since[:, :, :1]),
        *vars(own.sizes).values(),
        *(own.held, own.silent_until),
    ):
        if isinstance(part, np.ndarray):
            part[...] = rng.random(part.shape)
    own.held[:3] = rng.integers(0, 99, own.held[:3].shape)
    own.pages[:] = rng.integers(1, 9, len(own.pages))
    own.done_until[:] = rng.integers(1, 99, len(own.pages))
    for at in rng.choice(len(own.pages), len(own.pages) // 2, replace=False).tolist():
        own.open[at] = OpenShift(-1, "fast", rng.random(), 7.5, 0.5, observed=at, expected=10**6)
    watch.begin(99)
    return watch


def taken_over(record, layout):
    """(detectors, what became of the record) as a new owner has them who reads it from the table."""
    stored = decode_shifts(encode_shifts(ShiftsRecord(record, [], 1)))
    watch = ShiftWatch(layout, ShiftRules(), 1.0)
    return watch, watch.restore(stored.watch)


def now(names, layout, scopes):
    """What each of the names is called after the change; those that are gone are left out."""
    found = {each: called_now(scope_of_text(each), scopes, layout.market.renamed) for each in names}
    return {scope: name for name, scope in found.items() if scope is not None}


@given(change=changes(), seed=st.integers(0, 99))
@examples(60)
def test_detectors_of_members_that_stay_are_as_they_were_and_shifts_of_those_gone_end(change, seed):
    before, after = change
    kept = detectors(before, seed).record()
    watch, carried = taken_over(kept, after)
    found, fresh = watch.record(), ShiftWatch(after, ShiftRules(), 1.0)
    names = now(kept.states, after, watch._places)
    gone = kept.states.keys() - set(names.values())
    assert found.numbers_gone == max([0, *(kept.states[name].pages for name in gone)])
    fresh._final.pages[:] = found.numbers_gone
    for name, state in fresh.record().states.items():
        scope = scope_of_text(name)
        known = kept.states[names[scope]] if scope in names else state
        assert found.states[name] == known
    assert found.done_until == kept.done_until == 99
    ended = {f"{end.dimension}:{end.member}": end for end in carried.ended}
    assert ended.keys() == {name for name in gone if kept.states[name].open is not None}
    for name, end in ended.items():
        state = kept.states[name]
        assert (end.event, end.phase, end.cause, end.at) == ("end", "final", "definition", 99)
        assert (end.number, end.start) == (state.pages, state.open.start)
    again, _ = taken_over(found, after)
    assert again.record() == found


@given(change=changes(), seed=st.integers(0, 99))
@examples(60)
def test_what_is_expected_of_members_that_stay_is_as_it_was(change, seed):
    before, after = map(series_table, change)
    rng = np.random.default_rng(seed)
    n = len(before.series)
    hours = [[], [0] * 26, [5] * 26, list(range(26)), [2**63 + at for at in range(26)]]
    vintage = Vintage(
        9,
        tuple(range(0, 26 * HOUR_MS, HOUR_MS)),
        tuple(tuple(hours[at]) for at in rng.integers(0, len(hours), n)),
        tuple(Noise(*each) for each in rng.integers(0, 99, (n, 4)).tolist()),
        tuple(rng.integers(0, 40, n).tolist()),
    )
    held = HeldVintage(vintage, 3, "basis")
    stored = decode_vintage(encode_vintage(held.record(before)))
    assert held_of(stored, before, {}) == held
    found = held_of(stored, after, change[1].market.renamed)
    assert (found.rank, found.basis, found.vintage.day) == ((0, 3), "basis", 9)
    names = now(stored.names, change[1], frozenset(after.scopes))
    for at, series in enumerate(after.series):
        own = found.vintage.expected[at], found.vintage.noise[at], found.vintage.learnt_days[at]
        if series.scope in names:
            was = before.at[scope_of_text(names[series.scope]), series.measure]
            assert own == (vintage.expected[was], vintage.noise[was], vintage.learnt_days[was])
        else:
            assert own == ((), Noise(0, 0, 0), 0)


@given(change=changes(), seed=st.integers(0, 99))
@examples(60)
def test_an_ended_day_is_known_as_it_was_shown_of_each_member_that_stays(change, seed):
    before, after = change
    rng = np.random.default_rng(seed)
    row = (rng.integers(0, 99, before.day_width) * rng.integers(0, 2, before.day_width)).tolist()
    row[2] = 2**63
    shown = Shown(5, row, {"orders:category:books": 1, "sales_net:market:all": 2})
    stored = decode_shown(encode_shown(shown.record(before)))
    assert shown_of(stored, before) == shown
    found = shown_of(stored, after)
    kept, own = (
        {(each.name, each.dimension, each.member): each for each in book_entries(layout, of)}
        for layout, of in ((before, row), (after, found.row))
    )
    scopes = {("market", "all")} | {
        (dimension, member)
        for dimension in ("category", "payment_method")
        for member in getattr(after.market, OF_LAYOUT[dimension])
    }
    moved = {}
    for name, entry in kept.items():
        scope = called_now(name[1:], scopes, after.market.renamed)
        if scope is not None:
            moved[name[0], *scope] = entry._replace(dimension=scope[0], member=scope[1])
    assert own == moved
    books = called_now(("category", "books"), scopes, after.market.renamed)
    assert found.revisions["sales_net:market:all"] == 2
    assert found.revisions[":".join(("orders", *(books or ("category", "books"))))] == 1
