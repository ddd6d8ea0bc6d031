"""What ``definitions diff``, ``history`` and ``propose`` print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.index.definition_changes import APPEARS, RENAMED, VANISHES, MemberChange
from streams.index.shown_text import one_line
from streams.operate.defining import DefinitionsDiff, HistoryLine
from streams.operate.proposing import ProposedLabel

_SHOWN_MAX = 200


def diff_lines(diff: DefinitionsDiff) -> Iterator[str]:
    """Yield a line for each change, and for each stretch of labels that goes to another member."""
    yield (
        f"{diff.market}: against version {diff.version}; {diff.orders:,} orders in the last "
        f"{diff.days} days"
    )
    if not diff.changes:
        yield "  nothing changes"
    for change in diff.changes:
        yield f"  {change.dimension} {shown(change.member)}: {_what(change)}"
        for move in change.moves:
            if move.to_member == change.member:
                way = f"from {shown(move.from_member)}"
            else:
                way = f"to {shown(move.to_member)}"
            labels = f"{move.labels} label" + ("s" if move.labels > 1 else "")
            yield f"    {labels} {way}, {move.orders:,} orders"


def _what(change: MemberChange) -> str:
    before, after = f"{change.orders_before:,}", f"{change.orders_after:,}"
    fields = f", another {' and '.join(change.fields)}" if change.fields else ""
    if change.kind == APPEARS:
        return f"appears, {after} orders"
    if change.kind == VANISHES:
        return f"vanishes, {before} orders"
    orders = f"{before} orders" if before == after else f"{before} -> {after} orders"
    if change.kind == RENAMED:
        return f"was {shown(change.before)}, {orders}{fields}"
    return f"{orders}{fields}"


def history_lines(code: str, lines: Iterable[HistoryLine]) -> Iterator[str]:
    """Yield a line for each record, the oldest first."""
    none = True
    for each in lines:
        none = False
        if each.base is None:
            yield f"{code} {each.version}  {each.state}: {shown(each.reason)}"
        else:
            by, reason = shown(each.by), shown(each.reason)
            yield f"{code} {each.version}  {each.state}  upon {each.base}, {each.at}, {by}: {reason}"
    if none:
        yield f"{code}: the methodology's definitions, version 0"


def proposed_lines(code: str, labels: Iterable[ProposedLabel]) -> Iterator[str]:
    """Yield a line for each label that no member has, the largest first."""
    none = True
    for each in labels:
        none = False
        likely = f"  like {shown(each.member)} ({each.likeness} %)" if each.member else ""
        yield f"{code} {each.dimension}  {each.orders:,} orders  {shown(each.label)!r}{likely}"
    if none:
        yield f"{code}: every label of the last days has a member"


def shown(text: str) -> str:
    """Return a text of somebody else's as a terminal may show it."""
    return one_line(text, _SHOWN_MAX)
