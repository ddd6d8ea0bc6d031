"""Shifts in the flow: found live, confirmed on final panes, kept through a takeover, not learnt."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from streams.board.shown_shifts import active
from streams.flow import market_shifts
from streams.flow.chunk import SourcePartition
from streams.flow.market_incidents import incident_of
from streams.flow.market_shifts import RELEVEL_MINUTES, Reach
from streams.flow.shift_watch import FINAL, LIVE, FoundShift
from streams.flow.shifts_record import KeptShift, decode_shifts
from streams.flow.wire import partition_of
from streams.index.demand import SCALE
from streams.index.learning import WHOLE
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.shift_ratio import RatioInterval
from streams.index.suspicions import EVIDENCE_MIN, FACT_NATS
from streams.publish.shift_records import active_fields, shift_record
from tests.support.flow_harness import Flow, order
from tests.unit.flow.test_market_expectation import TEN, Shop, seeded

ALL = ("market", "all")
MOBILES = ("category", "mobiles_tablets")
QUIET = 10
"""Minutes as expected before a shift."""


@pytest.fixture
def flow() -> Flow:
    return new_flow()


def new_flow() -> Flow:
    flow = Flow()
    flow.now_ms = TEN
    seeded(flow)
    return flow


def play(flow, parts, at_ms=TEN, shop=None):
    """Sell minute by minute in parts of (times the expectation, minutes); return the end in ms."""
    shop = shop or Shop(flow)
    for times, minutes in parts:
        for _ in range(minutes):
            shop.open(at_ms, 1, times=times)
            at_ms += MINUTE_MS
    return at_ms


def published(flow, scope=ALL):
    return [
        shift
        for publication in flow.history
        for shift in publication.shifts
        if (shift.dimension, shift.member) == scope
    ]


def market(flow):
    return flow.compiles[partition_of("PK", flow.partials_partitions)].markets["PK"]


def stored(flow):
    table = flow.tables[partition_of("PK", flow.partials_partitions)]
    return [value for key, value in table.items() if key.startswith(b"w|PK|")]


def test_a_jump_is_published_live_then_confirmed_with_members_and_shown_as_active(flow):
    play(flow, [(1.0, QUIET)])
    assert published(flow) == []
    play(flow, [(6.0, 12)], TEN + QUIET * MINUTE_MS)
    first = published(flow)[0]
    start = TEN // MINUTE_MS + QUIET
    assert (first.event, first.phase, first.direction, first.number) == ("page", LIVE, 1, 1)
    assert first.start == pytest.approx(start, abs=1)
    assert first.at <= start + 6
    assert first.contributors["category"][0].member == "mobiles_tablets"
    assert [(shift.phase, shift.number) for shift in published(flow)] == [(LIVE, 1), (FINAL, 1)]
    assert [shift.direction for shift in published(flow, MOBILES)] == [1, 1]
    shown = flow.published["PK"].watched
    assert {status.shift.member for status in shown if status.shift} >= {"all", "mobiles_tablets"}
    (market, *_) = (one for one in active(active_fields(shown)) if one.dimension == "market")
    assert (market.direction, market.contributors[0].label) == (1, "Mobiles tablets")
    assert market.evidence == first.evidence_ratio >= 1
    key, value = shift_record("PK", 1, first)
    assert key == b"PK|market|all|1"
    assert b'"phase":"live"' in value


def test_a_stop_is_published_though_nothing_arrives(flow):
    end_ms = play(flow, [(1.0, QUIET)])
    play(flow, [(0.0, 20)], end_ms)
    found = published(flow)
    assert found[0].direction == -1
    assert found[0].interval.ratio < 0.2
    assert found[0].at <= end_ms // MINUTE_MS + 12


def incidents(flow):
    return flow.published["PK"].incidents


def test_a_stop_is_one_incident_with_its_members_its_loss_and_how_it_is_now(flow):
    shop = Shop(flow)
    end_ms = play(flow, [(1.0, QUIET), (0.0, 12)], shop=shop)
    (stop,) = incidents(flow)
    assert (stop.kind, stop.state, stop.lead.dimension) == ("outage", "open", "market")
    first = min(shift.at for shift in flow_shifts(flow))
    assert stop.found_ms == first * MINUTE_MS
    assert stop.start_ms == pytest.approx(TEN + QUIET * MINUTE_MS, abs=MINUTE_MS)
    active = active_fields(flow.published["PK"].watched, incident_of([stop]))
    assert {json.loads(text)["incident"] for text in active.values()} == {stop.id}
    measures = stop.measures
    assert measures.now.observed == 0
    assert measures.difference.upper < measures.difference.events * 0.6 < 0
    assert measures.difference.amount_minor < 0
    (categories,) = (each for each in measures.affected if each.dimension == "category")
    assert categories.affected == categories.of >= 1
    flow.start_compile(partition_of("PK", flow.partials_partitions))
    play(flow, [(1.0, 10)], end_ms, shop)
    (over,) = incidents(flow)
    assert (over.id, over.state, over.kind) == (stop.id, "over", "outage")
    assert over.over_ms == pytest.approx(end_ms, abs=6 * MINUTE_MS)


def test_a_market_that_becomes_live_on_a_backlog_knows_at_once_whether_its_panes_are_regular(flow):
    shop = Shop(flow)
    for ago in (120, 110, 100, 90, 80, 70):
        shop.open(TEN - ago * MINUTE_MS, 10, read_ms=TEN)
    assert not market(flow).progress.live
    shop.open(TEN - HOUR_MS, 2)
    assert market(flow).progress.live
    assert market(flow).shifts.watch.record().states["market:all"].sizes.sizes[1] > 0


def test_a_partition_that_is_read_a_day_behind_the_others_is_a_backlog_and_pages_nobody(flow):
    """The others were live, so a stop of the day before was found as if it went on."""
    begin_ms, shop = TEN - 26 * HOUR_MS, Shop(flow)
    run, flow.run = flow.run, lambda: None
    play(flow, [(1.0, 12 * 60), (0.0, 60), (1.0, 13 * 60)], begin_ms, shop)
    flow.run, flow.now_ms = run, TEN
    slow = SourcePartition("orders", 0)
    count = len(flow.logs[slow].records)
    for part in range(1, 14):
        for sp in flow.logs:
            flow.fold(sp, count * part // 13 if sp == slow else None)
            flow.send_partials(sp)
        assert market(flow).progress.live or part == 1
        for partition in range(flow.partials_partitions):
            flow.apply(partition)
            flow.step(partition)
        assert bool(market(flow).shifts.done_until_ms) == (part == 13)
    flow.run()
    shifts = market(flow).shifts
    assert (incidents(flow), shifts.kept, shifts.pages.log.paged) == ([], [], [])
    assert shifts.watch.record().states["market:all"].sizes.sizes[1] > 0, (
        "the backlog has taught them"
    )
    play(flow, [(1.0, 5)])
    assert shifts.done_until_ms > TEN


def test_a_stop_is_suspected_before_it_pages_and_not_any_more_once_it_is_found(flow):
    end_ms = play(flow, [(1.0, QUIET)])
    assert all(not publication.suspicions for publication in flow.history)
    play(flow, [(0.0, 12)], end_ms)
    suspected = [publication for publication in flow.history if publication.suspicions]
    first = suspected[0]
    assert not any(status.shift for status in first.watched)
    (total, *_) = first.suspicions
    assert (total.dimension, total.direction, total.observed) == ("market", -1, 0)
    assert total.since_ms == pytest.approx(end_ms, abs=2 * MINUTE_MS)
    assert total.until_ms <= first.as_of_ms
    assert total.evidence_ratio >= EVIDENCE_MIN or total.surprise >= FACT_NATS
    assert total.expected == pytest.approx(
        total.expected_a_minute * (total.until_ms - total.since_ms) / MINUTE_MS
    )
    assert not flow.published["PK"].suspicions


def test_a_jump_that_takes_its_time_to_page_is_suspected_meanwhile(flow):
    """Until a day is known a series counts as bursty, whatever its hours say."""
    end_ms = play(flow, [(1.0, QUIET)])
    play(flow, [(4.0, 4)], end_ms)
    last = flow.published["PK"]
    (total, *_) = last.suspicions
    assert (total.dimension, total.direction) == ("market", 1)
    assert total.evidence_ratio < EVIDENCE_MIN
    assert total.surprise >= FACT_NATS
    assert total.observed > 1.5 * total.expected
    assert not any(status.shift for status in last.watched)


def flow_shifts(flow):
    return [shift for publication in flow.history for shift in publication.shifts]


def test_an_end_that_is_found_while_detection_is_behind_is_in_the_record(flow, monkeypatch):
    """It was in memory alone: the next owner did not find it again, and withdrew the incident."""
    play(flow, [(1.0, 10), (6.0, 12)])
    shifts = market(flow).shifts
    (jump,) = shifts.incidents.kept
    assert jump.state == "open"
    end = shifts.watch.done_until + 1
    ends = [
        FoundShift(
            shift.dimension, shift.member, "end", shift.number, FINAL, 1, "fast", end - 9, end, 0.0,
            shift.interval,
        )
        for shift in jump.shifts
    ]  # fmt: skip

    def apply_final(minute, _):
        shifts.watch.done_until = minute.minute + 1
        return ends

    monkeypatch.setattr(shifts.watch, "apply_final", apply_final)
    monkeypatch.setattr(market_shifts, "STEP_MINUTES_MAX", 1)
    final_ms = (end + 5) * MINUTE_MS
    shifts.step(Reach(final_ms, final_ms, TEN, TEN), changed=True)
    assert shifts.behind
    (over,) = decode_shifts(shifts.take_record()).incidents
    assert (over.state, over.over_ms) == ("over", end * MINUTE_MS)
    assert shifts.incidents.shown() == [over]


def away(flow, parts, at_ms):
    """Sell while nobody reads; return the end in ms."""
    run, flow.run = flow.run, lambda: None
    end_ms = play(flow, parts, at_ms, Shop(flow, "away"))
    flow.run = run
    return end_ms


@pytest.mark.parametrize("minutes_a_step", [10, 18, 120])
def test_an_incident_that_began_and_ended_while_nobody_watched_is_over_and_was_never_open(
    flow, monkeypatch, minutes_a_step
):
    monkeypatch.setattr(market_shifts, "STEP_MINUTES_MAX", minutes_a_step)
    began_ms = play(flow, [(1.0, 30)]) + 10 * MINUTE_MS
    away(flow, [(1.0, 10), (6.0, 15), (1.0, 40)], began_ms - 10 * MINUTE_MS)
    before = len(flow.history)
    flow.start_compile(partition_of("PK", flow.partials_partitions))
    flow.run()
    since = [each for each in flow.history[before:] if each.market == "PK"]
    assert len(since) > 60 // minutes_a_step
    assert not any(status.shift for each in since for status in each.watched)
    assert {one.state for each in since for one in each.incidents} == {"over"}
    (jump,) = since[-1].incidents
    assert jump.start_ms == pytest.approx(began_ms, abs=MINUTE_MS)
    assert jump.over_ms == pytest.approx(began_ms + 15 * MINUTE_MS, abs=6 * MINUTE_MS)
    assert jump.measures.difference.lower > 0
    assert {kept.incident for kept in market(flow).shifts.kept} == {jump.id}
    assert [(each.days, each.pages, each.open) for each in since[-1].pages] == [
        (30, 1, 1),
        (365, 1, 1),
    ]


def test_an_incident_that_began_while_nobody_watched_and_goes_on_is_shown_once_that_is_known(
    flow, monkeypatch
):
    monkeypatch.setattr(market_shifts, "STEP_MINUTES_MAX", 10)
    away(flow, [(1.0, 10), (6.0, 30)], play(flow, [(1.0, 30)]))
    before = len(flow.history)
    partition = partition_of("PK", flow.partials_partitions)
    flow.start_compile(partition)
    for sp in flow.logs:
        flow.fold(sp)
        flow.send_partials(sp)
    flow.apply(partition)
    flow.step(partition)
    flow.step(partition)
    assert [each.over_ms for each in market(flow).shifts.incidents.kept] == [0]
    flow.start_compile(partition)
    flow.run()
    since = [each for each in flow.history[before:] if each.market == "PK"]
    assert [len(each.incidents) for each in since] == [0] * (len(since) - 1) + [1]
    assert since[-1].incidents[0].measures.until_ms > TEN + 65 * MINUTE_MS


def test_panes_are_kept_until_the_record_that_has_read_them_is_acknowledged(flow, monkeypatch):
    """The new owner of one that ended between had the minutes without their panes."""
    monkeypatch.setattr(market_shifts, "STEP_MINUTES_MAX", 10)
    partition = partition_of("PK", flow.partials_partitions)
    other = new_flow()
    for each in (flow, other):
        away(each, [(1.0, 45)], play(each, [(1.0, 5)]))
        for sp in each.logs:
            each.fold(sp)
            each.send_partials(sp)
        each.apply(partition)
    compiled = flow.compiles[partition]
    for publication in compiled.step(flow.now_ms):
        flow._write_table(partition, compiled.fence_batch(publication))
    compiled.step(flow.now_ms)
    flow._write_table(partition, compiled.table_batch())
    flow.start_compile(partition)
    for each in (flow, other):
        each.run()
    assert stored(flow) == stored(other)


def test_shifts_that_are_remembered_are_bounded(flow, monkeypatch):
    monkeypatch.setattr(market_shifts, "KEPT_MAX", 3)
    shifts = market(flow).shifts
    shifts.watch.done_until = 10_000
    going = KeptShift("category", "books", 1, "fast", 10, 15)
    over = [KeptShift(*ALL, n, "fast", 20 * n, 20 * n + 5, end=20 * n + 9) for n in range(1, 6)]
    shifts.kept = [going, *over]
    shifts._keep([])
    assert shifts.kept == [going, *over[-2:]]
    shifts.kept = [going] * 4
    shifts._keep([])
    assert shifts.kept == [going] * 4, "what goes on is not forgotten"


@pytest.mark.deep
def test_a_takeover_leaves_the_detectors_as_they_would_have_been(flow):
    parts = [(1.0, 20), (6.0, 8), (1.0, 20)]
    other = new_flow()
    play(other, parts)
    shop = Shop(flow)
    at_ms = TEN
    for times, minutes in parts:
        at_ms = play(flow, [(times, minutes // 2)], at_ms, shop)
        flow.start_compile(partition_of("PK", flow.partials_partitions))
        at_ms = play(flow, [(times, minutes - minutes // 2)], at_ms, shop)
    assert stored(flow) == stored(other)
    events = [(shift.event, shift.number) for shift in published(flow) if shift.phase == FINAL]
    assert events == [("page", 1), ("end", 1)]
    assert [(s.event, s.number, s.at) for s in published(flow) if s.phase == FINAL] == [
        (s.event, s.number, s.at) for s in published(other) if s.phase == FINAL
    ]


def test_an_import_of_old_data_watches_nothing():
    flow = new_flow()
    flow.now_ms = TEN + 400 * 86_400_000
    for minute in range(10):
        at_ms = TEN + minute * MINUTE_MS
        flow.produce(SourcePartition("orders", 0), order(f"e{minute}", at_ms), at_ms)
    flow.run()
    assert flow.published["PK"].watched == []
    assert not market(flow).progress.live
    assert market(flow).shifts.done_until_ms == 0


def test_hours_of_a_shift_teach_nothing_until_it_has_become_the_level(flow):
    play(flow, [(1.0, 5)])
    shifts = market(flow).shifts
    done = shifts.watch.done_until
    start = done - RELEVEL_MINUTES - 120
    shifts.kept = [
        KeptShift("market", "all", 1, "fast", start, start + 5),
        KeptShift("market", "all", 2, "drift", start, start + 5),
        KeptShift("category", "books", 1, "slow", start, start + 60, end=start + 600),
    ]
    now_ms = done * MINUTE_MS
    assert [one.scope for one in shifts.shifted(now_ms)] == [WHOLE, ("category", "books")]
    assert [one.end_ms for one in shifts.shifted(now_ms)] == [None, (start + 600) * MINUTE_MS]
    assert shifts.shifted(start * MINUTE_MS) == []
    assert shifts.relevels(now_ms) == []


def test_what_is_stored_says_where_to_go_on(flow):
    play(flow, [(1.0, 10)])
    (record,) = stored(flow)
    shifts = market(flow).shifts
    assert decode_shifts(record).watch.done_until == shifts.watch.done_until
    assert shifts.done_until_ms < TEN + 10 * MINUTE_MS


def test_a_lasting_shift_is_adopted_with_each_member_at_its_own_ratio(flow):
    parts = {"books": 6.0, "computing": 1.0}
    shifts = market(flow).shifts
    position = {
        (series.dimension, series.member): at for at, series in enumerate(shifts.watch.series)
    }

    def sums(first, until):
        found = [(0, 0)] * len(position)
        found[position[ALL]] = (20_000, 10_000 * SCALE)
        for member, times in parts.items():
            found[position["category", member]] = (round(2_000 * times), 2_000 * SCALE)
        return found

    start = 1_000_000
    shifts._sums = sums
    shifts.watch.done_until = -(-start // 60) * 60 + RELEVEL_MINUTES
    books = KeptShift("category", "books", 3, "fast", start, start + 4)
    shifts.kept = [KeptShift(*ALL, 1, "fast", start, start + 5), books]
    shifts._adopt()
    now_ms = shifts.done_until_ms
    assert shifts.relevels(now_ms - MINUTE_MS) == []
    found = {one.scope: one.ratio / SCALE for one in shifts.relevels(now_ms)}
    assert found[WHOLE] == 2.0
    # what a column is multiplied by is the product
    assert found["category", "books"] * 2.0 == pytest.approx(6.0, rel=0.02)
    assert found["category", "computing"] * 2.0 == pytest.approx(1.0, rel=0.02)
    assert found["category", "entertainment"] == pytest.approx(1.0)
    assert books.end == shifts.watch.done_until
    assert shifts.kept[0].end == shifts.watch.done_until


def test_an_outage_is_never_the_new_level(flow):
    shifts = market(flow).shifts
    shifts._sums = lambda first, until: [(0, 10_000 * SCALE)] * len(shifts.watch.series)
    shifts.watch.done_until = 1_000_000 + RELEVEL_MINUTES
    shifts.kept = [KeptShift(*ALL, 1, "fast", 1_000_000 - 60, 1_000_000)]
    shifts._adopt()
    assert shifts.relevels(shifts.done_until_ms) == []
    assert [one.end_ms for one in shifts.shifted(shifts.done_until_ms)] == [None]


class Lasting:
    """An outage of the total that goes on, judged by days whose sums the test says."""

    def __init__(self, flow):
        self.shifts = market(flow).shifts
        self.series = len(self.shifts.watch.series)
        self.start = 1_000_020
        self.shifts.kept = [KeptShift(*ALL, 1, "fast", self.start, self.start + 5)]

    def until(self, day, observed, expected):
        """Pass the end of a day after the outage began; all its days had these sums."""
        self.shifts._sums = lambda first, until: [(observed, expected * SCALE)] * self.series
        self.shifts.watch.done_until = self.start + day * 1_440
        self.shifts._adopt()
        return self.shifts.kept[0]


def test_an_outage_of_weeks_ends_on_the_day_that_has_events_again(flow):
    """Its detector slept by then, and said no end: nothing was learnt any more, for good."""
    outage = Lasting(flow)
    assert outage.until(25, 0, 10_000).end == 0
    assert outage.until(26, 3, 10_000).end == 0, "a stray order is no level"
    kept = outage.until(27, 6_000, 10_000)
    assert kept.end == kept.relevelled_at == outage.start + 27 * 1_440
    assert [one.ratio for one in outage.shifts.relevels(2**60)][:1] == [SCALE * 6 // 10]


def test_an_outage_that_left_no_expectation_ends_with_the_first_events(flow):
    outage = Lasting(flow)
    assert outage.until(60, 0, 0).end == 0
    kept = outage.until(61, 1, 0)
    assert (kept.end, kept.ratio) == (outage.start + 60 * 1_440, 0)


def test_a_shift_found_again_while_it_goes_on_is_one_shift_and_ends_once(flow):
    """A shop closed over Christmas is paged daily; a second shift was kept, the first never ended."""
    outage = Lasting(flow)
    outage.until(8, 0, 10_000)
    shift = FoundShift(
        *ALL, "page", 2, FINAL, -1, "fast", outage.start + 11_000, outage.start + 11_100, 1.0,
        RatioInterval(0.0, 1.0, 0.0, 0.0, 1.0),
    )  # fmt: skip
    outage.shifts._keep([shift, structs.replace(shift, event="end", at=outage.start + 12_000)])
    assert [kept.end for kept in outage.shifts.kept] == [outage.start + 12_000]
