"""A replayed dead letter of an import keeps the header by which its stamp is believed."""

from __future__ import annotations

import pytest

from streams.flow.chunk import Chunk
from streams.index.stamps import is_doubtful
from streams.operate.dead_letter import REPLAY_OF, DeadLetter
from streams.records.kafka_logs import Stored
from streams.records.set_aside_record import read_set_aside
from tests.support.events import T0
from tests.unit.worker.test_level1 import SP, TOPICS, Acknowledging, runner_with


@pytest.mark.parametrize(
    ("by_broker", "doubtful", "reason", "believed"),
    [
        (False, None, b"schema", True),
        (False, b"\0", b"schema", True),
        (False, b"\1", b"schema", False),
        (True, None, b"schema", False),
        (False, None, b"ahead", False),
    ],
)
async def test_a_replayed_record_of_an_import_is_believed_as_its_original_was(
    by_broker, doubtful, reason, believed
):
    """Its copy was doubted: without the header its stamp is the word of any producer."""
    outbox, headers = Acknowledging(withheld=None), []
    put = outbox.put

    def keep(topic, partition, *record):
        if topic == TOPICS.dead_letters:
            headers.extend(record[2])
        return put(topic)

    outbox.put = keep
    value = b'{"no": "order"}'
    await runner_with(outbox).fold_chunk(
        Chunk(SP, 0, 0, [b"k"], [value], [T0], by_broker=by_broker, doubtful=doubtful)
    )
    headers = [(name, reason if name == "reason" else content) for name, content in headers]
    stored = Stored(TOPICS.dead_letters, 0, 9, b"k", value, headers, T0, 0)
    copy = DeadLetter.of(stored, read_set_aside(stored)).copy_headers()
    assert is_doubtful(0, copy) != believed
    assert (REPLAY_OF, b"orders-0@0") in copy
