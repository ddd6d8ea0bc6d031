"""UCI Online Retail (a British wholesaler's sales, 2010-12 .. 2011-12) -> events of market GB.

The table as published here has neither invoice numbers nor article numbers. So each row becomes an order
of its own with one line: counts of orders are counts of rows, and sales are exact.

* A quantity above 0 is ``order.placed``. A quantity below 0 is a return: ``order.refunded``. The sale
  that it returns is not known. So ``placed_at`` is the time of the return itself, and the day book
  deducts the return from its own day, as the wholesaler's accounts did.
* The article is the slug of the description, the region is the slug of the country, and the category is
  `general`.
* These are left out and counted: quantity 0; prices of 0 or below (gifts, write-offs, bad debt) or finer
  than a penny; fees and commissions, which nobody bought.

Times are naive local times of Europe/London, see ``LocalTimes``. Event ids are row numbers of the
published file, so a file that is imported twice counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from streams.index.event_types import EVENT_SUM_MAX, ID_BYTES_MAX, Line
from streams.index.panes import rfc3339
from streams.index.slugs import slug
from streams.sources.imports import Imported, LocalTimes, SourceError, Tally, minor_units
from streams.sources.outgoing import OrderRecord, Outgoing, order_out

MARKET, CURRENCY, ZONE = "GB", "GBP", "Europe/London"
CATEGORY = "general"
COLUMNS = ("Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
"""Columns of the published table, in the order of a ``RetailRow``."""
NOT_PURCHASES = frozenset(("amazon_fee", "bank_charges", "cruk_commission", "adjust_bad_debt"))
"""Slugs of descriptions that are entries of the accounts, not purchases."""

RetailRow = tuple[str | None, int, datetime, float, float | None, str | None]
"""Values of COLUMNS in one row."""


class _PlannedRow(NamedTuple):
    occurred_ms: int
    number: int
    description: str
    quantity: int
    price_minor: int
    customer: int | None
    country: str


def online_retail_events(rows: Iterable[RetailRow]) -> Imported:
    """Events of the rows. The rows are read at once; events are encoded when they are consumed."""
    tally = Tally()
    times = LocalTimes(ZONE)
    planned: list[_PlannedRow] = []
    for number, row in enumerate(rows):
        tally.read["rows"] += 1
        event = _planned(number, row, times, tally)
        if event is not None:
            planned.append(event)
    planned.sort(key=lambda event: event[:2])
    return Imported(len(planned), map(_written, planned), tally, frozenset({MARKET}))


def _planned(  # noqa: C901 - one branch per reason
    number: int, row: RetailRow, times: LocalTimes, tally: Tally
) -> _PlannedRow | None:
    description, quantity, local, price, customer, country = row
    if not isinstance(local, datetime) or not isinstance(quantity, int):
        raise SourceError(f"row {number}: expected an integer Quantity and a date-time InvoiceDate")
    article = slug(description or "")
    occurred_ms = times.of(local)
    # repr of a float is its shortest decimal form, which is the price as it was written.
    price_minor = minor_units(repr(price), CURRENCY)
    reason = None
    if quantity == 0:
        reason = "quantity 0"
    elif not price > 0:
        reason = "price 0 or below"
    elif price_minor is None:
        reason = "price finer than a penny"
    elif abs(quantity) * price_minor > EVENT_SUM_MAX:
        reason = "larger than an event may be"
    elif article in NOT_PURCHASES:
        reason = "not a purchase"
    elif occurred_ms is None:
        reason = "time with an offset"
    if reason is not None:
        tally.skipped[reason] += 1
        return None
    assert price_minor is not None, "checked above"
    assert occurred_ms is not None, "checked above"
    if not article:
        tally.filled["description: unknown"] += 1
    if customer is None:
        tally.filled["customer: none"] += 1
    return _PlannedRow(
        occurred_ms,
        number,
        article or "unknown",
        quantity,
        price_minor,
        None if customer is None else int(customer),
        slug(country or ""),
    )


def _written(event: _PlannedRow) -> Outgoing:
    order_id = f"uci-{event.number:06d}"
    occurred_at = rfc3339(event.occurred_ms)
    article = event.description.encode()[:ID_BYTES_MAX].decode(errors="ignore")
    returned = event.quantity < 0
    record = OrderRecord(
        event_id=order_id,
        type="order.refunded" if returned else "order.placed",
        occurred_at=occurred_at,
        market=MARKET,
        order_id=order_id,
        currency=CURRENCY,
        lines=[Line(article, CATEGORY, abs(event.quantity), event.price_minor)],
        placed_at=occurred_at if returned else None,
        shopper_id=None if event.customer is None else str(event.customer),
        region=event.country or None,
    )
    return order_out(record, event.occurred_ms)
