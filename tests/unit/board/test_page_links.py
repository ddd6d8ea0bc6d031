"""The page links to what the settings name, and to nothing else."""

from __future__ import annotations

import json
from importlib import resources

from support.operator_files import DASHBOARDS

from streams.board.page_links import DASHBOARD, PLACE, with_links

PAGE = resources.files("streams.board").joinpath("static", "index.html").read_bytes()


def test_the_page_has_one_place_for_its_links():
    assert PAGE.count(PLACE) == 1
    made = with_links(PAGE, grafana="https://g.example/sub", runbook="https://wiki.example/a&b")
    assert b'href="https://g.example/sub/d/ecindex-index"' in made
    assert b'href="https://wiki.example/a&amp;b"' in made


def test_without_settings_there_is_no_link():
    made = with_links(PAGE, grafana=None, runbook=None)
    assert made == PAGE.replace(PLACE, b"")


def test_the_dashboard_is_there():
    uids = {json.loads(path.read_text())["uid"] for path in DASHBOARDS}
    assert DASHBOARD.removeprefix("/d/") in uids
