"""The lines of a refund: of articles where it names them, else of an amount."""

from __future__ import annotations

from streams.index.event_types import Line
from streams.translate.stated_events import lines_for, lines_of
from streams.translate.whole_orders import Refund, RefundedLine, SoldLine


def lines_of_refund(refund: Refund, sold: list[SoldLine], refunded_minor: int) -> list[Line]:
    """Return the lines that a refund takes back. Units that it names are added to those of ``sold``.

    ``refunded_minor``: what limited refunds of the order took before it.
    """
    of_goods = sum(line.amount_minor for line in sold)
    left = of_goods - refunded_minor
    if not refund.lines and refund.amount_minor is not None:
        amount = refund.amount_minor
        if refund.is_limited:
            if amount >= of_goods and not refunded_minor:
                return [each for line in sold for each in lines_of(line, line.quantity)]
            amount = min(amount, left)
        return lines_for("", "", 1, amount) if amount else []
    by_id = {line.id: line for line in sold}
    lines = [each for part in refund.lines for each in _lines_of_part(part, by_id)]
    kept = -min(refund.adjustment_minor, 0)
    if refund.adjustment_minor > 0:
        lines += lines_for("", "", 1, refund.adjustment_minor)
    if refund.is_limited:
        kept = max(kept, _amount_of(lines) - left)
    return _lowered(lines, kept) if kept else lines


def _lines_of_part(part: RefundedLine, sold_by_id: dict[str, SoldLine]) -> list[Line]:
    """Return the lines of one part of a refund. An article that was not sold here has no name."""
    sold = sold_by_id.get(part.line_id)
    if part.amount_minor is not None:
        sku, category = ("", "") if sold is None else (sold.sku, sold.category)
        return lines_for(sku, category, part.quantity or 1, part.amount_minor)
    if sold is None:
        return []
    # Units that an edit added were never stated, and several refunds of a line cost no more than it.
    since = sold.refunded
    sold.refunded = min(since + part.quantity, sold.quantity)
    return lines_of(sold, sold.refunded, since)


def _amount_of(lines: list[Line]) -> int:
    return sum(line.quantity * line.unit_price_minor for line in lines)


def _lowered(lines: list[Line], minor: int) -> list[Line]:
    """Return lines that cost so much less, the last ones first; their units stay."""
    found: list[Line] = []
    for line in reversed(lines):
        amount = line.quantity * line.unit_price_minor
        taken = min(amount, minor)
        minor -= taken
        if not taken:
            found = [line, *found]
        elif line.sku or line.category or taken < amount:
            lower = lines_for(line.sku, line.category, line.quantity, amount - taken)
            found = [*lower, *found]
    return found
