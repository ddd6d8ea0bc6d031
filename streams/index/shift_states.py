"""What shift detectors remember of a series, as plain numbers: level 2 keeps it in its table."""

from __future__ import annotations

import msgspec

from streams.index.shift_clock import MICRO
from streams.index.shift_ratio import RatioInterval, ratio_interval


class ClockState(msgspec.Struct):
    """Evidence of every alternative. The lists follow ``ClockDesign.factors``.

    Records before format 4 have logarithms of fewer alternatives; such a clock is read as one without
    evidence.
    """

    days: list[float] = []
    start: list[float] = []
    """Minute (since the epoch) at which the shift began, if this alternative holds."""
    observed: list[float] = []
    expected: list[float] = []
    """Events counted and events expected since ``start``, for each alternative."""


class HeldMinutes(msgspec.Struct, frozen=True):
    """Sums over the minutes of the slow clock's step under way. ``expected`` is in millionths."""

    begins: int = 0
    minutes: int = 0
    observed: int = 0
    expected: float = 0


class SizesState(msgspec.Struct):
    """Sizes that count now and next, and the sums they are learnt from (index/shift_sizes)."""

    sizes: list[float]
    known: list[list[float]]
    taught: list[float]
    hour: list[float]
    block: list[float]
    term: list[float]


class OpenShift(msgspec.Struct):
    """A shift that was paged and is not over. Minutes are since the epoch, in parts to the pane."""

    direction: int
    clock: str
    """The clock that had the most evidence."""
    start: float
    paged_at: float
    edge: float
    """The shift is over when the mean is on the inner side of this multiple of the expectation."""
    ln_end_days: float = float("-inf")
    observed: int = 0
    expected: int = 0
    """Events counted and expected since its start; ``expected`` is in millionths."""
    evidence: float = 0.0
    """Evidence at the page, divided by the paging threshold."""
    dated_by: str = ""
    """The clock that dates the shift's start and finds its end; empty: the clock that found it."""

    def interval(self, noise: float) -> RatioInterval:
        """How large the shift has been since its start."""
        return ratio_interval(self.observed, self.expected / MICRO, noise)


class ShiftState(msgspec.Struct):
    """Everything the detector remembers of a series: minutes before ``done_until`` were applied."""

    fast: ClockState
    slow: ClockState
    drift: ClockState | None
    done_until: int = 0
    silent_until: dict[int, float] = {}
    """Direction that was paged -> first minute in which it is watched again."""
    pages: int = 0
    open: OpenShift | None = None
    held: HeldMinutes = HeldMinutes()
    sizes: SizesState | None = None
    """None: the record is older than format 4."""
