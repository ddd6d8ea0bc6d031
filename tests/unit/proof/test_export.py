"""Tables of what is published: columns, exact numbers, causes, how to cite; whole files or none."""

from __future__ import annotations

import csv
import io
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import polars as pl
import pytest
from support.flow_harness import ROOT
from typer.testing import CliRunner

from streams.cli.commands import app
from streams.console.errors import OperationError
from streams.index.values import Value
from streams.proof.export.read_table import Exported, ExportSelection, export
from streams.proof.export.table_files import EXACT, save_csv, save_parquet, write_csv
from streams.proof.export.table_rows import COLUMNS, cite, revision_key, rows_of

HUGE = 2**70 + 1


def value(index="orders", **fields):
    given = {
        "market": "PK", "index": index, "dimension": "market", "member": "all", "window": "day",
        "as_of": "2026-11-23T19:00:00.000Z", "value": 6, "unit": "count", "observed": 6,
        "covered": 1.0, "n": 6, "status": "ok", "phase": "live", "revision": 0, "edition": 1,
        "day": "2026-11-23", "vintage": "2026-11-23.2", "expected": 5.25, "lower": 1.0,
        "upper": 9.0,
    }  # fmt: skip
    return Value(**given | fields)


def table(*values, causes=()):
    rows = rows_of(values, dict(causes))
    citation = cite(
        "day values", rows, methodology="0123456789ab", exported_at="2026-11-24T10:00:00.000Z",
        source="topic ecindex.values",
    )  # fmt: skip
    return rows, citation


def as_csv(rows, citation):
    stream = io.StringIO()
    write_csv(rows, citation, stream)
    return stream.getvalue()


NET = value("sales_net", value=HUGE, observed=HUGE, unit="minor", revision=2, expected=None)
SHARE = value("cohort_coverage", value=1e-7, observed=1, n=10_000_000, unit="ratio", vintage=None)
NONE = value("orders", day="2026-11-22", value=None, observed=None, status="no_data")


LEVEL = value(
    "sales_level_index", value=110.5, observed=4_420, unit="index", n=3, expected=4_000.0, lower=None,
    upper=None, vintage="2026-01-01/2026-06-30.2", revision=1,
)  # fmt: skip


def test_a_level_is_exported_with_its_base_and_why_that_changed():
    lines = as_csv(*table(LEVEL, causes={revision_key(LEVEL): "definition"})).splitlines()
    assert lines[-1] == (
        "PK,2026-11-23,day,sales_level_index,market,all,110.5,index,4420,4000,,,3,1,ok,live,"
        "2026-01-01/2026-06-30.2,1,definition,1,2026-11-23T19:00:00.000Z,"
    )


def test_a_csv_has_one_line_to_cite_a_header_and_a_row_a_value():
    rows, citation = table(NET, SHARE, NONE, causes={revision_key(NET): "refund"})
    comment, header, *lines = as_csv(rows, citation).splitlines()
    assert comment == (
        "# How to cite: ecindex, edition 1 (methodology 0123456789ab), day values of 2026-11-22 to "
        "2026-11-23, PK, as of 2026-11-23T19:00:00.000Z; exported 2026-11-24T10:00:00.000Z from "
        "topic ecindex.values."
    )
    assert tuple(header.split(",")) == COLUMNS
    day, end = "PK,2026-11-{},day,", ",1,2026-11-23T19:00:00.000Z,"
    vintage = "live,2026-11-23.2"
    none, share, net = (
        f"orders,market,all,,count,,5.25,1,9,6,1,no_data,{vintage},0,",
        "cohort_coverage,market,all,0.0000001,ratio,1,5.25,1,9,10000000,1,ok,live,,0,",
        f"sales_net,market,all,{HUGE},minor,{HUGE},,1,9,6,1,ok,{vintage},2,refund",
    )
    assert lines == [
        day.format(22) + none + end,
        day.format(23) + share + end,
        day.format(23) + net + end,
    ]


def test_the_columns_are_those_of_the_contract_and_of_a_value():
    contract = (ROOT / "docs/contract.md").read_text()
    assert f"`{' '.join(COLUMNS)}`" in " ".join(contract.split())
    left_out = set(Value.__struct_fields__) - set(COLUMNS)
    assert left_out == {"v"}, "a new field of a value is a new column, at the end"


