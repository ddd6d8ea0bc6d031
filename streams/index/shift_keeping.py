"""Shift detectors as records of plain numbers, one for each series, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streams.index.shift_clock import DOWN, UP, SeriesClock
from streams.index.shift_detector import Detectors
from streams.index.shift_sizes import LearntSizes
from streams.index.shift_states import ClockState, HeldMinutes, ShiftState, SizesState

_SIDES = (UP, DOWN)


def states_of(detectors: Detectors) -> list[ShiftState]:
    """Return what to keep of each series."""
    drift = _clock_states(detectors.drift)
    return [
        ShiftState(
            fast,
            slow,
            drift[at] if detectors.drifts[at] else None,
            done_until,
            {side: until for side, until in zip(_SIDES, silent, strict=True) if until},
            pages,
            detectors.open.get(at),
            HeldMinutes(int(held[0]), int(held[1]), int(held[2]), held[3]),
            sizes,
        )
        for at, (fast, slow, done_until, silent, pages, held, sizes) in enumerate(
            zip(
                _clock_states(detectors.fast),
                _clock_states(detectors.slow),
                detectors.done_until.tolist(),
                detectors.silent_until.T.tolist(),
                detectors.pages.tolist(),
                detectors.held.T.tolist(),
                _sizes_states(detectors.sizes),
                strict=True,
            )
        )
    ]


def restore(detectors: Detectors, states: Mapping[int, ShiftState]) -> None:
    """Continue from what was kept of series; the others stay as they are.

    ``states``: place of the series in these detectors -> what was kept of it, in whatever place it was.
    """
    for at, state in states.items():
        detectors.done_until[at] = state.done_until
        detectors.pages[at] = state.pages
        detectors.silent_until[:, at] = [state.silent_until.get(side, 0.0) for side in _SIDES]
        held = state.held
        detectors.held[:, at] = (held.begins, held.minutes, held.observed, held.expected)
        _restore_clock(detectors.fast, at, state.fast)
        _restore_clock(detectors.slow, at, state.slow)
        if state.drift is not None:
            _restore_clock(detectors.drift, at, state.drift)
        if state.sizes is not None:
            _restore_sizes(detectors.sizes, at, state.sizes)
    detectors.open = {at: state.open for at, state in states.items() if state.open is not None}
    detectors.watch_anew()


def _clock_states(clock: SeriesClock) -> list[ClockState]:
    lists = (clock.days.T.tolist(), *clock.since.transpose(0, 2, 1).tolist())
    return [ClockState(*each) for each in zip(*lists, strict=True)]


def _restore_clock(clock: SeriesClock, at: int, state: ClockState) -> None:
    if len(state.days) == len(clock.days):
        clock.days[:, at] = state.days
        clock.since[:, :, at] = (state.start, state.observed, state.expected)


def _sizes_states(sizes: LearntSizes) -> list[SizesState]:
    now = np.stack((sizes.size, sizes.pane_size, sizes.next_size, sizes.next_pane_size), axis=1)
    known = sizes.known.transpose(2, 0, 1).tolist()
    rest = (part.T.tolist() for part in (sizes.taught, sizes.hour, sizes.block, sizes.term))
    return [SizesState(*each) for each in zip(now.tolist(), known, *rest, strict=True)]


def _restore_sizes(sizes: LearntSizes, at: int, state: SizesState) -> None:
    own = (sizes.size, sizes.pane_size, sizes.next_size, sizes.next_pane_size)
    for part, value in zip(own, state.sizes, strict=True):
        part[at] = value
    sizes.known[:, :, at] = state.known
    for part, values in (
        (sizes.taught, state.taught),
        (sizes.hour, state.hour),
        (sizes.block, state.block),
        (sizes.term, state.term),
    ):
        part[:, at] = values
