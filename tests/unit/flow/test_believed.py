"""What level 2 believes of a mark: no more than the broker's stamp on its record bears out."""

from __future__ import annotations

import pytest

from streams.flow.wire import MarkRecord, believed
from streams.index.panes import HOUR_MS
from tests.support.events import T0

YEARS_MS = 9 * 365 * 24 * HOUR_MS


def mark(caught_up_at, sent_at):
    return MarkRecord(1, 5, {"PK": T0}, caught_up_at, sent_at, ["PK"])


@pytest.mark.parametrize(
    ("caught_up_at", "sent_at", "believed_at", "live"),
    [
        (T0 - 50, T0, T0 - 50, ["PK"]),
        (None, T0, None, ["PK"]),
        (T0 - 90_000, T0 - 90_000, T0 - 90_000, ["PK"]),  # it waited for a broker
        (T0 + HOUR_MS, T0 + HOUR_MS, T0, ["PK"]),
        (T0 + 2 * HOUR_MS, T0 + 2 * HOUR_MS, T0, []),
        (T0 - YEARS_MS, T0 - YEARS_MS, T0 - YEARS_MS, []),  # 2017: an import would be live for ever
    ],
)
def test_a_mark_is_believed_as_far_as_its_stamp_reaches(caught_up_at, sent_at, believed_at, live):
    found = believed(mark(caught_up_at, sent_at), T0)
    assert (found.caught_up_at, found.live, found.through) == (believed_at, live, 5)


def test_without_a_brokers_stamp_only_the_log_itself_counts():
    """A mark of before the topic was stamped by the broker."""
    found = believed(mark(T0, T0), None)
    assert (found.caught_up_at, found.live, found.watermarks) == (None, [], {"PK": T0})
