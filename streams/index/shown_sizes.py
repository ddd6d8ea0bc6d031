"""Sizes and lengths of time in words: one rule each, for page, commands and messages.

A length of time is cut, never rounded up. A number that is not 0 is never said to be 0.
"""

from __future__ import annotations

from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS

_SECONDS_BELOW_MS = 10 * MINUTE_MS
"""Below, the seconds after the last full minute are said too."""
_TIMES_FROM, _WHOLE_TIMES_FROM = 2, 100
"""Ratios from which a size is said in times, and in whole ones; below, in percent."""
_WHOLE_FROM = 10
"""Numbers from here on are said without a fraction."""
_PLACES_MAX = 2


def duration(length_ms: int) -> str:
    """Length of time in at most two units; what is left of the smaller one is cut. It is never below 0.

    >>> duration(40_000), duration(119_999), duration(150_000), duration(300_000), duration(659_000)
    ('40 s', '119 s', '2 min 30 s', '5 min', '10 min')
    >>> duration(7_200_000), duration(7_559_000), duration(3 * 86_400_000)
    ('2 h', '2 h 5 min', '3 days')
    >>> duration(-300_000)
    '0 s'
    """
    length_ms = max(length_ms, 0)
    if length_ms < 2 * MINUTE_MS:
        return f"{length_ms // 1_000} s"
    if length_ms < _SECONDS_BELOW_MS:
        minutes, rest = divmod(length_ms, MINUTE_MS)
        return _with_rest(f"{minutes} min", rest // 1_000, "s")
    if length_ms < 2 * HOUR_MS:
        return f"{length_ms // MINUTE_MS} min"
    if length_ms < 2 * DAY_MS:
        hours, rest = divmod(length_ms, HOUR_MS)
        return _with_rest(f"{hours} h", rest // MINUTE_MS, "min")
    return f"{length_ms // DAY_MS} days"


def _with_rest(text: str, rest: int, unit: str) -> str:
    return f"{text} {rest} {unit}" if rest else text


def figure(number: float) -> str:
    """Count or expectation, for people.

    >>> figure(1_005.6), figure(2.0), figure(2.25), figure(0.04), figure(0.0004)
    ('1,006', '2', '2.2', '0.04', 'less than 0.01')
    """
    return _shown(number, 0 if number >= _WHOLE_FROM or number == int(number) else 1)


def count_words(number: float, noun: str) -> str:
    """Count or expectation of what ``noun`` names in the plural.

    >>> count_words(1, "failed payments"), count_words(0.96, "orders"), count_words(1_005.6, "orders")
    ('1 failed payment', '1.0 orders', '1,006 orders')
    """
    text = figure(number)
    return f"{text} {noun.removesuffix('s') if text == '1' else noun}"


def size_words(ratio: float, *interval: float) -> str:
    """Size of a ratio to what is usual, with its interval where that is given.

    >>> size_words(3.62), size_words(0.41), size_words(0.004), size_words(0.0004)
    ('3.6 times usual', '41 % of usual', '0.4 % of usual', '0.04 % of usual')
    >>> size_words(0.000_04), size_words(0.004, 0.0, 0.02)
    ('less than 0.01 % of usual', '0.4 % of usual (0 to 2)')
    """
    unit, amount, *bounds = _amounts(ratio, *interval)
    end = "usual" if unit == "times" else "of usual"
    return f"{amount} {unit} {end}{_within(bounds)}"


def ratio_words(ratio: float, *interval: float) -> str:
    """Ratio with its interval, in times where it is large and else in percent.

    >>> ratio_words(3.62, 3.2, 4.1), ratio_words(0.0, 0.0, 0.004), ratio_words(2.5, 0.04, 80.0)
    ('3.6 times (3.2 to 4.1)', '0 % (0 to 0.4)', '2.5 times (0.04 to 80.0)')
    """
    unit, amount, *bounds = _amounts(ratio, *interval)
    return f"{amount} {unit}{_within(bounds)}"


def _amounts(ratio: float, *interval: float) -> list[str]:
    """Return the unit and the numbers, all in this unit."""
    numbers = (ratio, *interval)
    if ratio >= _TIMES_FROM:
        return ["times", *(_shown(one, 0 if one >= _WHOLE_TIMES_FROM else 1) for one in numbers)]
    percents = [100 * number for number in numbers]
    return ["%", *(_shown(one, 0 if one >= 1 else 1) for one in percents)]


def _within(bounds: list[str]) -> str:
    return f" ({' to '.join(bounds)})" if bounds else ""


def _shown(number: float, places: int) -> str:
    """Number with so many decimals, or more where it would be said to be 0."""
    if not number:
        return "0"
    for tried in range(places, _PLACES_MAX + 1):
        text = f"{number:,.{tried}f}"
        if text.strip("0.,"):
            return text
    return "less than 0.01"
