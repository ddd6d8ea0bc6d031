"""Who bought on an ended local day, as published: counts and an estimate, no sketch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.indices import Entry, shopper_entries


class DayBuyers(msgspec.Struct, omit_defaults=True):
    """Table record: an ended day as last published, and how often each value was revised."""

    applied: int
    orders: int
    known: int
    new: int
    shoppers: int
    revisions: dict[str, int] = {}
    v: int = 0

    def entries(self) -> Iterator[Entry]:
        """Values of the day."""
        return shopper_entries(self.orders, self.known, self.new, self.shoppers)


encode_day_buyers = numbered_encoder()
decode_day_buyers = numbered_decoder(DayBuyers, "a day's shoppers in the merged table")


class DayOfBuyers(NamedTuple):
    """An ended day as a publication shows it, to be stored with that publication."""

    day: int
    shown: DayBuyers
