"""Makes table rows of published values, in a stable order, and the table's citation. No IO."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from streams.index.values import Value, decimal

COLUMNS = (
    "market",
    "day",
    "window",
    "index",
    "dimension",
    "member",
    "value",
    "unit",
    "observed",
    "expected",
    "lower",
    "upper",
    "n",
    "covered",
    "status",
    "phase",
    "vintage",
    "revision",
    "cause",
    "edition",
    "as_of",
    "definitions",
)
"""Order of the columns (docs/contract.md); new ones are added at the end."""

RevisionKey = tuple[str, str, int]
"""(key, as_of, revision) of a revised value."""


class TableRow(NamedTuple):
    """A published value, and why it was last revised (None: never, or no longer known)."""

    value: Value
    cause: str | None


def revision_key(value: Value) -> RevisionKey:
    """Return the key by which the journal's revisions are found."""
    return value.key, value.as_of, value.revision


def rows_of(values: Iterable[Value], causes: Mapping[RevisionKey, str]) -> list[TableRow]:
    """Return rows, sorted by market, day, window, index, dimension and member."""
    return [
        TableRow(value, causes.get(revision_key(value)) if value.revision else None)
        for value in sorted(values, key=_order)
    ]


def _order(value: Value) -> tuple[str, ...]:
    return (
        value.market,
        value.day or "",
        value.window,
        value.index,
        value.dimension,
        value.member,
    )


def cell(row: TableRow, column: str) -> Any:
    """Return the content of a row in a column; None: empty."""
    found = row.cause if column == "cause" else getattr(row.value, column)
    return None if found is msgspec.UNSET else found


def text(value: Any) -> str:
    """Return a cell as text: plain decimals without an exponent, as everywhere in the contract.

    >>> text(None), text(12), text(0.5), text(1e-7), text("ok")
    ('', '12', '0.5', '0.0000001', 'ok')
    """
    if value is None:
        return ""
    return value if isinstance(value, str) else decimal(value)


class Citation(NamedTuple):
    """Where a table comes from, and how to cite it."""

    what: str
    edition: str
    methodology: str
    """Start of the hash of methodology.toml."""
    markets: tuple[str, ...]
    days: tuple[str, str] | None
    as_of: str | None
    """The newest ``as_of`` of its values."""
    exported_at: str
    source: str
    left_out: int = 0
    """Records that could not be read, so that the table lacks them."""

    @property
    def line(self) -> str:
        """The citation as one line of text."""
        missing = (
            f"; incomplete, {self.left_out} records could not be read" if self.left_out else ""
        )
        span = "" if self.days is None else f" of {self.days[0]} to {self.days[1]}"
        return (
            f"How to cite: ecindex, edition {self.edition} (methodology {self.methodology}), "
            f"{self.what}{span}, {' '.join(self.markets) or 'no market'}, "
            f"as of {self.as_of or 'never'}; exported {self.exported_at} from {self.source}{missing}."
        )


def cite(
    what: str,
    rows: list[TableRow],
    *,
    methodology: str,
    exported_at: str,
    source: str,
    left_out: int = 0,
) -> Citation:
    """Make the citation of rows. ``left_out``: number of records without a row, as unreadable."""
    values = [row.value for row in rows]
    days = [value.day for value in values if value.day is not None]
    editions = sorted({value.edition for value in values})
    return Citation(
        what=what,
        edition=", ".join(map(str, editions)) or "none",
        methodology=methodology,
        markets=tuple(sorted({value.market for value in values})),
        days=(min(days), max(days)) if days else None,
        as_of=max((value.as_of for value in values), default=None),
        exported_at=exported_at,
        source=source,
        left_out=left_out,
    )
