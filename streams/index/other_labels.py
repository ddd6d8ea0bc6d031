"""What ``other`` is made of: the labels of one local day that no member has, and what names them.

It is read from the label rows of the day, which alone have the texts. An order that names two labels
of a dimension is one order of ``other``: the label sets of the rows say how often (``member_rows``).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.index import partials as col
from streams.index.identifiers import DIMENSIONS
from streams.index.label_rows import CATEGORY, DAY_BOOK, METHOD, PackedRow, column_and_tag
from streams.index.label_text import ABSENT, MORE
from streams.index.member_rows import MemberRows
from streams.index.methodology import OTHER

ORDERS, PAYMENTS = "orders", "payments"
LARGEST_MAX = 10
"""Undeclared labels that are named; of the others the number is known."""
_PLACED_PART = 0
_CAPTURED_AT, _FAILED_AT = col.DAY_METHOD_PAYMENTS_AT, col.DAY_METHOD_PAYMENTS_AT + 2


class UndeclaredLabel(NamedTuple):
    """A label that no member has, and how many orders or payments name it."""

    label: str
    count: int


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


class _Tally:
    """Sums of one dimension over rows."""

    __slots__ = ("by_label", "more", "named", "other", "uncertain", "undeclared", "unnamed")

    def __init__(self) -> None:
        self.other = self.undeclared = self.more = self.unnamed = self.named = self.uncertain = 0
        self.by_label: dict[str, int] = {}

    def add(self, label: str, member: str | None, count: int) -> None:
        if label == ABSENT:
            self.unnamed += count
        else:
            self.named += count
            if label == MORE:
                self.more += count
            elif member is None:
                self.undeclared += count
                self.by_label[label] = self.by_label.get(label, 0) + count
        if member is None or member == OTHER:
            self.other += count

    def result(self, dimension: str, counted: str, total: int) -> OtherLabels:
        largest = heapq.nsmallest(
            LARGEST_MAX, self.by_label.items(), key=lambda each: (-each[1], each[0])
        )
        return OtherLabels(
            dimension, counted, total, self.other, self.undeclared, self.more, self.unnamed,
            len(self.by_label), [UndeclaredLabel(*each) for each in largest], self.uncertain,
        )  # fmt: skip


def other_labels(rows: Iterable[PackedRow], members: MemberRows) -> list[OtherLabels]:
    """Read the rows of one day of all source partitions; none where nothing was counted."""
    by_orders = [_Tally() for _ in DIMENSIONS]
    by_payments = _Tally()
    orders = payments = 0
    for row in rows:
        numbers = {
            int(at): int(of) for at, of in zip(row.numbers[::2], row.numbers[1::2], strict=True)
        }
        orders += numbers.get(col.PLACED_AT, 0)
        payments += numbers.get(col.DAY_PAYMENTS, 0) + numbers.get(col.DAY_FAILED, 0)
        _add_row(row, numbers, members, by_orders, by_payments)
    if not orders and not payments:
        return []
    # An order that names no method has no label of one, not even ABSENT.
    by_orders[METHOD].unnamed = orders - by_orders[METHOD].named
    found = zip(DIMENSIONS, by_orders, strict=True)
    return [
        *(tally.result(dimension, ORDERS, orders) for dimension, tally in found),
        by_payments.result(DIMENSIONS[METHOD], PAYMENTS, payments),
    ]


def _add_row(
    row: PackedRow,
    numbers: Mapping[int, int],
    members: MemberRows,
    by_orders: list[_Tally],
    by_payments: _Tally,
) -> None:
    in_other: dict[int, bool] = {}  # categories by column: whether each is an undeclared label
    at = DAY_BOOK.totals
    for text in row.labels:
        dimension, label = int(text[0]), text[1:]
        member = members.named(dimension, label)
        placed = numbers.get(at + col.PLACED_AT, 0)
        if placed:
            by_orders[dimension].add(label, member, placed)
        if dimension == METHOD:
            tried = numbers.get(at + _CAPTURED_AT, 0) + numbers.get(at + _FAILED_AT, 0)
            if tried:
                by_payments.add(label, member, tried)
        elif dimension == CATEGORY and (member is None or member == OTHER):
            in_other[at] = member is None and label not in (ABSENT, MORE)
        at += DAY_BOOK.widths[dimension]
    categories = by_orders[CATEGORY]
    categories.uncertain += numbers.get(col.DAY_UNCERTAIN, 0)
    for orders, part, *items in row.sets:
        if part == _PLACED_PART:
            found = [
                in_other[column] for column, _ in map(column_and_tag, items) if column in in_other
            ]
            categories.other -= orders * max(0, len(found) - 1)
            categories.undeclared -= orders * max(0, sum(found) - 1)
