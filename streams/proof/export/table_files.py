"""Writes rows to a CSV or Parquet file, as a whole or not at all."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TextIO

from streams.console.errors import OperationError
from streams.index.instants import parse_instant
from streams.index.values import decimal
from streams.proof.export.table_rows import COLUMNS, Citation, TableRow, cell, text

EXACT = "value_exact"
"""Column only in Parquet: ``value`` as text as in Redis, because a double would lose digits."""
_STAGING = ".ecindex-export-"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def write_csv(rows: list[TableRow], citation: Citation, stream: TextIO) -> None:
    """Write UTF-8 CSV: a comment line, a header, the rows. RFC 4180, but lines end with a line feed."""
    stream.write(f"# {citation.line}\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([text(cell(row, column)) for column in COLUMNS] for row in rows)


def save_csv(rows: list[TableRow], citation: Citation, path: Path) -> None:
    """Write a CSV file. Raises OperationError."""
    with _whole(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        write_csv(rows, citation, stream)


def save_parquet(rows: list[TableRow], citation: Citation, path: Path) -> None:
    """Write a Parquet file, with the citation in its metadata (``cite``). Raises OperationError."""
    pl = polars()
    series = [_series(pl, column, rows) for column in COLUMNS]
    exact = [_exact(row.value.value) for row in rows]
    frame = pl.DataFrame([*series, pl.Series(EXACT, exact, dtype=pl.String)])
    with _whole(path) as draft:
        frame.write_parquet(draft, metadata={"cite": citation.line, "source": citation.source})


def same_file(path: Path, other: Path) -> bool:
    """Whether two names lead to one file, which need not exist."""
    return os.path.realpath(path) == os.path.realpath(other)


def polars() -> ModuleType:
    """Import the library that writes Parquet. Raises OperationError if it is not installed."""
    try:
        import polars as pl  # noqa: PLC0415 - an extra: most installations never write parquet
    except ImportError as error:
        raise OperationError(
            "writing parquet needs polars: pip install 'ecindex[import]'"
        ) from error
    return pl


def _series(pl: ModuleType, column: str, rows: list[TableRow]) -> Any:
    kinds: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "day": (pl.Date, date.fromisoformat),
        "value": (pl.Float64, float),
        # Integers may exceed 64 bits; Parquet has no wider integers.
        "observed": (pl.Decimal(38, 0), Decimal),
        "expected": (pl.Float64, float),
        "lower": (pl.Float64, float),
        "upper": (pl.Float64, float),
        "n": (pl.Int64, int),
        "covered": (pl.Float64, float),
        "revision": (pl.Int64, int),
        "edition": (pl.Int64, int),
        "definitions": (pl.Int64, int),
        "as_of": (pl.Datetime("ms", "UTC"), _instant),
    }
    dtype, convert = kinds.get(column, (pl.String, str))
    found = (cell(row, column) for row in rows)
    cells = [None if each is None else convert(each) for each in found]
    return pl.Series(column, cells, dtype=dtype)


def _exact(value: float | None) -> str | None:
    return None if value is None else decimal(value)


def _instant(value: str) -> datetime:
    instant_ms = parse_instant(value)
    assert instant_ms is not None  # the contract requires an instant
    return _EPOCH + timedelta(milliseconds=instant_ms)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a draft file that replaces ``path`` once it is complete. Raises OperationError.

    A link stays, and its target is replaced. A pipe or a device is written to: a file in its place would
    break whoever uses it.
    """
    no_file = path.exists() and not path.is_file() and not path.is_dir()
    target = path if no_file else Path(os.path.realpath(path))
    try:
        directory = None if no_file else target.parent
        with TemporaryDirectory(dir=directory, prefix=_STAGING) as staging:
            draft = Path(staging) / path.name
            yield draft
            if no_file:
                with draft.open("rb") as whole, target.open("wb") as taker:
                    shutil.copyfileobj(whole, taker)
            else:
                draft.replace(target)
    except OSError as error:
        raise OperationError(f"{path}: {error}") from error
