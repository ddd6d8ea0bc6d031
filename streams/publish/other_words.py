"""What `other` is made of, in words: the same on the page, in `show` and by `doctor`.

Labels are whatever a shop has sent.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.index.shown_text import one_line
from streams.publish.other_records import OthersOfDimension

LABEL_CHARACTERS = 40
_HEAD_CHARACTERS = 100


class OtherWords(NamedTuple):
    """One dimension of a day. ``labels``: the largest undeclared ones and their counts, as text."""

    head: str
    labels: list[tuple[str, str]]
    rest: str

    @property
    def line(self) -> str:
        """Return all of it as one line."""
        labels = [f"{label} {count}" for label, count in self.labels]
        return f"{self.head}: {', '.join([*labels, *([self.rest] if self.rest else [])])}"


def share(part: int, of: OthersOfDimension) -> float:
    """Return a part of all orders, or payments, of the day; 0 where there are none."""
    return part / of.total if of.total else 0.0


def say_others(of: OthersOfDimension, day: str, most: int) -> OtherWords:
    """Say what `other` of a dimension is made of, with at most ``most`` labels.

    >>> from streams.publish.other_records import PublishedLabel
    >>> gnomes = [PublishedLabel("garden gnomes", 300), PublishedLabel("pet food", 41)]
    >>> found = OthersOfDimension("category", "orders", 2_419, 380, 375, 5, 0, 0, 7, gnomes)
    >>> say_others(found, "2026-11-27", 1).line
    'category 15.7 % of 2,419 orders on 2026-11-27: garden gnomes 300, 6 more labels, without room 5'
    """
    shown = of.largest[:most]
    left = of.labels - len(shown)
    rest = [
        f"{left:,} more label{'s' if left != 1 else ''}" if left else "",
        f"without room {of.more:,}" if of.more else "",
        f"unnamed {of.unnamed:,}" if of.unnamed and of.unnamed_is_other else "",
    ]
    part = 100 * share(of.other, of)
    return OtherWords(
        one_line(
            f"{of.dimension} {part:.1f} % of {of.total:,} {of.counted} on {day}", _HEAD_CHARACTERS
        ),
        [(one_line(each.label, LABEL_CHARACTERS), f"{each.count:,}") for each in shown],
        ", ".join(filter(None, rest)),
    )
