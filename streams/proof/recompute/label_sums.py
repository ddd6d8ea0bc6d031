"""Sums by label: what a source partition must hold of a slot, and the room that labels find there.

Written from docs/exactness.md, not from index/label_rows.py. A number is named by its place, its ledger
and what it counts, and a label set by the texts of its labels. So the order of a row's columns does not
matter. Which labels and sets a row has does, as it decides which others still find room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from streams.index.label_text import ABSENT, CUT, MORE
from streams.proof.recompute import shopper_registers

CATEGORY, METHOD, REGION, CHANNEL = "category", "method", "region", "channel"
PANE_LABELS_MOST = 1_024
"""Labels of one dimension that the row of a pane keeps; beyond them there is ``MORE``."""
DAY_LABELS_MOST = 4_096
ROW_BYTES_MOST = 131_072
"""Bytes of labels and label sets that a row keeps."""
SETS_MOST = 512
SET_LABELS_MOST = 32
_NAMES_KNOWN = 4_096

Place = tuple[str, str]
"""(dimension, label)"""
WHOLE: Place = ("", "")


class NumberName(NamedTuple):
    """One number of a row. ``ledger``: of the day book."""

    place: Place
    ledger: str
    what: str

    def __str__(self) -> str:
        place = () if self.place == WHOLE else (self.place[0], shown(self.place[1]))
        return "/".join((*place, *filter(None, (self.ledger,)), self.what))


@lru_cache(_NAMES_KNOWN)
def _three(place: Place, ledger: str) -> tuple[NumberName, ...]:
    """Names of orders, units and sales. Most events name places that others named just before."""
    return tuple(NumberName(place, ledger, what) for what in ("orders", "units", "sales"))


class LabelSet(NamedTuple):
    """Labels of one dimension that one order names, each with the ledger in which it counts there."""

    dimension: str
    items: frozenset[tuple[str, str]]
    """(label, ledger)"""

    def __str__(self) -> str:
        ledgers = {ledger for _, ledger in self.items}
        if len(ledgers) == 1:
            labels = " + ".join(sorted(shown(label) for label, _ in self.items))
            return f"{self.dimension} {{{labels}}} {''.join(ledgers)}".rstrip()
        labels = " + ".join(sorted(f"{shown(label)} {ledger}" for label, ledger in self.items))
        return f"{self.dimension} {{{labels}}}"


def shown(label: str) -> str:
    """Return a label as a person reads it."""
    if label.startswith(CUT):
        return f"(cut of {label[1:]})"
    return {ABSENT: "(none)", MORE: "(more)"}.get(
        label, label if label.isprintable() else ascii(label)
    )


class LabelSums:
    """Sums of a slot by label, the labels and label sets that its row has, and a pane's shoppers."""

    __slots__ = ("buyers", "labels", "numbers", "sets")

    def __init__(self) -> None:
        self.numbers: Counter[NumberName] = Counter()
        """Zeros may be missing."""
        self.labels: set[Place] = set()
        """Places that have columns, whether anything was counted there or not."""
        self.sets: dict[LabelSet, int] = {}
        """Orders that name the labels of each set. One that no order names any more still takes room."""
        self.buyers: shopper_registers.Registers | None = None

    def add(self, place: Place, ledger: str, what: str, value: int) -> None:
        """Add to a number."""
        if value:
            self.numbers[NumberName(place, ledger, what)] += value

    def add_three(self, place: Place, ledger: str, orders: int, units: int, sales: int) -> None:
        """Add orders with their units and sales."""
        numbers = self.numbers
        for name, value in zip(_three(place, ledger), (orders, units, sales), strict=True):
            if value:
                numbers[name] = numbers.get(name, 0) + value

    def total(self, what: str, ledger: str = "") -> int:
        """Return a number of all labels together."""
        return self.numbers[NumberName(WHOLE, ledger, what)]

    def copy(self) -> LabelSums:
        """Return an independent copy."""
        found = LabelSums()
        found.numbers, found.labels = Counter(self.numbers), set(self.labels)
        found.sets = dict(self.sets)
        found.buyers = shopper_registers.together(self.buyers, None)
        return found


class GrowingRow(LabelSums):
    """Sums of an open slot, in which a label finds room when the log first names it there, or never."""

    __slots__ = ("_bytes", "_labels_most", "_own")

    def __init__(self, labels_most: int) -> None:
        super().__init__()
        self._labels_most = labels_most
        self._own: Counter[str] = Counter()
        """Labels that found room, by dimension."""
        self._bytes = 0

    def name(self, dimension: str, label: str) -> Place:
        """Return where a label counts that an event names: its own place, else that of ``MORE``."""
        place = dimension, label
        if place in self.labels:
            return place
        after = self._bytes + 16 + len(label.encode())
        if self._own[dimension] < self._labels_most and after <= ROW_BYTES_MOST:
            self._own[dimension] += 1
            self._bytes = after
        else:
            place = dimension, MORE
        self.labels.add(place)
        return place

    def kept(self, place: Place) -> Place:
        """Return where a label counts that was named here before."""
        return place if place == WHOLE or place in self.labels else (place[0], MORE)

    def name_set(self, dimension: str, items: Iterable[tuple[str, str]], count: int = 1) -> None:
        """Count orders that name several labels; without room, by how often too many they may count."""
        found = LabelSet(dimension, frozenset(items))
        size = len(found.items)
        if size < 2:  # noqa: PLR2004 - of one label its own sums tell all
            return
        if found not in self.sets:
            after = self._bytes + 8 + 4 * (1 + size)
            if size > SET_LABELS_MOST or len(self.sets) == SETS_MOST or after > ROW_BYTES_MOST:
                self.add(WHOLE, "", "uncertain", count * (size - 1))
                return
            self._bytes = after
            self.sets[found] = 0
        self.sets[found] += count


def differences(expected: LabelSums, found: LabelSums) -> Iterator[tuple[str, object, object]]:
    """Yield (name, expected, found) of all that differs; of the shoppers, the first register."""
    for dimension, label in sorted(expected.labels ^ found.labels):
        own = (dimension, label) in expected.labels
        yield f"{dimension} {shown(label)}", *(("a label", None) if own else (None, "a label"))
    for name in sorted(expected.numbers.keys() | found.numbers.keys()):
        left, right = expected.numbers[name], found.numbers[name]
        if left != right:
            yield str(name), left, right
    for each in sorted(expected.sets.keys() | found.sets.keys(), key=str):
        orders = expected.sets.get(each), found.sets.get(each)
        if orders[0] != orders[1]:
            yield str(each), *orders
    yield from shopper_registers.differing(expected.buyers, found.buyers)
