"""How bursty a series is: its size k, learnt from panes, minutes and blocks of five minutes.

A count of mean m has variance m + m^2 / k. Over an hour, 1 / k is the scatter of the minutes about the
hour's own level, beyond what counting explains::

    r = sum((x - c E)^2 n / (n - 1) - x) / sum((c E)^2),   c = sum(x) / sum(E)

The hour's level is divided out, since an error of the expectation belongs to the edges of the dead-band.
Blocks of five minutes give r / 5 where minutes are independent, and more where bursts last for minutes:
the larger of r and 5 r of the blocks counts. Panes are compared in the same way with ten minutes. Hours
and terms of ten minutes are summed with a weight that fades over a fortnight. The upper limit of r, from
the scatter of the hours, is made a quarter larger: k = 1 / (1.25 upper limit).

Until a day is known, k is 5. A market that becomes live on a backlog learns from it at once. A k
below 5 is taken when the lower limit says so. Nothing is taken for burstier than 5 because little is
known of it. An hour in which a shift was open teaches nothing.

Until two terms are known, panes are judged by the minutes there are, two at least. They have no scatter
of terms yet: their upper limit is that of a sample of so many negative-binomial panes.

What an hour taught is used an hour later (a term: ten minutes later; the first minutes: five), or later
where the grace is longer. So live minutes, which run ahead of the final ones, are judged with the k with
which the final ones will be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.index.shift_clock import FAST_SIZE, Array

Flags = NDArray[np.bool_]

SIZE_MIN, SIZE_MAX = 1.0, 200.0
_MARGIN = 1.25
_Z = 2.0
"""Standard errors between an estimate and its limits."""
FORTNIGHT_HOURS = 14 * 24
HOURS_MIN = 24
"""Hours that a size needs at least."""
TERM_MINUTES = 10
"""Panes are compared with the level of this many minutes."""
TERMS_MIN = 2
FIRST_MINUTES = 2
"""Whole minutes by which panes are judged at first: lumps of a minute or less show in them."""
_BLOCK_MINUTES = 5
_PANES_FROM = FAST_SIZE / _MARGIN
"""Size of panes, as learnt, from which they are as regular as FAST_SIZE says."""
_PANES_BURSTIER = 2.0
"""Panes may be this much burstier than minutes before the series stays on minutes."""
_X, _E, _XX, _XE, _EE, _XX5, _XE5, _EE5, _MINUTES = range(9)
"""Sums of the hour under way: events counted and expected, squares and products of minutes, the same of
blocks, and minutes. The term under way has the first five, with squares of panes, and minutes."""
_HOUR_SUMS, _TERM_SUMS = 9, 6
_BY_MINUTES, _BY_BLOCKS, _BY_PANES = range(3)
_SCALES, _MOMENTS = 3, 5
_HOUR_KEEPS = float(np.exp(-1 / FORTNIGHT_HOURS))
"""What a further hour leaves of the weight of the earlier ones."""
_TERM_KEEPS = float(np.exp(-TERM_MINUTES / 60 / FORTNIGHT_HOURS))
"""What a further term leaves of the weight of the earlier ones."""


class LearntSizes:
    """Sizes of many series.

    ``panes``: panes in a minute. ``ahead``: minutes that live ones run ahead of final ones.
    """

    def __init__(self, series: int, panes: int, ahead: int = 0) -> None:
        self.panes = panes
        self._hours_wait = _whole(ahead, 60)
        """Minutes from one to the next at which a size counts that was learnt by the one before."""
        self._terms_wait = _whole(ahead, TERM_MINUTES)
        self._first_wait = _BLOCK_MINUTES if ahead <= _BLOCK_MINUTES else self._terms_wait
        self.size: Array = np.full(series, FAST_SIZE)
        """Size of a minute that counts now."""
        self.pane_size: Array = np.zeros(series)
        """Size of a minute as its panes say; 0: not known yet."""
        self.next_size = self.size.copy()
        self.next_pane_size = self.pane_size.copy()
        self.known: Array = np.zeros((_SCALES, _MOMENTS, series))
        """Of each scale: sums of a and b of its hours, whose ratio is r, and of a^2, a b and b^2."""
        self.taught: Array = np.zeros((2, series))
        """Weights of the hours and of the terms that were taught."""
        self.hour: Array = np.zeros((_HOUR_SUMS, series))
        self.block: Array = np.zeros((2, series))
        self.term: Array = np.zeros((_TERM_SUMS, series))
        self.learns = True

    def tried(self) -> LearntSizes:
        """Copy that knows which size counts when, and learns nothing: for live minutes."""
        copy = LearntSizes.__new__(LearntSizes)
        copy.__dict__.update(self.__dict__)
        copy.learns = False
        return copy

    @property
    def begun(self) -> bool:
        """Whether any hour was taught, in part or whole."""
        return bool(self.taught.any() or self.hour.any())

    @property
    def by_pane(self) -> Flags:
        """True where panes are known to be no burstier than minutes, nor than an unknown series is."""
        known = self.pane_size >= _PANES_FROM
        return np.asarray(known & (self.pane_size * _PANES_BURSTIER >= self.size))

    def use_at_once(self) -> None:
        """Let what was taught count from the next minute on: no live minute was judged before it."""
        self._size_terms()
        self._judge_first_minutes()
        self._size_hours()
        self.size, self.pane_size = self.next_size, self.next_pane_size

    def minute(self, minute: int, observed: Array, mu: Array, panes: Array | None) -> None:
        """Add a minute, and learn what ended with it.

        ``mu``: events expected; 0: the minute teaches nothing, nor does its hour. ``panes``: events by
        pane, panes x series; None: unknown.
        """
        ends = minute + 1
        first_due, terms_due, hours_due = (
            ends % wait == 0 for wait in (self._first_wait, self._terms_wait, self._hours_wait)
        )
        if self.learns:
            self._add_counts(minute, observed, mu, panes)
        if first_due:
            due = self._few_terms | terms_due
            self.pane_size = np.where(due, self.next_pane_size, self.pane_size)
        if hours_due:
            self.size = self.next_size
        if not self.learns:
            return
        self._teach(ends)
        if terms_due:
            self._size_terms()
        if first_due:
            self._judge_first_minutes()
        if hours_due:
            self._size_hours()

    def _add_counts(self, minute: int, observed: Array, mu: Array, panes: Array | None) -> None:
        awake = mu > 0
        x = np.where(awake, observed, 0.0)
        self.hour[: _EE + 1] += (x, mu, x * x, x * mu, mu * mu)
        self.hour[_MINUTES] += awake
        self.block += (x, mu)
        if panes is not None:
            squares = (panes * panes).sum(axis=0)
            self.term[: _EE + 1] += (x, mu, np.where(awake, squares, 0.0), x * mu, mu * mu)
            self.term[_EE + 1] += awake
        if (minute + 1) % _BLOCK_MINUTES == 0:
            x, mu = self.block
            self.hour[_XX5 : _EE5 + 1] += (x * x, x * mu, mu * mu)
            self.block[:] = 0.0

    def _teach(self, ends: int) -> None:
        """Learn what ended with a minute; ``ends``: the minute after it."""
        if ends % TERM_MINUTES == 0:
            self._teach_term()
        if ends % 60 == 0:
            self._teach_hour()

    @property
    def _few_terms(self) -> Flags:
        return np.asarray(self.taught[1] < TERMS_MIN * _TERM_KEEPS)

    def _teach_term(self) -> None:
        x, minutes = self.term[_X], self.term[_TERM_SUMS - 1]
        whole = minutes >= TERM_MINUTES
        usable = whole & (x > 0)
        a, b = self._of_term()
        self._add(_BY_PANES, usable, a, b, _TERM_KEEPS)
        self.taught[1] = np.where(usable, self.taught[1] * _TERM_KEEPS + 1, self.taught[1])
        # The first term goes on until it is whole: its minutes are all that is known.
        self.term[:, whole | (self.taught[1] > 0)] = 0.0

    def _size_terms(self) -> None:
        _, upper = self._limits(_BY_PANES)
        self.next_pane_size = np.where(self._few_terms, 0.0, _size_of(upper))

    def _of_term(self) -> tuple[Array, Array]:
        """(a, b) of the term under way; a / b estimates r."""
        x, e, xx, xe, ee, minutes = self.term
        level = x / np.where(e > 0, e, 1.0)
        scatter = (xx - 2 * level * xe / self.panes) + level**2 * ee / self.panes
        return _beyond(scatter, np.maximum(minutes, 1.0) * self.panes, x), level**2 * ee

    def _judge_first_minutes(self) -> None:
        """Judge panes by the minutes there are, where few terms are known.

        The variance v of a sample of n counts errs by v sqrt((2 + excess kurtosis) / n).
        """
        a, b = self._of_term() + self.known[_BY_PANES, :2]
        minutes = self.term[_TERM_SUMS - 1] + TERM_MINUTES * np.rint(self.taught[1])
        enough = (minutes >= FIRST_MINUTES) & (b > 0)
        b, minutes = np.where(enough, b, 1.0), np.where(enough, minutes, 1.0)
        mean = np.sqrt(b / minutes) / self.panes
        r = np.maximum(a / b, 0.0)
        variance = mean + self.panes * r * mean**2
        heavy = 2 + 6 * self.panes * r + 1 / variance
        error = variance / (self.panes * mean**2) * np.sqrt(heavy / (minutes * self.panes))
        size = np.where(enough, _size_of(r + _Z * error), 0.0)
        self.next_pane_size = np.where(self._few_terms, size, self.next_pane_size)

    def _teach_hour(self) -> None:
        x, e, xx, xe, ee, xx5, xe5, ee5, minutes = self.hour
        usable = (minutes == 60) & (x > 0)  # noqa: PLR2004 - a whole hour
        level = x / np.where(usable, e, 1.0)
        keep = _HOUR_KEEPS
        a = _beyond(xx - 2 * level * xe + level**2 * ee, 60, x)
        self._add(_BY_MINUTES, usable, a, level**2 * ee, keep)
        blocks = 60 // _BLOCK_MINUTES
        a = _beyond(xx5 - 2 * level * xe5 + level**2 * ee5, blocks, x)
        self._add(_BY_BLOCKS, usable, _BLOCK_MINUTES * a, level**2 * ee5, keep)
        self.taught[0] = np.where(usable, self.taught[0] * keep + 1, self.taught[0])
        self.hour[:] = self.block[:] = 0.0

    def _size_hours(self) -> None:
        limits = (self._limits(_BY_MINUTES), self._limits(_BY_BLOCKS))
        lower = np.maximum(limits[0][0], limits[1][0])
        upper = np.maximum(limits[0][1], limits[1][1])
        regular, bursty = _size_of(upper), np.minimum(_size_of(lower), FAST_SIZE)
        size = np.where(regular >= FAST_SIZE, regular, bursty)
        enough = self.taught[0] >= HOURS_MIN * _HOUR_KEEPS**HOURS_MIN
        self.next_size = np.where(enough, size, FAST_SIZE)

    def _add(self, scale: int, usable: Flags, a: Array, b: Array, keep: float) -> None:
        fading = np.array([keep, keep, keep**2, keep**2, keep**2])[:, None]
        sums = self.known[scale] * fading + (a, b, a * a, a * b, b * b)
        self.known[scale] = np.where(usable, sums, self.known[scale])

    def _limits(self, scale: int) -> tuple[Array, Array]:
        """(lower, upper) limit of r at a scale; infinite apart where nothing is known."""
        a, b, aa, ab, bb = self.known[scale]
        known = b > 0
        below = np.where(known, b, 1.0)
        r = a / below
        error = _Z * np.sqrt(np.maximum(aa - 2 * r * ab + r**2 * bb, 0.0)) / below
        error[~known] = np.inf
        return r - error, r + error


def _whole(minutes: int, period: int) -> int:
    """Whole periods, one at least, that are no shorter than so many minutes."""
    return max(1, -(-minutes // period)) * period


def _size_of(r: Array) -> Array:
    """Size to be used where r is at most this."""
    return np.asarray(np.clip(1 / (_MARGIN * np.maximum(r, 1e-9)), SIZE_MIN, SIZE_MAX))


def _beyond(scatter: Array, counts: int | Array, events: Array) -> Array:
    """What counting does not explain of the scatter of so many counts about their own level."""
    return np.asarray(scatter * counts / (counts - 1) - events)
