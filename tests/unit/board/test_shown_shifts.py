"""Active shifts as the page shows them."""

from __future__ import annotations

import json

import pytest
from support.shopfloor import shift_record

from streams.board.shown_shifts import active, expect_command
from streams.index.instants import parse_instant

FIELD = "category:beauty_grooming"
NOW_MS = parse_instant("2026-11-27T09:30:00Z")


def test_a_shift_is_named_sized_explained_and_can_be_marked_as_expected():
    contributors = {"region": [{"member": "sindh", "observed": 190, "expected": 40.5}]}
    record = shift_record(observed=424, expected=72.1, contributors=contributors)
    (shift,) = active({FIELD: record})
    assert (shift.dimension, shift.member, shift.label) == (
        "category", "beauty_grooming", "Beauty grooming",
    )  # fmt: skip
    assert (shift.direction, shift.ratio, shift.lower, shift.upper) == (1, 5.9, 5.3, 6.4)
    assert (shift.observed, shift.expected, shift.evidence) == (424, 72.1, 1.8)
    (contributor,) = shift.contributors
    assert (contributor.label, contributor.observed) == ("Sindh", 190)
    assert expect_command("PK", shift, NOW_MS) == (
        "ecindex expect PK category:beauty_grooming 2026-11-24T14:00:00Z 2026-11-27T16:00:00Z 5.9"
    )


def test_an_interval_of_its_own_is_read_too():
    interval = {"observed": 3, "expected": 60.0, "ratio": 0.05, "lower": 0.01, "upper": 0.2}
    (shift,) = active({"market:all": json.dumps({"direction": -1, "interval": interval})})
    assert (shift.direction, shift.member, shift.ratio, shift.upper) == (-1, "all", 0.05, 0.2)


def test_a_record_of_another_shape_is_still_named():
    found = active(
        {
            "category:books": "{}",
            "category:toys": "[1]",
            "category:x": "?",
            "region:sp": '{"ratio":"2"}',
        },
    )
    assert [(each.dimension, each.label, each.direction) for each in found] == [
        ("category", "Books", 0),
        ("region", "SP", 0),
    ]
    assert expect_command("PK", found[0], NOW_MS) == (
        "ecindex expect PK category:books 2026-11-27T09:00:00Z 2026-11-27T16:00:00Z unknown"
    )
    assert found[0].contributors == []


def test_odd_contributors_are_left_out():
    odd = {"region": "x", "channel": [1, {"member": "app", "observed": True}]}
    (shift,) = active({FIELD: json.dumps({"contributors": odd})})
    assert [(each.label, each.observed) for each in shift.contributors] == [("App", None)]


@pytest.mark.parametrize(
    ("record", "command"),
    [
        (shift_record(member="x; rm -rf ~"), "ecindex expect PK 'category:x; rm -rf ~' 2026"),
        (shift_record(dimension="market", member="all"), "ecindex expect PK all 2026"),
        (shift_record(dimension="payment_failure"), ""),
    ],
)
def test_the_command_is_safe_to_paste_and_absent_where_it_would_be_refused(record, command):
    (shift,) = active({FIELD: record})
    found = expect_command("PK", shift, NOW_MS)
    assert found.startswith(command)
    assert bool(found) == bool(command)
