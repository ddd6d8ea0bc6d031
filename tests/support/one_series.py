"""The detectors of one series, minute by minute and without panes, and their record."""

from __future__ import annotations

import msgspec
import numpy as np

from streams.index.shift_detector import Detectors
from streams.index.shift_keeping import restore, states_of
from streams.index.shift_states import ShiftState


class OneSeries:
    """A watched series alone."""

    def __init__(self, page_days, drifts=False, design=None):
        self.detectors = Detectors(np.array([page_days]), np.array([drifts]), design)

    def minute(self, minute, observed, expected_micro, noise, panes=None):
        """Apply a minute; return what it found."""
        return self.detectors.minute(
            minute,
            np.array([float(observed)]),
            np.array([float(expected_micro)]),
            np.array([noise]),
            None if panes is None else np.array(panes, dtype=float)[:, None],
        )

    def day(self, ends, step, day_noise, noise):
        """Apply a day to the daily clock; ``step``: (first minute, events, millionths expected)."""
        first, observed, expected = step
        rest = (np.array([float(each)]) for each in (observed, expected, day_noise, noise))
        return self.detectors.day(ends, first, *rest)

    @property
    def evidence_ratio(self):
        return float(self.detectors.evidence_ratio()[0])

    def state(self):
        """Return what level 2 keeps."""
        return states_of(self.detectors)[0]

    def record(self):
        return msgspec.msgpack.encode(self.state())

    def restore(self, record):
        """Continue from a record."""
        restore(self.detectors, {0: msgspec.msgpack.decode(record, type=ShiftState)})
        return self
