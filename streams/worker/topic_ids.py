"""Identity of a topic: its id, its partition count, and whether its logs reach as far as the state.

A topic that was deleted and created again has the same name and begins at offset 0. No worker may
continue from checkpoints of the old one (exactness rule 9). The broker gives a topic's id in Metadata
responses from version 10 on. aiokafka 0.14 stops at version 5, so this module spells out the one
version that it needs. tests/contract holds the seam.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)
from aiokafka.structs import TopicPartition

from streams.flow.chain import NEW_EDITION, RecoveryError
from streams.flow.chunk import SourcePartition
from streams.settings import KafkaSettings
from streams.worker.contiguity import offset_after

_UUID_BYTES = 16
UNKNOWN = ""
"""Id of a topic whose broker gives none (older than Kafka 2.8)."""


class TopicIdentity(NamedTuple):
    """A topic as the broker has it now."""

    topic_id: str
    partitions: int


class Uuid(AbstractType):  # type: ignore[misc]
    """A UUID as 16 bytes on the wire."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """Return the 16 bytes."""
        assert len(value) == _UUID_BYTES
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        """Read the 16 bytes; ValueError when there are fewer."""
        value = data.read(_UUID_BYTES)
        if len(value) != _UUID_BYTES:
            raise ValueError("Buffer underrun decoding UUID")
        return value


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestV12(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestV12]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics: list[Any] = [(bytes(_UUID_BYTES), topic, {}) for topic in topics]

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._topics, False, False, {})


Ask = Callable[[Any], Awaitable[Any]]
"""Sends a request to any broker; returns its answer."""


async def topic_identities(
    admin: AIOKafkaAdminClient, topics: Iterable[str]
) -> dict[str, TopicIdentity]:
    """Return the identity of each topic that exists. Raises KafkaError.

    The request names the topics and never creates one.
    """
    wanted = list(topics)
    try:
        return await identities_of(admin._send_request, wanted)
    except NotImplementedError:  # the broker does not know this version
        described = await admin.describe_topics()
        return {
            found["topic"]: TopicIdentity(UNKNOWN, len(found["partitions"]))
            for found in described
            if found["topic"] in wanted
        }


async def identities_of(ask: Ask, topics: Iterable[str]) -> dict[str, TopicIdentity]:
    """Return the identity of each topic that exists, through a connection that there is already.

    Raises KafkaError, and NotImplementedError where the broker knows no topic ids.
    """
    response = await ask(_MetadataRequest(topics))
    identities: dict[str, TopicIdentity] = {}
    for code, name, topic_id, _internal, partitions, *_ in response.topics:
        error = for_code(code)
        if code == 0:
            identities[name] = TopicIdentity(str(UUID(bytes=topic_id)), len(partitions))
        elif error.__name__ != "UnknownTopicOrPartitionError":
            raise error(f"metadata of topic {name}")
    return identities


async def id_of(ask: Ask, topic: str) -> str:
    """Return a topic's id; UNKNOWN where there is none, or the broker knows none. Raises KafkaError."""
    try:
        found = (await identities_of(ask, [topic])).get(topic)
    except NotImplementedError:
        return UNKNOWN
    return UNKNOWN if found is None else found.topic_id


async def check_log_ends(kafka: KafkaSettings, throughs: Mapping[SourcePartition, int]) -> None:
    """Refuse a state that includes more than its log holds. Raises RecoveryError, KafkaError.

    Topic ids do not show this: the log of the same topic may have lost its end (a replica that was
    behind became leader). ``throughs``: offsets of the logs themselves.
    """
    throughs = {sp: through for sp, through in throughs.items() if through >= 0}
    if not throughs:
        # A spare worker, or a first start: the question would cost a connection (0.3 s). And an
        # aiokafka consumer that is stopped before its tasks have run once raises the
        # CancelledError of one of them, which recovery took for its own.
        return
    tps = [TopicPartition(sp.topic, sp.partition) for sp in throughs]
    # Uncommitted, so with what an open transaction holds back: only a log that has lost its end counts.
    async with AIOKafkaConsumer(**kafka.client_options(), enable_auto_commit=False) as consumer:
        ends = await consumer.end_offsets(tps)
    for sp, through in throughs.items():
        end = ends[TopicPartition(sp.topic, sp.partition)]
        if offset_after(through) > end:
            raise RecoveryError(
                f"{sp}: the state includes offset {through}, the log ends at {end}; {NEW_EDITION}"
            )
