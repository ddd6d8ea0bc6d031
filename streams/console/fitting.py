"""Tables and headlines that fit a terminal of any size: no number and no name is ever cut.

Rich shortens what does not fit to "6,405…". A number that lost its digits looks like another number. So
heads are wrapped first, then columns move together, then whole columns are left out, and it is said
which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

NAME_MIN = 12
"""Narrowest column of names in cells, of which a wide letter takes two. Longer names go on below."""
_GAPS = (2, 1)


class Column(NamedTuple):
    """A column of numbers. ``rank`` 0: never left out; of the others the highest goes first."""

    head: str
    cells: Sequence[str]
    rank: int = 0


class _Fit(NamedTuple):
    columns: list[Column]
    heads: list[str]
    names_width: int
    gap: int


class FittedTable:
    """Names at the left, columns of numbers beside them; drawn for the width that there is."""

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        columns: Sequence[Column],
        *,
        more: str = "",
        styles: Sequence[str | None] = (),
    ) -> None:
        """``more``: a last line, for rows that are not shown. ``styles``: of the rows."""
        self._name = name
        self._names = names
        self._names_width = max(map(cell_len, (name, *names)))
        self._columns = columns
        self._more = more
        self._styles = styles

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield the table, and a line that names what was left out."""
        fit = self._fit(options.max_width)
        table = Table(box=None, pad_edge=False, padding=(0, fit.gap, 0, 0))
        table.add_column(self._name, overflow="fold", max_width=fit.names_width)
        for head in fit.heads:
            table.add_column(head, justify="right", overflow="fold")
        for at, name in enumerate(self._names):
            # Text: a name in brackets is no markup.
            cells = (Text(column.cells[at]) for column in fit.columns)
            style = self._styles[at] if self._styles else None
            table.add_row(Text(name), *cells, style=style)
        yield table
        if self._more:
            yield Text(self._more, style="dim")
        if left_out := [each.head for each in self._columns if each not in fit.columns]:
            needed = self._needed(self._columns) + console.width - options.max_width
            yield Text(
                f"left out here: {', '.join(left_out)}; shown at {needed} characters a line "
                "(without a terminal: COLUMNS)",
                style="dim",
            )

    def _fit(self, width: int) -> _Fit:
        """Choose the columns, how their heads are broken, and how far they are apart."""
        columns = list(self._columns)
        natural = self._names_width
        one_line = [column.head for column in columns]
        if natural + sum(_widths(columns, one_line)) + _GAPS[0] * len(columns) <= width:
            return _Fit(columns, one_line, natural, _GAPS[0])
        while True:
            heads = [_broken(column) for column in columns]
            for gap in _GAPS:
                room = width - sum(_widths(columns, heads)) - gap * len(columns)
                if room >= self._names_least(width):
                    return _Fit(columns, heads, min(natural, room), gap)
            last = max(columns, key=lambda each: each.rank, default=None)
            if last is None or last.rank == 0:
                return _Fit(columns, heads, max(1, min(natural, room)), _GAPS[-1])
            columns.remove(last)

    def _needed(self, columns: Sequence[Column]) -> int:
        """Return the least width at which none of the columns is left out."""
        heads = [_broken(column) for column in columns]
        used = sum(_widths(columns, heads)) + _GAPS[-1] * len(columns)
        width = used
        while width - used < self._names_least(width):
            width += 1
        return width

    def _names_least(self, width: int) -> int:
        """Least width of the names: their own, or else a third of the line and NAME_MIN."""
        return min(self._names_width, max(NAME_MIN, width // 3))


def _widths(columns: Sequence[Column], heads: Sequence[str]) -> list[int]:
    return [
        max(map(cell_len, (*head.splitlines(), *column.cells)))
        for column, head in zip(columns, heads, strict=True)
    ]


def _broken(column: Column) -> str:
    """Break a head between its words, so that it is no wider than its numbers where that can be."""
    width = max(map(cell_len, (*column.head.split(), *column.cells)))
    lines: list[str] = []
    for word in column.head.split():
        if lines and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


class WholeParts:
    """Parts of a line that stay whole: where one does not fit, it begins the next line."""

    def __init__(self, parts: Sequence[Text], between: str = "   ") -> None:
        self._parts = parts
        self._between = between

    def __rich_console__(
        self, _console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield one Text for each line."""
        line: Text | None = None
        for part in self._parts:
            if line is None:
                line = part.copy()
            elif line.cell_len + len(self._between) + part.cell_len <= options.max_width:
                line.append(self._between).append_text(part)
            else:
                yield line
                line = part.copy()
        if line is not None:
            yield line


class TopOf:
    """What a terminal's height has room for, and how many lines that leaves out.

    Rich's Live ends with "..." there: whole markets were missing, and nothing said so.
    """

    def __init__(self, what: RenderableType, hint: str) -> None:
        """``hint``: what shows the lines that are left out."""
        self._what = what
        self._hint = hint

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType | Segment]:
        """Yield the lines, and a last one if some are left out."""
        lines = console.render_lines(self._what, options, pad=False)
        room = max(2, console.size.height) if console.is_terminal else len(lines)
        left_out = len(lines) - room + 1 if len(lines) > room else 0
        for line in lines[: room - 1] if left_out else lines:
            yield from line
            yield Segment.line()
        if left_out:
            text = Text(f"{left_out} more lines; {self._hint}", style="dim", no_wrap=True)
            text.truncate(options.max_width)
            yield text
