"""examples/: what is in JavaScript and Go, with the same events as the Python programs."""

from __future__ import annotations

import re
import shutil
import sys

import pytest
from support.examples import ORDERS_1M, PYTHON, Examples, check_reader, check_unreachable

pytestmark = [pytest.mark.stack, pytest.mark.deep, pytest.mark.slow]

HAS_NODE = all(shutil.which(tool) for tool in ("node", "npm"))
HAS_GO = shutil.which("go") is not None
needs_node = pytest.mark.skipif(not HAS_NODE, reason="node and npm are not on PATH")
needs_go = pytest.mark.skipif(not HAS_GO, reason="go is not on PATH")

PYTHON_PRODUCER = (sys.executable, "examples/python/producer.py")
NODE_PRODUCER = ("node", "examples/javascript/producer.js")
READERS = {
    "javascript": ("node", "examples/javascript/reader.js"),
    "go": ("examples/go/reader",),
}
LANGUAGES = [pytest.param("javascript", marks=needs_node), pytest.param("go", marks=needs_go)]


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    examples = Examples(tmp_path_factory.mktemp("examples"))
    for needed, build in (
        (HAS_NODE, "npm ci --prefix examples/javascript --no-audit --no-fund"),
        (HAS_GO, "go -C examples/go vet ."),
        (HAS_GO, "go -C examples/go build -o reader ."),
    ):
        if needed:
            built = examples.run(*build.split())
            assert built.code == 0, built.err
    yield examples
    examples.close()


@pytest.fixture(scope="module")
def answers(examples):
    """What every reader says of 20 orders from each producer; everything was sent twice."""
    examples.cover_the_last_minute()
    producers = [PYTHON_PRODUCER, *([NODE_PRODUCER] if HAS_NODE else [])]
    sent = [
        examples.send(*producer, shop=f"shop{number}") for number, producer in enumerate(producers)
    ]
    assert all(each.code == 0 for each in sent), sent
    for producer, first in zip(reversed(producers), sent, strict=True):
        same = re.search(r"again: (.*)$", first.out)[1].split()
        assert examples.run(*producer, *same).code == 0, "the other language repeats it"
    expected = 20 * len(producers)
    examples.read_until(expected, *PYTHON["streams.reader"])
    built = [name for name, there in (("javascript", HAS_NODE), ("go", HAS_GO)) if there]
    readers = PYTHON | {name: READERS[name] for name in built}
    return expected, {name: examples.run(*reader, "HOME") for name, reader in readers.items()}


@needs_node
def test_what_two_languages_sent_twice_counts_once(answers):
    _, answer = answers
    for name in PYTHON:
        assert answer[name].out.startswith(f"HOME {ORDERS_1M} = 40 (ok, ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_reader_reads_what_was_sent(answers, language):
    expected, answer = answers
    assert answer[language].out.startswith(f"HOME {ORDERS_1M} = {expected} (ok, ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_reader_knows_what_is_unknown(examples, language):
    check_reader(examples, *READERS[language])


@needs_node
def test_the_producer_says_that_kafka_is_away(examples):
    check_unreachable(examples, *NODE_PRODUCER)
