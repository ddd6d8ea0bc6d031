"""Parts of an order in a source file, compiled: its lines, refunds and captures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.translate.mapping import Compiler, Evaluate, FieldKind, Place, Scope
from streams.translate.refused_records import RefusedRecordError
from streams.translate.source_file import (
    CapturesTable,
    CaptureTable,
    LinesTable,
    RefundedLinesTable,
    RefundsTable,
    RefundTable,
)
from streams.translate.table_fields import TableFields, first_path
from streams.translate.whole_orders import Capture, Refund, RefundedLine, SoldLine

LINES_MAX = 1_000
"""Most lines of one order. What is kept of an order has each of them."""


def compile_lines(
    compiler: Compiler, table: LinesTable, place: Place
) -> Callable[[Any, Scope], tuple[list[SoldLine], int]]:
    """Return the function that reads the lines that count, and how many do not."""
    elements, base = compiler.elements(table.each, place.at(".each"))
    fields = TableFields(compiler, table, place._replace(base=base))
    when = fields.holds("when", otherwise=True)
    line_id = fields.needed("id", FieldKind.ID)
    quantity = fields.needed("quantity", FieldKind.COUNT)
    is_whole = table.amount is not None
    price = fields.needed("amount" if is_whole else "unit_price", FieldKind.MONEY)
    sku = fields.optional("sku", FieldKind.TEXT, "")
    category = fields.optional("category", FieldKind.LABEL, "")
    cancelled = fields.optional("cancelled", FieldKind.COUNT, 0)
    refunded = fields.optional("refunded", FieldKind.COUNT, 0)
    each = table.each

    def read(here: Any, scope: Scope) -> tuple[list[SoldLine], int]:
        found: dict[str, SoldLine] = {}
        uncounted = 0
        elements_found = elements(here) or ()
        if len(elements_found) > LINES_MAX:
            expected = f"at most {LINES_MAX} lines"
            raise RefusedRecordError(each, expected, f"{len(elements_found)} lines")
        for at, element in enumerate(elements_found):
            try:
                if not when(element, scope):
                    continue
                units, minor = quantity(element, scope), price(element, scope)
                if units <= 0 or minor < 0:
                    uncounted += 1
                    continue
                line = SoldLine(
                    line_id(element, scope),
                    sku(element, scope),
                    category(element, scope),
                    units,
                    minor if is_whole else minor * units,
                    cancelled(element, scope),
                    refunded(element, scope),
                )
            except RefusedRecordError as refused:
                raise refused.within(f"{each}[{at}]") from refused
            known = found.get(line.id)
            if known is None:
                found[line.id] = line
            else:
                _add_line(known, line)
        return list(found.values()), uncounted

    return read


def _add_line(known: SoldLine, more: SoldLine) -> None:
    """Add a line to another of its id: the source tells the two apart by nothing."""
    known.quantity += more.quantity
    known.amount_minor += more.amount_minor
    known.cancelled += more.cancelled
    known.refunded += more.refunded


def compile_refunds(
    compiler: Compiler, table: RefundsTable, place: Place
) -> Callable[[Any, Scope, int], list[Refund]]:
    """Return the function that reads the refunds of an order, the oldest id first."""
    elements, base = compiler.elements(table.each, place.at(".each"))
    inside = place._replace(base=base)
    when = TableFields(compiler, table, inside).holds("when", otherwise=True)
    one = compile_one_refund(compiler, table, inside)
    each = table.each

    def read(here: Any, scope: Scope, known_ms: int) -> list[Refund]:
        found = []
        for at, element in enumerate(elements(here) or ()):
            try:
                if when(element, scope):
                    found.append(one(element, scope, known_ms))
            except RefusedRecordError as refused:
                raise refused.within(f"{each}[{at}]") from refused
        # A source may list the newest first. Which comes first decides what a limited one is of.
        found.sort(key=lambda refund: (len(refund.id), refund.id))
        return found

    return read


def compile_one_refund(
    compiler: Compiler, table: RefundsTable | RefundTable, place: Place
) -> Callable[[Any, Scope, int | None], Refund]:
    """Return the function that reads a refund. Without a time it has that which is known."""
    fields = TableFields(compiler, table, place)
    refund_id = fields.needed("id", FieldKind.ID)
    if table.occurred_at is None:
        occurred_at: Evaluate = lambda _here, _scope: None  # noqa: E731 - beside the other branch
    else:
        occurred_at = fields.needed("occurred_at", FieldKind.INSTANT)
    amount = fields.optional("amount", FieldKind.MONEY)
    adjustment = fields.optional("adjustment", FieldKind.MONEY, 0)
    lines = None
    if table.lines is not None:
        lines = _compile_refunded_lines(compiler, table.lines, place.at(".lines"))
    is_limited = table.at_most == "lines"
    path = first_path(table.amount) or "amount"

    def read(here: Any, scope: Scope, known_ms: int | None) -> Refund:
        occurred_ms = occurred_at(here, scope)
        minor = amount(here, scope)
        if minor is not None and minor < 0:
            raise RefusedRecordError(path, "an amount of 0 or more that was refunded", "a negative")
        return Refund(
            refund_id(here, scope),
            (known_ms or 0) if occurred_ms is None else occurred_ms,
            [] if lines is None else lines(here, scope),
            minor,
            is_limited,
            adjustment(here, scope),
            scope.currency,
        )

    return read


def _compile_refunded_lines(
    compiler: Compiler, table: RefundedLinesTable, place: Place
) -> Callable[[Any, Scope], list[RefundedLine]]:
    elements, base = compiler.elements(table.each, place.at(".each"))
    fields = TableFields(compiler, table, place._replace(base=base))
    line_id = fields.needed("line", FieldKind.ID)
    quantity = fields.optional("quantity", FieldKind.COUNT, 0)
    amount = fields.optional("amount", FieldKind.MONEY)
    each = table.each

    def read(here: Any, scope: Scope) -> list[RefundedLine]:
        found = []
        for at, element in enumerate(elements(here) or ()):
            try:
                line = RefundedLine(
                    line_id(element, scope), quantity(element, scope), amount(element, scope)
                )
            except RefusedRecordError as refused:
                raise refused.within(f"{each}[{at}]") from refused
            if line.quantity < 0 or (line.amount_minor or 0) < 0:
                expected = "a quantity and an amount of 0 or more that were refunded"
                raise RefusedRecordError(f"{each}[{at}]", expected, "less")
            if line.quantity or line.amount_minor:
                found.append(line)
        if len(found) > LINES_MAX:
            raise RefusedRecordError(each, f"at most {LINES_MAX} lines", f"{len(found)} lines")
        return found

    return read


def compile_captures(
    compiler: Compiler, table: CapturesTable, place: Place
) -> Callable[[Any, Scope], list[Capture]]:
    """Return the function that reads the captures of an order."""
    each = table.each
    if each is None:
        inside, elements = place, None
    else:
        elements, base = compiler.elements(each, place.at(".each"))
        inside = place._replace(base=base)
    when = TableFields(compiler, table, inside).holds("when", otherwise=True)
    one = compile_one_capture(compiler, table, inside)

    def read(here: Any, scope: Scope) -> list[Capture]:
        if elements is None:
            return [one(here, scope)] if when(here, scope) else []
        found = []
        for at, element in enumerate(elements(here) or ()):
            try:
                if when(element, scope):
                    found.append(one(element, scope))
            except RefusedRecordError as refused:
                raise refused.within(f"{each}[{at}]") from refused
        return found

    return read


def compile_one_capture(
    compiler: Compiler, table: CapturesTable | CaptureTable, place: Place
) -> Callable[[Any, Scope], Capture]:
    """Return the function that reads a capture."""
    fields = TableFields(compiler, table, place)
    capture_id = fields.needed("id", FieldKind.ID)
    occurred_at = fields.needed("occurred_at", FieldKind.INSTANT)
    amount = fields.needed("amount", FieldKind.MONEY)
    method = fields.optional("method", FieldKind.LABEL, "")
    provider = fields.optional("provider", FieldKind.TEXT, "")
    path = first_path(table.amount) or "amount"

    def read(here: Any, scope: Scope) -> Capture:
        minor = amount(here, scope)
        if minor < 0:
            raise RefusedRecordError(path, "an amount of 0 or more that was captured", "a negative")
        return Capture(
            capture_id(here, scope),
            occurred_at(here, scope),
            minor,
            method(here, scope),
            provider(here, scope),
            scope.currency,
        )

    return read
