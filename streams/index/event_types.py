"""Events of the inputs as the fold sees them, and what a record can be instead of one."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

ID_BYTES_MAX = 128
SUM_MAX = 2**63 - 1
EVENT_SUM_MAX = 10**13
"""Most units, and most minor units, of one event. One absurd event must not fill a day's sums: all
others of its market and partition would be refused. 922,337 events of this size fit into 63 bits. It
must hold what a shop sells at once where money has many digits: 100,000,000,000.00 IRR."""

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_BYTES_MAX)]
_Instant = Annotated[str, msgspec.Meta(min_length=17, max_length=40)]
_Minor = Annotated[int, msgspec.Meta(ge=0, le=EVENT_SUM_MAX)]
_Quantity = Annotated[int, msgspec.Meta(gt=0, le=EVENT_SUM_MAX)]

ORDER_TYPES = ("order.placed", "order.cancelled", "order.refunded")
PAYMENT_TYPES = (
    "payment.captured", "payment.failed", "payment.refunded", "payment.refund_failed",
    "payment.disputed", "payment.reversed",
)  # fmt: skip


class Line(msgspec.Struct, gc=False):
    """One line of an order. ``unit_price_minor`` is in minor units of the order's currency.

    An empty ``category``: the line names none. ``sku`` is any text or none. It tells two refunds of an
    order apart that have no ``refund_id``, and nothing else.
    """

    sku: str
    category: str
    quantity: _Quantity
    unit_price_minor: _Minor


class OrderEvent(msgspec.Struct, gc=False):
    """A decoded record of the orders topic. Times are still text; empty text stands for none.

    The field types are what the fast decoder takes; whatever else the contract allows is read field by
    field (``event_fields``). ``order_id`` is empty where a placed order does not name it.
    """

    event_id: _Id
    type: Literal["order.placed", "order.cancelled", "order.refunded"]
    occurred_at: _Instant
    market: str
    order_id: _Id
    currency: str
    lines: list[Line]
    placed_at: _Instant | None = None
    payment_method: str | None = None
    shopper_id: _Id | None = None
    new_shopper: bool | None = None
    seller_id: str | None = None
    region: str | None = None
    channel: str | None = None
    refund_id: _Id | None = None


PaymentType = Literal[
    "payment.captured", "payment.failed", "payment.refunded", "payment.refund_failed",
    "payment.disputed", "payment.reversed",
]  # fmt: skip
"""One of PAYMENT_TYPES."""


class PaymentEvent(msgspec.Struct, gc=False):
    """A decoded record of the payments topic, as ``OrderEvent`` is one of the orders topic.

    An empty ``method``: the payment names none. ``amount_minor`` of a failed payment is not read.
    """

    event_id: _Id
    type: PaymentType
    occurred_at: _Instant
    market: str
    order_id: _Id
    method: str
    amount_minor: _Minor
    currency: str
    placed_at: _Instant | None = None
    provider: str | None = None


class Part(NamedTuple):
    """Parts of one event that cannot be counted, for one reason: how many, and where the first is."""

    lost: int
    detail: str


Parts = dict[str, Part]
"""By reason, one of PART_REASONS."""


class IncompleteOrder(OrderEvent):
    """An order that counts, without the parts that cannot be counted."""

    parts: Parts = {}


class IncompletePayment(PaymentEvent):
    """A payment that counts, without the parts that cannot be counted."""

    parts: Parts = {}


class Placement(NamedTuple):
    """The order that a refused record would have placed, as far as the record can be read."""

    market: str
    order_id: str


class Rejected(NamedTuple):
    """Why a record is a dead letter: ``reason`` is one of REASONS, ``detail`` says what was found."""

    reason: str
    detail: str
    placement: Placement | None = None
    """None also where the record names no order, or cannot be read that far."""


class Ignored(NamedTuple):
    """A record that is no event of ours, and no mistake: ``reason`` is one of IGNORED_REASONS."""

    reason: str


TOMBSTONE = Ignored("tombstone")
UNKNOWN_TYPE = Ignored("unknown_type")
IGNORED_REASONS = (TOMBSTONE.reason, UNKNOWN_TYPE.reason)

NEGATIVE_PRICE, PRICE, QUANTITY, LINE = "negative_price", "price", "quantity", "line"
PART_REASONS = (
    NEGATIVE_PRICE, PRICE, QUANTITY, LINE, "label", "shopper_id", "new_shopper", "order_id",
    "refund_id", "placed_at",
)  # fmt: skip
"""Every reason why a part of a counted event is not counted. The first four each cost a line."""

REASONS = (
    "empty", "too_large", "invalid_utf8", "invalid_json", "duplicate_key", "too_deep", "schema",
    "control_character", "id_too_long", "invalid_time", "unknown_market", "wrong_currency",
    "placed_after_occurred", "placed_at_missing", "overflow", "ahead",
)  # fmt: skip
"""Every reason a dead letter can carry."""
