"""A producer's stamp far ahead is doubted: the event counts, and its market's time goes on as it was."""

import json
from collections import Counter

import pytest

from streams.flow.admission import AGREEING
from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.source import SourceLevel
from streams.flow.state import FOREVER_MS, NEVER_MS
from streams.flow.wire import decode_mark
from streams.index.methodology import DOUBTED_PANES_MAX
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from streams.index.stamps import STAMPS_MS
from tests.support.events import PANE, T0
from tests.support.flow_harness import METHODOLOGY, Flow, order, payment

AHEAD_MS = METHODOLOGY.ahead_ms
FAR_MS = 55 * MINUTE_MS


class Log:
    """One source partition; ``take`` folds one record and returns its outcome."""

    def __init__(self, *, payments=False, table=None):
        topic = "payments" if payments else "orders"
        self.event = payment if payments else order
        self.table = {} if table is None else table
        self.sp = SourcePartition(topic, 0)
        identity = Identity(1, METHODOLOGY.content_hash, "topic-id", 1)
        nonce = f"w{len(self.table)}"
        self.level = SourceLevel(self.sp, METHODOLOGY, identity, nonce, 1, payments=payments)
        self.level.recover(dict(self.table))
        self.dead, self.late = [], []
        self.outcomes = Counter()

    def take(self, name, at_ms, *, occurred_ms=None, doubtful=True, **extra):
        event = self.event(name, at_ms if occurred_ms is None else occurred_ms, **extra)
        offset = self.level.through + 1
        value = json.dumps(event).encode()
        chunk = Chunk(self.sp, offset, offset, [None], [value], [at_ms], doubtful=bytes([doubtful]))
        folded = self.level.fold_chunk(chunk)
        self.dead += folded.dead
        self.late += folded.late
        self.outcomes += folded.outcomes
        (outcome,) = [name for name in folded.outcomes if name not in ("doubted", "day_closed")]
        return outcome

    def flush(self):
        self.level.partials(FOREVER_MS)
        self.level.day_partials()
        flush = self.level.flush()
        self.table[flush.key] = flush.value

    @property
    def state(self):
        return self.level.source.markets["PK"]

    @property
    def at_ms(self):
        """The market's watermark, ms since T0."""
        return self.state.watermark_ms - T0


@pytest.fixture(params=["orders", "payments"])
def log(request):
    found = Log(payments=request.param == "payments")
    found.take("first", T0)
    return found


def test_one_event_far_ahead_counts_and_moves_nothing(log):
    assert log.take("fast", T0 + FAR_MS) == "accepted"
    assert log.at_ms == 0
    assert log.outcomes == {"accepted": 2, "doubted": 1}
    assert log.take("right", T0 + MINUTE_MS) == "accepted"
    assert log.at_ms == MINUTE_MS
    assert len(log.state.panes) == 3


def test_what_is_no_further_than_ahead_ms_moves_the_watermark_at_once(log):
    log.take("on", T0 + AHEAD_MS)
    assert log.at_ms == AHEAD_MS
    log.take("beyond", T0 + 2 * AHEAD_MS + 1)
    assert log.at_ms == AHEAD_MS


def test_the_first_record_of_a_market_is_believed():
    log = Log()
    log.take("first", T0 + FAR_MS)
    assert log.at_ms == FAR_MS


@pytest.mark.parametrize("doubtful", [True, False])
@pytest.mark.parametrize("stamp", [-1, STAMPS_MS.stop, T0 * 1_000, 2**62])
def test_a_stamp_of_no_calendar_is_refused_and_leaves_no_trace(log, stamp, doubtful):
    """Three that agreed in microseconds ended every worker: no calendar has the year 58,000."""
    fresh = Log(payments=log.level.source.payments)
    for each, watermark_ms in ((log, T0), (fresh, NEVER_MS)):
        for number in range(AGREEING):
            kind = each.take(f"o{number}", stamp, occurred_ms=T0, doubtful=doubtful)
            assert kind == "dead"
        assert {dead.reason for dead in each.dead} == {"invalid_time"}
        assert (each.state.watermark_ms, each.state.doubts) == (watermark_ms, [])
    assert log.take("right", T0 + 1) == "accepted"


