"""Sets one configuration of a topic, and leaves its others as they are.

aiokafka 0.14 only knows the request that replaces all configurations of a topic. This module spells out
the incremental one (Kafka 2.3 and later). tests/integration/test_topics.py holds it against a broker.
"""

from __future__ import annotations

import asyncio
from difflib import get_close_matches
from typing import Any

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

from streams import clock
from streams.records.kafka_topics import TopicsError, WantedTopic, connected, differences
from streams.settings import KafkaSettings

SHOWN_DEADLINE_MS = 10_000
NEAR_MAX = 5
"""How many topics are named to whoever mistyped one: a cluster may have thousands."""
_TOPIC, _SET = 2, 0


class _AlterResponse(Response):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _AlterRequestV0(RequestStruct):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlterResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(
                        ("name", String("utf-8")),
                        ("operation", Int8),
                        ("value", String("utf-8")),
                    ),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class _AlterRequest(Request[_AlterRequestV0]):  # type: ignore[misc]
    API_KEY = 44

    def __init__(self, topic: str, name: str, value: str) -> None:
        self._resources = [(_TOPIC, topic, [(name, _SET, value)])]

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._resources, False)


async def alter_topic(kafka: KafkaSettings, topic: str, name: str, value: str) -> None:
    """Set one configuration of an existing topic, and wait until the broker shows it.

    Raises TopicsError.
    """
    async with connected(kafka) as admin:
        try:
            response = await admin._send_request(_AlterRequest(topic, name, value))  # noqa: SLF001
        except NotImplementedError as error:
            raise TopicsError("the broker is older than Kafka 2.3; use its own tools") from error
        for code, message, _kind, found in response.resources:
            if code:
                known = await admin.list_topics()
                if topic not in known:
                    near = ", ".join(get_close_matches(topic, known, n=NEAR_MAX, cutoff=0))
                    raise TopicsError(f"topic {topic} does not exist; nearest to it: {near}")
                failed: type[KafkaError] = for_code(code)
                reason = message or failed.__name__
                raise TopicsError(
                    f"topic {found}: {name}={value}: the broker refused it: {reason}; the operator "
                    "must check the names, and that the client may alter configurations"
                )
        wanted = WantedTopic(topic, None, {name: value})
        deadline_ms = clock.monotonic_ms() + SHOWN_DEADLINE_MS
        while clock.monotonic_ms() < deadline_ms:
            # A broker shows a change once it has read it from the controller's log.
            if not await differences(admin, [wanted]):
                return
            await asyncio.sleep(0.05)
