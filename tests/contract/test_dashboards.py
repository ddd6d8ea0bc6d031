"""Grafana's dashboards: the committed JSON is what the code makes, and keeps the rules of good ones.

The rules are those of Grafana's dashboard-linter that matter here, and some of our own. Two of its rules
are left out: a matcher of ``job`` and of ``instance`` in every query. Recorded series have neither,
since each is one series of all workers; what is not recorded selects the job ``ecindex``.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml
from support.operator_files import CONFIG, DASHBOARDS, ROOT, rules

from tools.dashboards import FOLDER, rendered
from tools.dashboards.panels import PROVISIONED

SOURCE = "${datasource}"
UNITS = {"none", "short", "s", "percentunit", "bytes", "cps", "eps"}
"""Those that we use, by Grafana's names. A unit that it does not know is printed as a suffix."""
OWN = {"__rate_interval", "__range", "__url_time_range", "__field"}
"""Variables that Grafana sets."""
MANY = re.compile(
    r"category_window|region_window|method_window|dimension_member|topic_partition"
    r"|ecindex_refused_ratio"
)
"""Series by member or by partition: there may be hundreds."""
BOUNDED = re.compile(
    r"(top|bottom)k\(\d+,"  # so many
    r"|^(count|sum|max)\("  # one
    r'|category="\$category"'  # the chosen one
    r"|_direction:m\w+\{[^}]*\} [<>] 0"  # those with a shift
)
LABEL = re.compile(r"\{\{(\w+)\}\}")

BOARDS = {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}
PANELS = [panel for board in BOARDS.values() for panel in board["panels"] if panel["type"] != "row"]
boards = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
TARGETS = [target for panel in PANELS for target in panel["targets"]]


def variables(board):
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def variables_of(text):
    """Names of the variables in a text: $a, ${a}, ${a:queryparam}, ${__field.labels.x}."""
    return {
        name or braced
        for name, braced in re.findall(r"\$(?:(\w+)|\{(\w+)[^}]*\})", json.dumps(text))
    }


