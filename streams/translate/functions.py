"""What makes a value of a record one of the contract: text, id, label, whole number, money, time.

A value that is none is refused with what was expected. Nothing is rounded and nothing guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal

from streams.index.currencies import exponent
from streams.index.event_fields import whole
from streams.index.event_types import EVENT_SUM_MAX
from streams.index.instants import parse_instant
from streams.index.label_text import LABEL_CHARACTERS_MAX
from streams.index.stamps import STAMPS_MS
from streams.sources.imports import LocalTimes
from streams.translate.record_shape import Decimals

TimeFormat = Literal["rfc3339", "s", "ms", "us", "naive"]
MoneyUnit = Literal["major", "minor"]
TEXT_CHARACTERS_MAX = 1_000
SECOND_MS = 1_000
_FEW_DIGITS = 9
"""Digits before the point of an amount that surely is not too large in any currency."""
_POWERS = tuple(int("1" + "0" * zeros) for zeros in range(20))
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,20}(?:\.0*)?", re.ASCII)
_NUMBER = re.compile(r"(-?)(\d{1,30})(?:\.(\d{0,30}))?", re.ASCII)
_NAIVE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?", re.ASCII)
_SECONDS = re.compile(r"(\d{1,16})(?:\.(\d{1,9}))?", re.ASCII)


class UnfitError(ValueError):
    """A value is not what is wanted. ``expected`` says what was."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def _whole_number(found: Decimals) -> int | None:
    """Return the whole number that a JSON number is; None too where it has more digits than are read."""
    number = whole(found)
    return None if number is None or abs(number) >= _POWERS[-1] else number


def as_text(found: Any) -> str:
    """Return a text; a number is the text of its digits, so the ids 12, 12.0 and "12" are one."""
    kind = type(found)  # most values are one of these two, and no boolean
    if kind is str:
        if len(found) > TEXT_CHARACTERS_MAX:
            raise UnfitError(f"a text of at most {TEXT_CHARACTERS_MAX} characters")
        return str(found)
    if kind is int:
        return str(found)
    if isinstance(found, Decimals):
        number = _whole_number(found)
        return str(found)[:TEXT_CHARACTERS_MAX] if number is None else str(number)
    raise UnfitError("a text or a number")


def as_id(found: Any) -> str:
    """Return an id: a text without control characters, or a whole number."""
    if type(found) is int and found >= 0:
        return str(found)
    if isinstance(found, Decimals) and _whole_number(found) is None:
        raise UnfitError("an id: a text or a whole number")
    text = as_text(found)
    if _CONTROL.search(text):
        raise UnfitError("an id without control characters")
    return text


def as_label(found: Any) -> str:
    """Return a label. A longer one is cut where the index would read no further."""
    return as_text(found)[:LABEL_CHARACTERS_MAX]


def as_currency(found: Any) -> str:
    """Return the code of a currency; sources write it in capitals or not."""
    text = as_text(found).upper()
    if not _CURRENCY.fullmatch(text):
        raise UnfitError("a currency of three letters, such as EUR")
    return text


def as_count(found: Any) -> int:
    """Return a whole number, also of a text of digits."""
    if type(found) is int and 0 <= found <= EVENT_SUM_MAX:
        return found
    number: int | None = None
    if isinstance(found, Decimals):
        number = whole(found)
    elif isinstance(found, str):
        number = int(found.partition(".")[0]) if _WHOLE.fullmatch(found) else None
    elif isinstance(found, int) and not isinstance(found, bool):
        number = found
    if number is None or abs(number) > EVENT_SUM_MAX:
        raise UnfitError(f"a whole number of at most {EVENT_SUM_MAX}")
    return number


def as_flag(found: Any) -> bool:
    """Return a truth value, also of the texts and numbers that sources write for one."""
    flags = {"true": True, "1": True, "false": False, "0": False}
    flag = flags.get(str(found).lower())
    if flag is None:
        raise UnfitError("true or false")
    return flag


# -- money -----------------------------------------------------------------------------------------


