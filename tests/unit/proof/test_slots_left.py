"""The audit waits until what is final was published by the definitions in force."""

from __future__ import annotations

import pytest

from streams.flow.daybook import ShownRecord, encode_shown
from streams.flow.merged import MergedRecord, encode_merged
from streams.proof.audit.slots_left import SlotsLeft
from streams.records.kafka_logs import Stored

SHOWN, HOUR, MINUTE = "s|PK|20000", "h|PK|3600000", "m|PK|60000"


def stored(key: str, definitions: int | None) -> Stored:
    value = None
    if definitions is not None and key.startswith("s"):
        value = encode_shown(ShownRecord(5, {}, definitions=definitions))
    elif definitions is not None:
        value = encode_merged(MergedRecord(5, [], {}, definitions=definitions))
    return Stored("changelog", 0, 0, key.encode(), value, (), 0, 0)


@pytest.mark.parametrize(
    ("records", "left"),
    [
        ([(f"{SHOWN}|a.1", 1), (f"{HOUR}|a.2", 1)], 2),
        ([(f"{SHOWN}|a.1", 2), (f"{HOUR}|a.2", 1)], 1),
        ([(f"{HOUR}|a.1", 1), (f"{HOUR}|b.1", 2), (f"{HOUR}|a.1", None)], 0),
        ([(f"{HOUR}|b.1", 2), (f"{HOUR}|a.7", 1)], 0),  # a zombie's
        ([(f"{HOUR}|a.1", 1), (f"{HOUR}|a.1", None)], 0),
        ([(f"{MINUTE}|a.1", 1), ("h|BD|0|a.1", 1), ("f|PK|a.1", 1)], 0),
    ],
)
def test_a_final_hour_or_an_ended_day_is_left_while_all_its_records_name_older_definitions(
    records, left
):
    slots = SlotsLeft(["PK"])
    for key, definitions in records:
        slots.apply_record(stored(key, definitions))
    assert slots.behind("PK", 2) == left
    assert slots.behind("PK", 0) == 0
