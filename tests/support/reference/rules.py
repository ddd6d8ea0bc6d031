"""Rules of the methodology, and the reading of times, days and labels."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOWS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000, "24h": 86_400_000}


def to_ms(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def to_slug(text: str) -> str:
    letters = []
    for character in text.casefold():
        if character in "'\u2019":
            continue
        letters.append(character if character.isalnum() else "_")
    return re.sub("_+", "_", "".join(letters)).strip("_")


@lru_cache(100_000)
def local_day(zone: str, instant_ms: int) -> int:
    moment = EPOCH + timedelta(milliseconds=instant_ms)
    return moment.astimezone(ZoneInfo(zone)).date().toordinal() - date(1970, 1, 1).toordinal()


@lru_cache(10_000)
def day_end_ms(zone: str, day: int) -> int:
    after = date.fromordinal(day + 1 + date(1970, 1, 1).toordinal())
    midnight = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(zone))
    return (midnight.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def day_name(day: int) -> str:
    return date.fromordinal(day + date(1970, 1, 1).toordinal()).isoformat()


@dataclass(frozen=True)
class MarketRules:
    code: str
    currency: str
    zone: str
    members: dict[str, tuple[str, ...]]
    aliases: dict[str, dict[str, str]]
    digital: frozenset[str]

    def member(self, dimension: str, label: str | None) -> tuple[str, bool]:
        """(member, whether the label was unknown)."""
        if label is None:
            return "other", False
        name = to_slug(label)
        name = self.aliases.get(dimension, {}).get(name, name)
        return (name, False) if name in self.members[dimension] else ("other", True)


@dataclass(frozen=True)
class Rules:
    pane_ms: int
    grace_ms: int
    ahead_ms: int
    out_of_order_ms: int
    day_grace_ms: int
    panes_max: int
    markets: dict[str, MarketRules]

    @classmethod
    def read(cls, path: Path) -> Rules:
        """Read the rules of a methodology file, without streams/."""
        file = tomllib.loads(path.read_text(encoding="utf-8"))
        methods, channels = file["methods"], file["channels"]
        aliases = {
            "payment_method": {to_slug(a): m for m in methods for a in methods[m]["aliases"]},
            "channel": {to_slug(a): c for c in channels for a in channels[c]["aliases"]},
        }
        digital = frozenset(name for name, own in methods.items() if own["digital"])
        markets = {}
        for code, own in file["markets"].items():
            members = {
                "category": file["category_sets"][own["categories"]],
                "payment_method": methods,
                "region": own.get("regions", []),
                "channel": channels,
            }
            most = own.get("members_max", 64)
            members = {each: (*list(names)[:most], "other") for each, names in members.items()}
            markets[code] = MarketRules(
                code, own["currency"], own["time_zone"], members, aliases, digital
            )
        return cls(
            file["pane_ms"],
            file["grace_ms"],
            file["ahead_ms"],
            file["out_of_order_ms"],
            file["day_grace_days"] * 86_400_000,
            file["open_panes_max"],
            markets,
        )

    @classmethod
    def of(cls, methodology) -> Rules:
        """Rules of a methodology object, of which only plain attributes are read."""
        markets = {
            code: MarketRules(
                code,
                market.currency,
                market.time_zone,
                {
                    "category": market.categories,
                    "payment_method": market.methods,
                    "region": market.regions,
                    "channel": market.channels,
                },
                {"payment_method": market.method_aliases, "channel": market.channel_aliases},
                market.digital,
            )
            for code, market in methodology.markets.items()
        }
        return cls(
            methodology.pane_ms,
            methodology.grace_ms,
            methodology.ahead_ms,
            methodology.out_of_order_ms,
            methodology.day_grace_ms,
            methodology.open_panes_max,
            markets,
        )
