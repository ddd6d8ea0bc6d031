"""Each alert that docs/faults.md names is run by its real fault, or it is said why not."""

from __future__ import annotations

import re

import pytest
from faults.alert_faults import CHAPTERS, NOT_RUN
from support.operator_files import ROOT, rules

ROWS = [
    (cells[0].strip(), set(re.findall(r"`(Ecindex\w+)`", row)))
    for row in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if row.startswith("| ") and len(cells := row.strip("|").split(" | ")) == 6
]
NAMED = [(row, alert) for row, alerts in ROWS for alert in sorted(alerts)]
EXPECTED = [
    expected
    for chapter in CHAPTERS
    for turn in chapter.turns
    for fault in turn
    for expected in fault.expected
]


def meant(beginning):
    """Rows that a beginning names: the one that it is all of, else those that go on."""
    whole = [row for row, _ in ROWS if row == beginning]
    return whole or [row for row, _ in ROWS if row.startswith(beginning)]


def test_the_table_is_read():
    assert len(ROWS) > 40
    assert {alert for _, alert in NAMED} <= {rule["alert"] for rule in rules("alerts")}


@pytest.mark.parametrize(("row", "alert"), NAMED, ids=lambda value: value[:40])
def test_each_alert_of_the_table_is_run_or_it_is_said_why_not(row, alert):
    run = any(meant(each.row) == [row] and each.alert == alert for each in EXPECTED)
    assert run != any(meant(each) == [row] for each in NOT_RUN)


def test_what_is_run_stands_in_the_table():
    lacking = {
        (each.row, each.alert)
        for each in EXPECTED
        if not any([row] == meant(each.row) and each.alert == alert for row, alert in NAMED)
    }
    assert lacking == set()
    assert not [each for each in NOT_RUN if len(meant(each)) != 1]


def test_no_neighbour_makes_an_alert_begin_anew():
    """One that looks back 15 minutes ended late, since workers counted its dead letters again."""
    for chapter in CHAPTERS:
        faults = [fault for turn in chapter.turns for fault in turn]
        assert not (any(f.counts_again for f in faults) and any(f.remembered for f in faults))
    assert any(f.counts_again for c in CHAPTERS for turn in c.turns for f in turn)
