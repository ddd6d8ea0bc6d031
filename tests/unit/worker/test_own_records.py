"""A worker that ends at a record of our own names it: topic, partition, offset, key, and what to do."""

from __future__ import annotations

from types import SimpleNamespace

import faust
import msgspec
import pytest
from structlog.testing import capture_logs

from streams.flow.chain import CheckpointRecord, encode_checkpoint
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile
from streams.flow.history_book import HistoryBook
from streams.flow.merged import MergedRecord, encode_merged
from streams.flow.own_records import OwnRecordError
from streams.flow.state import LIVE
from streams.flow.wire import MarkRecord, PartialRecord, encode_partial, mark_key
from streams.index.formats import FORMAT
from streams.index.history_records import DeclaredFactor, factor_record
from streams.index.label_rows import PackedRow
from streams.settings import Settings
from streams.worker.history_reader import HistoryReader
from streams.worker.stated_topics import checkpoints_in
from streams.worker.stops import ExitCode, end_for
from streams.worker.tables import PartitionTable
from tests.support.events import T0, tuned
from tests.support.flow_harness import METHODOLOGY, Flow

APP = faust.App("ec-e1", broker="kafka://127.0.0.1:1", autodiscover=False)
SP = SourcePartition("orders", 0)
BASE = 3 << 40
"""Offsets of the fourth log of a topic; people are told those of the log itself."""


def ended(error, exit_code=ExitCode.CRASHED):
    """The reason that the worker's last line gives."""
    end = end_for(error, "recovery")
    assert end.code is exit_code
    assert "run `ecindex doctor`" in end.reason
    return end.reason


def checkpoint(**changes):
    fields = {"rows": [], "ids": [], "watermarks": {}, "through": 7} | changes
    record = CheckpointRecord(
        METHODOLOGY.edition, METHODOLOGY.content_hash, "", 1, 1, None, 1, **fields
    )
    return encode_checkpoint(record)


def newer(encoded):
    return msgspec.msgpack.encode(msgspec.msgpack.decode(encoded) | {"v": FORMAT + 1})


def table_of(changelog, key, value):
    """A recovered table whose partition 2 holds the record at offset 41, after another."""
    table = PartitionTable(APP, name=changelog, source="orders", partitions=4)
    table.begin(2, 40)
    sp = SourcePartition(table.changelog_topic_name, 2)
    chunk = Chunk(sp, 40, 41, [b"orders|2|gone|1", key], [None, value], [0, 0], fetch_offset=40)
    message = SimpleNamespace(topic=sp.topic, partition=2, value=chunk)
    table.apply_changelog_batch([SimpleNamespace(message=message)])
    return table


