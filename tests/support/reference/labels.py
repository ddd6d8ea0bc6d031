"""Which labels a row counts apart, and by which sets of them it counts orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

MORE = "\0"
"""Stands in a row for every label that found no room."""


@dataclass(frozen=True)
class Limits:
    """What a row keeps."""

    pane_labels: int = 1_024
    day_labels: int = 4_096
    size: int = 131_072
    sets: int = 512
    labels_of_set: int = 32


@dataclass
class Room:
    """The labels and label sets that a row has admitted, in order. What it refused, it refuses again."""

    limits: Limits
    labels_most: int
    taken: int = 0
    """Bytes: 16 and its text for a label; 8, and 4 for each label and one more, for a set."""
    kept: Counter = field(default_factory=Counter)
    """Labels but MORE, by dimension."""
    labels: dict[tuple[str, str], int] = field(default_factory=dict)
    """(dimension, label) -> offset of the event that named it first."""
    sets: dict[tuple, int] = field(default_factory=dict)
    """Name of the set's count -> offset of the event that named it first."""

    def admit(self, offset: int, dimension: str, label: str) -> str:
        """Return the label, or MORE if the row has no room for it."""
        if (dimension, label) not in self.labels:
            size = 16 + len(label.encode())
            full = self.kept[dimension] >= self.labels_most
            if full or self.taken + size > self.limits.size:
                label = MORE
                self.labels.setdefault((dimension, MORE), offset)
            else:
                self.taken += size
                self.kept[dimension] += 1
                self.labels[dimension, label] = offset
        return label

    def known(self, dimension: str, label: str) -> str:
        """The name under which the row counts a label that it was asked for before."""
        return label if (dimension, label) in self.labels else MORE

    def count_set(
        self, offset: int, counts: Counter, part: str, dimension: str, tags: dict[str, str], n: int
    ) -> None:
        """Add to ``counts`` that ``n`` orders name these labels: label -> what they did to it."""
        if len(tags) < 2:
            return
        name = ("set", part, dimension, tuple(sorted(tags.items())))
        size = 8 + 4 * (len(tags) + 1)
        fits = len(tags) <= self.limits.labels_of_set and len(self.sets) < self.limits.sets
        if name not in self.sets and not (fits and self.taken + size <= self.limits.size):
            counts["uncertain",] += n * (len(tags) - 1)
            return
        if name not in self.sets:
            self.sets[name] = offset
            self.taken += size
        counts[name] += n


def united(counts: Counter, name_of: Callable[[str, str], str]) -> Counter:
    """The counts of ONE order by other names than its labels: (dimension, label) -> name.

    It is one order of a name, whichever of its labels it names. Where cancelled, it is not refunded.
    """
    found: Counter = Counter()
    for (what, *where), count in counts.items():
        name = (what, where[0], name_of(*where)) if where else (what,)
        found[name] = max(found[name], count) if what.endswith("orders") else found[name] + count
    for what, *where in list(found):
        if found[what.replace("refunded", "cancelled"), *where] and what.endswith(
            "refunded_orders"
        ):
            found[what, *where] = 0
    return found


def by_column(counts: Counter, room: Room) -> Counter:
    """What the corrections of ONE order take, by the columns that a row has for their labels.

    Where anything of a column is cancelled, the order is not refunded there.
    """
    found = united(counts, room.known)
    cancelled = {
        (where[0], room.known(*where))
        for what, *where in counts
        if where and what == "cancelled_orders"
    }
    for what, *where in list(found):
        if what == "refunded_orders" and tuple(where) in cancelled:
            found[what, *where] = 0
    return found
