"""Stub until the branch labeltext is merged."""

from __future__ import annotations

from streams.index.slugs import slug

ABSENT, MORE = "", "\0"


def label_of(text: str) -> str:
    return slug(text)
