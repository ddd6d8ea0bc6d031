"""The reference reads the methodology with its own eyes, and sees what streams/ sees."""

from __future__ import annotations

from support.methodologies import DEMO
from support.reference import Rules

from streams.index import methodology


def test_two_readers_of_the_methodology_agree():
    path = DEMO
    assert Rules.read(path) == Rules.of(methodology.parse(path.read_text(encoding="utf-8")))
