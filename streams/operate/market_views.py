"""Markets as a reader of Redis sees them: values, age, and whether the values can be trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, cast

import msgspec

from streams.console.errors import OperationError, unknown_market
from streams.index.formats import json_reader
from streams.index.input_reports import InputNote, notes, read_reports
from streams.index.instants import parse_instant
from streams.index.values import Snapshot
from streams.publish.hash_texts import hash_texts
from streams.publish.incident_records import PublishedIncident, read_incidents
from streams.publish.keys import MEMBERS_FIELD, inputs_key, market_keys, markets_key, sent_key
from streams.publish.member_records import read_member_names
from streams.publish.other_records import PublishedOthers, read_others
from streams.publish.redis_clients import (
    REDIS_ERRORS,
    in_words,
    is_cluster,
    is_of_another_type,
    sync_client,
)
from streams.publish.restless_records import RESTLESS_FIELD, read_restless
from streams.publish.sent_records import PublishedSent, read_sent
from streams.publish.suspicion_records import PublishedSuspicion, read_suspicions
from streams.reader import BEHIND_AFTER_MS, SILENT_AFTER_MS
from streams.settings import RedisSettings

_encode = msgspec.json.Encoder().encode
_decode_snapshot = json_reader(Snapshot)


class ViewState(StrEnum):
    """How far a reader can trust the values of a market."""

    LIVE = "live"
    STALE = "stale"
    ABSENT = "absent"


class MarketView(NamedTuple):
    """One market as read at one moment. Ages are in ms, None when the market is absent."""

    market: str
    state: ViewState
    snapshot: Snapshot | None
    encoded: bytes | None
    """The snapshot's bytes in Redis."""
    as_of_age_ms: int | None
    published_age_ms: int | None
    source_ages_ms: dict[str, int]
    """Age of ``as_of`` of each source that the market has."""
    failure: str = ""
    """Why it could not be read, while other markets can be; it is then absent."""
    incidents: Sequence[PublishedIncident] = ()
    """Its incidents, the open ones first."""
    incident_texts: Mapping[str, str] = {}
    """Their JSON in Redis, by id."""
    suspicions: Sequence[PublishedSuspicion] = ()
    sent: Mapping[str, PublishedSent] = {}
    """When people were told, by incident, as far as it is known."""
    restless: Sequence[str] = ()
    """Series that only a larger shift makes page, ``dimension:member`` each."""
    names: Mapping[tuple[str, str], str] = {}
    """Members that are named otherwise than by their ids."""
    others: Sequence[PublishedOthers] = ()
    """What `other` is made of, the newest local day first."""


@contextlib.contextmanager
def connect(redis: RedisSettings) -> Iterator[Any]:
    """Client of the Redis that the settings name. Each of its calls ends within seconds."""
    with sync_client(redis.url, redis.auth_options(), timeout_s=redis.timeout_s) as client:
        yield client


def read_markets(
    client: Any,
    now_ms: int,
    markets: Iterable[str] | None,
    prefix: str,
    known: Iterable[str] = (),
) -> list[MarketView]:
    """Views of ``markets``; None: of all that were published within the last day.

    ``known``: which they are where the key that lists them is of another type, or the node of a Cluster
    that has it does not answer. Raises one of REDIS_ERRORS when Redis does not answer, a Cluster when
    none of its nodes does. A market whose snapshot somebody else wrote is absent; the others are not.
    """
    if markets is None:
        try:
            members = cast("set[bytes]", client.smembers(markets_key(prefix)))
            markets = sorted(name.decode(errors="replace") for name in members)
        except REDIS_ERRORS as error:
            if not (is_cluster(client) or is_of_another_type(error)) or not known:
                raise
            markets = known
    views: list[MarketView] = []
    failed: Exception | None = None
    for market in markets:
        try:
            views.append(_read(client, market, prefix, now_ms))
        except msgspec.DecodeError as error:
            views.append(_absent(market, f"its snapshot cannot be read: {error}"))
        except REDIS_ERRORS as error:
            if is_of_another_type(error):
                views.append(_absent(market, "its snapshot is a key of another type"))
                continue
            if not is_cluster(client):
                raise
            failed = error
            views.append(_absent(market, f"Redis does not answer: {in_words(error)}"))
    if failed is not None and all(view.failure for view in views):
        raise failed
    return views


