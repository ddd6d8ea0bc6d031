"""What records of a source say: a whole order as it is now, or one refund or capture of an order.

Money is in minor units of the order's currency, times are epoch ms.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PaymentKind = Literal["captured", "failed", "refunded", "refund_failed", "disputed", "reversed"]
"""What can happen to a payment: the types of payment events without ``payment.``."""


class SoldLine(msgspec.Struct, array_like=True, gc=False):
    """A line of an order as it was placed. ``cancelled``, ``refunded``: units of it by now."""

    id: str
    sku: str
    category: str
    quantity: int
    amount_minor: int
    """Of all its units together."""
    cancelled: int = 0
    refunded: int = 0


class RefundedLine(msgspec.Struct, array_like=True, gc=False):
    """Part of a refund. Without an amount it is what so many units of the line were sold for."""

    line_id: str
    quantity: int
    amount_minor: int | None = None


class Refund(msgspec.Struct, array_like=True, gc=False):
    """One refund of an order. Without lines it is of an amount. ``is_limited``: to what goods cost.

    ``adjustment_minor``: paid back beyond what the lines say; below 0: kept of it. ``currency``: of its
    amounts; empty: it has none.
    """

    id: str
    occurred_ms: int
    lines: list[RefundedLine] = []
    amount_minor: int | None = None
    is_limited: bool = False
    adjustment_minor: int = 0
    currency: str = ""


class Capture(msgspec.Struct, array_like=True, gc=False):
    """One payment of an order that was captured."""

    id: str
    occurred_ms: int
    amount_minor: int
    method: str = ""
    provider: str = ""
    currency: str = ""


class WholeOrder(msgspec.Struct, gc=False):
    """An order as its source says that it is now.

    ``version_ms``: when it was changed last; None where the source does not say. ``is_placed``: it is an
    order by now, and no draft. ``taken_back_ms``: when it, or units of its lines, were cancelled.
    """

    id: str
    market: str
    currency: str
    placed_ms: int
    is_placed: bool = True
    is_cancelled: bool = False
    version_ms: int | None = None
    taken_back_ms: int | None = None
    payment_method: str | None = None
    shopper_id: str | None = None
    new_shopper: bool | None = None
    region: str | None = None
    channel: str | None = None
    lines: list[SoldLine] = []
    refunds: list[Refund] = []
    captures: list[Capture] = []
    uncounted: int = 0
    """Lines that cannot be counted: nothing of them, or a negative price."""


class LooseRefund(msgspec.Struct, gc=False):
    """A refund whose record names its order and says nothing else of it."""

    order_id: str
    refund: Refund


class LooseCapture(msgspec.Struct, gc=False):
    """A capture whose record names its order. Without ``market`` it waits for its order."""

    order_id: str
    capture: Capture
    market: str | None = None
    currency: str | None = None


class LoosePayment(msgspec.Struct, gc=False):
    """What happened to a payment, by a record that says all of it and waits for none.

    ``payment_id``: of the payment, which may have many charges, refunds and disputes. ``id``: of the one
    that this is. ``is_total``: the amount is of all that happened by now.
    """

    payment_id: str
    kind: PaymentKind
    id: str
    occurred_ms: int
    market: str
    currency: str
    amount_minor: int
    is_total: bool = False
    order_id: str | None = None
    method: str = ""
    provider: str = ""


Reported = WholeOrder | LooseRefund | LooseCapture | LoosePayment


def kept_by(reported: Reported) -> str:
    """Return the id by which is kept what was stated: of the order, or of a payment that needs none."""
    if isinstance(reported, WholeOrder):
        return reported.id
    return reported.payment_id if isinstance(reported, LoosePayment) else reported.order_id
