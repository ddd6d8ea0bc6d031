"""Declared = used = documented: a metric named in one place and not in the others fails here.

That it is also exported is asked of real workers: tests/integration/test_monitoring.py.
"""

from __future__ import annotations

import re

import pytest
from support.operator_files import ROOT, alert_exprs, annotations, panels, rules, variables
from support.promql import declared_name, metric_names, underlying

from streams.publish.metric_table import ALL, DOOR, NOTIFY, PROCESS, TRANSLATOR

DECLARED = {spec.full_name for spec in ALL + NOTIFY + DOOR + TRANSLATOR}
RECORDED = {rule["record"]: rule["expr"] for rule in rules("rules")}
PROMETHEUS_OWN = {"up", "ALERTS"}
NO_METRIC = {"ecindex_replay_of"}  # a header of a replayed dead letter
KNOWN = DECLARED | set(RECORDED) | set(PROCESS) | PROMETHEUS_OWN

USES = [
    *(("rule " + name, expr) for name, expr in RECORDED.items()),
    *(("alert " + name, expr) for name, expr in alert_exprs()),
    *((title, target["expr"]) for title, target in panels()),
    *((f"variable {name}", series) for name, series, _label in variables()),
    *((f"annotation {name}", expr) for name, expr in annotations()),
]


@pytest.mark.parametrize(("where", "expr"), USES)
def test_no_query_reads_an_unknown_name(where, expr):
    found = {name if ":" in name else declared_name(name) for name in metric_names(expr)}
    assert found
    assert found <= KNOWN, where


def test_every_declared_metric_is_used():
    used = {underlying(name) for _where, expr in USES for name in metric_names(expr)}
    assert DECLARED - used == set()


def test_every_recorded_series_is_used():
    used = {name for _where, expr in USES for name in metric_names(expr)}
    assert set(RECORDED) - used == set()


def test_the_contract_names_the_declared_metrics_and_no_other():
    text = (ROOT / "docs" / "contract.md").read_text()
    assert set(re.findall(r"^\| `(ecindex_\w+)` \|", text, re.MULTILINE)) == DECLARED
    documents = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    named = {
        name
        for path in documents
        for name in re.findall(r"`(ecindex_[a-z_]+)`?(?![:.\w-])", path.read_text())
    }
    assert {declared_name(name) for name in named} - NO_METRIC <= DECLARED


def test_names_are_found_in_an_expression():
    expr = (
        'sum by (le) (rate(a_bucket{x="b c"}[5m] offset 1h)) / on (market) group_left (y) r:b:max '
        "unless z > 2 and absent(up{job='e'} == 1)"
    )
    assert metric_names(expr) == {"a_bucket", "r:b:max", "z", "up"}
