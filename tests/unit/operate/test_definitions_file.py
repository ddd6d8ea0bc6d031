"""A definitions document as a file: what is written is read back, and what is wrong is named."""

from __future__ import annotations

import pytest
import typer.testing

from streams.cli.definitions_commands import definitions_app
from streams.console.errors import OperationError
from streams.index.definition_changes import LabelMove, MemberChange
from streams.index.definitions import Definitions, MemberDefinition
from streams.operate.defining import DefinitionsDiff, HistoryLine
from streams.operate.definition_lines import diff_lines, history_lines
from streams.operate.definitions_file import as_definitions_toml, read_definitions_file

DOCUMENT = Definitions(
    "PK",
    category={
        "men's fashion": MemberDefinition(
            'Men\'s "Fashion"', ("gents wear", 'a"b\\c', "\x7f"), "fashion", ("menswear",)
        ),
        "fashion": MemberDefinition(),
        "চাল": MemberDefinition(),
        "home%3A 50 %25": MemberDefinition(),
    },
    payment_method={"cod": MemberDefinition(), "card": MemberDefinition(digital=True)},
)


def written(tmp_path, text):
    path = tmp_path / "pk.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path):
    labels = DOCUMENT.category["men's fashion"]
    assert labels.labels[2] == "\x7f"  # no label, but a text all the same
    document = Definitions(
        "PK",
        DOCUMENT.category | {"men's fashion": MemberDefinition(labels.name, labels.labels[:2])},
        DOCUMENT.payment_method,
    )
    text = as_definitions_toml(document, 7, "PK")
    assert read_definitions_file(written(tmp_path, text)) == (document, 7)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'market = "PK"\n[category.a]\nprice_above = 10',
            "category.a.price_above: a member is the",
        ),
        ('market = "PK"\nversion = "1"', "version: expected a number from 0"),
        ('market = "PK"\nversion = true', "version: expected a number from 0"),
        ('market = "PK"\n[brand.a]', "unknown field `brand`"),
        ('market = "PK"\n[category.a]\nlabels = [1]', "Expected `str`, got `int`"),
        ("[category.a]", "missing required field `market`"),
        ("market = PK", "Invalid value"),
        ('market = "PK"\n[category.a]\nparent = "b"', "category.'a'.parent: 'b' is no category"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, text, reason):
    with pytest.raises(OperationError) as refused:
        read_definitions_file(written(tmp_path, text))
    assert reason in str(refused.value)
    done = typer.testing.CliRunner().invoke(definitions_app, ["check", str(tmp_path / "pk.toml")])
    assert (done.exit_code, reason in done.output.replace("\n", " ")) == (1, True)


def test_a_file_without_mistakes_is_called_so(tmp_path):
    path = written(tmp_path, 'market = "PK"\n[category.a]\n[region.b]\n')
    done = typer.testing.CliRunner().invoke(definitions_app, ["check", str(path)])
    assert (done.exit_code, done.output) == (0, "PK: 2 members, nothing is wrong\n")


def test_lines_for_people():
    moves = [LabelMove("other", "shoes", 2, 1_300), LabelMove("shoes", "boots", 1, 2)]
    found = [
        MemberChange("category", "shoes", "renamed", 5, 1_303, moves, ["name"], "shoe"),
        MemberChange("category", "boots", "appears", 0, 2, [], []),
        MemberChange("category", "toys", "vanishes", 4, 0, [], []),
    ]
    assert list(diff_lines(DefinitionsDiff("PK", 3, 28, 9_000, found))) == [
        "PK: against version 3; 9,000 orders in the last 28 days",
        "  category shoes: was shoe, 5 -> 1,303 orders, another name",
        "    2 labels from other, 1,300 orders",
        "    1 label to boots, 2 orders",
        "  category boots: appears, 2 orders",
        "  category toys: vanishes, 4 orders",
    ]
    assert "nothing changes" in list(diff_lines(DefinitionsDiff("PK", 3, 28, 9, [])))[1]
    lines = [
        HistoryLine(1, "in force", 0, "aisha", "2026-11-30T15:00:00.000Z", "spring\x1b[2J"),
        HistoryLine(2, "refused", reason="no JSON"),
    ]
    assert list(history_lines("PK", lines)) == [
        "PK 1  in force  upon 0, 2026-11-30T15:00:00.000Z, aisha: spring\ufffd[2J",
        "PK 2  refused: no JSON",
    ]
    assert list(history_lines("PK", [])) == ["PK: the methodology's definitions, version 0"]
