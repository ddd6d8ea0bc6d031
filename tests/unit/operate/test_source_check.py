"""``sources check``: both sides are shown, what is refused has its reason, and nobody is named."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from streams.cli.commands import app
from tests.support.flow_harness import ROOT
from tools import shopify_records
from tools.woocommerce_orders import PERSON, as_bytes, line, order, story

FILE = str(ROOT / "config/examples/sources/woocommerce.toml")


def run(*arguments):
    return CliRunner().invoke(app, ["sources", "check", *arguments], env={"COLUMNS": "160"})


def written(tmp_path, *records):
    path = tmp_path / "records.ndjson"
    path.write_bytes(
        b"\n".join(each if isinstance(each, bytes) else as_bytes(each) for each in records)
    )
    return str(path)


def test_the_example_is_shown_side_by_side_with_what_is_refused_and_not_read():
    done = run(FILE)
    assert done.exit_code == 1, "one of its records is refused"
    rows = [
        [cell.strip() for cell in row.strip("│").split("│")] for row in done.stdout.splitlines()
    ]
    assert ["currency = EUR", "occurred_at = 2026-11-24T10:00:00.000Z"] in rows
    assert "woocommerce: 14 records" in done.stdout
    assert "  would go out: order.refunded: 3" in done.stdout
    assert "  ignored: condition: 2" in done.stdout
    assert (
        "  refused: $.line_items[0].total: expected an amount in JPY without decimals: 1"
        in done.stdout
    )
    assert "        13  billing.email" in done.stdout


def test_json_has_the_records_and_the_counts():
    done = run(FILE, "--json", "--sample", "3")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["read"], found["events"]) == (3, {"order.placed": 1, "payment.captured": 1})
    last = found["records"][-1]
    assert last["came_in"]["line_items[].total"] == ["21.01", "8.40", "10.09"]
    assert [event["type"] for event in last["goes_out"]] == ["order.placed", "payment.captured"]


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_nobody_is_named_whatever_field_holds_the_name(tmp_path, as_json):
    names = ("Greta", "Musterfrau", "Hauptweg", "example.org", "555 0199", "192.0.2.7", "4711")
    odd = order(7, [line(1, "A", 1, 100)])
    odd["line_items"][0]["total"] = "Greta 555 0199"
    engraved = order(6, [line(1, "A", 1, 100)])
    engraved["line_items"][0]["meta_data"].append({"id": 1, "key": "to", "value": "For Greta"})
    keyed = {**order(8, [line(1, "A", 1, 100)]), "greta.m@example.org": {"name": "Musterfrau"}}
    status = order(9, [line(1, "A", 1, 100)], status="Hauptweg")
    records = written(tmp_path, *story(), odd, engraved, keyed, status)
    done = run(FILE, records, *as_json)
    assert done.exit_code == 1
    assert PERSON["email"] not in done.stdout
    assert [name for name in names if name in done.stdout] == []


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_the_example_of_shopify_is_shown_and_nobody_is_named(as_json):
    done = run(FILE.replace("woocommerce", "shopify"), "--sample", "99", *as_json)
    assert done.exit_code == 1, "two of its records are refused"
    shown = done.stdout
    assert [text for text in shopify_records.PERSON.values() if text in shown] == []
    assert [
        part for part in ("Greta", "Musterfrau", "555 0199", "4242", "4711") if part in shown
    ] == []
    if as_json:
        found = json.loads(shown)
        assert (found["read"], found["added_units"], found["waiting_orders"]) == (40, 2, 0)
        assert found["ignored"] == {"condition": 4, "test": 3}
        assert found["events"] == {
            "order.placed": 7,
            "order.refunded": 7,
            "order.cancelled": 1,
            "payment.captured": 7,
            "payment.failed": 1,
            "payment.refunded": 1,
        }


def test_a_file_without_records_is_checked_alone(tmp_path):
    text = (ROOT / "config/examples/sources/woocommerce.toml").read_text()
    alone = tmp_path / "woocommerce.toml"
    alone.write_text(text.replace('files = ["woocommerce.ndjson"]', ""))
    done = run(str(alone))
    assert done.exit_code == 0
    assert "nothing is wrong with the file" in done.stdout


def test_what_is_wrong_with_a_file_is_listed_by_its_keys(tmp_path):
    wrong = tmp_path / "woocommerce.toml"
    text = (ROOT / "config/examples/sources/woocommerce.toml").read_text()
    wrong.write_text(text.replace('currency = "currency"', 'currency = "a..b"'))
    done = run(str(wrong))
    assert done.exit_code == 1
    assert "order.currency: expected a name at character 3 of 'a..b'" in done.stderr
    missing = run(str(tmp_path / "none.toml"))
    assert (missing.exit_code, "none.toml" in missing.stderr) == (1, True)


def test_a_file_is_called_as_its_source_so_one_directory_has_a_name_once(tmp_path):
    # Of Stripe there are two files, and whoever uses both counts each capture twice.
    examples = ROOT / "config/examples/sources"
    both = [examples / "stripe.toml", examples / "stripe-intents/stripe.toml"]
    assert [run(str(each), "--sample", "1").exit_code for each in both] == [0, 0]
    second = tmp_path / "stripe-2.toml"
    second.write_text(both[1].read_text())
    done = run(str(second))
    assert done.exit_code == 1
    assert "name: expected `stripe-2`, as the file is called" in done.stderr


def test_a_line_that_is_no_record_is_refused_and_the_next_is_read(tmp_path):
    long = b'{"id":"' + b"x" * 3_000_000 + b'"}'
    done = run(FILE, written(tmp_path, b"{", long, order(7, [line(1, "A", 1, 100)])), "--json")
    found = json.loads(done.stdout)
    assert [each["outcome"] for each in found["records"]] == ["refused", "refused", "translated"]
    assert found["refused"] == {"$: expected JSON": 1, "$: expected at most 1048576 bytes": 1}
