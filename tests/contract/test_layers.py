"""The layers of pyproject.toml keep what they promise: a planted fault breaks each of them."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from collections import Counter

import pytest
from support.flow_harness import ROOT
from support.prose import parsed

STREAMS = ROOT / "streams"
LINT = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
SHARE_MAX = 0.20
NOT_PRODUCTION = ("streams.demo", "streams.shops", "streams.bench", "streams.local")
TRIES = {
    "run_commands.py": {"run_demo", "up"},
    "send_commands.py": {"simulate"},
    "bench_commands.py": {"bench_fold", "bench_board", "bench_shifts", "bench_chaos"},
}
"""Commands that are not of production; the layers cannot tell them from others in the same file."""


def contracts(kind):
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [each for each in config["tool"]["importlinter"]["contracts"] if each["type"] == kind]


def linted(directory):
    """(exit code, output) of import-linter on the copy in ``directory``."""
    done = subprocess.run(
        [sys.executable, "-c", LINT], cwd=directory, capture_output=True, text=True, check=False
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())  # as wide as it may be


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The package and its configuration, beside no tests."""
    found = tmp_path_factory.mktemp("layers")
    shutil.copytree(
        STREAMS, found / "streams", ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    shutil.copy(ROOT / "pyproject.toml", found)
    return found


def test_the_copy_as_it_is_keeps_every_contract(copy):
    code, output = linted(copy)
    assert code == 0, output


@pytest.mark.parametrize(
    ("where", "planted", "broken"),
    [
        (
            "operate/worker_process.py",
            "from streams.demo import demo",
            "What runs in production imports no demo, simulated shops, benches or local servers",
        ),
        (
            "translate/paths.py",
            "import time",
            "translate is pure: no IO, no clock, no environment, no framework",
        ),
        (
            "proof/explain/terms.py",
            "from streams.proof.audit import report",
            "Layers of proof: the second implementation below explain, explain below audit",
        ),
        (
            "proof/notes.py",
            '"""A part of proof that no layer names."""',
            "Layers of proof: the second implementation below explain, explain below audit",
        ),
        (
            "attic/__init__.py",
            '"""A room that no layer names."""',
            "Layers: each module imports only from below",
        ),
    ],
)
def test_a_planted_fault_breaks_the_contract_that_forbids_it(copy, where, planted, broken):
    path = copy / "streams" / where
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{planted}\n")
    try:
        code, output = linted(copy)
    finally:
        if before is not None:
            path.write_text(before)
        elif path.parent == copy / "streams" / "attic":
            shutil.rmtree(path.parent)
        else:
            path.unlink()
    assert code == 1, output
    assert f"{broken} BROKEN" in output


def test_every_layers_contract_is_exhaustive():
    layers = contracts("layers")
    assert {each for contract in layers for each in contract["containers"]} >= {"streams"}
    assert all(contract["exhaustive"] for contract in layers)


def test_every_room_is_named_where_production_is_separated_from_the_rest():
    (production,) = [each for each in contracts("forbidden") if "streams.demo" in str(each)][-1:]
    named = {*production["source_modules"], *production["forbidden_modules"], "streams.cli"}
    rooms = {f"streams.{path.stem}" for path in STREAMS.iterdir() if not path.name.startswith("_")}
    assert named == rooms


def test_no_room_holds_more_than_a_fifth_of_the_lines():
    lines = Counter()
    for path in STREAMS.rglob("*"):
        if path.suffix in (".py", ".pyx"):
            room = path.relative_to(STREAMS).parts[0]
            lines[room] += len(path.read_text().splitlines())
    shares = {room: count / lines.total() for room, count in lines.most_common(3)}
    assert max(shares.values()) <= SHARE_MAX, shares


def outside_production(text):
    """(command or nothing, module) of each import of demo, simulated shops, benches or local servers.

    Those for types alone are left out.
    """
    found = set()
    for each in parsed(text).body:
        if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING":
            continue
        command = each.name if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) else ""
        for node in ast.walk(each):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            rooms = {".".join(name.split(".")[:2]) for name in names}
            found |= {(command, room) for room in rooms if room in NOT_PRODUCTION}
    return found


def test_a_production_command_imports_no_demo_shops_benches_or_local_servers():
    for path in sorted((STREAMS / "cli").glob("*.py")):
        commands = {command for command, _ in outside_production(path.read_text())}
        assert commands == TRIES.get(path.name, set()), path.name


@pytest.mark.parametrize(
    "planted",
    [
        "def show():\n    from streams.demo.demo import demo",
        "def show():\n    from streams import demo",
        "def show():\n    import streams.demo.demo as d",
        "def show():\n    def inner():\n        from streams.demo import demo",
        "async def show():\n    from streams.demo import demo",
    ],
)
def test_an_import_of_the_demo_in_a_command_is_found(planted):
    assert outside_production(planted) == {("show", "streams.demo")}
    assert outside_production("from streams.demo import demo") == {("", "streams.demo")}
