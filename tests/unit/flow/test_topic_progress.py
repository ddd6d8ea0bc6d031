"""How far the log is known for a market, from marks alone."""

from streams.flow.chunk import SourcePartition
from streams.flow.topic_progress import (
    LIVE_WITHIN_MS,
    TopicProgress,
    better_mark,
    shows_live,
    topic_progress,
)
from streams.flow.wire import MarkRecord

A, B = SourcePartition("orders", 0), SourcePartition("orders", 1)


def mark(through: int, watermark: int | None, caught_up: int | None = None, sent: int = 0):
    return MarkRecord(1, through, {} if watermark is None else {"PK": watermark}, caught_up, sent)


def progress(marks, *, live):
    return topic_progress("PK", [A, B], marks, live=live)


def test_a_partition_without_a_mark_holds_everything():
    for live in (False, True):
        assert progress({A: mark(5, 100)}, live=live) == TopicProgress(None, True)


def test_in_a_live_market_a_quiet_partition_is_as_far_as_it_was_caught_up():
    marks = {A: mark(5, 100, 130), B: mark(0, 40, 120)}
    assert progress(marks, live=True) == TopicProgress(120, True)
    assert progress(marks, live=False) == TopicProgress(40, True)


def test_a_partition_never_caught_up_that_has_not_seen_the_market_holds_it():
    marks = {A: mark(5, 100, 130), B: mark(7, None)}
    assert progress(marks, live=True) == TopicProgress(None, True)
    assert progress(marks, live=False) == TopicProgress(None, True)


def test_a_partition_without_the_market_vouches_up_to_when_it_was_caught_up():
    # Caught up at 90, then its owner went away while the market began: what waits there unread may
    # be as old as 90, so neither as_of nor what is final may run past it.
    marks = {A: mark(5, 1000), B: mark(7, None, 90)}
    assert progress(marks, live=False) == TopicProgress(90, True)
    # An import of old data is not held by it.
    assert progress({A: mark(5, 80), B: mark(7, None, 10**12)}, live=False) == TopicProgress(
        80, True
    )


def test_a_topic_that_has_not_seen_the_market_is_known_and_not_seen():
    marks = {A: mark(5, None, 100), B: mark(7, None, 90)}
    assert progress(marks, live=True) == TopicProgress(90, False)


def test_the_mark_that_knows_more_wins_and_of_equals_the_one_caught_up_later():
    old, longer = mark(5, 100, 130), mark(6, 100)
    later, earlier = mark(5, 100, 140), mark(5, 100, 120)
    assert better_mark(None, old) is old
    assert better_mark(old, longer) is longer
    assert better_mark(longer, old) is longer
    assert better_mark(old, later) is later
    assert better_mark(old, earlier) is old


def test_a_market_is_live_when_its_events_arrive_about_now():
    assert shows_live(100, now_ms=100 + LIVE_WITHIN_MS)
    assert not shows_live(100, now_ms=101 + LIVE_WITHIN_MS)
