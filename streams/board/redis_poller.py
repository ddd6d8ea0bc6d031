"""One reader of Redis for all browsers. It asks a few times a second and fetches only what changed.

Nothing here writes, and nothing is made up. While Redis is away, the ages of the last values read keep
growing until the page calls them stale.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import redis.exceptions
import structlog
import xxhash

from streams import clock
from streams.board import view
from streams.board.hub import Frame, Hub
from streams.board.shown_incidents import PageLevel, headline_of, level_of
from streams.board.sparks import SparkBook
from streams.index.formats import json_reader
from streams.index.input_reports import InputNote, notes, read_reports
from streams.index.instants import parse_instant
from streams.index.methodology import Market
from streams.index.panes import MINUTE_MS, rfc3339
from streams.index.values import Fence, Snapshot
from streams.publish.hash_texts import hash_texts
from streams.publish.keys import (
    AS_OF_FIELDS,
    FENCE_FIELDS,
    inputs_key,
    market_keys,
    markets_key,
    sent_key,
)
from streams.publish.redis_clients import (
    ANSWERS_MAX,
    REDIS_ERRORS,
    async_client,
    by_node,
    close_client,
    in_words,
    is_cluster,
    is_of_another_type,
    renew,
)
from streams.publish.restless_records import RESTLESS_FIELD, read_restless
from streams.reader import BEHIND_AFTER_MS, SILENT_AFTER_MS

POLL_S = 0.25
ANSWERS_EVERY = 4
"""Polls from one look at what was said of incidents to the next: it changes while ``as_of`` stands."""
BEAT_EVERY_MS = 1_000
MARKETS_MAX = 50
CHANGES_READ = 120
HIGH_WATER_MS = 60_000
"""How long a version that was shown refuses older ones, as in the reader: the expiry of the keys."""
_EVERYONE = ""
_LIST, _INPUTS = ".markets", ".inputs"
"""Stand for a market where the keys of none are read."""

_log = structlog.get_logger(__name__)


class BeatState(StrEnum):
    """State of a market's values: current, too old, or not published."""

    LIVE = "live"
    STALE = "stale"
    ABSENT = "absent"


class MarketBeat(msgspec.Struct, frozen=True):
    """State of one market without its values. Ages are in ms, None for a market never read."""

    market: str
    name: str
    state: BeatState
    as_of: str | None
    as_of_age_ms: int | None
    published_age_ms: int | None
    orders: str | None
    shifts: int
    level: PageLevel
    """The worst that it shows, whether or not its values are current."""
    headline: str = ""
    """What is wrong with it, in one line."""
    redis: str | None = None
    """Why its node of a Cluster cannot be read; None while it can."""


class Beat(msgspec.Struct, frozen=True):
    """Sent once a second and with each change. ``redis`` is None, or why Redis cannot be read."""

    now: str
    redis: str | None
    silent_after_ms: int
    behind_after_ms: int
    markets: list[MarketBeat]
    inputs: list[InputNote] = []
    """What does not count of the inputs."""


class _Snapshot(Snapshot, frozen=True):
    left_out: int = 0


class _Header(NamedTuple):
    """Answer to the cheap question. Its version and shifts decide whether there is more to fetch."""

    version: tuple[bytes | None, ...]
    as_of_ms: list[int]
    """The headline and each source's; empty where the market is absent."""
    published_at: bytes | None
    shifts: dict[bytes, bytes]
    suspicions: dict[bytes, bytes]


_HEADER_ANSWERS = 4
"""Questions asked of each market for its header."""
_NOTHING = _Header((), [], None, {}, {})
"""Stands for a market whose keys somebody else has overwritten."""


class _Known:
    """One market as it was last read."""

    def __init__(self) -> None:
        self.header: _Header | None = None
        self.page: view.MarketPage | None = None
        self.page_id = ""
        self.book = SparkBook()
        self.history_minute = -1
        self.present = False
        self.incidents: list[dict[bytes, bytes]] = []
        """Incidents, and when people were told, as the page has them."""


_decode_snapshot = json_reader(_Snapshot)


