"""The sections of a source file, compiled: ``[order]``, ``[refund]``, ``[capture]``, ``[[payment]]``.

Each becomes a function from a decoded record to what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.translate.mapping import Compiler, FieldKind, Place, Scope
from streams.translate.order_parts import (
    compile_captures,
    compile_lines,
    compile_one_capture,
    compile_one_refund,
    compile_refunds,
)
from streams.translate.refused_records import RefusedRecordError
from streams.translate.source_file import CaptureTable, OrderTable, PaymentTable, RefundTable
from streams.translate.table_fields import TableFields, first_path
from streams.translate.whole_orders import LooseCapture, LoosePayment, LooseRefund, WholeOrder

Section = Callable[[Any, Scope], Any]


def compile_order(compiler: Compiler, table: OrderTable, place: Place) -> Section:
    """Return the function that reads a whole order."""
    fields = TableFields(compiler, table, place)
    order_id = fields.needed("id", FieldKind.ID)
    market = fields.needed("market", FieldKind.TEXT)
    currency = fields.needed("currency", FieldKind.CURRENCY)
    placed_at = fields.needed("placed_at", FieldKind.INSTANT)
    version = fields.optional("version", FieldKind.INSTANT)
    is_placed = fields.holds("placed", otherwise=True)
    is_cancelled = fields.holds("cancelled", otherwise=False)
    cancelled_at = fields.optional("cancelled_at", FieldKind.INSTANT)
    method = fields.optional("payment_method", FieldKind.LABEL)
    shopper_id = fields.optional("shopper_id", FieldKind.ID)
    new_shopper = fields.optional("new_shopper", FieldKind.FLAG)
    region = fields.optional("region", FieldKind.LABEL)
    channel = fields.optional("channel", FieldKind.LABEL)
    lines = compile_lines(compiler, table.lines, place.at(".lines"))
    refunds = captures = None
    if table.refunds is not None:
        refunds = compile_refunds(compiler, table.refunds, place.at(".refunds"))
    if table.captures is not None:
        captures = compile_captures(compiler, table.captures, place.at(".captures"))

    def read(here: Any, scope: Scope) -> WholeOrder:
        scope.currency = currency(here, scope)
        placed_ms = placed_at(here, scope)
        version_ms = version(here, scope)
        sold, uncounted = lines(here, scope)
        return WholeOrder(
            order_id(here, scope),
            market(here, scope),
            scope.currency,
            placed_ms,
            is_placed(here, scope),
            is_cancelled(here, scope),
            version_ms,
            cancelled_at(here, scope),
            method(here, scope),
            shopper_id(here, scope),
            new_shopper(here, scope),
            region(here, scope),
            channel(here, scope),
            sold,
            [] if refunds is None else refunds(here, scope, version_ms or placed_ms),
            [] if captures is None else captures(here, scope),
            uncounted,
        )

    return read


def compile_refund(compiler: Compiler, table: RefundTable, place: Place) -> Section:
    """Return the function that reads one refund."""
    fields = TableFields(compiler, table, place)
    order_id = fields.needed("order_id", FieldKind.ID)
    currency = fields.optional("currency", FieldKind.CURRENCY)
    one = compile_one_refund(compiler, table, place)

    def read(here: Any, scope: Scope) -> LooseRefund:
        scope.currency = currency(here, scope) or ""
        return LooseRefund(order_id(here, scope), one(here, scope, None))

    return read


def compile_capture(compiler: Compiler, table: CaptureTable, place: Place) -> Section:
    """Return the function that reads one capture."""
    fields = TableFields(compiler, table, place)
    order_id = fields.needed("order_id", FieldKind.ID)
    market = fields.optional("market", FieldKind.TEXT)
    currency = fields.needed("currency", FieldKind.CURRENCY)
    one = compile_one_capture(compiler, table, place)

    def read(here: Any, scope: Scope) -> LooseCapture:
        scope.currency = currency(here, scope)
        capture = one(here, scope)
        return LooseCapture(order_id(here, scope), capture, market(here, scope), scope.currency)

    return read


def compile_payment(compiler: Compiler, table: PaymentTable, place: Place) -> Section:
    """Return the function that reads what happened to a payment."""
    fields = TableFields(compiler, table, place)
    payment_id = fields.needed("payment", FieldKind.ID)
    each_id = fields.needed("id", FieldKind.ID)
    occurred_at = fields.needed("occurred_at", FieldKind.INSTANT)
    market = fields.needed("market", FieldKind.TEXT)
    currency = fields.needed("currency", FieldKind.CURRENCY)
    is_total = table.total is not None
    name = "total" if is_total else "amount"
    # What was not taken by an attempt that failed is nobody's money.
    compile_amount = fields.optional if getattr(table, name) is None else fields.needed
    amount = compile_amount(name, FieldKind.MONEY)
    order_id = fields.optional("order_id", FieldKind.ID)
    method = fields.optional("method", FieldKind.LABEL, "")
    provider = fields.optional("provider", FieldKind.TEXT, "")
    path = first_path(getattr(table, name)) or name

    def read(here: Any, scope: Scope) -> LoosePayment:
        scope.currency = currency(here, scope)
        minor = amount(here, scope) or 0
        if minor < 0:
            raise RefusedRecordError(path, "an amount of 0 or more", "a negative")
        return LoosePayment(
            payment_id(here, scope),
            table.states,
            each_id(here, scope),
            occurred_at(here, scope),
            market(here, scope),
            scope.currency,
            minor,
            is_total,
            order_id(here, scope),
            method(here, scope),
            provider(here, scope),
        )

    return read
