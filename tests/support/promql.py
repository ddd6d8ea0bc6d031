"""Finds the metrics that a PromQL expression reads. No parser, but enough for our own expressions."""

from __future__ import annotations

import re

_WORDS = {"and", "or", "unless", "bool", "offset", "by", "on", "without", "ignoring"}
_WORDS |= {"group_left", "group_right"}
_LEFT_OUT = (
    r"""(?:"[^"]*"|'[^']*')""",  # strings
    r"\{[^}]*\}",  # matchers
    r"\[[^]]*\]",  # ranges
    r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)",  # labels
    r"\boffset\s+\w+",
)


def metric_names(expr: str) -> set[str]:
    """Names of the series that ``expr`` reads."""
    for pattern in _LEFT_OUT:
        expr = re.sub(pattern, " ", expr)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\b(?!\s*\()", expr)
    return set(found) - _WORDS


def declared_name(name: str) -> str:
    """Name of the metric that a series belongs to, which may be one of a histogram's."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def underlying(name: str) -> str:
    """Metric that a series is recorded from: ``ecindex_orders`` for ``market:ecindex_orders:max``."""
    return name.split(":")[1] if ":" in name else declared_name(name)