class RedisPoller:
    """Keeps a hub filled with what Redis holds.

    ``markets``: each market of the methodology, for its name, currency and time zone.
    """

    def __init__(
        self,
        url: str,
        hub: Hub,
        markets: Mapping[str, Market],
        *,
        prefix: str,
        timeout_s: float,
        auth: Mapping[str, str | None] | None = None,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        self._redis = async_client(url, auth or {}, timeout_s=timeout_s)
        self._poll_timeout_s = ANSWERS_MAX * timeout_s
        self._hub = hub
        self._markets = markets
        self._prefix = prefix
        self._now_ms = now_ms
        self._known: dict[str, _Known] = {}
        self._inputs: list[InputNote] = []
        self._away: str | None = "not read yet"
        self._failed: dict[str, Exception] = {}
        """By market, or a name of our own: what the last reading of a Cluster did not get."""
        self._beat_due_ms = 0
        self._polls = 0

    @property
    def away(self) -> str | None:
        """Why Redis cannot be read; None while it can."""
        return self._away

    async def run(self, stopped: asyncio.Event) -> None:
        """Poll until ``stopped`` is set. A poll that hangs ends by itself within seconds.

        Polls are not cancelled: a client library that swallows one cancellation would run for ever.
        """
        while not stopped.is_set():
            await self.poll()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), POLL_S)

    async def poll(self) -> None:
        """Read once; publish what changed, and a beat when one is due. Never raises for Redis."""
        changed = await self._read()
        now_ms = self._now_ms()
        if changed or now_ms >= self._beat_due_ms or now_ms < self._beat_due_ms - BEAT_EVERY_MS:
            self._beat_due_ms = now_ms + BEAT_EVERY_MS
            self._hub.publish(_EVERYONE, Frame("beat", "", view.encode(self.beat(now_ms))))

    async def close(self) -> None:
        """Close the connections."""
        await close_client(self._redis)

    def beat(self, now_ms: int) -> Beat:
        """State of every market at ``now_ms``."""
        return Beat(
            now=rfc3339(now_ms),
            redis=self._away,
            silent_after_ms=SILENT_AFTER_MS,
            behind_after_ms=BEHIND_AFTER_MS,
            markets=[
                self._market_beat(market, known, now_ms)
                for market, known in sorted(self._known.items())
            ],
            inputs=self._inputs,
        )

    async def _read(self) -> bool:
        try:
            async with asyncio.timeout(self._poll_timeout_s):
                changed = await self._read_changed()
        except REDIS_ERRORS as error:
            await renew(self._redis, error)
            if self._away is None:
                _log.warning("redis_failed", error=type(error).__name__, detail=in_words(error))
            news = self._away is None
            self._away = _does_not_answer(error)
            return news
        if self._away is not None:
            _log.info("redis_answers")
        news, self._away = self._away is not None, None
        return changed or news

    async def _read_changed(self) -> bool:
        before, self._failed = self._failed, {}
        self._polls += 1
        listed = await self._answer(_LIST, self._redis.smembers(markets_key(self._prefix)))
        names = self._markets if listed is None else sorted(map(_text, listed))
        for name in names:
            # A market that was seen stays on the page: people want to see that it is gone.
            if len(self._known) < MARKETS_MAX:
                self._known.setdefault(name, _Known())
        fields = await self._answer(_INPUTS, self._redis.hgetall(inputs_key(self._prefix)))
        inputs = self._inputs if fields is None else notes(read_reports(fields))
        changed = inputs != self._inputs
        self._inputs = inputs
        due = []
        headers = await self._headers()
        if self._failed and not headers:
            raise next(iter(self._failed.values()))
        changed = changed or self._failed.keys() != before.keys()
        for market, header in headers.items():
            known = self._known[market]
            was_present, known.present = known.present, bool(header.as_of_ms)
            changed = changed or was_present != known.present
            old = known.header
            if known.present and old is not None and _goes_back(old, header):
                # A failover made a replica the master that lacked the last writes: its publisher
                # writes them again within seconds. What is shown stays, and its age grows.
                continue
            if known.present and (
                old is None
                or old.version != header.version
                or (old.shifts, old.suspicions) != (header.shifts, header.suspicions)
            ):
                due.append(self._fetch(market, known, header))
            elif known.present:
                known.header = header
                if self._polls % ANSWERS_EVERY == 0:
                    due.append(self._fetch_answered(market, known, header))
        # All at once: one after the other, fifty markets take fifty round trips.
        return any(await asyncio.gather(*due)) or changed

    async def _answer(self, what: str, asked: Awaitable[Any]) -> Any:
        """Await an answer. None, and it is noted, when the node of a Cluster does not give it.

        Nor is there one where somebody else made the key one of another type.
        """
        try:
            return await asked
        except REDIS_ERRORS as error:
            if not (is_cluster(self._redis) or is_of_another_type(error)):
                raise
            self._failed[what] = error
            return None

    async def _headers(self) -> dict[str, _Header]:
        """Headers of the known markets; of a Cluster without those whose node does not answer."""
        try:
            return await self._headers_of(list(self._known))
        except REDIS_ERRORS:
            if not is_cluster(self._redis):
                raise
        fences = {each: market_keys(each, self._prefix).fence for each in self._known}
        nodes = by_node(self._redis, fences)
        found: dict[str, _Header] = {}
        for headers in await asyncio.gather(*map(self._headers_of_node, nodes)):
            found |= headers
        # The client closes every connection after a failure, those in use too: while one node was
        # dead, slow answers of all others were lost, and the page said that Redis does not answer.
        # So who was cut off is asked again, alone. Who was silent has been waited for.
        for markets in nodes:
            if isinstance(self._failed.get(markets[0]), redis.exceptions.ConnectionError):
                found |= await self._headers_of_node(markets)
        return found

    async def _headers_of_node(self, markets: Sequence[str]) -> dict[str, _Header]:
        """Headers of markets of one node of a Cluster; none, and it is noted, when it is away."""
        try:
            found = await self._headers_of(markets)
        except REDIS_ERRORS as error:
            self._failed |= dict.fromkeys(markets, error)
            return {}
        for market in markets:
            self._failed.pop(market, None)
        return found

    async def _headers_of(self, markets: Sequence[str]) -> dict[str, _Header]:
        pipeline = self._redis.pipeline(transaction=False)
        for market in markets:
            keys = market_keys(market, self._prefix)
            pipeline.hmget(keys.fence, FENCE_FIELDS)
            pipeline.hmget(keys.values, ("@published_at", *AS_OF_FIELDS))
            pipeline.hgetall(keys.shifts)
            pipeline.hgetall(keys.suspicions)
        answers = await pipeline.execute(raise_on_error=False)
        found = {}
        by_market = (answers[at::_HEADER_ANSWERS] for at in range(_HEADER_ANSWERS))
        for market, *own in zip(markets, *by_market, strict=True):
            damaged = _of_another_type(own)
            if damaged:
                _log_damage(market, damaged)
                found[market] = _NOTHING
            else:
                version, (published_at, *as_of), shifts, suspicions = own
                found[market] = _Header(
                    tuple(version), _instants(as_of), published_at, shifts, suspicions
                )
        return found

    async def _fetch_answered(self, market: str, known: _Known, header: _Header) -> bool:
        """Fetch a market of which somebody has said something, or been told, at the same version."""
        pipeline = self._redis.pipeline(transaction=False)
        self._ask_incidents(pipeline, market)
        found = await pipeline.execute(raise_on_error=False)
        if _of_another_type(found) or found == known.incidents:
            return False
        return await self._fetch(market, known, header)

    def _ask_incidents(self, pipeline: Any, market: str) -> None:
        pipeline.hgetall(market_keys(market, self._prefix).incidents)
        pipeline.hgetall(sent_key(market, self._prefix))

    async def _fetch(self, market: str, known: _Known, header: _Header) -> bool:
        keys = market_keys(market, self._prefix)
        first = known.page is None
        minute = max(header.as_of_ms, default=0) // MINUTE_MS
        with_history = minute != known.history_minute
        pipeline = self._redis.pipeline(transaction=False)
        self._ask_incidents(pipeline, market)
        pipeline.get(keys.snapshot)
        pipeline.hget(keys.values, RESTLESS_FIELD)
        pipeline.hgetall(keys.others)
        if first:
            pipeline.xrevrange(keys.changes, count=CHANGES_READ)
        if with_history:
            pipeline.zrange(keys.history, 0, -1)
        answers = await pipeline.execute(raise_on_error=False)
        if damaged := _of_another_type(answers):
            # Its publisher writes it anew within half a minute; the page keeps what it has.
            _log_damage(market, damaged)
            known.header = header
            return False
        incidents, sent, encoded, restless, others, *rest = answers
        known.incidents = [incidents, sent]
        if encoded is None:
            known.present = False
            return True
        try:
            snapshot = _decode_snapshot(encoded)
            if first:
                known.book.seed(_entries(rest[0]))
        except msgspec.DecodeError as error:
            # Somebody else writes there; the page keeps what it has.
            _log_damage(market, error)
            known.header = header
            return False
        known.header = header
        known.book.add_snapshot(snapshot)
        known.page = view.market_page(
            snapshot,
            self._markets.get(market),
            sparks=known.book.sparks(),
            shifts=hash_texts(header.shifts),
            incidents=hash_texts(incidents),
            suspicions=hash_texts(header.suspicions),
            sent=hash_texts(sent),
            restless=read_restless(restless),
            others=hash_texts(others),
            left_out=snapshot.left_out,
        )
        data = view.encode(known.page)
        page_id = f"{market}.{xxhash.xxh3_64_hexdigest(data)}"
        if page_id != known.page_id:
            known.page_id = page_id
            self._hub.publish(market, Frame("market", page_id, data))
        if with_history:
            known.history_minute = minute
            points = view.points_of(map(_text, rest[-1]))
            history = view.encode({"market": market, "points": points})
            self._hub.publish(market, Frame("history", "", history))
        return True

    def _market_beat(self, market: str, known: _Known, now_ms: int) -> MarketBeat:
        header, page, config = known.header, known.page, self._markets.get(market)
        failed = self._failed.get(market)
        as_of_ms = published_ms = None
        if header is not None and header.as_of_ms and header.published_at is not None:
            as_of_ms = min(header.as_of_ms)  # the page shows values of every source
            published_ms = parse_instant(_text(header.published_at))
        as_of_age_ms = None if as_of_ms is None else now_ms - as_of_ms
        published_age_ms = None if published_ms is None else now_ms - published_ms
        orders = None if page is None else page.totals.get("orders", {}).get("1m")
        state = _state(known.present, as_of_age_ms, published_age_ms)
        name = market if config is None else config.name
        # What was wrong with it is not known to be so any more; that it is gone is.
        gone = page is None or state is BeatState.ABSENT
        headline = "" if page is None else f"{name}: nothing is published any more"
        return MarketBeat(
            market=market,
            name=name,
            state=state,
            as_of=None if page is None else page.as_of,
            as_of_age_ms=as_of_age_ms,
            published_age_ms=published_age_ms,
            orders=None if orders is None else orders.value,
            shifts=0 if page is None else len(page.shifts) + len(page.incidents.open),
            level=PageLevel.STALE if page is None or gone else _level(page, state),
            headline=headline if page is None or gone else headline_of(page.incidents),
            redis=None if failed is None else _does_not_answer(failed),
        )


