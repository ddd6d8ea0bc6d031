"""What happens to some orders of a shop on Shopify, as the bodies of its webhooks tell it.

``uv run poe fixtures`` writes them beside the example's source file. What each becomes stands in
docs/sources/shopify.md.
"""

from __future__ import annotations

from pathlib import Path

from tools.shopify_records import Money, Record, Sold, as_bytes, edit, order, refund, transaction

FIXTURE = Path("config/examples/sources/shopify.ndjson")

SHIRT = Sold(1, "TEE-RED-M", 2, 1250, tax=399, category="clothing")
MUGS = Sold(2, "MUG", 3, 400, discount=200, tax=160, category="home_garden")
CAP = Sold(3, "", 1, 1200, tax=192)
BOOKS = Sold(4, "BOOK", 2, 1000, discount=100, tax=152, category="books")
CARD = Sold(5, None, 1, 5000, gift_card=True)
TIPPED = Sold(6, None, 1, 300, is_tip=True)
SCARF = Sold(7, "SCARF", 1, 1500, category="clothing")
COD = "Cash on Delivery (COD)"


def at(day: int, time: str) -> str:
    """A time in November 2026, in the zone of the shop."""
    return f"2026-11-{day:02}T{time}:00+01:00"


def story() -> list[tuple[str, Record]]:
    """What happens and the body that tells it, in the order in which they come."""
    return [*_bought_and_taken_back(), *_before_the_order(), *_paid(), *_edited(), *_left_out()]


def _bought_and_taken_back() -> list[tuple[str, Record]]:
    lines = [SHIRT, MUGS, CAP]
    first = refund(2001, 1001, [(MUGS, 1)], at=at(25, "09:00"))
    second = refund(2002, 1001, [(MUGS, 1)], at=at(25, "10:00"))
    both: Record = {"refunds": [first, second], "financial_status": "partially_refunded"}
    cancelled: Record = {"cancelled_at": at(25, "12:00"), "cancel_reason": "customer", **both}
    goodwill = refund(2003, 1002, at=at(25, "09:30"), adjustments=[("refund_discrepancy", -500, 0)])
    kept = refund(
        2004, 1002, [(SHIRT, 1)], at=at(25, "10:30"),
        adjustments=[("refund_discrepancy", 200, 0), ("shipping_refund", -400, -90)],
    )  # fmt: skip
    return [
        ("orders/create: 2 shirts at 12.50, 3 mugs at 4.00 less 2.00, a cap at 12.00, tax within",
         order(1001, lines)),
        ("orders/create: the same delivery again", order(1001, lines)),
        ("order_transactions/create: a sale of 51.90", transaction(3001, 1001, 5190)),
        ("orders/updated: paid, nothing else is new", order(1001, lines, updated=at(24, "11:05"))),
        ("refunds/create: a mug", first),
        ("refunds/create: another mug", second),
        ("orders/updated: with both refunds", order(1001, lines, updated=at(25, "10:00"), **both)),
        ("orders/updated: the one before it comes late",
         order(1001, lines, updated=at(25, "09:00"), refunds=[first])),
        ("orders/cancelled: after the refunds",
         order(1001, lines, updated=at(25, "12:00"), **cancelled)),
        ("orders/create: 2 shirts and a cap", order(1002, [SHIRT, CAP])),
        ("refunds/create: 5.00 out of goodwill, no article", goodwill),
        ("refunds/create: a shirt and the shipping, 2.00 kept", kept),
        ("order_transactions/create: 15.40 are paid back",
         transaction(3012, 1002, 1540, kind="refund", at=at(25, "10:30"))),
    ]  # fmt: skip


def _before_the_order() -> list[tuple[str, Record]]:
    money = Money("EUR", "SEK", 11)
    whole = order(1003, [BOOKS], money=money, taxes_included=False)
    return [
        ("refunds/create: a book, before its order",
         refund(2005, 1003, [(BOOKS, 1)], at=at(26, "09:00"), money=money)),
        ("order_transactions/create: a sale of 25.42, before its order", transaction(3002, 1003, 2542)),
        ("orders/create: 2 books at 10.00 less 1.00, tax of 1.52 on top; the shop counts in kronor",
         whole),
    ]  # fmt: skip


