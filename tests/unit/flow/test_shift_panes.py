"""Detectors step by panes: what is found before its minute ends is what the final minute says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streams.flow import market_shifts
from streams.flow.chunk import SourcePartition
from streams.flow.ledger import Ledger
from streams.flow.market_shifts import MarketShifts, Reach
from streams.flow.market_suspicions import MarketSuspicions
from streams.flow.shift_watch import FINAL, LIVE
from streams.flow.shifts_record import decode_shifts
from streams.flow.state import LIVE as LIVE_BOOK
from streams.flow.state import SlotKey
from streams.index import partials as col
from streams.index.label_rows import PackedRow
from streams.index.measured import ExpectedRow
from streams.index.noise import Noise
from streams.index.panes import HOUR_MS, MINUTE_MS, of_minute
from streams.index.shift_clock import FAST_SIZE, MICRO
from streams.index.summed_labels import encode_row
from streams.publish.incident_records import published_incident
from tests.support.flow_harness import METHODOLOGY

PANE_MS = METHODOLOGY.pane_ms
GRACE_MS = METHODOLOGY.grace_ms
SP = SourcePartition("orders", 0)
T = 1_800_000_000_000 // HOUR_MS * HOUR_MS
RATE = 240


class Constant:
    """Expects ``rate`` orders of the market in every minute, and nothing else."""

    version = 0
    noise = Noise(6_400, 0, 0)

    def __init__(self, width, rate=RATE):
        self.width = width
        self.rate = rate

    def of_span(self, start_ms, end_ms):
        row = [0] * self.width
        row[col.ORDERS] = self.rate * MICRO * (end_ms - start_ms) // MINUTE_MS
        return ExpectedRow(row, {col.ORDERS: self.noise}, frozenset(), "2026-11-24")


class Worker:
    """A ledger and the detectors that read it, as a worker moves them."""

    def __init__(self, rate=RATE, share=1.0):
        self.ledger = Ledger(METHODOLOGY.markets["PK"], METHODOLOGY)
        self.expectation = Constant(self.ledger.layout.live_width, rate)
        self.share = share
        self.shifts = self.detectors()
        self.found = []

    def detectors(self):
        return MarketShifts(
            self.ledger, self.expectation, METHODOLOGY.shifts, self.share, lambda day: None
        )

    def knows_sizes(self):
        """Learn at once what takes a day: 50. That panes are regular is learnt in half an hour."""
        sizes = self.shifts.watch._final.sizes
        for known in (sizes.size, sizes.next_size):
            known[:] = 50.0

    def sell(self, pane_ms, orders, through=1):
        row = [0] * self.ledger.layout.live_width
        row[col.ORDERS] = orders
        key = SlotKey("PK", LIVE_BOOK, pane_ms)
        self.ledger.apply_row(
            key,
            SP,
            through,
            row,
            b"",
            f"{pane_ms}".encode(),
            offset=1,
            labels=encode_row(PackedRow([])),
        )

    def step(self, as_of_ms):
        """Fold what is closed, step, expire: in the order of MarketCompile."""
        self.ledger.fold_closed(SP, as_of_ms)
        reach = Reach(as_of_ms - GRACE_MS, as_of_ms, T, T)
        found = self.shifts.step(reach, changed=True)
        while self.shifts.behind:
            found += self.shifts.step(reach, changed=True)
        self.found += [(as_of_ms, shift) for shift in found if shift.member == "all"]
        self.ledger.panes_read_ms = self.shifts.done_until_ms
        for _ in self.ledger.expire(as_of_ms // MINUTE_MS * MINUTE_MS):
            pass


def demand(seed=1, minutes=60, stops=40 * 12 + 7):
    counts = np.random.default_rng(seed).poisson(RATE / 12, minutes * 12)
    counts[stops:] = 0
    return {T + at * PANE_MS: int(count) for at, count in enumerate(counts)}


def play(worker, sold, begin_ms=T, step_ms=PANE_MS):
    for pane_ms, orders in sold.items():
        if pane_ms >= begin_ms:
            worker.sell(pane_ms, orders)
            if (pane_ms + PANE_MS) % step_ms == 0:
                worker.step(pane_ms + PANE_MS)


def test_a_stop_is_found_before_its_minute_ends_and_the_final_minute_says_the_same():
    worker = Worker()
    worker.step(T)
    worker.knows_sizes()
    sold = demand(minutes=44)
    quiet = {pane_ms: orders for pane_ms, orders in sold.items() if pane_ms < T + 38 * MINUTE_MS}
    play(worker, quiet, step_ms=MINUTE_MS)
    play(worker, sold, T + 38 * MINUTE_MS)
    (at_ms, live), (_, final) = worker.found
    assert (live.phase, final.phase) == (LIVE, FINAL)
    assert of_minute(live.at) == at_ms
    assert at_ms % MINUTE_MS != 0
    assert of_minute(live.start) == pytest.approx(T + (40 * 12 + 7) * PANE_MS, abs=PANE_MS)
    assert at_ms - of_minute(live.start) <= 45_000
    for name in ("at", "start", "number", "direction", "evidence_ratio", "interval"):
        assert getattr(final, name) == getattr(live, name)


def test_a_pane_that_goes_on_is_not_read():
    whole, more = Worker(), Worker()
    for worker in (whole, more):
        worker.step(T)
        worker.knows_sizes()
        play(worker, demand(minutes=40), step_ms=MINUTE_MS)
    end_ms = T + 40 * MINUTE_MS
    for worker, orders in ((whole, 0), (more, 10_000)):
        worker.sell(end_ms, RATE // 12)
        worker.sell(end_ms + PANE_MS, orders)
        worker.step(end_ms + PANE_MS)
    shown = [[status.evidence_ratio for status in one.shifts.statuses()] for one in (whole, more)]
    assert shown[0] == shown[1]
    more.step(end_ms + 2 * PANE_MS)
    assert more.found[-1][1].direction == 1


@pytest.mark.parametrize("away_minutes", [1, 50])
def test_who_comes_back_later_finds_the_same_by_the_same_panes(away_minutes):
    """Panes are kept until the detectors have read them, also those of minutes long past."""
    sold = demand()
    stays, goes = Worker(), Worker()
    for worker in (stays, goes):
        worker.step(T)
        worker.knows_sizes()
    play(stays, sold, step_ms=MINUTE_MS)
    left_ms = T + 5 * MINUTE_MS
    before = {pane_ms: orders for pane_ms, orders in sold.items() if pane_ms < left_ms}
    play(goes, before, step_ms=MINUTE_MS)
    back = Worker()
    back.shifts.restore(decode_shifts(goes.shifts.take_record()))
    back.ledger.panes_read_ms = back.shifts.done_until_ms
    back_ms = left_ms + away_minutes * MINUTE_MS
    for pane_ms, orders in sold.items():
        if pane_ms < back_ms:
            back.sell(pane_ms, orders)
    back.step(back_ms)
    play(back, sold, back_ms, step_ms=MINUTE_MS)
    assert back.shifts.watch.record() == stays.shifts.watch.record()
    final = [shift for _, shift in back.found if shift.phase == FINAL]
    assert final == [shift for _, shift in stays.found if shift.phase == FINAL] != []


def test_a_new_owner_sums_a_shift_by_the_minute_where_panes_are_gone():
    """Panes that were gone were read as empty: a shift had other contributors after a takeover."""
    worker = Worker()
    worker.step(T)
    worker.knows_sizes()
    sold = demand(minutes=44)
    play(worker, sold, step_ms=MINUTE_MS)
    stop = worker.found[-1][1]
    assert (stop.start % 1, stop.at % 1) != (0, 0)
    as_it_was = worker.shifts._sums(stop.start, stop.at)[0]
    assert as_it_was == _sum(sold, of_minute(stop.start), of_minute(stop.at))
    play(worker, dict.fromkeys(range(T + 44 * MINUTE_MS, T + HOUR_MS, PANE_MS), 0))
    back = worker.detectors()
    back.restore(decode_shifts(worker.shifts.take_record()))
    first_ms = T + 40 * MINUTE_MS
    until_ms = -(-of_minute(stop.at) // MINUTE_MS) * MINUTE_MS
    assert back._sums(stop.start, stop.at)[0] == _sum(sold, first_ms, until_ms)


def _sum(sold, start_ms, end_ms):
    """(orders, millionths expected) of a span."""
    counted = sum(orders for pane_ms, orders in sold.items() if start_ms <= pane_ms < end_ms)
    return counted, RATE * MICRO * (end_ms - start_ms) // MINUTE_MS


def test_minutes_whose_panes_are_gone_are_one_step():
    """Format 3 kept panes for eight minutes, whether the detectors had read them or not."""
    worker = Worker()
    worker.step(T)
    worker.knows_sizes()
    for pane_ms, orders in demand().items():
        worker.sell(pane_ms, orders)
    worker.ledger.fold_closed(SP, T + HOUR_MS + GRACE_MS)
    for merged in worker.ledger.merged.values():
        merged.panes.clear()
    worker.step(T + HOUR_MS + GRACE_MS)
    ((_, final),) = worker.found
    assert (final.phase, final.at) == (FINAL, int(final.at))


def test_a_market_that_becomes_live_on_a_day_of_backlog_knows_at_once_how_bursty_it_is():
    fresh, old, taken_over = Worker(), Worker(), Worker()
    fresh.step(T)
    fresh.step(T + 10 * MINUTE_MS)
    minutes = 26 * 60 + 17
    counts = np.random.default_rng(1).poisson(RATE, minutes)
    for minute, orders in enumerate(counts):
        old.sell(T + minute * MINUTE_MS, int(orders))
    live_ms = T + minutes * MINUTE_MS
    old.step(live_ms)
    learnt = sizes(old)
    assert sizes(fresh)[0] == FAST_SIZE
    assert learnt[0] > 10 * FAST_SIZE
    old.step(live_ms + MINUTE_MS)
    assert sizes(old) == learnt
    taken_over.shifts.restore(decode_shifts(old.shifts.take_record()))
    taken_over.step(live_ms + MINUTE_MS)
    assert taken_over.shifts.watch.record() == old.shifts.watch.record()


@pytest.mark.parametrize(("grace_ms", "minutes"), [(GRACE_MS, 4), (HOUR_MS, 62)])
def test_sizes_wait_for_as_long_as_live_minutes_run_ahead(grace_ms, minutes):
    ledger = Ledger(METHODOLOGY.markets["PK"], replace(METHODOLOGY, grace_ms=grace_ms))
    expectation = Constant(ledger.layout.live_width)
    shifts = MarketShifts(ledger, expectation, METHODOLOGY.shifts, 1.0, lambda day: None)
    assert shifts.watch._final.design.ahead_minutes == minutes


def backlog(minutes=26 * 60 + 17):
    """A worker that has read more than a day of bursts, the last 70 minutes of them by panes."""
    worker = Worker()
    draw = np.random.default_rng(2)
    for minute, rate in enumerate(draw.gamma(40.0, RATE / 40.0, minutes)):
        panes = 1 if minute < minutes - 70 else 12
        for pane, orders in enumerate(draw.poisson(rate / panes, panes)):
            worker.sell(T + minute * MINUTE_MS + pane * PANE_MS, int(orders))
    return worker, T + minutes * MINUTE_MS


def parts(worker, as_of_ms, restart_after=None, leap_ms=0):
    """Step; time leaps while sizes are taught. Return (minutes read in each such step, end in ms)."""
    read, own, record = [], Ledger.minute_sum, None
    counted = []
    for number in range(100):
        worker.ledger.fold_closed(SP, as_of_ms)
        reach = Reach(as_of_ms - GRACE_MS, as_of_ms, T, T)
        counted.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ledger, "minute_sum", lambda *at: counted.append(at) or own(*at))
            worker.shifts.step(reach, changed=True)
        shifts = worker.shifts
        if shifts._teaching_ms:
            read.append(len(counted))
            as_of_ms += leap_ms
        worker.ledger.panes_read_ms = shifts.panes_read_ms(worker.ledger.horizon_ms)
        horizon_ms = min(as_of_ms // MINUTE_MS * MINUTE_MS, shifts.horizon_max_ms)
        for _ in worker.ledger.expire(horizon_ms):
            pass
        if not shifts.behind:
            return read, as_of_ms
        record = shifts.take_record() or record
        if number == restart_after:
            worker.shifts = worker.detectors()
            worker.shifts.restore(decode_shifts(record))
            worker.ledger.panes_read_ms = worker.shifts.panes_read_ms(worker.ledger.horizon_ms)
    raise AssertionError("it never ends")


@pytest.mark.parametrize(
    ("restart_after", "leap_ms"),
    [(None, 10 * MINUTE_MS), (0, 10 * MINUTE_MS), (3, 10 * MINUTE_MS), (1, 2 * HOUR_MS)],
)
def test_sizes_are_taught_in_parts_as_they_are_at_once_after_a_restart_too(
    monkeypatch, restart_after, leap_ms
):
    """A day of 500 series, taught at once, kept the event loop for 2.4 s."""
    (whole, live_ms), (sliced, _) = backlog(), backlog()
    monkeypatch.setattr(market_shifts, "TAUGHT_COUNTS_MAX", 1_000_000)
    assert parts(whole, live_ms) == ([], live_ms)
    monkeypatch.setattr(market_shifts, "TAUGHT_COUNTS_MAX", 10_000)
    read, end_ms = parts(sliced, live_ms, restart_after, leap_ms)
    most = 10_000 // len(sliced.shifts.watch.series)
    assert len(read) > 4
    assert max(read) <= most
    assert sizes(sliced)[0] != FAST_SIZE
    assert sizes(sliced)[1] > 0, "panes are kept until they are read"
    parts(whole, end_ms)
    assert sliced.shifts.watch.record() == whole.shifts.watch.record()


def test_a_clock_that_is_set_back_while_sizes_are_taught_leaves_nothing_of_them():
    worker, live_ms = backlog()
    worker.ledger.fold_closed(SP, live_ms)
    worker.shifts.step(Reach(live_ms - GRACE_MS, live_ms, T, T), changed=True)
    assert worker.shifts.behind
    back_ms = live_ms - 2 * HOUR_MS
    worker.shifts.take_generation(1, back_ms)
    parts(worker, back_ms)
    fresh, _ = backlog()
    parts(fresh, back_ms)
    assert sizes(worker) == sizes(fresh)


def sizes(worker):
    return worker.shifts.watch.record().states["market:all"].sizes.sizes


BUSY = 1_000
BACKLOG_MS = 6 * MINUTE_MS - 37_000
"""What a demo reads before it is live: at least two whole minutes of it are final then."""


def fresh(panes, share=0.2, backlog_ms=BACKLOG_MS):
    """A market of BUSY orders a minute, one of five, that is live after a backlog. ``panes``: counts."""
    worker = Worker(BUSY, share)
    suspected = MarketSuspicions(worker.ledger, worker.expectation, PANE_MS)
    seen = []
    for at, orders in enumerate(panes):
        ends_ms = T + (at + 1) * PANE_MS
        worker.sell(ends_ms - PANE_MS, int(orders))
        if ends_ms >= T + backlog_ms:
            worker.step(ends_ms)
            suspected.step(worker.shifts.statuses(), (), T, ends_ms)
            seen += [(ends_ms, each) for each in suspected.shown()]
    return worker, seen


@pytest.mark.parametrize("stops_s", [7 * 60, 8 * 60 + 5, 9 * 60 + 30, 10 * 60 + 55])
@pytest.mark.parametrize("size", [15, 200])
def test_a_stop_in_the_first_minutes_of_a_market_is_suspected_and_paged_by_its_panes(stops_s, size):
    """Issue 17: no longer calm within 15 s, an outage within 75 s, 8 s of telling included."""
    draw = np.random.default_rng(stops_s)
    panes = draw.negative_binomial(size / 12, size / (size + BUSY), 13 * 12)
    panes[stops_s * 1_000 // PANE_MS :] = 0
    worker, seen = fresh(panes)
    stops_ms = T + stops_s * 1_000
    (found_ms, found) = worker.found[0]
    assert (found.phase, found.direction) == (LIVE, -1)
    assert 30_000 <= found_ms - stops_ms <= 67_000
    first_ms, first = seen[0]
    assert (first.dimension, first.observed) == ("market", 0)
    assert 0 < first_ms - stops_ms <= 7_000
    by_evidence = [each.evidence_ratio for at_ms, each in seen if at_ms < found_ms]
    assert by_evidence == sorted(set(by_evidence)), "it grows with every pane"


def test_what_an_outage_left_in_the_last_minutes_is_no_suspicion():
    """For minutes after an outage a market at twice its usual orders was suspected to fall."""
    worker = Worker(BUSY, 0.2)
    worker.expectation.noise = Noise(100, 0, 0)
    suspected = MarketSuspicions(worker.ledger, worker.expectation, PANE_MS)
    stops, back, doubles = (minute * 12 for minute in (10, 15, 17))
    after = []
    for at in range(20 * 12):
        ends_ms = T + (at + 1) * PANE_MS
        orders = 0 if stops <= at < back else BUSY // 12 * (2 if at >= doubles else 1)
        worker.sell(ends_ms - PANE_MS, orders)
        if ends_ms >= T + BACKLOG_MS:
            worker.step(ends_ms)
            kept = worker.shifts.incidents.kept
            suspected.step(worker.shifts.statuses(), kept, T, ends_ms)
            if kept and kept[0].over_ms:
                after += [(at, each.direction) for each in suspected.shown()]
    assert worker.shifts.incidents.kept[0].over_ms <= T + 17 * MINUTE_MS
    assert {direction for _, direction in after} == {1}
    assert after[0][0] - doubles <= 2 * 12 + 1


@pytest.mark.parametrize("second", [0, 5, 30, 55])
def test_a_stop_is_called_an_outage_a_minute_after_it_began(second):
    """At second 5 it was one after 115 s, when its first whole minute had ended."""
    stops = 10 * 12 + second // 5
    worker = Worker(BUSY, 0.2)
    kinds = {}
    for at in range(stops + 40):
        ends_ms = T + (at + 1) * PANE_MS
        worker.sell(ends_ms - PANE_MS, BUSY // 12 if at < stops else 0)
        if ends_ms >= T + BACKLOG_MS:
            worker.step(ends_ms)
            for each in worker.shifts.incidents.shown():
                kinds.setdefault(published_incident(each).kind, ends_ms - T - stops * PANE_MS)
    assert 60_000 <= kinds["outage"] <= 67_000


def test_less_than_a_minute_without_orders_is_no_outage():
    """What came back before its first whole minute had ended was counted up to its page."""
    stops = 10 * 12 + 6
    worker = Worker(BUSY)
    kinds = set()
    for at in range(stops + 60):
        ends_ms = T + (at + 1) * PANE_MS
        worker.sell(ends_ms - PANE_MS, 0 if stops <= at < stops + 11 else BUSY // 12)
        if ends_ms >= T + BACKLOG_MS:
            worker.step(ends_ms)
            kinds |= {published_incident(each).kind for each in worker.shifts.incidents.shown()}
    assert kinds == {"drop"}


def test_an_end_that_late_events_took_back_and_that_comes_again_ends_its_own_shift():
    """It was published before, so it was no news: the next shift was taken for the same one."""
    worker, final_ms = Worker(), T + 20 * MINUTE_MS

    def sell(first, until, times, through=1):
        for pane_ms in range(T + first * MINUTE_MS, T + until * MINUTE_MS, PANE_MS):
            worker.sell(pane_ms, int(times * RATE) // 12, through)
        worker.ledger.fold_closed(SP, final_ms)
        reach = Reach(final_ms, T + until * MINUTE_MS, T, T)
        found = worker.shifts.step(reach, changed=True)
        while worker.shifts.behind:
            found += worker.shifts.step(reach, changed=True)
        kept = worker.shifts.incidents.kept
        shifts = [shift for each in kept for shift in each.shifts if shift.of_market]
        events = [(each.event, each.number) for each in found if each.dimension == "market"]
        return [(each.number, each.over_ms > 0, each.repaged) for each in shifts], events

    sell(0, 20, 1.0)
    assert sell(20, 28, 6.0) == ([(1, False, False)], [("page", 1)])
    assert sell(28, 40, 1.0) == ([(1, True, False)], [("end", 1)])
    assert sell(28, 40, 5.0, through=2) == ([(1, False, False)], []), "late events"
    for pane_ms in range(T + 40 * MINUTE_MS, T + 52 * MINUTE_MS, PANE_MS):
        worker.sell(pane_ms, RATE // 12)
    assert sell(52, 60, 6.0) == ([(1, True, False), (2, False, False)], [("page", 2)])
