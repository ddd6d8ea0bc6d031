"""Everything that the repository cites exists: rules, sequences, decisions, documents, files, names.

The citations are those of documents, docstrings, comments and messages; names are those in backticks.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from support import prose
from support.citations import ELSEWHERE, LAW, cited, faults
from support.names import FOREIGN, everything, unknown
from support.prose import Prose, all_prose, files, source

from tests.model.switches import SWITCHES

OWN = ("tests/contract/test_citations.py",)
"""Its messages are the planted faults below."""
RULES = {number: f"exactness rule {number}" for number in range(1, 12)}


def prose_of(*kinds):
    return [each for each in all_prose() if each.kind in kinds]


def listed(found):
    return "\n".join(f"{each.path}:{each.line}: {fault}" for each, fault in found)


def test_every_citation_resolves():
    texts = [each for each in all_prose() if each.path not in OWN or each.kind != "message"]
    found = [(each, fault) for each in texts for fault in faults(each)]
    assert not found, listed(found)


def test_every_name_in_backticks_exists():
    texts = prose_of("document", "docstring", "comment")
    found = [(each, fault) for each in texts for fault in unknown(each)]
    assert not found, listed(found)


def test_the_law_has_eleven_rules_nine_properties_and_twelve_sequences():
    assert cited()["rule"] == {str(number) for number in RULES}
    assert cited()["property"] == {f"P{number}" for number in range(1, 10)}
    assert cited()["sequence"] == {f"V{number}" for number in range(1, 13)}


def sections(kind):
    """Name and text of each section of the law that is about a rule or a sequence."""
    parts = re.split(rf'<a id="{kind}-(\w+)"></a>', source(LAW))
    return dict(zip(parts[1::2], (part.split("\n<a id=")[0] for part in parts[2::2]), strict=True))


@pytest.mark.parametrize("number", RULES)
def test_a_rule_says_why_and_names_a_module_a_test_and_a_switch(number):
    text = sections("rule")[str(number)]
    assert "**Why.**" in text
    assert "`streams/" in text.partition("**Kept by**")[2].partition("**Held by**")[0]
    assert "`tests/" in text.partition("**Held by**")[2].partition("**Switch")[0]
    assert "**Switch" in text


def test_a_sequence_names_its_rule_and_a_test():
    for text in sections("sequence").values():
        assert "](#rule-" in text
        assert "`tests/model/test_v.py::test_v" in text


def test_the_law_names_every_switch_of_the_model_and_no_other():
    # One that is named runs over the end of a line; what else stands in quotes there is none.
    named = set(
        re.findall(r'"([^"]+)"', " ".join(re.sub(r'<a id="[^"]*"', "", source(LAW)).split()))
    )
    assert named == {switch.name for switch in SWITCHES}


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.name)
def test_a_switch_cites_what_it_breaks_and_stands_in_that_section(switch):
    cites = re.findall(r"exactness rule (\d+)", switch.rule)
    assert cites or re.match(r"decision \d{4}$", switch.rule)
    for number in cites:
        assert f'"{switch.name}"' in " ".join(sections("rule")[number].split())


def test_each_decision_is_in_the_list_of_decisions_and_has_its_number_in_its_title():
    text = source("docs/decisions/README.md")
    decisions = [PurePosixPath(path) for path in files() if re.match(r"docs/decisions/\d", path)]
    numbers = [path.name[:4] for path in decisions]
    assert len(numbers) == len(set(numbers))
    for path in decisions:
        assert source(str(path)).startswith(f"# {path.name[:4]} ")
        assert len(re.findall(rf"\[{path.name[:4]}\]\({re.escape(path.name)}\)", text)) == 1, path


def test_each_document_is_in_the_index_of_documents():
    text = source("docs/README.md")
    for path in files():
        if re.fullmatch(r"docs/[\w-]+\.md|[A-Z]+\.md", path) and path != "docs/README.md":
            name = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
            assert f"({name})" in text, f"{path} is not in docs/README.md"


# -- the tests above are not blind --------------------------------------------------------------------


def plant(text, kind="docstring", path="streams/flow/fold.py"):
    return Prose(path, 1, kind, text)


@pytest.mark.parametrize(
    "text",
    [
        "exactness rule 99",
        "exactness rules 1 and 12",
        "sequence V13",
        "sequences V4 and\nV14",
        "sequences V1-V14",
        "exactness rules 1 - 99",
        "property P10",
        "decision 9999",
        "decisions 0001 and 0999",
        "docs/nothing.md",
        "flow/no_such_file.py",
        "tests/unit/flow/test_no_such.py",
        "tests/model/test_v.py::test_no_such",
        "tests/no_such_folder",
        "docs/contract.md#no-such-heading",
        "rule 3 alone",
        "see V3",
        "see P3",
        "since 0021",
    ],
)
def test_a_citation_that_leads_nowhere_is_found(text):
    assert faults(plant(text))
    assert faults(plant(text, "comment"))
    assert faults(plant(text, "document", "docs/glossary.md"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", '"""exactness rule 99"""'),
        ("a.py", "x = 1  \x23 exactness rule 99"),
        ("a.pyx", 'def f():\n    """exactness\n    rule 99"""'),
        ("a.pyx", "x = 1\n\x23 exactness\n\x23 rule 99"),
        ("a.go", "// exactness\n// rule 99"),
        ("a.js", "x = 1; // exactness rule 99"),
        ("a.js", "/* exactness\n   rule 99 */"),
        ("a.css", "/* exactness rule 99 */"),
        ("a.html", "<!-- exactness rule 99 -->"),
        ("a.json", '{\n  "description": "exactness rule 99"\n}'),
        ("a.lua", "-- exactness rule 99"),
        ("a.toml", "\x23 exactness rule 99"),
        ("a.yml", "\x23 exactness rule 99"),
        ("Dockerfile", "\x23 exactness rule 99"),
        ("a.md", "exactness rule 99"),
    ],
)
def test_a_citation_is_found_in_each_kind_of_file(tmp_path, monkeypatch, name, text):
    (tmp_path / name).write_text(text)
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    monkeypatch.setattr(prose, "source", lambda path: (tmp_path / path).read_text())
    assert [fault for each in prose.prose_of_file(name) for fault in faults(each)] == ["no rule 99"]


@pytest.mark.parametrize(
    "text",
    [
        "[rules](no-such.md)",
        "[rules](exactness.md#rule-99)",
        "[above](#no-such-heading)",
        "![picture](images/none.png)",
        "flow/no_such, ledger",
    ],
)
def test_a_dead_link_of_a_document_is_found(text):
    assert faults(plant(text, "document", "docs/glossary.md"))


@pytest.mark.parametrize(
    "text", ["exactness rule 99", "decision 9999", "docs/nothing.md", "sequence V13"]
)
def test_a_message_that_cites_nothing_real_is_found(text):
    assert faults(plant(text, "message"))


@pytest.mark.parametrize(
    "text",
    [
        "(exactness rules 1 and 10; sequences V4, V5 and V12)",
        "Decision 0100 and docs/exactness.md#rule-3, [why](exactness.md#rule-3), [words](#glossary)",
        "flow/fold.py, test_chain.py, tests/model/test_v.py::test_v06_rows_outlive_any_silence",
        "flow/fold and flow/market_*",
        "0.0325 at 12:0001, 0x0100, a V8.1 P99 of 1-0210",
    ],
)
def test_what_is_there_is_no_fault(text):
    assert faults(plant(text, "document", "docs/glossary.md")) == []


@pytest.mark.parametrize(
    "span",
    [
        "no_such_name",
        "NoSuchClass",
        "no_such_function()",
        "Ledger.no_such_method",
        "streams.flow.no_such_module",
        "chain.no_such_function(records)",
        "flow/no_such.py",
        "flow/no_such",
        "no_such_room/",
        "metrics.no_such_setting",
        "ecindex_no_such_total",
        "max(grace_ms, no_such_name) + 1",
        "ecindex no-such-command",
        "ecindex show --no-such-option",
        "ecindex.no-such-topic",
        "--no-such-option",
        "--no-such-option 3",
    ],
)
def test_a_name_that_is_nowhere_is_found(span):
    assert unknown(plant(f"See `{span}` there."))
    assert unknown(plant(f"See ``{span}`` there."))


@pytest.mark.parametrize(
    "span",
    [
        "grace_ms", "Ledger.apply_row", "streams.flow.chain", "flow/rows.py", "flow/market_*", "board/",
        "metrics.port", "ecindex_dead_letters_total", "ecindex.partials", "pane_limit",
        "ecindex.dead-letters", "--deep", "--at INSTANT",
        "ecindex show PK --watch", "uv run ecindex bench fold --runs 5", "through + 1",
    ],
)  # fmt: skip
def test_a_name_that_is_there_is_no_fault(span):
    assert unknown(plant(f"See `{span}` there.")) == []


def test_no_exception_is_needless():
    texts = "\n".join(each.text for each in prose_of("document", "docstring", "comment"))
    for name in (*FOREIGN, *ELSEWHERE):
        assert name in texts, f"{name} is an exception that nothing needs"
    assert not FOREIGN.keys() & everything()