def _paid() -> list[tuple[str, Record]]:
    cod = order(1004, [CAP], gateway=COD, financial_status="pending")
    gift = order(1006, [SHIRT], gateway="gift_card")
    return [
        ("orders/create: a cap, cash on delivery", cod),
        ("order_transactions/create: the sale of 16.90 is pending",
         transaction(3003, 1004, 1690, gateway=COD, status="pending")),
        ("order_transactions/create: the sale is a success, three days later",
         transaction(3004, 1004, 1690, gateway=COD, at=at(27, "15:00"), parent_id=3003)),
        ("orders/create: a gift card of 50.00, a cap and a tip of 3.00",
         order(1005, [CARD, CAP, TIPPED])),
        ("order_transactions/create: a sale of 69.90", transaction(3005, 1005, 6990)),
        ("orders/create: 2 shirts, paid with a gift card and a card", gift),
        ("order_transactions/create: a sale of 20.00 by gift card",
         transaction(3006, 1006, 2000, gateway="gift_card")),
        ("order_transactions/create: an authorization of 9.90",
         transaction(3007, 1006, 990, kind="authorization")),
        ("order_transactions/create: a capture of 5.00 fails",
         transaction(3008, 1006, 500, kind="capture", status="failure", parent_id=3007)),
        ("order_transactions/create: a capture of 5.00",
         transaction(3009, 1006, 500, kind="capture", parent_id=3007, at=at(25, "08:00"))),
        ("order_transactions/create: a capture of 4.90",
         transaction(3010, 1006, 490, kind="capture", parent_id=3007, at=at(26, "08:00"))),
    ]  # fmt: skip


def _edited() -> list[tuple[str, Record]]:
    fewer, more = MUGS._replace(current=1), SHIRT._replace(quantity=3)
    removed = refund(2006, 1007, [(MUGS, 2)], at=at(24, "12:00"), restock="cancel")
    down: Record = {"refunds": [removed], "updated": at(24, "12:00")}
    swapped = refund(2007, 1007, [(SHIRT, 1)], at=at(25, "12:00"))
    swapped["return"] = {"id": 8001, "admin_graphql_api_id": "gid://shopify/Return/8001"}
    exchanged: Record = {"refunds": [removed, swapped], "updated": at(25, "12:00")}
    scarf = refund(2008, 1007, [(SCARF, 1)], at=at(26, "12:00"))
    return [
        ("orders/create: 2 shirts and 3 mugs", order(1007, [SHIRT, MUGS])),
        ("orders/edited: 2 mugs are taken out", edit(1007)),
        ("orders/updated: 2 mugs are taken out, no money yet", order(1007, [SHIRT, fewer], **down)),
        ("refunds/create: the same", removed),
        ("orders/updated: a third shirt is added", order(1007, [more, fewer], **down)),
        ("orders/updated: a shirt is exchanged for a scarf",
         order(1007, [more, fewer, SCARF], **exchanged)),
        ("refunds/create: the scarf", scarf),
    ]  # fmt: skip


def _left_out() -> list[tuple[str, Record]]:
    bogus = transaction(3011, 1008, 1690, gateway="bogus", test=True)
    returned = refund(2009, 1008, [(CAP, 1)], at=at(25, "09:00"), transactions=[bogus])
    fine = order(1010, [CAP])
    fine["line_items"][0]["price_set"]["presentment_money"]["amount"] = "12.005"
    return [
        ("orders/create: a test order", order(1008, [CAP], test=True)),
        ("order_transactions/create: its sale", bogus),
        ("refunds/create: its refund", returned),
        ("orders/create: a shopper who pays yen, which no market does",
         order(1009, [CAP], money=Money("JPY", "EUR"))),
        ("orders/create: a price of 12.005", fine),
        ("orders/delete", {"id": 1001}),
    ]  # fmt: skip


def written() -> bytes:
    """The fixture, a record a line."""
    return b"".join(as_bytes(record) + b"\n" for _, record in story())


if __name__ == "__main__":
    FIXTURE.write_bytes(written())
