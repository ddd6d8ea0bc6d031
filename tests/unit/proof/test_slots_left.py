"""The audit waits until what is final was published by the definitions in force."""

from __future__ import annotations

import pytest

from streams.flow import market as market_module
from streams.flow.daybook import ShownRecord, encode_shown
from streams.flow.merged import MergedRecord, encode_merged
from streams.index.definitions import MemberDefinition
from streams.index.panes import HOUR_MS
from streams.proof.audit.slots_left import SlotsLeft
from streams.records.kafka_logs import Stored
from tests.property.test_redefined_market import define, follow
from tests.support.flow_harness import Flow
from tests.unit.flow.test_redefined import document, pass_time, running

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


def left(flow: Flow, version: int) -> int:
    slots = SlotsLeft(["PK"])
    for key, value in flow.tables[0].items():
        slots.apply_record(Stored("changelog", 0, 0, key, value, (), 0, 0))
    return slots.behind("PK", version)


@pytest.mark.parametrize("killed", [False, True])
def test_level_2_leaves_none_and_names_the_definitions_only_once_it_has_published(
    killed, monkeypatch
):
    monkeypatch.setattr(market_module, "SLOTS_REDEFINED_MAX", 2)
    monkeypatch.setattr(market_module, "DAYS_REDEFINED_MAX", 1)
    flow = running(5)
    pass_time(flow, 3 * HOUR_MS)
    define(flow, document(gnomes=MemberDefinition(labels=("garden gnomes",))), 1)
    follow(flow)
    before = left(flow, 1)
    flow.step(0)
    flow.step(0)
    assert before > left(flow, 1) > 0
    if killed:
        flow.start_compile(0)
    pass_time(flow, 5_000)
    pass_time(flow, 5_000)
    assert left(flow, 1) == 0
