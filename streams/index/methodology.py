"""The methodology: what decides event -> slot and event -> member, as one immutable object.

An edition is bound to its hash. Two workers with the same hash map every event alike; so a zombie and
the partition's new owner write the same rows (exactness rule 1).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from streams.index.identifiers import (
    DIMENSIONS,
    MARKETS_MAX,
    MEMBERS_MAX,
    WATCHED_MAX,
    EventNames,
    MarketNames,
    mistakes,
)
from streams.index.level import BasePeriod
from streams.index.shift_budget import ShiftRules
from streams.index.slugs import slug
from streams.index.unicode_words import UNICODE_VERSION

ROW_FORMAT = 4
"""Version of what a stored row means: raise it when partials.Layout, label_rows, or what lies beside a
row changes. 4: rows of level 1 count by label."""

OPEN_PANES_DEFAULT = 128
EDITION_MAX = 2**53 - 1
"""Beyond it, readers of JSON and Redis' Lua take two editions for one: they count in doubles."""
OPEN_PANES_LIMIT = 20_000
"""Open panes that a source partition may have to hold for a market: a day of grace in panes of 5 s."""

DOUBTED_PANES_MAX = 32
"""Open panes beyond ``ahead_ms`` for events whose arrival is doubted (flow/admission.py)."""

BASE_DAYS_MAX = 1_100
"""Days are kept for 1,200 days, and a base is fixed when its last day is final, 35 days after it."""

FACTOR_MIN, FACTOR_MAX = 0.001, 1_000.0
"""Factors of an expectation, which is in millionths: a smaller one would be none. One of 1e305 became
infinite, and ended every worker."""

SHIFT_WEIGHTS = (0.001, 1_000.0)
"""Least and largest. Of 1e308 beside another no share of the budget is left."""

OTHER = "other"
_NOT_DECISIVE = ("shift_weight", "shift_places", "base")
"""Settings of a market that move no order to another slot or member."""
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class MethodologyError(ValueError):
    """methodology.toml is wrong. The text names the setting and who must act (the operator)."""


class Event(NamedTuple):
    """An event of the calendar in one market: local days ``[first, end)``, in days since 1970-01-01."""

    dimension: str
    member: str
    first: int
    end: int
    factor: float | None
    """Multiple of the expectation that the event causes; None: of unknown size."""


class _Method(msgspec.Struct, forbid_unknown_fields=True):
    digital: bool
    aliases: list[str] = []


class _Channel(msgspec.Struct, forbid_unknown_fields=True):
    aliases: list[str] = []