class MoneyReader:
    """Amounts as a source writes them -> minor units of ISO 4217, exactly."""

    def __init__(
        self,
        unit: MoneyUnit,
        decimal: str,
        group: str,
        digits: Mapping[str, int],
        multiples: Mapping[str, int],
    ) -> None:
        """``digits``: by currency, decimals of the source's own minor unit; others have ISO's.

        ``multiples``: by currency, what amounts in these minor units are multiples of.
        """
        self._unit = unit
        self._digits = digits
        self._multiples = multiples
        self._decimal = decimal
        self._group = group
        sign = re.escape(group)
        # The last group has three digits everywhere: 12.34 is not 1,234 of somebody's.
        grouped = f"\\d{{1,3}}(?:{sign}\\d{{2,3}})*{sign}\\d{{3}}|" if group else ""
        self._written = re.compile(
            f"-?(?:{grouped}\\d{{1,30}})(?:{re.escape(decimal)}\\d{{0,30}})?", re.ASCII
        )
        self._has_point = decimal == "." and not group
        self._is_plain = self._has_point and unit == "major" and not digits and not multiples

    def read(self, found: Any, currency: str) -> int:
        """Return minor units; raise UnfitError for what is no amount, or finer than the currency."""
        iso = exponent(currency)
        if self._is_plain and isinstance(found, str):
            ahead, _, behind = found.partition(".")
            together = ahead + behind
            if (
                len(behind) <= iso
                and 0 < len(ahead) <= _FEW_DIGITS
                and together.isascii()
                and together.isdigit()
            ):
                return int(together) * _POWERS[iso - len(behind)]
        own = self._digits.get(currency, iso)
        if isinstance(found, str):
            sign, ahead, behind = self._parts(found)
        elif isinstance(found, int) and not isinstance(found, bool):
            sign, ahead, behind = "-" if found < 0 else "", str(abs(found)), ""
        else:
            raise UnfitError("an amount of money")
        shift = iso if self._unit == "major" else iso - own
        if self._unit == "minor":
            own = 0
        behind = behind.rstrip("0")
        if len(behind) > own:
            raise UnfitError(_finer(currency, own))
        multiple = self._multiples.get(currency, 1)
        if int(ahead + behind) * _POWERS[own - len(behind)] % multiple:
            raise UnfitError(
                f"an amount in {currency} whose minor units are a multiple of {multiple}"
            )
        shift -= len(behind)
        amount = int(ahead + behind) * _POWERS[max(shift, 0)]
        amount, finer = divmod(amount, _POWERS[max(-shift, 0)])
        if finer:
            raise UnfitError(_finer(currency, iso))
        if amount > EVENT_SUM_MAX:
            raise UnfitError(f"an amount of at most {EVENT_SUM_MAX} minor units")
        return -amount if sign else amount

    def _parts(self, found: str) -> tuple[str, str, str]:
        """Return sign, digits before and digits after the decimal point."""
        if not isinstance(found, Decimals) and not self._has_point:
            if not self._written.fullmatch(found):
                raise UnfitError(f"an amount such as 1{self._group}234{self._decimal}50")
            found = found.replace(self._group, "") if self._group else found
            found = found.replace(self._decimal, ".")
        matched = _NUMBER.fullmatch(found)
        if matched is None and isinstance(found, Decimals):
            number = Decimal(found)
            if abs(number.adjusted()) <= len(str(EVENT_SUM_MAX)):
                matched = _NUMBER.fullmatch(f"{number:f}")
        if matched is None:
            raise UnfitError("an amount such as 1234.50")
        return matched[1], matched[2], matched[3] or ""


def _finer(currency: str, digits: int) -> str:
    if not digits:
        return f"an amount in {currency} without decimals"
    return f"an amount in {currency} with at most {digits} decimals"


# -- time ------------------------------------------------------------------------------------------


def time_reader(form: TimeFormat, zone: str) -> Callable[[Any], int]:
    """Return the function that reads an instant into epoch ms. ``zone``: of naive times.

    Raises what ``ZoneInfo`` does for a zone that there is not.
    """
    local = LocalTimes(zone)
    is_utc = zone == "UTC"

    def naive(found: Any) -> int | None:
        if not isinstance(found, str) or not _NAIVE.fullmatch(found):
            return None
        with_zone = parse_instant(f"{found}Z") if is_utc else None
        return local.instant_ms(found) if with_zone is None else with_zone

    def rfc3339(found: Any) -> int | None:
        return parse_instant(found) if isinstance(found, str) and found.isascii() else None

    readers: dict[TimeFormat, tuple[Callable[[Any], int | None], str]] = {
        "rfc3339": (rfc3339, "an instant in RFC 3339"),
        "naive": (naive, "a date and time without a zone, such as 2026-11-24T09:54:05"),
        "s": (lambda found: _epoch(found, SECOND_MS), "seconds since 1970"),
        "ms": (lambda found: _epoch(found, 1), "milliseconds since 1970"),
        "us": (_epoch_of_microseconds, "microseconds since 1970"),
    }
    reader, expected = readers[form]

    def read(found: Any) -> int:
        instant_ms = reader(found)
        if instant_ms is None or instant_ms not in STAMPS_MS:
            raise UnfitError(f"{expected}, of 1970 to 2099")
        return instant_ms

    return read


def _epoch_of_microseconds(found: Any) -> int | None:
    microseconds = _epoch(found, 1)
    return None if microseconds is None else microseconds // SECOND_MS


def _epoch(found: Any, unit_ms: int) -> int | None:
    """Return ms since 1970 of a number, cut to the millisecond as instants are."""
    if isinstance(found, bool) or not isinstance(found, (int, str)):
        return None
    matched = _SECONDS.fullmatch(str(found))
    if matched is None:
        return None
    fraction = (matched[2] or "").ljust(3, "0")[:3]
    return int(matched[1]) * unit_ms + (int(fraction) if unit_ms == SECOND_MS else 0)
