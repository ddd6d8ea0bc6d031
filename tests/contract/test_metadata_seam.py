"""The one Kafka request we spell out ourselves, on the seams of aiokafka's protocol classes."""

from __future__ import annotations

from io import BytesIO
from uuid import UUID

from aiokafka.protocol.metadata import MetadataRequest

from streams.worker import topic_ids


def test_aiokafka_still_knows_no_metadata_with_topic_ids():
    # From version 10 on responses carry them: then worker/topic_ids.py can go.
    assert max(each.API_VERSION for each in MetadataRequest._CLASSES) < 10


def test_the_request_is_what_the_protocol_says():
    built = topic_ids._MetadataRequest(["orders"]).prepare({3: (0, 13)})
    assert (built.API_KEY, built.API_VERSION, built.FLEXIBLE_VERSION) == (3, 12, True)
    # compact array of one topic: a null id, its name, no tags; two booleans; no tags
    assert built.encode() == b"\x02" + bytes(16) + b"\x07orders\x00" + b"\x00\x00" + b"\x00"


def test_a_response_is_read():
    topic = UUID("0b61c4d8-2f1c-4a6e-9d0f-3f4e5a6b7c8d")
    partition = b"\x00\x00" + b"\x00" * 12 + b"\x02" + b"\x00" * 4 + b"\x01\x01" + b"\x00"
    body = (
        bytes(4) + b"\x01" + b"\x00" + bytes(4)  # throttle, no brokers, no cluster id, controller
        + b"\x02" + b"\x00\x00" + b"\x07orders" + topic.bytes + b"\x00"  # one topic
        + b"\x02" + partition + bytes(4) + b"\x00"  # its one partition
        + b"\x00"
    )  # fmt: skip
    response = topic_ids._MetadataResponse.decode(BytesIO(body))
    ((code, name, found, _internal, partitions, *_),) = response.topics
    assert (code, name, UUID(bytes=found), len(partitions)) == (0, "orders", topic, 1)
