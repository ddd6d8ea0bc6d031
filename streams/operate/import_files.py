"""Opens the files of an import. streams.sources knows what the rows mean."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from streams.console.errors import OperationError
from streams.sources import csv_events, olist, online_retail
from streams.sources.imports import Imported, Row, SourceError
from streams.sources.online_retail import RetailRow

Source = Literal["olist", "online-retail", "csv"]

_OLIST_FILES = {
    "orders": ("orders", "olist_orders_dataset"),
    "customers": ("customers", "olist_customers_dataset"),
    "items": ("order_items", "olist_order_items_dataset"),
    "payments": ("order_payments", "olist_order_payments_dataset"),
    "products": ("products", "olist_products_dataset"),
    "translations": ("category_translation", "product_category_name_translation"),
}
"""Names that a table's file may have, without .csv or .csv.gz. Olist publishes the second one."""


class ImportFilesError(OperationError):
    """A file is missing or is not what it should be. The text names it."""


def open_source(source: Source, directory: Path) -> Imported:
    """Events of the files in a directory, by time. Raises ImportFilesError."""
    if not directory.is_dir():
        raise ImportFilesError(f"{directory}: expected a directory of files to import")
    readers = {"olist": _olist, "online-retail": _online_retail, "csv": _csv}
    try:
        return readers[source](directory)
    except (SourceError, OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ImportFilesError(f"{directory}: {error}") from error


def _olist(directory: Path) -> Imported:
    tables = {
        table: _table(_find(directory, *names), olist.REQUIRED_COLUMNS[table])
        for table, names in _OLIST_FILES.items()
    }
    return olist.olist_events(olist.OlistTables(**tables))


def _csv(directory: Path) -> Imported:
    orders, payments = (_find_file(directory, name) for name in ("orders", "payments"))
    if orders is None and payments is None:
        raise ImportFilesError(f"{directory}: expected orders.csv or payments.csv (or .csv.gz)")
    return csv_events.csv_events(
        None if orders is None else _table(orders, csv_events.ORDER_COLUMNS),
        None if payments is None else _table(payments, csv_events.PAYMENT_COLUMNS),
    )


def _online_retail(directory: Path) -> Imported:
    try:
        import polars as pl  # noqa: PLC0415 - an extra: most installations never read parquet
    except ImportError as error:
        raise ImportFilesError(
            "reading parquet needs polars: pip install 'ecindex[import]'"
        ) from error
    path = directory / "online_retail.parquet"
    if not path.exists():
        raise ImportFilesError(f"{directory}: expected online_retail.parquet")
    try:
        frame = pl.read_parquet(path, columns=list(online_retail.COLUMNS))
    except pl.exceptions.PolarsError as error:
        raise ImportFilesError(f"{path}: {error}") from error
    rows: Iterator[RetailRow] = frame.iter_rows()
    return online_retail.online_retail_events(rows)


def _find_file(directory: Path, *names: str) -> Path | None:
    candidates = [directory / f"{name}{end}" for name in names for end in (".csv", ".csv.gz")]
    return next((path for path in candidates if path.exists()), None)


def _find(directory: Path, *names: str) -> Path:
    found = _find_file(directory, *names)
    if found is None:
        expected = " or ".join(f"{name}.csv[.gz]" for name in names)
        raise ImportFilesError(f"{directory}: expected {expected}")
    return found


def _table(path: Path, required: tuple[str, ...]) -> Iterator[Row]:
    """Yield rows by column name. A byte order mark is dropped.

    Raises ImportFilesError when a column is missing or a row has another number of values.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, strict=True)
        missing = set(required) - set(reader.fieldnames or ())
        if missing:
            raise ImportFilesError(
                f"{path}: expected columns {sorted(missing)}, found {reader.fieldnames}"
            )
        for row in reader:
            if None in row or None in row.values():
                raise ImportFilesError(
                    f"{path}: line {reader.line_num}: expected {len(reader.fieldnames or ())} values"
                )
            yield row
