"""CHANGELOG.md is ordered by release, and the newest release is the version of the project."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CHANGELOG.md").read_text()
RELEASES = re.findall(r"^## \[(.*?)\](?: - (.*))?$", TEXT, re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_newest_release_is_the_version_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert RELEASES[0] == ("Unreleased", "")
    assert RELEASES[1][0] == project["version"]


def test_releases_have_a_date_and_go_back_in_time():
    dates = [date.fromisoformat(day) for _, day in RELEASES[1:]]
    assert dates == sorted(dates, reverse=True)


def test_what_changed_is_sorted_by_kind():
    assert set(re.findall(r"^### (.*)$", TEXT, re.MULTILINE)) <= KINDS
