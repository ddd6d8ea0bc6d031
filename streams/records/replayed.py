"""Marks in the dead-letter topic: a letter that was sent to its topic again."""

from __future__ import annotations

REPLAYED_AS = "replayed_as"
"""Header of a mark: where the copy of the letter lies, ``topic-partition@offset``."""
