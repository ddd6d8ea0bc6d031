"""How large an incident is: now, since it began, in orders and money, and whom it affects.

Sums come from the caller as (events, events expected, amount, amount expected) of each watched series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from streams.index.indices import MARKET
from streams.index.panes import MINUTE_MS
from streams.index.shift_ratio import Contributor, RatioInterval, ratio_interval
from streams.index.shift_series import PAYMENT_FAILURE

NOW_MINUTES = (1, 2, 5, 15, 60)
"""Lengths of the span called "now": the shortest in which enough events are expected."""
NOW_EXPECTED_MIN = 20.0
STOPPED_RATIO = 0.05
STOPPED_EXPECTED_MIN = 10.0
"""A series has all but stopped when "now" holds at most this ratio of at least this many events."""
AFFECTED_UP, AFFECTED_DOWN = 1.25, 0.8
"""A member is affected when the interval of its ratio lies beyond these."""
DISPLAY_NOISE = 0.02
"""Relative variance of an expectation where none was learnt."""
Z_95 = 1.96
MEMBERS_SHOWN = 3

State = Literal["open", "returning", "over", "withdrawn"]


class SeriesSums(NamedTuple):
    """What one watched series counted within a span, and what was expected of it.

    ``amount_minor`` and ``expected_minor``: sales or captured amounts; None where a series has none.
    """

    dimension: str
    member: str
    observed: int
    expected: float
    amount_minor: int | None
    expected_minor: float | None
    noise: float = DISPLAY_NOISE
    """Relative variance of the expectation."""


SpanSums = Callable[[int, int], Sequence[SeriesSums]]
"""(first minute, minute after the last) -> sums of each watched series."""


class Affected(msgspec.Struct, frozen=True):
    """Members of one dimension that an incident affects. ``of``: members with enough events to tell."""

    dimension: str
    affected: int
    of: int
    members: tuple[Contributor, ...]
    """The affected members with the largest difference, the largest first."""


class Excess(msgspec.Struct, frozen=True):
    """Counted minus expected since the start, with a 95 % interval; below 0 is missed.

    What was counted is known; what would have come is not. So the interval is that of a normal
    distribution with the variance of a count whose mean is expected, and is wider by one step of the
    start. Money is the difference of events at the expected mean amount of an event, in minor units;
    None where nothing is known of it.
    """

    events: float
    lower: float
    upper: float
    amount_minor: int | None = None
    lower_minor: int | None = None
    upper_minor: int | None = None


class Measures(msgspec.Struct, frozen=True):
    """Size of an incident at an instant."""

    until_ms: int
    now_minutes: int
    now: RatioInterval | None
    """Size over the last ``now_minutes``; None when nothing is expected of them."""
    difference: Excess
    affected: tuple[Affected, ...]
    now_observed: int = 0
    """Events counted in the last ``now_minutes``, whether or not any are expected."""

    @property
    def now_since_ms(self) -> int:
        """Instant at which the last ``now_minutes`` begin."""
        return self.until_ms - self.now_minutes * MINUTE_MS

    @property
    def stopped(self) -> bool:
        """True when the leading series has all but stopped."""
        return self.now is not None and has_stopped(self.now.observed, self.now.expected)

    def is_back(self, shifted: RatioInterval) -> bool:
        """True when "now" is about what is expected again, though the end is not confirmed.

        ``shifted``: the size since the start. Both ways: a jump that turns into a stop is not as usual
        again. Few events have no exact ratio. They are back when there are any, what is expected lies
        within the interval of "now", and that interval lies apart from the shift's.
        """
        return self.now is not None and _back(self.now, shifted)


class NowSize(msgspec.Struct, frozen=True):
    """Size of one series over its last minutes."""

    since_ms: int
    until_ms: int
    size: RatioInterval


class Recent:
    """Counts of "now" of many series; each span is read once."""

    def __init__(self, until: int, sums: SpanSums) -> None:
        """``until``: the minute after the last."""
        self._until = until
        self._sums = sums
        self._spans: dict[int, dict[tuple[str, str], SeriesSums]] = {}

    def now(self, series: tuple[str, str], first: int) -> tuple[int, SeriesSums]:
        """Return (minutes, counts) of a series whose shift began in minute ``first``."""
        for longest in NOW_MINUTES:
            minutes = max(1, min(longest, self._until - first))
            own = self._span(minutes).get(series) or _nothing_of(series)
            if own.expected >= NOW_EXPECTED_MIN or minutes < longest:
                break
        return minutes, own

    def stopped(self, series: tuple[str, str], first: int) -> bool:
        """True when a series has all but stopped."""
        _, own = self.now(series, first)
        return has_stopped(own.observed, own.expected)

    def back(self, series: tuple[str, str], first: int, shifted: RatioInterval) -> bool:
        """True when a series looks as expected again in minutes that its shift has seen whole."""
        minutes, own = self.now(series, first)
        now = _interval(own)
        return self._until - minutes >= first and now is not None and _back(now, shifted)

    def size(self, series: tuple[str, str], first: int) -> NowSize | None:
        """Size of "now" of a series; None where nothing is expected of it."""
        minutes, own = self.now(series, first)
        size, until_ms = _interval(own), self._until * MINUTE_MS
        return None if size is None else NowSize(until_ms - minutes * MINUTE_MS, until_ms, size)

    def _span(self, minutes: int) -> dict[tuple[str, str], SeriesSums]:
        if minutes not in self._spans:
            sums = self._sums(self._until - minutes, self._until)
            self._spans[minutes] = {(each.dimension, each.member): each for each in sums}
        return self._spans[minutes]


def is_as_expected(observed: float, expected: float, lower: float, upper: float) -> bool:
    """True when a count looks as expected. ``lower`` and ``upper``: limits of its ratio.

    Where it says enough, the ratio itself is near 1: 24 orders of 10 may be chance, but they are not
    called usual.

    >>> is_as_expected(24, 10, 0.9, 4.1), is_as_expected(11, 10, 0.5, 2.2)
    (False, True)
    >>> is_as_expected(7, 5, 0.6, 2.9), is_as_expected(1, 5, 0.1, 0.9)
    (True, False)
    """
    if expected >= STOPPED_EXPECTED_MIN:
        return AFFECTED_DOWN * expected <= observed <= AFFECTED_UP * expected
    return lower <= 1 <= upper


def has_stopped(observed: float, expected: float) -> bool:
    """True when these events have all but stopped."""
    return expected >= STOPPED_EXPECTED_MIN and observed <= STOPPED_RATIO * expected


def _back(now: RatioInterval, shifted: RatioInterval) -> bool:
    if not is_as_expected(now.observed, now.expected, now.lower, now.upper):
        return False
    apart = now.lower > shifted.upper or now.upper < shifted.lower
    return now.expected >= STOPPED_EXPECTED_MIN or (apart and now.observed > 0)


def measure(
    lead: tuple[str, str],
    direction: int,
    interval: RatioInterval,
    span: tuple[int, int],
    shifted: frozenset[tuple[str, str]],
    sums: SpanSums,
    step_part: float = 0.0,
) -> Measures:
    """Measure an incident by its leading series.

    ``lead``: (dimension, member); ``interval``: its size since the start; ``span``: (first minute,
    minute after the last); ``shifted``: series that the detectors found; ``step_part``: how closely the
    start is known, as a part of the time since then.
    """
    first, until = span
    since = sums(first, until)
    minutes, own_now = Recent(until, sums).now(lead, first)
    of_market = lead[0] == MARKET
    return Measures(
        until_ms=until * MINUTE_MS,
        now_minutes=minutes,
        now=_interval(own_now),
        difference=difference(interval.observed, interval.expected, _own(lead, since), step_part),
        affected=tuple(_affected(since, direction, shifted, every=of_market)),
        now_observed=own_now.observed,
    )


def _own(lead: tuple[str, str], sums: Sequence[SeriesSums]) -> SeriesSums:
    own = (each for each in sums if (each.dimension, each.member) == lead)
    return next(own, _nothing_of(lead))


def _nothing_of(series: tuple[str, str]) -> SeriesSums:
    """Sums of a member that is none any more: nothing is counted of it, and nothing expected."""
    return SeriesSums(*series, 0, 0.0, None, None)


def _interval(own: SeriesSums) -> RatioInterval | None:
    if own.expected <= 0:
        return None
    return ratio_interval(float(own.observed), own.expected, own.noise)


def difference(observed: float, expected: float, own: SeriesSums, step_part: float = 0.0) -> Excess:
    """Return counted minus expected with its interval (docs/methodology.md, Missed and in excess).

    ``own``: gives the noise and the amounts; ``step_part``: as in ``measure``.
    """
    events = observed - expected
    half = Z_95 * math.sqrt(expected + own.noise * expected**2) + step_part * abs(events)
    lower, upper = events - half, events + half
    basket = _mean_amount(own)
    if basket is None:
        return Excess(events, lower, upper)
    return Excess(
        events, lower, upper, *(round(count * basket) for count in (events, lower, upper))
    )


def _mean_amount(own: SeriesSums) -> float | None:
    """Expected amount of an event, else the observed one."""
    if own.expected_minor and own.expected > 0:
        return own.expected_minor / own.expected
    if own.amount_minor is not None and own.observed:
        return own.amount_minor / own.observed
    return None


def _affected(
    sums: Sequence[SeriesSums],
    direction: int,
    shifted: frozenset[tuple[str, str]],
    *,
    every: bool,
) -> Iterator[Affected]:
    """Affected members by dimension. ``every``: of all members, else of those that are shifted."""
    found: dict[str, list[Contributor]] = {}
    judged: dict[str, int] = {}
    for each in sums:
        if each.dimension == MARKET or each.expected <= 0:
            continue
        if each.dimension == PAYMENT_FAILURE and each.observed < each.expected and direction < 0:
            continue  # where nothing is paid nothing fails: no payment is worse off
        size = ratio_interval(each.observed, each.expected, each.noise)
        beyond = size.lower > AFFECTED_UP if direction > 0 else size.upper < AFFECTED_DOWN
        known = (each.dimension, each.member) in shifted
        if known or each.expected >= STOPPED_EXPECTED_MIN:
            judged[each.dimension] = judged.get(each.dimension, 0) + 1
        if known or (every and beyond):
            excess = each.observed - each.expected
            member = Contributor(each.member, each.observed, each.expected, excess)
            found.setdefault(each.dimension, []).append(member)
    for dimension, members in found.items():
        members.sort(key=lambda one: (-abs(one.excess), one.member))
        yield Affected(
            dimension,
            len(members),
            max(judged.get(dimension, 0), len(members)),
            tuple(members[:MEMBERS_SHOWN]),
        )
