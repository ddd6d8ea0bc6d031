"""Who bought on an ended local day, as published: counts and an estimate, no sketch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from streams.index.indices import Entry, shopper_entries


class DayBuyers(msgspec.Struct, omit_defaults=True):
    """Table record: an ended day as last published, and how often each value was revised."""

    applied: int
    orders: int
    known: int
    new: int
    shoppers: int
    revisions: dict[str, int] = {}

    def entries(self) -> Iterator[Entry]:
        """Values of the day."""
        return shopper_entries(self.orders, self.known, self.new, self.shoppers)


encode_day_buyers = msgspec.msgpack.Encoder().encode
decode_day_buyers = msgspec.msgpack.Decoder(DayBuyers).decode


class DayOfBuyers(NamedTuple):
    """An ended day as a publication shows it, to be stored with that publication."""

    day: int
    shown: DayBuyers
