"""The fetch by id, on the seams of aiokafka's protocol classes."""

from __future__ import annotations

from io import BytesIO
from uuid import UUID

from aiokafka.protocol.fetch import FetchRequest

from streams.worker import fetch_by_id as module
from streams.worker.fetch_by_id import fetch_by_id

TOPIC_ID = "0b61c4d8-2f1c-4a6e-9d0f-3f4e5a6b7c8d"
RAW = UUID(TOPIC_ID).bytes


def asked(topic="orders"):
    return FetchRequest(500, 1, 2**20, 1, [(topic, [(3, 17, 4096)])], rack_id="")


def test_aiokafka_still_fetches_by_name():
    # From version 13 on it would name the id: then worker/fetch_by_id.py can go.
    assert max(each.API_VERSION for each in FetchRequest._CLASSES) < 13


def test_the_request_is_what_the_protocol_says():
    built = module._FetchById(asked(), {"orders": RAW}).prepare({1: (4, 17)})
    assert (built.API_KEY, built.API_VERSION, built.FLEXIBLE_VERSION) == (1, 13, True)
    minus_one = b"\xff" * 4
    assert built.encode() == (
        minus_one + (500).to_bytes(4) + (1).to_bytes(4) + (2**20).to_bytes(4) + b"\x01"
        + bytes(4) + minus_one  # no session
        + b"\x02" + RAW + b"\x02"
        + (3).to_bytes(4) + minus_one + (17).to_bytes(8) + minus_one + b"\xff" * 8
        + (4096).to_bytes(4) + b"\x00" + b"\x00"
        + b"\x01" + b"\x01" + b"\x00"  # nothing forgotten, no rack
    )  # fmt: skip


def test_an_older_broker_is_asked_by_name():
    built = module._FetchById(asked(), {"orders": RAW}).prepare({1: (0, 11)})
    assert built.API_VERSION == 11


def partition(error=0, records=b"\x04abc"):
    return (
        (3).to_bytes(4) + error.to_bytes(2) + (30).to_bytes(8) + (20).to_bytes(8) + bytes(8)
        + b"\x02" + (9).to_bytes(8) + (18).to_bytes(8) + b"\x00"  # an aborted transaction
        + b"\xff" * 4 + records + b"\x00"
    )  # fmt: skip


def response(*partitions):
    body = b"".join(partitions)
    return module._FetchResponse.decode(
        BytesIO(
            bytes(4) + bytes(2) + bytes(4)
            + b"\x02" + RAW + bytes([len(partitions) + 1]) + body + b"\x00"
            + b"\x00"
        )
    )  # fmt: skip


async def answer_of(found, ids, topic="orders"):
    sent = []

    async def send(node_id, request, **_):
        sent.append(request)
        return found

    answer = await fetch_by_id(send, ids)(1, asked(topic))
    return answer, sent[0]


async def test_an_answer_has_the_form_of_version_11():
    answer, request = await answer_of(response(partition()), {"orders": TOPIC_ID})
    assert isinstance(request, module._FetchById)
    assert answer.API_VERSION == 11
    assert answer.topics == [("orders", [(3, 0, 30, 20, 0, [(9, 18)], -1, b"abc")])]


async def test_a_topic_of_another_id_is_one_that_is_not_there():
    for error in (100, 103):
        found = response(partition(error, records=b"\x00"))
        answer, _ = await answer_of(found, {"orders": TOPIC_ID})
        assert answer.topics == [("orders", [(3, 3, 30, 20, 0, [(9, 18)], -1, b"")])]


async def test_a_topic_without_an_id_and_any_other_request_go_as_they_are():
    answer, request = await answer_of("as it is", {"orders": TOPIC_ID}, topic="payments")
    assert (answer, type(request)) == ("as it is", FetchRequest)
