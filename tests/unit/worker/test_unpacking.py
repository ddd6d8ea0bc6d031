"""A batch that unpacks to more than fits is set aside record by record, never held in memory."""

from __future__ import annotations

from functools import cache

import pytest
from support.batches import fetched, record_batch

from streams.index.events import Rejected, decode_orders
from streams.worker import unpacking
from streams.worker.batches import TOO_LARGE
from streams.worker.fetch import ChunkRecords

pytestmark = pytest.mark.usefixtures("each_reader")

CODECS = {"gzip": 1, "lz4": 3, "zstd": 4}


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    for module in (unpacking.compiled, unpacking.pure):
        for name in ("gzip_decode", "lz4_decode", "zstd_decode"):
            monkeypatch.setattr(module, name, getattr(module, name))
    unpacking.install()


def decode(buffer, fetch_offset=0):
    return list(ChunkRecords(fetched(buffer, fetch_offset), 100))


@cache
def bomb(codec, offset=0, records=3):
    third = b" " * (unpacking.UNPACKED_BYTES_MAX // 3 + 100)
    return record_batch(offset, [(b"k", third)] * records, codec=CODECS[codec])


@pytest.mark.parametrize("codec", CODECS)
def test_every_record_of_a_bomb_becomes_a_note_at_its_offset(codec):
    packed = (
        record_batch(5, [(b"k", b"before")]) + bomb(codec, 6) + record_batch(9, [(b"k", b"on")])
    )
    assert len(packed) < 1_000_000
    (chunk,) = decode(packed, 5)
    assert list(chunk.values) == [b"before", TOO_LARGE, TOO_LARGE, TOO_LARGE, b"on"]
    assert (chunk.first_offset, chunk.last_offset, chunk.offsets) == (5, 9, None)
    assert len(chunk.keys) == len(chunk.timestamps_ms) == 5


@pytest.mark.parametrize("codec", CODECS)
def test_a_fetch_that_begins_within_a_bomb_notes_only_the_rest(codec):
    (chunk,) = decode(bomb(codec, 6), 8)
    assert (chunk.first_offset, chunk.last_offset, len(chunk)) == (8, 8, 1)


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_below_the_limit_is_read_whole(codec):
    value = bytes(range(256)) * 4_000
    (chunk,) = decode(record_batch(0, [(b"k", value)] * 20, codec=CODECS[codec]))
    assert chunk.values == [value] * 20


def test_the_note_is_a_dead_letter():
    (event,) = decode_orders([TOO_LARGE])
    assert isinstance(event, Rejected)
    assert event.reason == "invalid_json"
