"""Half an hour of each member's orders, as the board saw them: the points of the small lines.

Redis keeps such a history only for the market's headline values (``:history``). A board that starts
finds the last ten minutes of the members in ``:changes``; older points exist only if it ran then.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from streams.board.view import Sparks
from streams.index.formats import json_reader
from streams.index.instants import parse_instant
from streams.index.values import Snapshot, Value

STEP_MS = 30_000
POINTS_MAX = 60
INDEX, WINDOW = "orders", "1m"
DIMENSIONS = ("market", "category", "region", "channel")
_WIDTH = 4  # value, expected, lower, upper
_NONE = float("nan")

Key = tuple[str, str]


class _Change(msgspec.Struct):
    field: str
    value: float | None


_decode_changes = json_reader(list[_Change])


class SparkBook:
    """One market's points. A slot of ``STEP_MS`` keeps the newest point in it."""

    def __init__(self) -> None:
        self._members: tuple[Key, ...] = ()
        # One column per slot, with all members side by side: 75 members cost 150 KB, not megabytes.
        self._slots: deque[tuple[int, array[float]]] = deque(maxlen=POINTS_MAX)

    def seed(self, entries: Iterable[tuple[str, str]]) -> None:
        """Add (as_of, changes) entries of ``:changes``, oldest first, unless the book has points.

        An entry holds only changes, so a member counts from its first mention on.
        """
        if self._slots:
            return
        known: dict[Key, float] = {}
        steps: list[tuple[int, dict[Key, float]]] = []
        for as_of, encoded in entries:
            at_ms = parse_instant(as_of)
            if at_ms is None:
                continue
            for change in _decode_changes(encoded):
                key = _key(change.field)
                if key is not None and change.value is not None:
                    known[key] = change.value
                elif key is not None:
                    known.pop(key, None)
            steps.append((at_ms, dict(known)))
        members = sorted({key for _, values in steps for key in values})
        for at_ms, values in steps:
            rows = {key: (value, _NONE, _NONE, _NONE) for key, value in values.items()}
            self._add(at_ms, members, rows)

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Add the members' values of a snapshot."""
        at_ms = parse_instant(snapshot.as_of)
        if at_ms is None:
            return
        rows = {
            (value.dimension, value.member): _row(value)
            for value in snapshot.values
            if value.index == INDEX and value.window == WINDOW and value.dimension in DIMENSIONS
        }
        self._add(at_ms, sorted(rows), rows)

    def sparks(self) -> Sparks:
        """Every point, oldest first. A point is as long as its known numbers."""
        points: dict[Key, list[list[float | None]]] = {key: [] for key in self._members}
        for _, column in self._slots:
            for at, key in enumerate(self._members):
                points[key].append(_point(column[at * _WIDTH : (at + 1) * _WIDTH]))
        return Sparks([at_ms for at_ms, _ in self._slots], points)

    def _add(
        self, at_ms: int, members: Sequence[Key], rows: Mapping[Key, tuple[float, ...]]
    ) -> None:
        if tuple(members) != self._members:
            self._rearrange(tuple(members))
        if self._slots and at_ms < self._slots[-1][0]:
            self._slots.clear()  # time went back: the log began anew
        column = array("d")
        for key in self._members:
            column.extend(rows.get(key, (_NONE,) * _WIDTH))
        if self._slots and self._slots[-1][0] // STEP_MS == at_ms // STEP_MS:
            self._slots.pop()
        self._slots.append((at_ms, column))

    def _rearrange(self, members: tuple[Key, ...]) -> None:
        at = {key: place for place, key in enumerate(self._members)}
        empty = array("d", (_NONE,) * _WIDTH)
        for number, (at_ms, old) in enumerate(self._slots):
            column = array("d")
            for key in members:
                place = at.get(key)
                found = None if place is None else old[place * _WIDTH : (place + 1) * _WIDTH]
                column.extend(empty if found is None else found)
            self._slots[number] = at_ms, column
        self._members = members


def _row(value: Value) -> tuple[float, ...]:
    numbers = (value.value, value.expected, value.lower, value.upper)
    return tuple(_NONE if number is None else float(number) for number in numbers)


def _point(numbers: array[float]) -> list[float | None]:
    value, *expectation = (None if math.isnan(number) else number for number in numbers)
    return [value] if expectation[0] is None else [value, *expectation]


def _key(field: str) -> Key | None:
    parts = field.split(":")
    if len(parts) != _WIDTH or parts[0] != INDEX or parts[3] != WINDOW:
        return None
    return (parts[1], parts[2]) if parts[1] in DIMENSIONS else None