NEVER_WRITTEN = [
    ([99_999, 1],),
    ([0, "many"],),
    ([0],),
    ([], ["books"]),
    ([], ["4books"]),
    ([], ["0books", "0toys"], [[1, 0, 96, 99_999]]),
    ([], ["0books", "0toys"], [[1, 9, 96, 108]]),
    ([], ["0books", "0toys"], [[]]),
]
"""Rows that no worker writes: of other columns, labels or label sets than the row has."""
OF_CHECKPOINTS = [
    (b"orders|2|n|1", b"rubbish"),
    (b"\xff", checkpoint()),
    (
        b"orders|2|n|1",
        checkpoint(rows=[("XX", LIVE, 5, PackedRow([0, 1]))]),
    ),  # a market that is none
    (b"orders|2|n|1", checkpoint(rows=[("PK", LIVE, 5, [0, 1])])),
    *(
        (b"orders|2|n|1", checkpoint(rows=[("PK", LIVE, 5, PackedRow(*each))]))
        for each in NEVER_WRITTEN
    ),
    (b"orders|2|n|1", checkpoint(ids=[("PK", T0 // 5_000, b"odd")])),
    (b"orders|2|n|1", checkpoint(watermarks={"XX": 1})),
]
MERGED = encode_merged(MergedRecord(3, [0, 1], {}))
OF_THE_TABLE = [
    (b"h|PK|0|n.1", b"rubbish"),
    (b"h|PK|soon|n.1", MERGED),
    (b"h|PK", MERGED),
    (b"nothing", MERGED),
    (b"h|PK|0|n.1", encode_merged(MergedRecord(3, [99_999, 1], {}))),
    (b"m|PK|0|n.1", encode_merged(MergedRecord(3, [0, 1], {}, labels=b"rubbish"))),
    (b"m|PK|0|n.1", encode_merged(MergedRecord(3, [0, 1], {}, parts=["p|PK|m0|n.0"]))),
    *((f"{kind}|PK|0|n.1".encode(), b"rubbish") for kind in "dfewsb"),
]


@pytest.mark.parametrize(("key", "value"), OF_CHECKPOINTS)
def test_a_checkpoint(key, value):
    table = table_of("checkpoint-orders", key, value)
    level = Flow(partitions=1).levels[SP]
    with pytest.raises(OwnRecordError) as raised:
        table.rebuild(2, level.recover)
    where = "ec-e1-checkpoint-orders-changelog-2@41, key "
    assert f"{where}{key.decode(errors='replace')!r}" in ended(raised.value)


@pytest.mark.parametrize(("key", "value"), OF_THE_TABLE)
def test_a_record_of_the_merged_table(key, value):
    table = table_of("merged", key, value)
    compiled = PartitionCompile(0, 1, tuned(), {"orders": [], "payments": []}, "nonce")
    with pytest.raises(OwnRecordError) as raised:
        table.rebuild(2, compiled.recover)
    assert f"ec-e1-merged-changelog-2@41, key {key.decode()!r}" in ended(raised.value)


ROW = b"PK|live|5000|orders-0|w"
OF_PARTIALS = [
    (ROW, b"rubbish"),
    *(
        (ROW, encode_partial(PartialRecord(METHODOLOGY.edition, 1, PackedRow(*each))))
        for each in NEVER_WRITTEN
    ),
    (mark_key(SP, "w"), b"rubbish"),
]


@pytest.mark.parametrize(("key", "value"), OF_PARTIALS)
def test_a_row_or_a_mark(key, value):
    compiled = PartitionCompile(0, 1, METHODOLOGY, {"orders": [SP], "payments": []}, "nonce")
    mark = encode_partial(MarkRecord(METHODOLOGY.edition, 1, {}, None, 0))
    keys, values = [mark_key(SP, "w"), key], [mark, value]
    chunk = Chunk(SourcePartition("partials", 3), BASE + 6, BASE + 7, keys, values, [0, 0])
    with pytest.raises(OwnRecordError) as raised:
        compiled.apply_chunk(chunk)
    assert f"partials-3@7, key {key.decode()!r}" in ended(raised.value)


def test_a_checkpoint_of_another_owner_that_is_asked_of_which_topic_it_is():
    records = [
        SimpleNamespace(topic="log", partition=1, offset=offset, key=b"k", value=value)
        for offset, value in enumerate([None, checkpoint(), b"rubbish"])
    ]
    assert [each.through for each in checkpoints_in(records[:2])] == [7]
    with pytest.raises(OwnRecordError) as raised:
        checkpoints_in(records)
    assert "log-1@2, key 'k'" in ended(raised.value)


def test_one_that_a_newer_version_wrote_is_no_bug():
    table = table_of("checkpoint-orders", b"orders|2|n|1", newer(checkpoint()))
    with pytest.raises(OwnRecordError) as raised:
        table.rebuild(2, Flow(partitions=1).levels[SP].recover)
    assert "install the version that wrote it" in ended(raised.value, ExitCode.USAGE)


HUGE = DeclaredFactor("PK", "market", "all", "2026-11-24T10:00:00Z", "2026-11-24T11:00:00Z", 1e305)
OF_THE_HISTORY = [
    (b"\xff", b""),
    (b"PK|factor|x", b"rubbish"),
    (b"*|accepted|orders|0:1..2", b"{}"),
    (b"PK|reset|1", b'{"market":"PK","generation":0,"at":"","reason":""}'),
    (b"PK|factor|x", b'{"market":"\xff"}'),  # msgspec has another error for it than for rubbish
    (b"PK|hour|x|y", b'{"x":' * 3_000),
    (b"*|accepted|orders|0:1..2", b'{"topic":"\xff"}'),
    factor_record(HUGE),  # ended every worker: it became infinity
]


@pytest.mark.parametrize(("key", "value"), OF_THE_HISTORY)
def test_a_record_of_the_history_ends_no_worker_and_is_logged_with_its_place(key, value):
    reader = HistoryReader(Settings(), HistoryBook(["PK"]), lambda _: "", None)
    record = SimpleNamespace(topic="history", partition=0, offset=5, key=key, value=value)
    with capture_logs() as lines:
        reader.apply_record(record)
    (line,) = lines
    places = (line["topic"], line["partition"], line["offset"], line["key"])
    assert places == ("history", 0, 5, key.decode(errors="replace"))
    assert "ecindex doctor" in line["action"]
    assert not reader.book.markets["PK"].factors
