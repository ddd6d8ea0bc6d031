"""Offsets that go on when another log takes the place of a topic's.

Level 1 and level 2 compare offsets: the larger ``through`` knows more. A topic that was deleted and
created again begins at 0, and its rows would lose against those of the old log. So an offset inside the
service counts on over all logs that ever stood under a topic's name. Its high bits say which of them it
is of, its low bits are the offset there. Both follow from the state's own next offset: two owners that
go on over the same log give the same record the same number, whatever either had folded of the old one.
"""

from __future__ import annotations

_BITS = 40
"""A partition holds no more than 2**40 records in its life; 2**23 logs fit into a signed 64 bits."""
_LOG = 1 << _BITS


def in_log(offset: int) -> int:
    """Return the offset in its own log."""
    return offset & (_LOG - 1)


def through_in_log(through: int) -> int:
    """Return the last offset included as one of its own log; -1: nothing of that log is."""
    return in_log(through + 1) - 1


def base_of(next_offset: int) -> int:
    """Return what to add to an offset of the log that ``next_offset`` lies in."""
    return next_offset & ~(_LOG - 1)


def begin_of_next_log(next_offset: int) -> int:
    """Return the number of offset 0 of the log that takes the place of this one."""
    return base_of(next_offset) + _LOG


def records_left(next_offset: int, log_end: int) -> int:
    """Return how many offsets lie before the end of the log; all of it when it is another one."""
    if base_of(log_end) > base_of(next_offset):
        return in_log(log_end)
    return max(0, log_end - next_offset)
