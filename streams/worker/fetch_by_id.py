"""Fetches topics by id, so that no record of another log under the same name is ever delivered.

A topic that was deleted and created again has the same name, and Fetch up to version 12 asks by name:
between two looks at the topic's id records of the new log would be folded on top of the old state.
Version 13 names the id, and the broker refuses any other. aiokafka 0.14 stops at version 11, so this
module spells out the one version that it needs. The answer is given to aiokafka in the form of version
11. tests/contract holds the seam.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from streams.worker.topic_ids import Uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UNKNOWN_TOPIC_OR_PARTITION = 3
_OF_ANOTHER_ID = (100, 103)
"""Kafka's UNKNOWN_TOPIC_ID and INCONSISTENT_TOPIC_ID. aiokafka knows neither; to it they are the topic
that is not there (any more, or yet), after which it asks for metadata and tries again."""


class _FetchResponse(Response):  # type: ignore[misc]
    API_KEY = 1
    API_VERSION = 13
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("highwater_offset", Int64),
                        ("last_stable_offset", Int64),
                        ("log_start_offset", Int64),
                        (
                            "aborted_transactions",
                            CompactArray(
                                ("producer_id", Int64),
                                ("first_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("preferred_read_replica", Int32),
                        ("message_set", CompactBytes),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _FetchRequestV13(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 1
    API_VERSION = 13
    RESPONSE_TYPE = _FetchResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_time", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("fetch_offset", Int64),
                        ("last_fetched_epoch", Int32),
                        ("log_start_offset", Int64),
                        ("max_bytes", Int32),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        (
            "forgotten_topics_data",
            CompactArray(
                ("topic_id", Uuid), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("rack_id", CompactString("utf-8")),
        ("tags", TaggedFields),
    )


class _FetchById(Request[_FetchRequestV13]):  # type: ignore[misc]
    """A fetch by id where the broker knows it (Kafka 3.1 and later), else the one given."""

    API_KEY = 1

    def __init__(self, by_name: FetchRequest, ids: Mapping[str, bytes]) -> None:
        self._by_name = by_name
        self._ids = ids

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Any:
        """Return the request for a broker that knows these versions."""
        least, most = versions.get(self.API_KEY, (0, 0))
        if least <= _FetchRequestV13.API_VERSION <= most:
            return self.build(_FetchRequestV13)
        return self._by_name.prepare(versions)

    def build(self, request_struct_class: Any) -> Any:
        given = self._by_name
        topics: list[Any] = [
            (
                self._ids[topic],
                [(number, -1, offset, -1, -1, limit, {}) for number, offset, limit in partitions],
                {},
            )
            for topic, partitions in given.topics
        ]
        return request_struct_class(
            -1,  # replica id: a consumer has none
            given._max_wait_ms,
            given._min_bytes,
            given._max_bytes,
            given._isolation_level,
            0,  # no session
            -1,
            topics,
            [],
            given._rack_id,
            {},
        )


class _AsVersion11(NamedTuple):
    """An answer in the form of version 11, as far as aiokafka's fetcher reads it."""

    topics: list[tuple[str, list[tuple[Any, ...]]]]
    API_VERSION: int = 11


def fetch_by_id(send: Callable[..., Any], ids: Mapping[str, str]) -> Callable[..., Any]:
    """Wrap the ``send`` of an aiokafka client: fetches of topics whose id is in ``ids`` name it.

    ``ids`` is read at each request. A request with a topic that has none goes as it is.
    """

    async def by_id(node_id: int, request: Any, **kwargs: Any) -> Any:
        if type(request) is not FetchRequest:
            return await send(node_id, request, **kwargs)
        asked = {topic: ids.get(topic) for topic, _ in request.topics}
        if not all(asked.values()):
            return await send(node_id, request, **kwargs)
        raw = {topic: UUID(found).bytes for topic, found in asked.items()}
        response = await send(node_id, _FetchById(request, raw), **kwargs)
        if not isinstance(response, _FetchResponse):
            return response
        names = {found: topic for topic, found in raw.items()}
        return _AsVersion11(
            [
                (names[topic_id], [_as_version_11(*each) for each in partitions])
                for topic_id, partitions, _ in response.topics
            ]
        )

    return by_id


def _as_version_11(
    partition: int,
    error: int,
    high: int,
    stable: int,
    start: int,
    aborted: list[tuple[int, int, Any]] | None,
    replica: int,
    records: bytes | None,
    _tags: Any,
) -> tuple[Any, ...]:
    code = _UNKNOWN_TOPIC_OR_PARTITION if error in _OF_ANOTHER_ID else error
    transactions = None if aborted is None else [(writer, first) for writer, first, _ in aborted]
    return partition, code, high, stable, start, transactions, replica, records or b""
