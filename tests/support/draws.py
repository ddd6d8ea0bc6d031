"""The number of examples that hypothesis draws: all with ``--deep``, a fifth in a plain run."""

from __future__ import annotations

from hypothesis import settings

ALL = 100
settings.register_profile("deep", max_examples=ALL, deadline=None)
settings.register_profile("plain", max_examples=ALL // 5, deadline=None)


def examples(count):
    """Settings of a test that needs another number than 100."""
    return settings(max_examples=max(4, count * settings.default.max_examples // ALL))