class _Base(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """Base of the level index: local dates, with an exclusive end."""

    start: date
    end: date
    net_minor: int | None = None


class _FileMarket(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    currency: str
    time_zone: str
    categories: str
    regions: list[str] = []
    members_max: int = 64
    shift_weight: float = 1.0
    shift_places: int = 0
    base: _Base | None = None


class _FileEvent(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """A factor known beforehand: local dates, with an exclusive end. No factor: the size is unknown."""

    name: str
    markets: list[str]
    start: date
    end: date
    factor: float | None = None
    member: str = "all"


class _FileContent(msgspec.Struct, forbid_unknown_fields=True):
    edition: int
    methods: dict[str, _Method]
    channels: dict[str, _Channel]
    category_sets: dict[str, list[str]]
    markets: dict[str, _FileMarket]
    pane_ms: int = 5_000
    grace_ms: int = 120_000
    ahead_ms: int = 300_000
    out_of_order_ms: int = 2_000
    day_grace_days: int = 35
    open_panes_max: int = OPEN_PANES_DEFAULT
    shifts: ShiftRules = ShiftRules()
    events: list[_FileEvent] = []


@dataclass(frozen=True, slots=True)
class Market:
    """One market: its currency, its zone and the members of each dimension (`other` is always last)."""

    code: str
    name: str
    """As people read it; with the code behind it where another market has the same."""
    currency: str
    time_zone: str
    categories: tuple[str, ...]
    methods: tuple[str, ...]
    regions: tuple[str, ...]
    channels: tuple[str, ...]
    digital: frozenset[str]
    method_aliases: dict[str, str]
    channel_aliases: dict[str, str]
    shift_weight: float = 1.0
    """The market's part of the budget of false shift pages, relative to other markets."""
    events: tuple[Event, ...] = ()
    """Events known beforehand to multiply demand. They decide no slot, so they are not in the hash."""
    base: BasePeriod | None = None
    """Base of the level index; None: the market has no level index. It decides no slot either."""
    definitions: int = 0
    """Version of the definitions that say which label is which member; 0: those of methodology.toml."""
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)
    """(dimension, id that a member had) -> its id. What is kept of it follows (index/kept_members)."""
    places: int = 0
    """Places of watched series besides the total's; 0: as many as there are. They divide the weight of
    the members, and are of methodology.toml: a member that appears moves no threshold."""
    declared: frozenset[tuple[str, str]] = frozenset()
    """(dimension, member) of methodology.toml. Where not all can be watched, these are."""
    category_aliases: dict[str, str] = field(default_factory=dict)
    region_aliases: dict[str, str] = field(default_factory=dict)
    exact_labels: dict[str, dict[str, str]] = field(default_factory=dict)
    """By dimension: label -> its member, where slugs would lead elsewhere (``definitions``)."""
    parents: dict[str, dict[str, str]] = field(default_factory=dict)
    """By dimension: member -> the member that contains it."""
    touched: dict[tuple[str, str], int] = field(default_factory=dict)
    """(dimension, member) -> version of the definitions that last changed what it counts, if any did."""
    names: dict[str, dict[str, str]] = field(default_factory=dict)
    """By dimension: member -> its name for people, where it has one of its own."""

    def scope_of(self, text: str) -> tuple[str, str] | None:
        """Return (dimension, member) of `all` or ``dimension:member``; None where there is none such."""
        if text == "all":
            return "market", "all"
        dimension, _, label = text.partition(":")
        members = self.members().get(dimension, ())
        name = next((each for each in (label, slug(label)) if each in members), None)
        return None if name is None else (dimension, name)

    def members(self) -> dict[str, tuple[str, ...]]:
        """Return the members of each dimension."""
        known = (self.categories, self.methods, self.regions, self.channels)
        return dict(zip(DIMENSIONS, known, strict=True))


@dataclass(frozen=True, slots=True)
class Methodology:
    """Everything that decides where an event counts. Times in milliseconds."""

    edition: int
    pane_ms: int
    grace_ms: int
    ahead_ms: int
    out_of_order_ms: int
    day_grace_ms: int
    open_panes_max: int
    """Open panes of a source partition and market; one more closes the oldest. Enough for the grace."""
    markets: dict[str, Market]
    shifts: ShiftRules = field(default_factory=ShiftRules)
    content_hash: str = field(default="")

    @property
    def step_ms(self) -> int:
        """Step of the short windows in ms: one pane."""
        return self.pane_ms


def parse(text: str) -> Methodology:
    """Methodology of a TOML text. MethodologyError says what is wrong."""
    try:
        raw = tomllib.loads(text)
        file = msgspec.convert(raw, _FileContent)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise MethodologyError(f"methodology.toml: {error}; the operator must fix it") from error
    _check_numbers(file)
    _check_names(file)
    shared = _shared_names(file)
    markets = {
        code: _market(
            code, spec, file, f"{spec.name.strip()} ({code})" if code in shared else spec.name
        )
        for code, spec in sorted(file.markets.items())
    }
    return Methodology(
        edition=file.edition,
        pane_ms=file.pane_ms,
        grace_ms=file.grace_ms,
        ahead_ms=file.ahead_ms,
        out_of_order_ms=file.out_of_order_ms,
        day_grace_ms=file.day_grace_days * 86_400_000,
        open_panes_max=max(file.open_panes_max, _panes_needed(file)),
        markets=markets,
        shifts=file.shifts,
        content_hash=_hash(raw, markets),
    )


def _panes_needed(file: _FileContent) -> int:
    """Return how many panes may be open at once: from the grace before the watermark to the future.

    Those of doubted events are among them, so that they take no room from what is sold now.
    """
    return -(-(file.grace_ms + file.ahead_ms) // file.pane_ms) + 2 + DOUBTED_PANES_MAX


def _check_numbers(file: _FileContent) -> None:
    minute_ms = 60_000
    panes_min = min(_panes_needed(file), OPEN_PANES_DEFAULT) if file.pane_ms > 0 else 1
    panes_expected = f"at least {panes_min}, as grace_ms and ahead_ms need; or leave it out"
    rules = (
        ("edition", 1 <= file.edition <= EDITION_MAX, f"between 1 and {EDITION_MAX}"),
        ("pane_ms", file.pane_ms >= 1 and minute_ms % file.pane_ms == 0, "a divisor of 60000"),
        ("grace_ms", file.pane_ms <= file.grace_ms <= 86_400_000, "from one pane to one day"),  # noqa: PLR2004
        ("ahead_ms", file.ahead_ms >= 0, "0 or more"),
        ("out_of_order_ms", 0 <= file.out_of_order_ms <= file.grace_ms, "between 0 and grace_ms"),
        ("day_grace_days", 1 <= file.day_grace_days <= 400, "between 1 and 400"),  # noqa: PLR2004
        ("open_panes_max", file.open_panes_max >= panes_min, panes_expected),
        ("markets", 1 <= len(file.markets) <= MARKETS_MAX, f"between 1 and {MARKETS_MAX} markets"),
    )
    for name, holds, expected in rules:
        if not holds:
            raise MethodologyError(
                f"methodology.toml: {name} must be {expected}; the operator must fix it"
            )
    panes = _panes_needed(file)
    if panes > OPEN_PANES_LIMIT:
        raise MethodologyError(
            f"methodology.toml: grace_ms {file.grace_ms} and ahead_ms {file.ahead_ms} need {panes} open "
            f"panes of pane_ms {file.pane_ms}, at most {OPEN_PANES_LIMIT}; the operator must fix it"
        )
    for mistake in file.shifts.mistakes():
        raise MethodologyError(f"methodology.toml: {mistake}; the operator must fix it")


def _check_names(file: _FileContent) -> None:
    markets = {
        code: MarketNames(
            spec.name,
            spec.currency,
            spec.members_max,
            {
                "category": file.category_sets.get(spec.categories, ()),
                "payment_method": tuple(file.methods),
                "region": spec.regions,
                "channel": tuple(file.channels),
            },
        )
        for code, spec in file.markets.items()
    }
    events = [EventNames(event.name, event.markets) for event in file.events]
    aliases = [
        (f"{kind}.{name}", alias)
        for kind, specs in (("methods", file.methods), ("channels", file.channels))
        for name, spec in specs.items()
        for alias in spec.aliases
    ]
    for mistake in mistakes(markets, events, aliases):
        raise MethodologyError(f"methodology.toml: {mistake}; the operator must fix it")


def _shared_names(file: _FileContent) -> set[str]:
    """Codes of the markets of which another one has the name: people must tell them apart."""
    names = {code: spec.name.strip().casefold() for code, spec in file.markets.items()}
    count = Counter(names.values())
    return {code for code, name in names.items() if count[name] > 1}


def _market(code: str, spec: _FileMarket, file: _FileContent, name: str) -> Market:
    where = f"methodology.toml: markets.{code}"
    try:
        ZoneInfo(spec.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise MethodologyError(f"{where}.time_zone: {spec.time_zone!r} is not known") from error
    if spec.categories not in file.category_sets:
        raise MethodologyError(f"{where}.categories: no category_sets.{spec.categories}")
    if not 1 <= spec.members_max <= MEMBERS_MAX:  # exactness rule 11
        raise MethodologyError(f"{where}.members_max must be between 1 and {MEMBERS_MAX}")
    if not SHIFT_WEIGHTS[0] <= spec.shift_weight <= SHIFT_WEIGHTS[1]:
        raise MethodologyError(
            f"{where}.shift_weight must be above 0, from {SHIFT_WEIGHTS[0]:g} to {SHIFT_WEIGHTS[1]:g}"
        )
    market = Market(
        code=code,
        name=name,
        currency=spec.currency,
        time_zone=spec.time_zone,
        categories=_members(f"{where}.categories", file.category_sets[spec.categories], spec),
        methods=_members("methodology.toml: methods", list(file.methods), spec),
        regions=_members(f"{where}.regions", spec.regions, spec),
        channels=_members("methodology.toml: channels", list(file.channels), spec),
        digital=frozenset(slug(name) for name, method in file.methods.items() if method.digital),
        method_aliases=_aliases("methods", file.methods),
        channel_aliases=_aliases("channels", file.channels),
        shift_weight=spec.shift_weight,
        base=None if spec.base is None else _base(f"{where}.base", spec.base),
        names=_names(
            {
                "category": file.category_sets[spec.categories],
                "payment_method": list(file.methods),
                "region": spec.regions,
                "channel": list(file.channels),
            }
        ),
    )
    events = tuple(_event(event, market) for event in file.events if code in event.markets)
    declared = frozenset(
        (dimension, member) for dimension, members in market.members().items() for member in members
    )
    places = len(declared) + len(market.methods)  # failed payments are watched too
    if spec.shift_places and not places <= spec.shift_places <= WATCHED_MAX - 1:
        raise MethodologyError(
            f"{where}.shift_places must be from {places}, its series now, to {WATCHED_MAX - 1}; the "
            "operator must fix it"
        )
    places = max(places, spec.shift_places)
    return replace(market, events=events, places=places, declared=declared)


def _check_years(where: str, start: date, end: date) -> None:
    """Refuse a slip of the hand, such as the year 26: it would have no effect."""
    if not (date(1970, 1, 1) <= start and end <= date(2100, 1, 1)):
        raise MethodologyError(
            f"{where}: `from` and `to` must be from 1970 to 2100; the operator must fix it"
        )


def _base(where: str, base: _Base) -> BasePeriod:
    _check_years(where, base.start, base.end)
    days = (base.end - base.start).days
    if not 1 <= days <= BASE_DAYS_MAX:
        raise MethodologyError(
            f"{where}: expected 1 to {BASE_DAYS_MAX} days from `from` to `to` (exclusive), found "
            f"{days}; the operator must fix it"
        )
    if base.net_minor is not None and base.net_minor <= 0:
        raise MethodologyError(f"{where}.net_minor must be above 0; the operator must fix it")
    first = base.start.toordinal() - _EPOCH_ORDINAL
    return BasePeriod(first, first + days, base.net_minor)


def _event(event: _FileEvent, market: Market) -> Event:
    where = f"methodology.toml: events: {event.name}"
    _check_years(where, event.start, event.end)
    if event.start >= event.end:
        raise MethodologyError(f"{where}: `from` must be before `to`; the operator must fix it")
    if event.factor not in (None, 0) and not FACTOR_MIN <= event.factor <= FACTOR_MAX:
        raise MethodologyError(
            f"{where}: factor must be 0, or from {FACTOR_MIN:g} to {FACTOR_MAX:g}; the operator must "
            "fix it"
        )
    scope = market.scope_of(event.member)
    if scope is None:
        raise MethodologyError(
            f"{where}: member {event.member!r}: expected `all` or dimension:member of {market.code}, "
            f"the dimension one of {', '.join(DIMENSIONS)}; the operator must fix it"
        )
    first, end = (each.toordinal() - _EPOCH_ORDINAL for each in (event.start, event.end))
    return Event(*scope, first, end, event.factor)


def _members(where: str, names: list[str], spec: _FileMarket) -> tuple[str, ...]:
    """Return the members of names as people write them; their slugs are what is published."""
    found: dict[str, str] = {}
    for name in names:
        member = slug(name)
        if member in ("", "all", OTHER):
            raise MethodologyError(
                f"{where}: {name!r} cannot be a member: it would be called {member!r}; the operator "
                "must rename it"
            )
        if member in found:
            raise MethodologyError(
                f"{where}: {found[member]!r} and {name!r} are one member, {member!r}; the operator must "
                "remove one"
            )
        found[member] = name
    # A member beyond the cap counts as `other`. The order of the list decides, so it is in the hash.
    return (*list(found)[: spec.members_max], OTHER)


def _names(written: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """Return by dimension: member -> its name as it is written, where that says more than its slug."""
    found = {
        dimension: {slug(name): name for name in names if name != slug(name)}
        for dimension, names in written.items()
    }
    return {dimension: names for dimension, names in found.items() if names}


def _aliases(where: str, specs: dict[str, _Method] | dict[str, _Channel]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    members = set(map(slug, specs))
    for name, spec in specs.items():
        for alias in spec.aliases:
            if aliases.setdefault(slug(alias), slug(name)) != slug(name) or slug(alias) in members:
                raise MethodologyError(
                    f"methodology.toml: {where}: alias {alias!r} names two members"
                )
    return aliases


def _hash(raw: dict[str, Any], markets: dict[str, Market]) -> str:
    digest = hashlib.sha256()
    # Events of the calendar, the budget of false pages and the base of the level index move no order to
    # another slot or member. So a change of them needs no new edition.
    decisive = {name: value for name, value in raw.items() if name not in ("events", "shifts")}
    decisive["markets"] = {
        code: {name: value for name, value in spec.items() if name not in _NOT_DECISIVE}
        for code, spec in raw["markets"].items()
    }
    # The letters of Unicode decide event -> member.
    digest.update(
        msgspec.json.encode([ROW_FORMAT, UNICODE_VERSION, decisive], order="deterministic")
    )
    # A new time zone database can move the end of a local day, so it decides event -> day too.
    for zone in sorted({market.time_zone for market in markets.values()}):
        digest.update(_zone_fingerprint(zone))
    return digest.hexdigest()


@cache  # called with each reading of methodology.toml, and markets share few zones
def _zone_fingerprint(zone: str) -> bytes:
    info = ZoneInfo(zone)
    noon = datetime(2010, 1, 1, 12, tzinfo=UTC)
    days = 30 * 366

    def offset_s(day: int) -> int:
        offset = info.utcoffset(info.fromutc((noon + timedelta(days=day)).replace(tzinfo=info)))
        assert offset is not None
        return int(offset.total_seconds())

    offsets: list[int] = []
    for week in range(0, days, 7):
        # To compute each day of each zone took half a second at every start. No zone ever changes its
        # clock and changes it back within a week.
        ends = offset_s(week), offset_s(week + 6)
        offsets += (
            [ends[0]] * 7 if ends[0] == ends[1] else [offset_s(week + day) for day in range(7)]
        )
    del offsets[days:]
    return msgspec.json.encode([zone, offsets])