def links(found):
    """Every link below a part of a dashboard."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key == "links" or (found.get("id") == "links" and key == "value"):
                yield from value
            else:
                yield from links(value)
    elif isinstance(found, list):
        for each in found:
            yield from links(each)


def test_the_committed_files_are_what_the_code_makes():
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == rendered(), (
        "run: uv run poe dashboards"
    )


@boards
def test_the_reader_chooses_the_data_source_and_everything_asks_it(board):
    provisioned = yaml.safe_load(
        (CONFIG / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    (chosen,) = [each for each in variables(board).values() if each["type"] == "datasource"]
    assert (chosen["name"], chosen["label"]) == ("datasource", "Data source")
    assert chosen["query"] == "prometheus"
    assert chosen["current"]["value"] == PROVISIONED
    assert PROVISIONED in {source["uid"] for source in provisioned["datasources"]}
    asked = [
        *(panel for panel in board["panels"] if panel["type"] != "row"),
        *(target for panel in board["panels"] for target in panel.get("targets", ())),
        *(each for each in variables(board).values() if each is not chosen),
        *board["annotations"]["list"],
    ]
    assert {each["datasource"]["uid"] for each in asked} == {SOURCE}


@boards
def test_a_dashboard_is_not_edited_in_grafana_and_its_variables_follow_the_time(board):
    assert board["editable"] is False
    assert board["title"]
    assert board["description"]
    queried = [each for each in variables(board).values() if each["type"] == "query"]
    assert {each["refresh"] for each in queried} == {2}
    assert all(re.fullmatch(r"label_values\(.+, \w+\)", each["query"]) for each in queried)


@boards
def test_ids_and_titles_are_of_one_panel_and_no_two_overlap(board):
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in board["panels"] if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(x < 24 for x, _ in cells)


def test_a_panel_says_what_it_shows_and_in_which_unit():
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS
        money = "sales_minor" in json.dumps(panel) or "sales_expected_minor" in json.dumps(panel)
        if money:
            assert "$currency" in panel["title"]
            assert all("ecindex_currency_minor_units" in each["expr"] for each in panel["targets"])
            assert "minor" not in panel["title"]


def test_each_series_has_a_name_of_its_own_and_charts_a_legend():
    for panel in PANELS:
        named = [target["legendFormat"] for target in panel["targets"]]
        assert all(named)
        assert "__auto" not in named
        assert len(set(named)) == len(named)
        if panel["type"] in {"timeseries", "status-history", "state-timeline"}:
            assert panel["options"]["legend"]["showLegend"] is True
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["displayMode"] == "table"
            assert "lastNotNull" in panel["options"]["legend"]["calcs"]


def test_counters_and_histograms_are_read_as_such():
    for target in TARGETS:
        expr = target["expr"]
        counted = len(re.findall(r"_total\b", expr))
        assert counted == len(re.findall(r"(?:rate|increase)\(\w+_total(?:\{[^}]*\})?\[", expr))
        assert set(re.findall(r"\brate\([^[]+\[([^]]+)\]", expr)) <= {"$__rate_interval"}
        if "_bucket" in expr:
            assert re.match(r"histogram_quantile\(.+ by \(.*\ble\b", expr)


def test_a_panel_draws_few_series_however_many_members_a_market_has():
    for target in TARGETS:
        expr = target["expr"]
        if MANY.search(expr):
            assert BOUNDED.search(expr), expr
        if target.get("range") and "topk(" in expr:
            assert "@ end()" in expr or "refused_ratio" in expr, "lines would come and go"


def test_nothing_draws_a_band_of_its_own():
    """A second idea of what is usual, beside the published one, contradicted the page."""
    for panel in PANELS:
        shown = {target["legendFormat"]: target["expr"] for target in panel["targets"]}
        assert "sqrt" not in json.dumps(shown)
        for which in {"lower", "upper"} & set(shown):
            assert "_band" in shown[which]
            assert f'bound="{which}"' in shown[which]


@boards
def test_every_variable_that_is_used_is_there_and_the_other_way_round(board):
    known = set(variables(board))
    used = variables_of(
        {**board, "templating": [each["query"] for each in variables(board).values()]}
    )
    assert used - OWN == known


@boards
def test_every_link_leads_somewhere(board):
    headings = {
        heading.lower()
        for heading in re.findall(
            r"^### (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE
        )
    }
    known = {each["uid"]: each for each in BOARDS.values()}
    found = list(links(board))
    assert found
    for link in found:
        url = link.get("url", "")
        if link.get("type") == "dashboards":
            assert link["keepTime"]
            assert set(link["tags"]) <= set(board["tags"])
        elif url.startswith("${runbook}"):
            assert url.removeprefix("${runbook}#") in headings
        elif url.startswith("/d/"):
            path, _, query = url.partition("?")
            to = known[path.removeprefix("/d/")]
            assert set(re.findall(r"var-(\w+)=", query)) <= set(variables(to))
        else:
            label = re.match(r"\$\{__field\.labels\.(\w+)\}", url)[1]
            assert label in {"board", "runbook"}, url


def test_every_alert_has_a_panel_that_leads_to_its_instructions():
    linked = {
        link["url"].partition("#")[2]
        for board in BOARDS.values()
        for link in links(board)
        if "url" in link
    }
    assert {rule["alert"].lower() for rule in rules("alerts")} <= linked


def test_every_panel_that_the_runbook_names_is_there():
    titles = {panel["title"] for board in BOARDS.values() for panel in board["panels"]}
    titles |= {board["title"] for board in BOARDS.values()}
    text = (ROOT / "docs/runbook.md").read_text()
    named = set()
    for found in re.findall(r"\*\*Look at\*\*(.+?)(?:\n\n|\*\*Do)", text, re.DOTALL):
        named |= {" ".join(name.split()) for name in re.findall(r'"([A-Z][^"]+)"', found)}
    assert len(named) > 5
    assert named <= titles