@pytest.mark.parametrize("stamps", [(55, 56, 57), (57, 55, 56)])
def test_three_orders_that_agree_move_it_to_the_smallest(log, stamps):
    for number, minutes in enumerate(stamps):
        assert log.at_ms == 0
        log.take(f"o{number}", T0 + minutes * MINUTE_MS)
    assert log.at_ms == 55 * MINUTE_MS
    assert log.state.doubts == []


def test_three_records_of_one_order_do_not_agree(log):
    for number in range(5):
        log.take(f"e{number}", T0 + FAR_MS + number, order_id="the same")
    assert log.at_ms == 0
    assert len(log.state.doubts) == 1


def test_events_without_an_order_are_told_apart_by_their_ids():
    log = Log()
    log.take("first", T0)
    for number in range(AGREEING):
        log.take(f"e{number}", T0 + FAR_MS, order_id=None)
    assert log.at_ms == FAR_MS


@pytest.mark.parametrize("back_ms", [0, HOUR_MS, -AHEAD_MS])
def test_a_record_of_the_old_time_clears_the_doubts(log, back_ms):
    log.take("o1", T0 + FAR_MS)
    log.take("o2", T0 + FAR_MS)
    log.take("old", T0 - back_ms)
    assert log.state.doubts == []
    log.take("o3", T0 + FAR_MS)
    assert log.at_ms == max(0, -back_ms)


def test_other_markets_records_clear_nothing(log):
    log.take("o1", T0 + FAR_MS)
    log.take("o2", T0 + FAR_MS)
    log.take("other", T0, market="BR", currency="BRL")
    log.take("o3", T0 + FAR_MS)
    assert log.at_ms == FAR_MS


def test_a_market_with_an_order_every_ten_minutes_counts_each_in_time():
    """The watermark follows two orders behind, and none is late, refused, or out of room."""
    log = Log()
    step = 10 * MINUTE_MS
    outcomes = {log.take(f"o{number}", T0 + number * step) for number in range(200)}
    assert outcomes == {"accepted"}
    assert log.at_ms == 197 * step
    assert not log.dead
    assert len(log.state.panes) == 3


def test_such_a_market_is_live():
    """Its watermark lies more than an hour back, its newest orders do not."""
    log = Log()
    for number in range(20):
        log.take(f"o{number}", T0 + number * 40 * MINUTE_MS)
    now_ms = T0 + 19 * 40 * MINUTE_MS
    assert log.state.watermark_ms < now_ms - HOUR_MS
    (mark,) = log.level.marks(now_ms, now_ms)
    assert decode_mark(mark.value).live == ["PK"]


