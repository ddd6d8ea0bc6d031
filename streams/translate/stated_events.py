"""Contract events that state something of an order, and their ids.

An id is made of the source's own ids and the version of what is stated, so one thing has one id,
however often and in whatever order its records come.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from streams.index.event_types import ID_BYTES_MAX, Line
from streams.index.events import RECORD_BYTES_MAX
from streams.index.panes import rfc3339
from streams.sources.outgoing import (
    OrderRecord,
    Outgoing,
    PaymentRecord,
    order_out,
    payment_out,
)
from streams.translate.refused_records import RefusedRecordError
from streams.translate.whole_orders import Capture, LoosePayment, SoldLine, WholeOrder

_HASH_DIGITS = 32
_SEPARATORS = re.compile(r"[%:,=]")
NOTHING = Line("", "", 0, 0)
"""A line that cannot be counted: what is taken back of an order of which nothing counts."""


def bounded_id(text: str) -> str:
    """Return an id that fits the contract: a longer one is its beginning and a hash of the whole.

    >>> bounded_id("shop:1:placed")
    'shop:1:placed'
    """
    raw = text.encode()
    if len(raw) <= ID_BYTES_MAX:
        return text
    digest = hashlib.sha256(raw).hexdigest()[:_HASH_DIGITS]
    begin = raw[: ID_BYTES_MAX - len(digest) - 1].decode(errors="ignore")
    return f"{begin}~{digest}"


def part_of_id(text: str) -> str:
    """Return an id of the source as a part of an event's: what separates parts is escaped.

    >>> part_of_id("gid:1"), part_of_id("1001")
    ('gid%3A1', '1001')
    """
    return _SEPARATORS.sub(lambda found: f"%{ord(found[0]):02X}", text)


def lines_for(sku: str, category: str, quantity: int, amount_minor: int) -> list[Line]:
    """Return the lines of some units that cost an amount together: it need not be a multiple.

    >>> [(line.quantity, line.unit_price_minor) for line in lines_for("a", "", 3, 1000)]
    [(1, 334), (2, 333)]
    """
    price, dearer = divmod(amount_minor, quantity)
    sku = bounded_id(sku)
    lines = [Line(sku, category, dearer, price + 1)] if dearer else []
    return [*lines, Line(sku, category, quantity - dearer, price)]


def lines_of(line: SoldLine, after: int, since: int = 0) -> list[Line]:
    """Return the lines of the units of a sold line from ``since`` to ``after``, at their prices."""
    price, dearer = divmod(line.amount_minor, line.quantity)
    dear = min(after, dearer) - min(since, dearer)
    found = (
        Line(bounded_id(line.sku), line.category, dear, price + 1),
        Line(bounded_id(line.sku), line.category, after - since - dear, price),
    )
    return [each for each in found if each.quantity]


class Statements:
    """Makes the events of one order. ``placed_ms``, ``market``, ``currency``: the order's."""

    def __init__(
        self, source: str, order_id: str, market: str, currency: str, placed_ms: int | None
    ) -> None:
        self._begin = f"{source}:{part_of_id(order_id)}"
        self._order_id = bounded_id(order_id)
        self._market = market
        self._currency = currency
        self._placed_ms = placed_ms
        self._placed_at = None if placed_ms is None else rfc3339(placed_ms)

    def placed(self, order: WholeOrder, lines: Iterable[SoldLine]) -> Outgoing:
        """Return the event that the order was placed."""
        record = OrderRecord(
            event_id=bounded_id(f"{self._begin}:placed"),
            type="order.placed",
            occurred_at=rfc3339(order.placed_ms),
            market=self._market,
            order_id=self._order_id,
            currency=self._currency,
            lines=[each for line in lines for each in lines_of(line, line.quantity)],
            payment_method=order.payment_method,
            shopper_id=None if order.shopper_id is None else bounded_id(order.shopper_id),
            new_shopper=order.new_shopper,
            region=order.region,
            channel=order.channel,
        )
        return _fitting(order_out(record, order.placed_ms))

    def cancelled(
        self, lines: Iterable[SoldLine], occurred_ms: int, payment_method: str | None
    ) -> Outgoing:
        """Return the event of all units that are cancelled by now.

        Of the cancels of an article the index counts the largest, so each names all of them.
        """
        taken = [line for line in lines if line.cancelled]
        version = ",".join(f"{part_of_id(line.id)}={line.cancelled}" for line in taken)
        return self._correction(
            "order.cancelled",
            f"cancelled:{version}",
            [each for line in taken for each in lines_of(line, line.cancelled)],
            occurred_ms,
            payment_method,
        )

    def refunded(
        self, refund_id: str, lines: list[Line], occurred_ms: int, payment_method: str | None
    ) -> Outgoing:
        """Return the event of one refund. ``refund_id``: without what separates parts of ids."""
        return self._correction(
            "order.refunded",
            f"refund:{refund_id}",
            lines,
            occurred_ms,
            payment_method,
            bounded_id(refund_id),
        )

    def captured(self, capture: Capture) -> Outgoing:
        """Return the event of a captured payment."""
        occurred_ms = self._not_before_placed(capture.occurred_ms)
        record = PaymentRecord(
            event_id=bounded_id(f"{self._begin}:capture:{part_of_id(capture.id)}"),
            type="payment.captured",
            occurred_at=rfc3339(occurred_ms),
            market=self._market,
            order_id=self._order_id,
            method=capture.method,
            amount_minor=capture.amount_minor,
            currency=self._currency,
            placed_at=self._placed_at,
            provider=capture.provider or None,
        )
        return _fitting(payment_out(record, occurred_ms))

    def paid(self, payment: LoosePayment, version: str, amount_minor: int) -> Outgoing:
        """Return the event of what happened to a payment. It has its order's id, else its own."""
        named = payment.order_id or payment.payment_id
        record = PaymentRecord(
            event_id=bounded_id(f"{self._begin}:{payment.kind}:{version}"),
            type=f"payment.{payment.kind}",  # type: ignore[arg-type]
            occurred_at=rfc3339(payment.occurred_ms),
            market=self._market,
            order_id=bounded_id(named),
            method=payment.method,
            amount_minor=amount_minor,
            currency=self._currency,
            provider=payment.provider or None,
        )
        return _fitting(payment_out(record, payment.occurred_ms))

    def _correction(
        self,
        kind: str,
        version: str,
        lines: list[Line],
        occurred_ms: int,
        payment_method: str | None,
        refund_id: str | None = None,
    ) -> Outgoing:
        occurred_ms = self._not_before_placed(occurred_ms)
        record = OrderRecord(
            event_id=bounded_id(f"{self._begin}:{version}"),
            type=kind,  # type: ignore[arg-type]
            occurred_at=rfc3339(occurred_ms),
            market=self._market,
            order_id=self._order_id,
            currency=self._currency,
            lines=lines or [NOTHING],
            placed_at=self._placed_at,
            payment_method=payment_method,
            refund_id=refund_id,
        )
        return _fitting(order_out(record, occurred_ms))

    def _not_before_placed(self, occurred_ms: int) -> int:
        """Nothing happens to an order before it is placed; clocks of two services may differ."""
        return occurred_ms if self._placed_ms is None else max(occurred_ms, self._placed_ms)


def _fitting(event: Outgoing) -> Outgoing:
    if len(event.value) > RECORD_BYTES_MAX:
        expected = f"an order whose event has at most {RECORD_BYTES_MAX} bytes"
        raise RefusedRecordError("$", expected, f"{len(event.value)} bytes")
    return event
