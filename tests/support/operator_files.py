"""The files that config/ gives to Prometheus, Alertmanager and Grafana, parsed for tests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
DASHBOARDS = sorted((CONFIG / "grafana" / "dashboards").glob("*.json"))


def rules(name):
    """Rules of a file in config/prometheus/, in order."""
    document = yaml.safe_load((CONFIG / "prometheus" / f"{name}.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def template_queries(text):
    """PromQL queries in an annotation's template."""
    return re.findall(r'(?:printf|query) "([^"%][^"]*)"', text)


def alert_exprs():
    """Every expression of an alert, those of its annotations included."""
    for alert in rules("alerts"):
        yield alert["alert"], alert["expr"]
        for text in alert["annotations"].values():
            for query in template_queries(text):
                yield alert["alert"], query


def panels():
    """(title of the dashboard and the panel, target) of each query of each panel."""
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{dashboard['title']}: {panel['title']} {target['refId']}", target


def variables():
    """(name, series selector, label) of each variable but the data source."""
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text()).get("templating", {}).get("list", ()):
            if variable["type"] == "datasource":
                continue
            series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
            yield variable["name"], series, label


def annotations():
    for path in DASHBOARDS:
        for annotation in json.loads(path.read_text()).get("annotations", {}).get("list", ()):
            yield annotation["name"], annotation["expr"]
