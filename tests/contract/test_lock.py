"""requirements.lock pins what pyproject.toml asks for, by hash, and names no registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DIRECT = [
    Requirement(text)
    for text in (
        *PROJECT["project"]["dependencies"],
        *(line for lines in PROJECT["project"]["optional-dependencies"].values() for line in lines),
        *PROJECT["dependency-groups"]["dev"],
    )
]


def pinned():
    """Versions by name; a name may have one a marker."""
    versions = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", LOCK, re.MULTILINE):
        versions.setdefault(name, []).append(version)
    return versions


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_each_direct_dependency_is_pinned_within_its_range(requirement):
    name = canonicalize_name(requirement.name)
    if name == "ecindex":
        return
    versions = pinned().get(name)
    assert versions, f"{name} is not in requirements.lock; run: uv run poe lock"
    assert all(version in requirement.specifier for version in versions), "run: uv run poe lock"


def test_every_pin_has_a_hash_and_no_line_an_address():
    pins = len(re.findall(r"^[a-z0-9._-]+==.*\\$", LOCK, re.MULTILINE))
    assert pins == sum(len(versions) for versions in pinned().values())
    assert not re.search(r"://|^ *--(index|extra-index|find-links|trusted)", LOCK, re.MULTILINE)
