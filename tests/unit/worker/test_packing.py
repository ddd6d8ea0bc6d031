"""Batches are packed with lz4 at level 1, by the very builder that the producer uses."""

from __future__ import annotations

import cramjam
import pytest
from aiokafka.record import default_records as pure
from aiokafka.record._crecords import default_records as compiled
from aiokafka.record.memory_records import MemoryRecords

from streams.worker import packing

LZ4 = 3
HEADER_BYTES = 61
RECORDS = [(b"k%d" % n, b'{"member":"books","n":%d}' % (n * 7919 % 1000)) for n in range(200)]


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    for module in (compiled, pure):
        monkeypatch.setattr(module, "lz4_encode", module.lz4_encode)
    packing.install()


def built(builder, codec):
    made = builder(2, codec, 0, -1, -1, -1, 1_000_000)
    for offset, (key, value) in enumerate(RECORDS):
        made.append(offset, 1_000, key, value, [])
    return bytes(made.build())


def packed_at(level, payload):
    packer = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    packer.compress(payload)
    return bytes(packer.finish())


@pytest.mark.parametrize(
    "builder",
    [compiled.DefaultRecordBatchBuilder, pure._DefaultRecordBatchBuilderPy],
    ids=["compiled", "python"],
)
def test_a_batch_is_packed_at_level_one(builder):
    batch = built(builder, LZ4)
    payload = built(builder, 0)[HEADER_BYTES:]
    assert batch[HEADER_BYTES:] == packed_at(1, payload)
    assert batch[HEADER_BYTES:] != packed_at(9, payload)
    found = [(record.key, record.value) for record in MemoryRecords(batch).next_batch()]
    assert found == RECORDS
