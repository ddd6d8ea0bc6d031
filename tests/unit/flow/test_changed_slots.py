"""Which spans of time a changed pane lies in."""

from dataclasses import FrozenInstanceError

import pytest

from streams.flow.changed_slots import ChangedSlots

CHANGED = ChangedSlots(panes=frozenset({10_000, 25_000}))


@pytest.mark.parametrize(("end_ms", "found"), [(10_000, False), (10_001, True), (99_000, True)])
def test_before(end_ms, found):
    assert CHANGED.before(end_ms) is found


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "found"),
    [(0, 10_000, False), (10_000, 10_001, True), (10_001, 25_000, False), (20_000, 30_000, True)],
)
def test_within(start_ms, end_ms, found):
    assert CHANGED.within(start_ms, end_ms) is found


def test_no_part_can_change_what_another_reads():
    with pytest.raises(FrozenInstanceError):
        CHANGED.panes = frozenset()