def refuse_unknown(
    client: Any, prefix: str, views: Iterable[MarketView], known: Iterable[str]
) -> None:
    """Raise OperationError for a market of which nothing is published and that no methodology has.

    ``known``: the markets of methodology.toml. "Absent, nothing is published" was said of a mistyped
    market too, as of one whose worker is gone.
    """
    strange = [v.market for v in views if v.state is ViewState.ABSENT and not v.failure]
    strange = [market for market in strange if market not in set(known)]
    if not strange:
        return
    try:
        members = cast("set[bytes]", client.smembers(markets_key(prefix)))
    except REDIS_ERRORS as error:
        if not (is_cluster(client) or is_of_another_type(error)):
            raise
        members = set()
    published = sorted(name.decode(errors="replace") for name in members)
    if strange[0] not in published:
        raise OperationError(
            f"{unknown_market(strange[0], known)}; published: {', '.join(published) or 'none'}"
        )


def read_input_notes(client: Any, prefix: str) -> list[InputNote]:
    """What does not count of the inputs. Raises one of REDIS_ERRORS when Redis does not answer."""
    try:
        fields = cast("dict[bytes, bytes]", client.hgetall(inputs_key(prefix)))
    except REDIS_ERRORS as error:
        if not (is_cluster(client) or is_of_another_type(error)):
            raise
        text = f"what became of the inputs cannot be read: {in_words(error)}"
        return [InputNote("", severe=False, refused=0, text=text)]
    return notes(read_reports(fields))


def _texts(client: Any, key: str) -> dict[str, str]:
    """Fields of a HASH as text; none where somebody else made the key one of another type."""
    try:
        fields = cast("dict[bytes, bytes]", client.hgetall(key))
    except REDIS_ERRORS as error:
        if not is_of_another_type(error):
            raise
        return {}
    return hash_texts(fields)


def _absent(market: str, failure: str = "") -> MarketView:
    return MarketView(market, ViewState.ABSENT, None, None, None, None, {}, failure)


def _read(client: Any, market: str, prefix: str, now_ms: int) -> MarketView:
    keys = market_keys(market, prefix)
    view = _view(market, cast("bytes | None", client.get(keys.snapshot)), now_ms)
    if view.snapshot is None:
        return view
    incident_texts = _texts(client, keys.incidents)
    suspicions = read_suspicions(_texts(client, keys.suspicions))
    restless = cast("bytes | None", client.hget(keys.values, RESTLESS_FIELD))
    members = cast("bytes | None", client.hget(keys.values, MEMBERS_FIELD))
    return view._replace(
        incidents=read_incidents(incident_texts),
        incident_texts=incident_texts,
        suspicions=suspicions,
        sent=read_sent(_texts(client, sent_key(market, prefix))),
        restless=read_restless(restless),
        names=read_member_names(members),
        others=read_others(_texts(client, keys.others)),
    )


def _view(market: str, encoded: bytes | None, now_ms: int) -> MarketView:
    if encoded is None:
        return _absent(market)
    snapshot = _decode_snapshot(encoded)
    as_of_age_ms = now_ms - (parse_instant(snapshot.as_of) or 0)
    source_ages_ms = {
        source: now_ms - (parse_instant(as_of) or 0) for source, as_of in snapshot.sources.items()
    }
    oldest_ms = max([as_of_age_ms, *source_ages_ms.values()])
    published_age_ms = now_ms - (parse_instant(snapshot.published_at) or 0)
    stale = published_age_ms > SILENT_AFTER_MS or oldest_ms > BEHIND_AFTER_MS
    return MarketView(
        market,
        ViewState.STALE if stale else ViewState.LIVE,
        snapshot,
        encoded,
        as_of_age_ms,
        published_age_ms,
        source_ages_ms,
    )


def as_json(views: Sequence[MarketView]) -> str:
    """Encode the views in one line: an array of objects.

    Each has ``market``, ``state``, ``as_of_age_s``, ``published_age_s``, ``source_ages_s``,
    ``snapshot``, ``incidents`` and ``others``; one that could not be read has ``failure`` too
    (docs/readers.md).
    """
    return _encode(
        [
            {
                "market": view.market,
                "state": view.state,
                "as_of_age_s": _seconds(view.as_of_age_ms),
                "published_age_s": _seconds(view.published_age_ms),
                "source_ages_s": {
                    source: age_ms / 1000 for source, age_ms in view.source_ages_ms.items()
                },
                "snapshot": None if view.encoded is None else msgspec.Raw(view.encoded),
                "incidents": [
                    msgspec.Raw(view.incident_texts[each.id].encode())
                    for each in view.incidents
                    if each.id in view.incident_texts
                ],
                "others": view.others,
                **({"failure": view.failure} if view.failure else {}),
            }
            for view in views
        ]
    ).decode()


def _seconds(age_ms: int | None) -> float | None:
    return None if age_ms is None else age_ms / 1000
