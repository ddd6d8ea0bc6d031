"""What ``other`` is made of: the labels of one local day that no member has, and what names them.

It is read from the label rows of the day, which alone have the texts. An order that names two labels
of a dimension is one order of ``other``: the label sets of the rows say how often (``member_rows``).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

from streams.index import partials as col
from streams.index.identifiers import DIMENSIONS
from streams.index.label_rows import (
    CATEGORY,
    DAY_BOOK,
    METHOD,
    PLACED_PART,
    PackedRow,
    column_and_tag,
)
from streams.index.label_text import ABSENT, MORE
from streams.index.member_rows import MemberRows
from streams.index.methodology import OTHER

ORDERS, PAYMENTS = "orders", "payments"
LARGEST_MAX = 10
"""Undeclared labels that are named; of the others the number is known."""

_METHOD = str(METHOD)
_WIDTHS = {str(dimension): width for dimension, width in enumerate(DAY_BOOK.widths)}
_CAPTURED_AT, _FAILED_AT = col.DAY_METHOD_PAYMENTS_AT, col.DAY_METHOD_PAYMENTS_AT + 2


class UndeclaredLabel(NamedTuple):
    """A label that no member has, and how many orders or payments name it."""

    label: str
    events: int


class OtherLabels(NamedTuple):
    """``other`` of one dimension on one day. ``counted``: orders, or payments, which name methods too.

    Orders are those that were placed and came in time; payments the captured and failed ones.
    """

    dimension: str
    counted: str
    total: int
    """All of the day, whatever they name."""
    other: int
    """Those in the member ``other``."""
    undeclared: int
    """Those that name at least one undeclared label."""
    more: int
    """Those of labels for which a row had no room."""
    unnamed: int
    """Those that say nothing of the dimension. A payment method that is not named is not ``other``."""
    labels: int
    """How many undeclared labels there are, as far as rows had room."""
    largest: list[UndeclaredLabel]
    uncertain: int = 0
    """By how much, at most, ``other`` and ``undeclared`` are too large: label sets without room."""


class OthersOfDay(NamedTuple):
    """What ``other`` is made of on a local day, as it was known at ``as_of_ms``."""

    day: int
    as_of_ms: int
    dimensions: list[OtherLabels]
    """By orders in the order of ``DIMENSIONS``, then payment methods by payments."""


class LabelCounts:
    """Sums over rows of days, by label as rows have it: the number of the dimension, then the text.

    Thousands of labels are the same in each row, so what each of them means is asked once, at the end.
    """

    def __init__(self) -> None:
        self.orders = self.payments = self.uncertain = 0
        self.placed: dict[str, int] = {}
        """Placed orders."""
        self.tried: dict[str, int] = {}
        """Captured and failed payments, by method."""
        self.sets: dict[tuple[str, ...], int] = {}
        """Placed orders by the categories that they name, of those that name several."""

    def add(self, row: PackedRow) -> None:
        """Add a row of a day."""
        numbers = dict(zip(row.numbers[::2], row.numbers[1::2], strict=True))
        self.orders += _of(numbers, col.PLACED_AT)
        self.payments += _of(numbers, col.DAY_PAYMENTS) + _of(numbers, col.DAY_FAILED)
        self.uncertain += _of(numbers, col.DAY_UNCERTAIN)
        columns = [*accumulate((_WIDTHS[text[0]] for text in row.labels), initial=DAY_BOOK.totals)]
        for text, at in zip(row.labels, columns, strict=False):
            if at in numbers:  # PLACED_AT is the first column of a label
                self.placed[text] = self.placed.get(text, 0) + int(numbers[at])
            if text[0] == _METHOD:
                tried = _of(numbers, at + _CAPTURED_AT) + _of(numbers, at + _FAILED_AT)
                if tried:
                    self.tried[text] = self.tried.get(text, 0) + tried
        texts = dict(zip(columns, row.labels, strict=False)) if row.sets else {}
        for orders, part, *items in row.sets:
            if part == PLACED_PART:
                key = tuple(texts[column] for column, _ in map(column_and_tag, items))
                self.sets[key] = self.sets.get(key, 0) + orders


def other_labels(rows: Iterable[PackedRow], members: MemberRows) -> list[OtherLabels]:
    """Read the rows of one day of all source partitions; none where nothing was counted."""
    counts = LabelCounts()
    for row in rows:
        counts.add(row)
    if not counts.orders and not counts.payments:
        return []
    found = [
        _tallied(counts.placed, number, counts.orders, members) for number in range(len(DIMENSIONS))
    ]
    found[CATEGORY] = _each_order_once(found[CATEGORY], counts, members)
    # An order that names no method has no label of one, not even ABSENT.
    silent = counts.orders - sum(of for text, of in counts.placed.items() if text[0] == _METHOD)
    methods = found[METHOD]
    found[METHOD] = methods._replace(unnamed=methods.unnamed + silent)
    by_payments = _tallied(counts.tried, METHOD, counts.payments, members)
    return [*found, by_payments._replace(counted=PAYMENTS)]


def _tallied(
    counts: Mapping[str, int], dimension: int, total: int, members: MemberRows
) -> OtherLabels:
    """Sum what names labels of a dimension; what names two of them is counted twice."""
    digit = str(dimension)
    other = 0
    special = {ABSENT: 0, MORE: 0}
    undeclared: dict[str, int] = {}
    for text, count in counts.items():
        if text[0] != digit:
            continue
        label = text[1:]
        member = members.named(dimension, label)
        if member is None or member == OTHER:
            other += count
        if label in special:
            special[label] += count
        elif member is None:
            undeclared[label] = count
    largest = heapq.nsmallest(LARGEST_MAX, undeclared.items(), key=lambda each: (-each[1], each[0]))
    return OtherLabels(
        DIMENSIONS[dimension], ORDERS, total, other, sum(undeclared.values()), special[MORE],
        special[ABSENT], len(undeclared), [UndeclaredLabel(*each) for each in largest],
    )  # fmt: skip


def _each_order_once(found: OtherLabels, counts: LabelCounts, members: MemberRows) -> OtherLabels:
    other, undeclared = found.other, found.undeclared
    for texts, orders in counts.sets.items():
        labels = [text[1:] for text in texts]
        names = [members.named(CATEGORY, label) for label in labels]
        in_other = sum(name is None or name == OTHER for name in names)
        pairs = zip(names, labels, strict=True)
        of_these = sum(name is None and label not in (ABSENT, MORE) for name, label in pairs)
        other -= orders * max(0, in_other - 1)
        undeclared -= orders * max(0, of_these - 1)
    return found._replace(other=other, undeclared=undeclared, uncertain=counts.uncertain)


def _of(numbers: Mapping[int | str, int | str], column: int) -> int:
    return int(numbers.get(column, 0))