def test_parquet_keeps_types_exact_numbers_and_how_to_cite(tmp_path):
    rows, citation = table(NET, SHARE, NONE, causes={revision_key(NET): "refund"})
    path = tmp_path / "days.parquet"
    save_parquet(rows, citation, path)
    frame = pl.read_parquet(path)
    assert frame.columns == [*COLUMNS, EXACT]
    first, _, last = frame.iter_rows(named=True)
    assert (first["value"], first["observed"], first[EXACT]) == (None, None, None)
    assert last["observed"] == Decimal(HUGE)
    assert last[EXACT] == str(HUGE)
    assert (last["value"], last["cause"]) == (float(HUGE), "refund")
    assert last["day"] == date(2026, 11, 23)
    assert last["as_of"] == datetime(2026, 11, 23, 19, tzinfo=UTC)
    assert pl.read_parquet_metadata(path)["cite"] == citation.line
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_of_nothing_has_the_same_columns_and_types(tmp_path):
    full, empty = tmp_path / "full.parquet", tmp_path / "empty.parquet"
    save_parquet(*table(NET), full)
    save_parquet(*table(), empty)
    assert pl.read_parquet(empty).schema == pl.read_parquet(full).schema


def test_csv_reads_back_as_the_values(tmp_path):
    values = [NET, SHARE, msgspec.structs.replace(NONE, definitions=3)]
    save_csv(*table(*values), tmp_path / "days.csv")
    with (tmp_path / "days.csv").open(newline="") as stream:
        assert next(stream).startswith("# How to cite: ")
        read = list(csv.DictReader(stream))
    for row, held in zip(read, sorted(values, key=lambda v: (v.day, v.index)), strict=True):
        for name in COLUMNS:
            if name != "cause":
                found = getattr(held, name)
                found = None if found is msgspec.UNSET else found
                kind = type(found) if found is not None else str
                assert kind(row[name]) == ("" if found is None else found), name


def test_a_file_that_cannot_be_completed_leaves_what_was_there(tmp_path):
    path = tmp_path / "days.csv"
    path.write_text("yesterday's")
    rows, citation = table(NET)
    with pytest.raises(AttributeError):
        save_csv([*rows, None], citation, path)
    assert path.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OperationError, match="nowhere"):
        save_csv(rows, citation, tmp_path / "nowhere" / "days.csv")


def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "days.csv", tmp_path / "latest.csv"
    link.symlink_to(target)
    for _ in range(2):
        save_csv(*table(NET), link)
        assert link.is_symlink()
        assert target.read_text() == as_csv(*table(NET))
    assert list((tmp_path / "there").iterdir()) == [target]


@pytest.mark.parametrize("save", [save_csv, save_parquet])
def test_a_pipe_is_written_to_and_stays(tmp_path, save):
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    save(*table(NET), file)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        save(*table(NET), pipe)
        assert len(read.result()) == file.stat().st_size
    assert pipe.is_fifo()


def test_a_device_that_takes_nothing_is_named_and_stays(tmp_path):
    full = tmp_path / "full"
    try:
        os.mknod(full, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        full.open("wb").close()
    except PermissionError:
        pytest.skip("only root may make a device")
    with pytest.raises(OperationError, match=r"full: .*No space left"):
        save_csv(*table(NET), full)
    assert full.is_char_device()


def test_one_file_for_both_tables_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "days")
    for other in (tmp_path / "days", tmp_path / "link", tmp_path / "x" / ".." / "days"):
        both = ["--csv", str(tmp_path / "days"), "--parquet", str(other)]
        result = CliRunner().invoke(app, ["export", "days", *both])
        assert result.exit_code == 2
        assert "name one file" in result.output


def test_a_cause_belongs_to_the_revision_that_stands():
    earlier = msgspec.structs.replace(NET, revision=1)
    rows, _ = table(NET, causes={revision_key(earlier): "cancel"})
    assert rows[0].cause is None


def test_selection_by_market_and_days():
    window = value(day=None, window="1h")
    assert ExportSelection("values").takes(window)
    assert not ExportSelection("values").takes(NET)
    assert not ExportSelection("days").takes(window)
    assert ExportSelection("days", ("PK",), "2026-11-23", "2026-11-23").takes(NET)
    assert not ExportSelection("days", ("BD",)).takes(NET)
    assert not ExportSelection("days", first="2026-11-24").takes(NET)
    assert not ExportSelection("days", last="2026-11-22").takes(NET)


def test_standard_output_is_the_csv_and_a_summary_says_what_was_written(tmp_path, capsys):
    exported = Exported(*table(NET, SHARE))
    path = tmp_path / "days.parquet"
    from pathlib import Path

    assert export(exported, csv=Path("-"), parquet=path) == [path]
    assert capsys.readouterr().out == as_csv(*table(NET, SHARE))
    summary = exported.summary([path])
    assert (summary["rows"], summary["revised"], summary["files"]) == (2, 1, [str(path)])
    assert summary["cite"] == exported.citation.line