def test_doubted_panes_leave_all_that_what_is_sold_now_may_need():
    log = Log()
    log.take("first", T0)
    names = iter(range(10_000))
    outcomes = []
    for number in range(DOUBTED_PANES_MAX + 5):
        outcomes.append(log.take(f"fast{next(names)}", T0 + FAR_MS + number * PANE))
        log.take(f"right{next(names)}", T0)
    assert outcomes == ["accepted"] * DOUBTED_PANES_MAX + ["dead"] * 5
    assert {record.reason for record in log.dead} == {"ahead"}
    assert log.dead[0].detail.startswith("arrived 3460000 ms after its market's others")
    for start_ms in range(0, METHODOLOGY.grace_ms + AHEAD_MS, PANE):
        log.take(f"now{next(names)}", T0 + start_ms // 2, occurred_ms=T0 + start_ms // 2)
    assert log.state.floor_ms < T0 - DAY_MS
    open_now = [start for start in log.state.panes if start < T0 + FAR_MS]
    assert min(open_now) <= log.state.watermark_ms - METHODOLOGY.grace_ms


def test_an_open_pane_takes_a_doubted_event_however_many_there_are():
    log = Log()
    log.take("first", T0)
    for number in range(DOUBTED_PANES_MAX):
        log.take("fast", T0 + FAR_MS + number * PANE, order_id="o")
    assert log.take("more", T0 + FAR_MS, order_id="o") == "accepted"
    assert log.take("more", T0 + FAR_MS - PANE, order_id="o") == "dead"


@pytest.mark.parametrize(
    ("lag_ms", "outcome"), [(0, "accepted"), (20_000, "late"), (120_000, "late")]
)
def test_a_doubted_event_is_late_by_its_own_arrival(log, lag_ms, outcome):
    """A quiet market's as_of follows the log's time: its next event may not change what was final."""
    at_ms = T0 + FAR_MS
    assert log.take("a", at_ms, occurred_ms=at_ms - lag_ms) == outcome
    too_late = log.take("b", at_ms, occurred_ms=at_ms - METHODOLOGY.grace_ms - 1)
    assert too_late == ("too_late" if log.event is payment else "day_only")
    assert log.late[-1].detail == f"lateness {METHODOLOGY.grace_ms + 1} ms"


@pytest.mark.parametrize(
    ("kind", "days", "back_days", "lag_ms", "outcome"),
    [
        ("order.placed", 30, 38, 0, "day_closed"),
        ("payment.captured", 30, 38, 0, "day_closed"),
        ("order.placed", 40, 40, HOUR_MS, "too_late"),
        ("order.cancelled", 40, 40, HOUR_MS, "too_late"),
    ],
)
def test_the_day_of_a_doubted_event_is_closed_by_its_own_arrival(
    kind, days, back_days, lag_ms, outcome
):
    """The market was quiet for weeks: by the log's time that day is final, and must not change."""
    log = Log(payments=kind.startswith("payment"))
    log.take("first", T0)
    at_ms = T0 + days * DAY_MS
    said = {"occurred_ms": at_ms - lag_ms, "kind": kind}
    log.take("old", at_ms, **said, placed_at=rfc3339(at_ms - back_days * DAY_MS))
    assert (log.at_ms, log.outcomes[outcome]) == (0, 1)
    log.flush()
    assert len(log.state.days) == 1
    log.take("new", at_ms, **said, placed_at=rfc3339(at_ms - 20 * DAY_MS))
    assert (log.at_ms, len(log.state.days)) == (0, 2), "that day is open"


def test_no_pane_waits_for_longer_than_a_day_is_open(log):
    kept_ms = METHODOLOGY.day_grace_ms
    assert log.take("within", T0 + kept_ms) == "accepted"
    assert log.take("beyond", T0 + kept_ms + PANE) == "dead"
    assert log.dead[0].reason == "ahead"
    assert len(log.state.doubts) == 2, "a refused one agrees all the same: months may have passed"
    log.take("again", T0 + kept_ms + PANE)
    assert log.at_ms == kept_ms


@pytest.mark.parametrize("doubts", [1, 2])
def test_a_recovered_state_has_the_doubts(doubts):
    log = Log()
    log.take("first", T0)
    for number in range(doubts):
        log.take(f"o{number}", T0 + FAR_MS + number)
    log.flush()
    heir = Log(table=log.table)
    assert heir.state.doubts == log.state.doubts
    for number in range(doubts, AGREEING):
        heir.take(f"o{number}", T0 + FAR_MS + number)
    assert heir.at_ms == FAR_MS


def test_stamps_of_an_import_and_of_the_broker_are_believed():
    log = Log()
    log.take("first", T0)
    log.take("o1", T0 + FAR_MS)
    log.take("imported", T0 + 40 * DAY_MS, doubtful=False)
    assert log.at_ms == 40 * DAY_MS
    assert log.state.doubts == []


def test_everybody_elses_orders_are_on_time_and_the_stray_one_shows_when_its_time_comes():
    flow = Flow(partitions=1)
    (sp,) = flow.sps["orders"]
    shown = []
    for minute in range(57):
        at_ms = T0 + minute * MINUTE_MS
        if minute == 3:
            flow.produce(sp, order("fast", T0 + FAR_MS), T0 + FAR_MS, doubtful=True)
        if minute == 30:
            flow.start_source(sp)
        flow.produce(sp, order(f"o{minute}", at_ms), at_ms, doubtful=True)
        flow.now_ms = at_ms + MINUTE_MS
        flow.run()
        shown.append(flow.value("PK", "orders:market:all:1m").value)
    assert flow.outcomes == {"accepted": 58, "doubted": 1}
    assert shown[1:] == [1] * 54 + [2, 1]
