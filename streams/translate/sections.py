"""The sections of a source file, compiled: ``[order]``, ``[refund]`` and ``[capture]``.

Each becomes a function from a decoded record to what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.translate.conditions import Holds, compile_condition
from streams.translate.functions_of_values import FUNCTIONS
from streams.translate.mapping import Compiler, Evaluate, FieldKind, Place, Scope
from streams.translate.refused_records import RefusedRecordError
from streams.translate.source_file import (
    CapturesTable,
    CaptureTable,
    LinesTable,
    OrderTable,
    RefundedLinesTable,
    RefundsTable,
    RefundTable,
)
from streams.translate.whole_orders import (
    Capture,
    LooseCapture,
    LooseRefund,
    Refund,
    RefundedLine,
    SoldLine,
    WholeOrder,
)

Section = Callable[[Any, Scope], Any]
_PATHLESS = ("constant", "if")
LINES_MAX = 1_000
"""Most lines of one order. What is kept of an order has each of them."""


class _Fields:
    """Compiles the fields of one table."""

    def __init__(self, compiler: Compiler, table: Any, place: Place) -> None:
        self._compiler = compiler
        self._table = table
        self._place = place

    def needed(self, name: str, wanted: FieldKind) -> Evaluate:
        """Compile a field without which the record is refused."""
        spec = getattr(self._table, name)
        value = self._compiler.value(spec, wanted, self._at(name))
        path = _first_path(spec) or f"({self._place.key}.{name})"
        expected = f"a value of `{self._place.key}.{name}`"

        def read(here: Any, scope: Scope) -> Any:
            found = value(here, scope)
            if found is None:
                raise RefusedRecordError(path, expected, "nothing")
            return found

        return read

    def optional(self, name: str, wanted: FieldKind, absent: Any = None) -> Evaluate:
        """Compile a field that may be missing in the file or in a record."""
        spec = getattr(self._table, name)
        if spec is None:
            return lambda _here, _scope: absent
        value = self._compiler.value(spec, wanted, self._at(name))
        if absent is None:
            return value

        def read(here: Any, scope: Scope) -> Any:
            found = value(here, scope)
            return absent if found is None else found

        return read

    def holds(self, name: str, *, otherwise: bool) -> Holds:
        """Compile a condition that may be missing in the file."""
        spec = getattr(self._table, name)
        if spec is None:
            return lambda _here, _scope: otherwise
        return compile_condition(self._compiler, spec, self._at(name))

    def _at(self, name: str) -> Place:
        place = self._place.at(f".{name}")._replace(depth=0)
        return place._replace(is_personal=name == "shopper_id")


def compile_order(compiler: Compiler, table: OrderTable, place: Place) -> Section:
    """Return the function that reads a whole order."""
    fields = _Fields(compiler, table, place)
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
    lines = _compile_lines(compiler, table.lines, place.at(".lines"))
    refunds = captures = None
    if table.refunds is not None:
        refunds = _compile_refunds(compiler, table.refunds, place.at(".refunds"))
    if table.captures is not None:
        captures = _compile_captures(compiler, table.captures, place.at(".captures"))

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
    fields = _Fields(compiler, table, place)
    order_id = fields.needed("order_id", FieldKind.ID)
    currency = fields.optional("currency", FieldKind.CURRENCY)
    one = _compile_refund(compiler, table, place)

    def read(here: Any, scope: Scope) -> LooseRefund:
        scope.currency = currency(here, scope) or ""
        return LooseRefund(order_id(here, scope), one(here, scope, None))

    return read


def compile_capture(compiler: Compiler, table: CaptureTable, place: Place) -> Section:
    """Return the function that reads one capture."""
    fields = _Fields(compiler, table, place)
    order_id = fields.needed("order_id", FieldKind.ID)
    market = fields.optional("market", FieldKind.TEXT)
    currency = fields.needed("currency", FieldKind.CURRENCY)
    one = _compile_capture(compiler, table, place)

    def read(here: Any, scope: Scope) -> LooseCapture:
        scope.currency = currency(here, scope)
        capture = one(here, scope)
        return LooseCapture(order_id(here, scope), capture, market(here, scope), scope.currency)

    return read


def _first_path(spec: Any) -> str | None:
    """Return the first path of a value: where people are to look when it is wrong or missing."""
    if isinstance(spec, str):
        return spec
    if isinstance(spec, dict):
        spec = [spec[name] for name in FUNCTIONS if name in spec and name not in _PATHLESS]
    return next(filter(None, map(_first_path, spec)), None) if isinstance(spec, list) else None


# -- parts of an order -----------------------------------------------------------------------------


def _compile_lines(
    compiler: Compiler, table: LinesTable, place: Place
) -> Callable[[Any, Scope], tuple[list[SoldLine], int]]:
    elements, base = compiler.elements(table.each, place.at(".each"))
    fields = _Fields(compiler, table, place._replace(base=base))
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


def _compile_refunds(
    compiler: Compiler, table: RefundsTable, place: Place
) -> Callable[[Any, Scope, int], list[Refund]]:
    elements, base = compiler.elements(table.each, place.at(".each"))
    inside = place._replace(base=base)
    when = _Fields(compiler, table, inside).holds("when", otherwise=True)
    one = _compile_refund(compiler, table, inside)
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


def _compile_refund(
    compiler: Compiler, table: RefundsTable | RefundTable, place: Place
) -> Callable[[Any, Scope, int | None], Refund]:
    fields = _Fields(compiler, table, place)
    refund_id = fields.needed("id", FieldKind.ID)
    if table.occurred_at is None:
        occurred_at: Evaluate = lambda _here, _scope: None  # noqa: E731 - beside the other branch
    else:
        occurred_at = fields.needed("occurred_at", FieldKind.INSTANT)
    amount = fields.optional("amount", FieldKind.MONEY)
    lines = None
    if table.lines is not None:
        lines = _compile_refunded_lines(compiler, table.lines, place.at(".lines"))
    is_limited = table.at_most == "lines"
    path = _first_path(table.amount) or "amount"

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
        )

    return read


def _compile_refunded_lines(
    compiler: Compiler, table: RefundedLinesTable, place: Place
) -> Callable[[Any, Scope], list[RefundedLine]]:
    elements, base = compiler.elements(table.each, place.at(".each"))
    fields = _Fields(compiler, table, place._replace(base=base))
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


def _compile_captures(
    compiler: Compiler, table: CapturesTable, place: Place
) -> Callable[[Any, Scope], list[Capture]]:
    each = table.each
    if each is None:
        inside, elements = place, None
    else:
        elements, base = compiler.elements(each, place.at(".each"))
        inside = place._replace(base=base)
    when = _Fields(compiler, table, inside).holds("when", otherwise=True)
    one = _compile_capture(compiler, table, inside)

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


def _compile_capture(
    compiler: Compiler, table: CapturesTable | CaptureTable, place: Place
) -> Callable[[Any, Scope], Capture]:
    fields = _Fields(compiler, table, place)
    capture_id = fields.needed("id", FieldKind.ID)
    occurred_at = fields.needed("occurred_at", FieldKind.INSTANT)
    amount = fields.needed("amount", FieldKind.MONEY)
    method = fields.optional("method", FieldKind.LABEL, "")
    provider = fields.optional("provider", FieldKind.TEXT, "")
    path = _first_path(table.amount) or "amount"

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
        )

    return read
