"""Grafana's dashboards: the committed JSON is what the code makes."""

from __future__ import annotations

import json

import yaml
from support.operator_files import CONFIG, DASHBOARDS

from tools.dashboards import FOLDER, rendered
from tools.dashboards.panels import SOURCE


def test_the_committed_files_are_what_the_code_makes():
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == rendered(), (
        "run: uv run poe dashboards"
    )


def test_every_query_names_the_provisioned_data_source():
    provisioned = yaml.safe_load(
        (CONFIG / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    assert SOURCE.uid in {source["uid"] for source in provisioned["datasources"]}
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        asked = [
            *(target for panel in dashboard["panels"] for target in panel.get("targets", ())),
            *dashboard.get("templating", {}).get("list", ()),
            *dashboard.get("annotations", {}).get("list", ()),
        ]
        assert asked
        assert {query["datasource"]["uid"] for query in asked} == {SOURCE.uid}


def test_no_two_panels_have_one_id():
    for path in DASHBOARDS:
        ids = [panel["id"] for panel in json.loads(path.read_text())["panels"]]
        assert len(set(ids)) == len(ids)
