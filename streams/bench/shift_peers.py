"""Rules that others page by, on the series of ``bench shifts``: three sigmas, Grafana's adaptive band.

Both are counted twice: every alarm, and pages with as much silence after each as ours have.

Three sigmas compares an hour with the mean and the standard deviation of that hour of the week in the
six weeks before.

The adaptive band has Grafana's constants
(https://github.com/grafana/promql-anomaly-detection/blob/7ed6390/rules/adaptive.yml). The band is the
mean of the last hour, plus and minus 2 x the smoothed deviation of volatile hours or half the mean,
whichever is wider. The bands of a day ago and of a week ago widen it. A minute with no value, or with
fewer than 5 a minute, raises no alarm. A value must be outside for five minutes before it is an alarm.
The input here is the rate of the last five minutes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_WEEKS = 6
_SIGMAS = 3.0
_HOUR = 60
_SILENCE_MINUTES = 1440
_SMOOTHED = 26 * _HOUR
_DAY_BACK, _WEEK_BACK = 23 * _HOUR + 30, 167 * _HOUR + 30
_BAND_SIGMAS, _BAND_MARGIN, _VOLATILE, _SPARSE = 2.0, 0.5, 0.5, 5.0
_ALARM_MINUTES = 5
_MONTH_DAYS = 30.44


def three_sigmas(hours: Array, watched_from: int) -> Flags:
    """True for each hour from ``watched_from`` on that is an alarm: series x hours."""
    now = hours[:, watched_from:]
    back = [watched_from - 168 * week for week in range(1, _WEEKS + 1)]
    before = np.stack([hours[:, at : at + now.shape[1]] for at in back])
    apart = np.abs(now - before.mean(axis=0))
    return np.asarray(apart > _SIGMAS * np.maximum(before.std(axis=0, ddof=1), 1e-9))


def adaptive_band(counts: Array) -> Flags:
    """True for each minute of one series at which an alarm is on, from its second week on."""
    level = _mean(counts, np.ones(len(counts), dtype=bool), 5)[0]
    hourly = _mean(level, np.ones(len(level), dtype=bool), _HOUR)[0]
    known = (level > 0) & ~(hourly < _SPARSE)
    centre, spread = _mean(level, known, _HOUR)
    volatile = spread > _VOLATILE * centre
    smoothed = _mean(spread, volatile, _SMOOTHED)[0]
    lower, upper = centre * (1 - _BAND_MARGIN), centre * (1 + _BAND_MARGIN)
    bands = [(centre - _BAND_SIGMAS * smoothed, centre + _BAND_SIGMAS * smoothed)]
    for back in (_DAY_BACK, _WEEK_BACK):
        old_centre, old_spread = _before(centre, back), _before(spread, back)
        bands.append(
            (old_centre - _BAND_SIGMAS * old_spread, old_centre + _BAND_SIGMAS * old_spread)
        )
    for low, high in bands:
        lower, upper = np.fmin(lower, low), np.fmax(upper, high)
    out = known & ((level < np.maximum(lower, 0.0)) | (level > upper))
    since = np.cumsum(out)
    on = out.copy()
    on[_ALARM_MINUTES:] &= since[_ALARM_MINUTES:] - since[:-_ALARM_MINUTES] == _ALARM_MINUTES
    on[: 7 * 1440 + _HOUR] = False
    return on


def _mean(values: Array, known: Flags, minutes: int) -> tuple[Array, Array]:
    """Mean and standard deviation of the known values of the last ``minutes``; NaN without any."""
    found = np.where(known, values, 0.0)
    sums = [np.concatenate([[0.0], np.cumsum(one)]) for one in (known * 1.0, found, found**2)]
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - minutes, 0)
    n, total, square = (one[end] - one[start] for one in sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, total / n, np.nan)
        return mean, np.sqrt(np.maximum(np.where(n > 0, square / n, np.nan) - mean**2, 0.0))


def _before(values: Array, minutes: int) -> Array:
    found = np.full(len(values), np.nan)
    found[minutes:] = values[:-minutes]
    return found


def pages(alarms: Flags, step_minutes: int) -> tuple[int, int]:
    """Count (alarms that began, pages), a day of silence after each page. ``alarms``: series x steps."""
    began = alarms.copy()
    began[:, 1:] &= ~alarms[:, :-1]
    paged = 0
    for series in began:
        silent_until = -1
        for at in np.flatnonzero(series).tolist():
            if at * step_minutes >= silent_until:
                paged += 1
                silent_until = at * step_minutes + _SILENCE_MINUTES
    return int(began.sum()), paged


def a_month(alarms: Flags, step_minutes: int, watched_days: float) -> dict[str, Any]:
    """Alarms and pages for each series and month."""
    began, paged = pages(alarms, step_minutes)
    months = len(alarms) * watched_days / _MONTH_DAYS
    return {
        "alarms_a_series_a_month": round(began / months, 2),
        "pages_a_series_a_month": round(paged / months, 2),
        "series": len(alarms),
    }
