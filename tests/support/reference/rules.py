"""Rules of the methodology, and the reading of times, days and labels."""

from __future__ import annotations

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOWS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000, "24h": 86_400_000}


def to_ms(text: str) -> int:
    if text[17:19] == "60":  # a leap second: the first second of the next day
        next_ms = to_ms(f"{text[:17]}59{text[19:]}") + 1_000
        if next_ms % 86_400_000 >= 1_000:
            raise ValueError(text)
        return next_ms
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


UNSEEN = {
    0xAD,
    0x34F,
    0x61C,
    0x115F,
    0x1160,
    0x17B4,
    0x17B5,
    0x200B,
    0x200E,
    0x200F,
    0x3164,
    0xFEFF,
    0xFFA0,
}
UNSEEN |= {*range(0x180B, 0x1810), *range(0x202A, 0x202F), *range(0x2060, 0x2070)}
UNSEEN |= {*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4)}
UNSEEN |= {*range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)}
JOINERS = "\u200c\u200d"


def is_word(text: str) -> bool:
    return text != "" and unicodedata.category(text)[0] in "LMN"


def to_normal(text: str) -> str:
    """The text as one that reads alike is written."""
    said = re.sub("[\ud800-\udfff]+", "\ufffd", text)
    while True:
        seen = "".join(each for each in said if ord(each) not in UNSEEN)
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
        parts = re.split(f"([{JOINERS}]+)", folded)
        for at in range(1, len(parts), 2):
            beside = parts[at - 1][-1:], parts[at + 1][:1]
            within = all(is_word(each) and each > "\x7f" for each in beside)
            parts[at] = parts[at][-1] if within else ""
        blank = ("Cc", "Zs", "Zl", "Zp")
        spaced = "".join(
            " " if unicodedata.category(each) in blank else each for each in "".join(parts)
        )
        normal = " ".join(each for each in spaced.split(" ") if each)
        if normal == said:
            return normal
        said = normal


@lru_cache(10_000)
def to_label(text: str | None) -> str:
    """What an event says, letter by letter in normal form; "" when it says nothing."""
    name = to_normal((text or "")[:1000])
    return _fitted(name, text) if text and name else ""


@lru_cache(10_000)
def to_slug(text: str) -> str:
    """The label as one name: read from docs/contract.md, letter by letter."""
    bare = to_normal("".join(each for each in to_normal(text[:1000]) if each not in "'\u2019"))
    kept = "".join(each if is_word(each) or each in JOINERS else "_" for each in bare)
    return _fitted(re.sub("_+", "_", kept).strip("_"), text)


def _fitted(name: str, text: str) -> str:
    whole = name.encode()
    if len(whole) <= 96 and len(text) <= 1000:
        return name
    digested = text.encode(errors="surrogatepass") if len(text) > 1000 else whole
    begins = whole[:79].decode(errors="ignore").rstrip(f"_ {JOINERS}")
    return "_".join(filter(None, (begins, hashlib.sha256(digested).hexdigest()[:16])))


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

    def member(self, dimension: str, label: str) -> str:
        """The member that a label belongs to."""
        name = to_slug(label)
        name = self.aliases.get(dimension, {}).get(name, name)
        return name if name and name in self.members[dimension] else "other"


def unknown_labels(market: MarketRules, dimension: str, texts: Iterable[str | None]) -> set[str]:
    """Those of the texts that no definition knows."""
    known = {*market.members[dimension], *market.aliases.get(dimension, {})}
    return {text for text in texts if text and to_slug(text) not in known}


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
            "payment_method": {
                to_slug(a): to_slug(m) for m in methods for a in methods[m].get("aliases", [])
            },
            "channel": {to_slug(a): to_slug(c) for c in channels for a in channels[c]["aliases"]},
        }
        digital = frozenset(to_slug(name) for name, own in methods.items() if own["digital"])
        markets = {}
        for code, own in file["markets"].items():
            members = {
                "category": file["category_sets"][own["categories"]],
                "payment_method": methods,
                "region": own.get("regions", []),
                "channel": channels,
            }
            most = own.get("members_max", 64)
            members = {
                each: (*[to_slug(n) for n in names][:most], "other")
                for each, names in members.items()
            }
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
