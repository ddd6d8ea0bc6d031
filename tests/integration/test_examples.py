"""examples/: what is in Python, and that the README names what is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from support.examples import (
    ORDERS_1M,
    PYTHON,
    README,
    ROOT,
    Examples,
    check_reader,
    check_unreachable,
)

from streams.settings import load_settings

pytestmark = pytest.mark.stack

PRODUCER = (sys.executable, "examples/python/producer.py")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    examples = Examples(tmp_path_factory.mktemp("examples"))
    yield examples
    examples.close()


def test_orders_are_read_as_many_as_were_sent_however_often(examples):
    examples.cover_the_last_minute()
    sent = examples.send(*PRODUCER, shop="a")
    assert sent.code == 0, sent.err
    same = re.search(r"again: (.*)$", sent.out)[1].split()
    assert examples.run(*PRODUCER, *same).code == 0

    first, second = (examples.read_until(20, *reader) for reader in PYTHON.values())

    assert first.out.startswith(f"HOME {ORDERS_1M} = 20 (ok, ")
    assert second.out.startswith(f"HOME {ORDERS_1M} = 20 (ok, ")


def test_their_index_is_a_fresh_installation(examples):
    started = load_settings(examples.directory / "try/ecindex.toml")
    assert started.methodology == ROOT / "config/methodology.toml"


@pytest.mark.parametrize("reader", PYTHON.values(), ids=PYTHON)
def test_a_reader_knows_what_is_unknown(examples, reader):
    check_reader(examples, *reader)


def test_a_producer_says_that_kafka_is_away(examples):
    check_unreachable(examples, *PRODUCER)


def test_every_program_is_in_the_readme_and_every_one_named_is_there():
    there = {
        str(path.relative_to(ROOT / "examples"))
        for path in (ROOT / "examples").glob("*/*.*")
        if path.suffix in {".py", ".js", ".go"}
    }
    linked = set(re.findall(r"^\| \[(.*?)\]\(\1\)", README, re.MULTILINE))
    typed = set(re.findall(r"examples/(\w+/\w+\.(?:py|js))", README))
    assert linked == there
    assert typed == {path for path in there if not path.endswith(".go")}


def test_versions_are_pinned_without_addresses():
    package = json.loads((ROOT / "examples/javascript/package.json").read_text())
    lock = (ROOT / "examples/javascript/package-lock.json").read_text()
    packages = json.loads(lock)["packages"]
    for name, version in package["dependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert packages[f"node_modules/{name}"]["version"] == version
    assert all("integrity" in held for name, held in packages.items() if name)
    assert "resolved" not in lock
    assert "://" not in lock
    go_mod = (ROOT / "examples/go/go.mod").read_text()
    assert re.search(r"go-redis/v9 v\d+\.\d+\.\d+$", go_mod, re.MULTILINE)


def test_what_other_languages_build_is_ignored():
    ignored = subprocess.run(
        ["git", "check-ignore", "examples/javascript/node_modules/x", "examples/go/reader"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert len(ignored.stdout.splitlines()) == 2, ignored.stderr
