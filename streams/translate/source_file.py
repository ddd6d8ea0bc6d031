"""A source file: where a source's records are, in which format, and what of them becomes what.

This is the form of the file. Whether its paths and functions make sense is checked when it is compiled
(``compiled_source``). Whatever is wrong names the key.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from streams.translate.functions import MoneyUnit, TimeFormat
from streams.translate.whole_orders import PaymentKind

_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*?)`)?")
_PLACED = re.compile(r"(.*?)(?: - at `\$\.?(.*?)`)?", re.DOTALL)
_MISTAKES_SHOWN = 20

Value = str | dict[str, Any]
"""A path, or a table with one function."""
Condition = dict[str, Any]


class SourceFileError(ValueError):
    """A source file that cannot be used: every mistake with the key that it is in."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        shown = list(mistakes[:_MISTAKES_SHOWN])
        if len(mistakes) > len(shown):
            shown.append(f"and {len(mistakes) - len(shown)} more")
        super().__init__("\n".join(shown))
        self.mistakes = tuple(mistakes)


class _Table(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A table of a source file: a key that it does not have is a mistake."""


class PlacesTable(_Table, frozen=True):
    """Where the records are: topics, files beside the source file.

    ``keyed_by_order``: whoever writes the one topic keys each record by its order's id.
    """

    topics: list[Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9._-]{1,200}$")]] = []
    keyed_by_order: bool = False
    files: list[str] = []


class MoneyTable(_Table, frozen=True):
    """How the source writes money. ``digits``: decimals of its own minor units, by currency.

    ``multiples``: by currency, what amounts in these minor units are multiples of.
    """

    unit: MoneyUnit = "major"
    decimal: str = "."
    group: str = ""
    digits: dict[
        Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")],
        Annotated[int, msgspec.Meta(ge=0, le=8)],
    ] = {}
    multiples: dict[
        Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")],
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000)],
    ] = {}


class TimeTable(_Table, frozen=True):
    """How the source writes times. ``zone``: that of naive ones."""

    format: TimeFormat = "rfc3339"
    zone: str = "UTC"


class RecordTable(_Table, frozen=True):
    """Which records are not translated: types, those that hold a condition, orders that are tests."""

    type: Value | None = None
    ignore_types: list[str] = []
    ignore: Condition | None = None
    test: Condition | None = None


class LinesTable(_Table, frozen=True):
    """The lines of an order: either ``amount``, of all units of a line, or ``unit_price``.

    ``when``: elements for which it does not hold are no goods: tips, gift cards that are bought.
    """

    each: str
    id: Value
    quantity: Value
    when: Condition | None = None
    amount: Value | None = None
    unit_price: Value | None = None
    sku: Value | None = None
    category: Value | None = None
    cancelled: Value | None = None
    refunded: Value | None = None


class RefundedLinesTable(_Table, frozen=True):
    """The lines of a refund."""

    each: str
    line: Value
    quantity: Value | None = None
    amount: Value | None = None


class RefundsTable(_Table, frozen=True):
    """The refunds within an order: of lines, or of an amount.

    ``adjustment``: money that was paid back beyond what the lines say; below 0: that was kept.
    """

    each: str
    id: Value
    occurred_at: Value | None = None
    amount: Value | None = None
    adjustment: Value | None = None
    at_most: Literal["lines"] | None = None
    lines: RefundedLinesTable | None = None
    when: Condition | None = None


class CapturesTable(_Table, frozen=True):
    """The captures within an order; without ``each`` the order itself says that it was paid."""

    id: Value
    occurred_at: Value
    amount: Value
    each: str | None = None
    method: Value | None = None
    provider: Value | None = None
    when: Condition | None = None


class WebhookTable(_Table, frozen=True):
    """How the source's deliveries to the door are signed, and when their absence is news.

    ``header`` is that of ``hmac``; ``before`` is what stands in it before the digits.
    """

    signature: Literal["shopify", "woocommerce", "stripe", "hmac", "bearer"]
    header: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9-]{1,64}$")] | None = None
    before: str = ""
    deliveries_per_s: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    silent_after_s: Annotated[int, msgspec.Meta(ge=300, le=604_800)] = 43_200


class OrderTable(_Table, frozen=True):
    """A record that is a whole order."""

    id: Value
    market: Value
    currency: Value
    placed_at: Value
    lines: LinesTable
    when: Condition | None = None
    version: Value | None = None
    placed: Condition | None = None
    cancelled: Condition | None = None
    cancelled_at: Value | None = None
    payment_method: Value | None = None
    shopper_id: Value | None = None
    new_shopper: Value | None = None
    region: Value | None = None
    channel: Value | None = None
    refunds: RefundsTable | None = None
    captures: CapturesTable | None = None


class RefundTable(_Table, frozen=True):
    """A record that is one refund. ``currency``: of its amounts, if it has any."""

    order_id: Value
    id: Value
    occurred_at: Value
    currency: Value | None = None
    amount: Value | None = None
    adjustment: Value | None = None
    at_most: Literal["lines"] | None = None
    lines: RefundedLinesTable | None = None
    when: Condition | None = None


class CaptureTable(_Table, frozen=True):
    """A record that is one capture. With ``market`` it does not wait for its order."""

    order_id: Value
    id: Value
    occurred_at: Value
    amount: Value
    currency: Value
    market: Value | None = None
    method: Value | None = None
    provider: Value | None = None
    when: Condition | None = None


class PaymentTable(_Table, frozen=True):
    """What a record says of a payment, which needs no order.

    ``payment``: the id of the payment, by which is kept what was stated of it. ``id``: of what happened
    to it. Either ``amount``, or ``total``: of all that happened by now; the difference is stated.
    """

    states: PaymentKind
    payment: Value
    id: Value
    occurred_at: Value
    market: Value
    currency: Value
    amount: Value | None = None
    total: Value | None = None
    order_id: Value | None = None
    method: Value | None = None
    provider: Value | None = None
    when: Condition | None = None


class SourceFile(_Table, frozen=True):
    """What a source file says."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
    format: Literal["json"]
    where: PlacesTable = PlacesTable()
    webhook: WebhookTable | None = None
    money: MoneyTable = MoneyTable()
    time: TimeTable = TimeTable()
    aliases: dict[str, list[str]] = {}
    tables: dict[str, dict[str, str]] = {}
    record: RecordTable = RecordTable()
    order: OrderTable | None = None
    refund: RefundTable | None = None
    capture: CaptureTable | None = None
    payment: list[PaymentTable] = []


def parse_source(text: str, called: str | None = None) -> SourceFile:
    """Read a source file. Raises SourceFileError.

    ``called``: what the file is called, without its suffix: the name of the source. So no directory has
    two files of one name, which begins the ids of all that they state.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SourceFileError([f"no TOML: {error}"]) from error
    try:
        found = msgspec.convert(raw, SourceFile)
    except msgspec.ValidationError as error:
        raise SourceFileError([_mistake(str(error))]) from error
    mistakes = _senseless(found)
    if called is not None and called != found.name:
        mistakes.append(f"name: expected `{called}`, as the file is called")
    if mistakes:
        raise SourceFileError(mistakes)
    return found


def _senseless(file: SourceFile) -> list[str]:
    sections = {"refund": file.refund, "capture": file.capture, "order": file.order}
    payments = {f"payment[{number}]": each for number, each in enumerate(file.payment)}
    named = payments | {name: each for name, each in sections.items() if each is not None}
    if not named:
        return ["order: expected at least one of [order], [refund], [capture] and [[payment]]"]
    # Of other sections the last one takes what is left; payments are asked one by one.
    last = [*named][-1]
    needing = [*named] if last in payments and len(payments) > 1 else [*named][:-1]
    mistakes = [
        f"{name}.when: expected a condition, since the file has [{last}] too"
        for name in needing
        if named[name].when is None
    ]
    for name, payment in payments.items():
        amounts = (payment.amount is not None) + (payment.total is not None)
        if amounts != 1 and (amounts or payment.states != "failed"):
            mistakes.append(f"{name}: expected either `amount` or `total`")
    if file.order is not None:
        lines = file.order.lines
        if (lines.amount is None) is (lines.unit_price is None):
            mistakes.append("order.lines: expected either `amount` or `unit_price`")
        mistakes += _of_nothing("order.refunds", file.order.refunds)
    if file.refund is not None:
        mistakes += _of_nothing("refund", file.refund)
        if file.refund.currency is None and _has_amounts(file.refund):
            mistakes.append("refund.currency: expected a value, since amounts are mapped")
    if file.webhook is not None:
        mistakes += _senseless_webhook(file.webhook, file.where)
    if file.where.keyed_by_order and len(file.where.topics) != 1:
        # Another topic may have other partitions, and an order's records must come to one place.
        mistakes.append("where.keyed_by_order: expected exactly one topic")
    return mistakes


def _senseless_webhook(webhook: WebhookTable, where: PlacesTable) -> Iterator[str]:
    if not where.topics:
        yield "where.topics: expected a topic, into which the door writes deliveries"
    if where.keyed_by_order:
        yield "where.keyed_by_order: expected false, since the door keys deliveries by their content"
    if webhook.signature == "hmac" and webhook.header is None:
        yield "webhook.header: expected the header that the signature stands in"
    if webhook.signature != "hmac" and (webhook.header or webhook.before):
        yield "webhook: expected `header` and `before` with the signature `hmac` alone"


def _of_nothing(key: str, table: RefundsTable | RefundTable | None) -> list[str]:
    if table is not None and table.amount is None and table.lines is None:
        return [f"{key}: expected `amount`, `lines` or both"]
    lines = None if table is None else table.lines
    if lines is not None and lines.quantity is None and lines.amount is None:
        return [f"{key}.lines: expected `quantity`, `amount` or both"]
    if table is not None and table.adjustment is not None and (table.amount or lines is None):
        return [f"{key}.adjustment: expected `lines` beside it, and no `amount`"]
    return []


def _has_amounts(table: RefundTable) -> bool:
    of_lines = table.lines is not None and table.lines.amount is not None
    return of_lines or table.amount is not None or table.adjustment is not None


def _mistake(message: str) -> str:
    """Return msgspec's message with the key in front."""
    unknown = _UNKNOWN.fullmatch(message)
    if unknown is not None:
        name, place = unknown[1], unknown[2] or ""
        near = difflib.get_close_matches(name, _names(place), 1)
        meant = f"; did you mean `{near[0]}`?" if near else ""
        return f"{place}{'.' if place else ''}{name}: no such key{meant}"
    placed = _PLACED.fullmatch(message)
    assert placed is not None, "it takes any text"
    missing = re.fullmatch(r"Object missing required field `(.*)`", placed[1])
    if missing is not None:
        place = f"{placed[2]}." if placed[2] else ""
        return f"{place}{missing[1]}: expected a value, found nothing"
    return f"{placed[2] or 'file'}: {placed[1][:1].lower()}{placed[1][1:]}"


def _names(place: str) -> tuple[str, ...]:
    """Return the keys of the table at a place."""
    tables: Mapping[str, type[_Table]] = {
        "": SourceFile,
        "where": PlacesTable,
        "webhook": WebhookTable,
        "money": MoneyTable,
        "time": TimeTable,
        "record": RecordTable,
        "order": OrderTable,
        "order.lines": LinesTable,
        "order.refunds": RefundsTable,
        "order.refunds.lines": RefundedLinesTable,
        "order.captures": CapturesTable,
        "refund": RefundTable,
        "refund.lines": RefundedLinesTable,
        "capture": CaptureTable,
        "payment[]": PaymentTable,
    }
    of_any = re.sub(r"\[\d+\]", "[]", place)
    return tables[of_any].__struct_fields__ if of_any in tables else ()