def _text(raw: bytes) -> str:
    """Text of Redis, whatever somebody else has written there: it must not end the board."""
    return raw.decode(errors="replace")


def _of_another_type(answers: Iterable[Any]) -> Exception | None:
    """Return the refusal of a key of another type. Raises any other error among the answers."""
    errors = [each for each in answers if isinstance(each, Exception)]
    for error in errors:
        if not is_of_another_type(error):
            raise error
    return errors[0] if errors else None


def _log_damage(market: str, error: Exception) -> None:
    _log.error("not_as_published", market=market, detail=in_words(error))


def _does_not_answer(error: Exception) -> str:
    return f"Redis does not answer ({type(error).__name__})"


def _goes_back(old: _Header, new: _Header) -> bool:
    """True when a version that may not follow the one shown is found, and its publisher seems to live.

    After a minute without the shown one it is taken: its publisher has expired, or everything was reset.
    """
    shown, found = _version(old), _version(new)
    shown_ms = parse_instant(_text(old.published_at or b""))
    found_ms = parse_instant(_text(new.published_at or b""))
    if shown is None or found is None or shown_ms is None or found_ms is None:
        return False
    return not found.follows(shown) and found_ms - shown_ms < HIGH_WATER_MS


def _version(header: _Header) -> Fence | None:
    try:
        numbers = [int(part or b"") for part in header.version]
    except ValueError:
        return None
    return Fence(*numbers) if numbers else None


def _state(present: bool, as_of_age_ms: int | None, published_age_ms: int | None) -> BeatState:  # noqa: FBT001
    if not present or as_of_age_ms is None or published_age_ms is None:
        return BeatState.ABSENT
    silent = published_age_ms > SILENT_AFTER_MS
    return BeatState.STALE if silent or as_of_age_ms > BEHIND_AFTER_MS else BeatState.LIVE


def _level(page: view.MarketPage, state: BeatState) -> PageLevel:
    orders = page.totals.get("orders", {}).get("5m")
    return level_of(
        page.incidents,
        page.shifts,
        fresh=state is BeatState.LIVE,
        known=orders is not None and orders.status == "ok" and orders.expected is not None,
    )


def _instants(texts: Iterable[bytes | None]) -> list[int]:
    found = (parse_instant(_text(text)) for text in texts if text is not None)
    return [at_ms for at_ms in found if at_ms is not None]


def _entries(newest_first: list[tuple[bytes, dict[bytes, bytes]]]) -> list[tuple[str, str]]:
    return [
        (_text(fields[b"as_of"]), _text(fields[b"changes"]))
        for _, fields in reversed(newest_first)
        if b"as_of" in fields and b"changes" in fields
    ]
