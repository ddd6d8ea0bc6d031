"""Every stored record has a format number; one of a newer or an older version is refused."""

from __future__ import annotations

import msgspec
import pytest

from streams.flow.chain import CheckpointRecord, decode_checkpoint, encode_checkpoint
from streams.flow.compile import PartitionCompile
from streams.flow.day_buyers import DayBuyers, decode_day_buyers, encode_day_buyers
from streams.flow.daybook import ShownRecord, decode_shown, encode_shown
from streams.flow.fence_record import FenceRecord, decode_fence_record, encode_fence_record
from streams.flow.held_labels import LabelsPart, decode_labels_part, encode_labels_part
from streams.flow.merged import MergedRecord, decode_merged, encode_merged
from streams.flow.own_records import OwnRecordError
from streams.flow.shift_watch import WatchRecord
from streams.flow.shifts_record import ShiftsRecord, decode_shifts, encode_shifts
from streams.flow.vintages import VintageRecord, decode_vintage, encode_vintage
from streams.flow.wire import (
    MarkRecord,
    PartialRecord,
    decode_mark,
    decode_partial,
    encode_partial,
)
from streams.index.formats import FORMAT, OLDEST, FormatError, OlderFormatError
from streams.index.history_records import (
    HistoryError,
    SeedComplete,
    decode_content,
)
from streams.index.label_rows import PackedRow
from streams.publish.journal import decode_value, encode_value
from tests.support.events import T0, tuned
from tests.support.publications import value

RECORDS = {
    "row": (
        PartialRecord(1, 9, PackedRow([1, 2], ["0books"], [[1, 0, 96, 108]])),
        encode_partial,
        decode_partial,
    ),
    "mark": (MarkRecord(1, 9, {"PK": T0}, T0, T0), encode_partial, decode_mark),
    "checkpoint": (
        CheckpointRecord(1, "hash", "id", 1, 1, None, 1, 9, {"PK": T0}, [], []),
        encode_checkpoint,
        decode_checkpoint,
    ),
    "merged": (MergedRecord(9, [1], {"orders-0": b"1"}), encode_merged, decode_merged),
    "labels": (LabelsPart(b"part"), encode_labels_part, decode_labels_part),
    "fence": (
        FenceRecord(1, 9, True, {"orders": T0}, {"orders": T0}, T0, 19_000, T0),
        encode_fence_record,
        decode_fence_record,
    ),
    "expectation": (VintageRecord(1, 1, 0, "b", T0, 1, [], []), encode_vintage, decode_vintage),
    "shown day": (ShownRecord(9, {"market:all": [0, 1]}), encode_shown, decode_shown),
    "buyers": (DayBuyers(9, 1, 1, 1, 1), encode_day_buyers, decode_day_buyers),
    "detectors": (ShiftsRecord(WatchRecord(1, {}), [], 1), encode_shifts, decode_shifts),
}


def changed(encoded, **fields):
    """The record with other fields, as another version might have written it."""
    content = msgspec.msgpack.decode(encoded)
    if isinstance(content, list):
        return msgspec.msgpack.encode([*content[:-1], *fields.values()])
    return msgspec.msgpack.encode(content | fields)


@pytest.mark.parametrize(("record", "encode", "decode"), RECORDS.values(), ids=RECORDS)
def test_a_record_of_a_newer_format_is_refused_with_what_to_do(record, encode, decode):
    newer = changed(encode(record), v=FORMAT + 1)
    expected = rf"of format {FORMAT + 1}: a newer version.*knows formats up to {FORMAT}; install"
    with pytest.raises(FormatError, match=expected):
        decode(newer)


@pytest.mark.parametrize(("record", "encode", "decode"), RECORDS.values(), ids=RECORDS)
def test_a_newer_format_is_told_even_where_the_record_no_longer_fits(record, encode, decode):
    content = msgspec.msgpack.decode(changed(encode(record), v=FORMAT + 1))
    if isinstance(content, list):
        broken = [{"not": "what it was"}, *content[1:]]
    else:
        broken = dict.fromkeys(content, "not what it was") | {"v": content["v"]}
    with pytest.raises(FormatError, match=f"of format {FORMAT + 1}"):
        decode(msgspec.msgpack.encode(broken))


@pytest.mark.parametrize(("record", "encode", "decode"), RECORDS.values(), ids=RECORDS)
def test_a_record_of_an_older_format_is_refused_with_what_to_do(record, encode, decode):
    written = encode(record)
    assert msgspec.structs.replace(decode(written), v=0) == msgspec.structs.replace(record, v=0)
    assert decode(written).v == FORMAT
    content = msgspec.msgpack.decode(written)
    unnumbered = (
        content[:-1] if isinstance(content, list) else {k: content[k] for k in content if k != "v"}
    )
    for number, old in (
        (OLDEST - 1, changed(written, v=OLDEST - 1)),
        (0, msgspec.msgpack.encode(unnumbered)),
    ):
        with pytest.raises(
            OlderFormatError, match=f"of format {number}: an older.*raise `edition`"
        ):
            decode(old)


def test_rows_of_format_4_counted_by_member():
    old = msgspec.msgpack.encode([1, 9, [0, 1], b"", 4])
    with pytest.raises(OlderFormatError, match="a row of partials of format 4"):
        decode_partial(old)


def test_json_records_of_a_newer_version_are_refused_too():
    newer = encode_value(value()).replace(b'"v":1', b'"v":2')
    with pytest.raises(FormatError, match="a value of format 2"):
        decode_value(newer)
    complete = SeedComplete("s", "PK", "2026-11-24T00:00:00Z", "2026-11-24T01:00:00Z", [], v=2)
    with pytest.raises(HistoryError, match=r"record \(seed\) of the history of format 2"):
        decode_content("seed", msgspec.json.encode(complete))


def test_level_2_does_not_start_from_a_table_of_a_newer_version():
    record, encode, _ = RECORDS["fence"]
    compiled = PartitionCompile(0, 1, tuned(), {"orders": [], "payments": []}, "nonce")
    with pytest.raises(OwnRecordError, match="a fence record of the merged table of format"):
        compiled.recover({b"f|PK|other.1": changed(encode(record), v=FORMAT + 1)})
