"""Events at the edges: few ids, few panes, old days, both limits of lateness to the millisecond."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from streams.flow.chunk import SourcePartition
from streams.index.event_types import PAYMENT_TYPES
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339

if TYPE_CHECKING:
    from tests.model.world import World

PANE, GRACE, AHEAD = 30_000, 60_000, 60_000
_OFFSETS = (
    *(0, 0, 0, -1_000, -1_000, -PANE, -PANE, -2 * PANE, -GRACE, -GRACE),
    *(-GRACE - 1, -GRACE - PANE, 5_000, PANE, AHEAD, AHEAD + 1),
)
_IMPORT_STEPS = (0, 0, 1_000, PANE, PANE, 2 * PANE, GRACE + PANE, HOUR_MS, DAY_MS, 2 * DAY_MS)
_CLOCKS_AHEAD = (*(0,) * 24, 1_000, AHEAD, AHEAD + 1, HOUR_MS, HOUR_MS, HOUR_MS + 1_000, DAY_MS)
_POISON = (b"{", b"\xff", None, b"{}", b"[]")


def event_for(
    world: World, sp: SourcePartition, choice: int, *, market: str = "", plain: bool = False
) -> tuple[bytes | None, int, str]:
    """An event as (bytes, timestamp in ms, description). The choice and the world's clock decide it."""
    picks = random.Random(choice)
    if not plain and picks.random() < 0.04:
        return picks.choice(_POISON), world.now_ms, "poison"
    market = market or picks.choice(("AA", "AA", "BB"))
    arrived_ms = world.now_ms
    imported = not plain and world.config.import_market and market == "BB"
    if imported and not (world.config.import_goes_live and picks.random() < 0.2):
        # The records of each import come roughly in order; the partitions drift apart.
        back_ms = world.config.import_back_days * DAY_MS
        drift = world.import_ms.setdefault(sp, arrived_ms - back_ms)
        world.import_ms[sp] = arrived_ms = drift + picks.choice(_IMPORT_STEPS)
    elif world.config.stray_clocks and not plain:
        # Drawn apart: this choice came later and must not change the rest of a seed's schedule.
        arrived_ms += random.Random(f"stray {choice}").choice(_CLOCKS_AHEAD)
    offset = 0 if plain else picks.choice(_OFFSETS)
    occurred_ms = arrived_ms + offset
    if not plain and picks.random() < 0.2:
        occurred_ms = occurred_ms // PANE * PANE - picks.choice((0, 1))
    currency = market[0] * 3
    if not plain and picks.random() < 0.03:
        currency, market = picks.choice((("XXX", market), (currency, "XX")))
    event_id = f"final-{market}-{world.now_ms}" if plain else picks.choice("abcdefgh")
    event = {
        "event_id": event_id,
        "occurred_at": rfc3339(occurred_ms),
        "market": market,
        "order_id": "o",
        "currency": currency,
    }
    if sp.topic == "payments":
        kinds = ("payment.captured",) * 4 + PAYMENT_TYPES
        event |= {
            "type": "payment.captured" if plain else picks.choice(kinds),
            "method": picks.choice(("cod", "card")),
            "amount_minor": picks.choice((1, 2, 4, 8)),
        }
        if world.config.few_labels:
            event["method"] = _labels(choice)["payment_method"]
    else:
        kinds = ("order.placed",) * 4 + ("order.cancelled", "order.refunded")
        line = {"sku": "s", "category": picks.choice(("books", "x")), "quantity": 1}
        event |= {
            "type": "order.placed" if plain else picks.choice(kinds),
            "lines": [line | {"unit_price_minor": picks.choice((1, 2, 4, 8))}],
        }
        if picks.random() < 0.5:
            event["payment_method"] = "card"
        event |= _shopper(choice) | _which_order(choice)
        if world.config.few_labels:
            event |= _labels(choice)
    if event["type"] in ("order.cancelled", "order.refunded") or picks.random() < 0.3:
        back = picks.choice((0, 1_000, MINUTE_MS, HOUR_MS, DAY_MS, 2 * DAY_MS, 3 * DAY_MS, -1))
        event["placed_at"] = rfc3339(occurred_ms - back)
    text = f"{event['type']} {event_id} of {market}, {offset:+} ms"
    return json.dumps(event).encode(), arrived_ms, text


def _shopper(choice: float) -> dict[str, object]:
    """Shopper fields of an order. Most orders name one of a few shoppers, so that slots share them."""
    picks = random.Random(f"shopper {choice}")
    who: dict[str, object] = {}
    if picks.random() < 0.8:
        who["shopper_id"] = picks.choice(("x", "y", "z", f"shopper-{picks.randrange(1_000)}"))
    if picks.random() < 0.5:
        who["new_shopper"] = picks.random() < 0.5
    return who


def _which_order(choice: int) -> dict[str, object]:
    """One of few orders, so that each is cancelled and refunded again and again."""
    picks = random.Random(f"order {choice}")
    which: dict[str, object] = {"order_id": picks.choice("opq")}
    if picks.random() < 0.3:
        which["refund_id"] = picks.choice("rs")
    return which


def _labels(choice: float) -> dict[str, object]:
    """Lines of several categories, of which some are new, and the labels of the other dimensions."""
    picks = random.Random(f"labels {choice}")
    known = ("books", "Books", "x", "y", "z", "", f"new {picks.randrange(1_000)}")
    found: dict[str, object] = {
        name: picks.choice(("cod", "card", "gold", "web", *known[-2:]))
        for name in ("payment_method", "region", "channel")
    }
    return found | {
        "lines": [
            {
                "sku": "s",
                "category": each,
                "quantity": 1,
                "unit_price_minor": picks.choice((1, 2, 4)),
            }
            for each in picks.choices(known, k=picks.choice((1, 2, 3, 5)))
        ]
    }


def burst(world: World, choice: int) -> list[bytes]:
    """Plain orders of one pane, in the form that compiled code folds."""
    picks = random.Random(f"burst {choice}")
    occurred_ms = world.now_ms - picks.choice((0, 0, 1_000, PANE))
    found = []
    for _ in range(picks.choice((0, 0, 2, 3, 6))):
        event = {
            "event_id": picks.choice("abcdefghijkl"),
            "type": "order.placed",
            "occurred_at": rfc3339(occurred_ms + picks.choice((0, 1))),
            "market": "AA",
            "order_id": "o",
            "currency": "AAA",
            "lines": [
                {"sku": "s", "category": category, "quantity": 1, "unit_price_minor": price}
                for category, price in (("books", 1), ("x", 2), ("books", 4))[
                    : picks.choice((1, 3))
                ]
            ],
        }
        if picks.random() < 0.5:
            event["payment_method"] = picks.choice(("cod", "card"))
        event |= _shopper(picks.random())
        if world.config.few_labels:
            event |= _labels(picks.random())
        found.append(json.dumps(event).encode())
    return found
