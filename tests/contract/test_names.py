"""One meaning a word: a class or file name occurs once in streams/, a retired word in no identifier."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from support.prose import walked

ROOT = Path(__file__).parents[2]
STREAMS = sorted((ROOT / "streams").rglob("*.py"))
COMPILED = sorted((ROOT / "streams").rglob("*.pyx"))
SHARED_FILES = {"__init__", "__main__"}
RETIRED = {
    "usual": "expectation, expected",
    "standing": "progress",
    "asides": "set_aside",
    "heir": "new_owner",
    "heirs": "new_owners",
    "mend": "fix",
    "mends": "fixes",
    "told": "published",
    "said": "declared",
    "bury": "add_dead_letter",
    "meet": "add_shopper",
    "met": "waiting",
    "introduce": "flush",
    "hurry": "send_at_once",
    "cool": "drop",
    "look": "check, find, revise",
    "looked": "checked",
}
RETIRED_WITHOUT = {"aside": "set", "letter": "dead", "letters": "dead"}
"""Words that need the one before them: ``set_aside``, ``dead_letters``."""
BARE_VERBS = {"take", "apply"}
"""A function's name says what is taken or applied: ``take_frames``, ``apply_record``."""


def classes(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Class name -> where it is defined."""
    found = defaultdict(list)
    for name, text in sources:
        for node in walked(text):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(name)
    return found


def compiled_classes(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Class name -> where it is defined in Cython."""
    found = defaultdict(list)
    for name, text in sources:
        for each in re.findall(r"^ *(?:cdef )?class (\w+)", text, re.MULTILINE):
            found[each].append(name)
    return found


def stems(paths: Iterable[str]) -> dict[str, list[str]]:
    """File name without its suffix -> the paths that have it."""
    found = defaultdict(list)
    for path in paths:
        if (stem := Path(path).stem) not in SHARED_FILES:
            found[stem].append(path)
    return found


def bare_verbs(text: str) -> list[str]:
    return [
        node.name
        for node in walked(text)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in BARE_VERBS
    ]


def several(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: where for name, where in sorted(found.items()) if len(where) > 1}


def words(identifier: str) -> list[str]:
    """Words of a name in snake case, camel case or capitals.

    >>> words("_SetAsideLog"), words("DEAD_LETTERS"), words("HTTPError")
    (['set', 'aside', 'log'], ['dead', 'letters'], ['http', 'error'])
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", identifier)
    return [part.lower() for part in parts]


def retired_in(identifier: str) -> Iterator[str]:
    before = ""
    for word in words(identifier):
        if word in RETIRED:
            yield f"{identifier}: {word} is {RETIRED[word]}"
        if word in RETIRED_WITHOUT and before != RETIRED_WITHOUT[word]:
            yield f"{identifier}: {word} is {RETIRED_WITHOUT[word]}_{word}"
        before = word


def retired_identifiers(text: str) -> list[str]:
    """Faults of the names in Python or Cython text."""
    suspects = set(filter(is_retired, re.findall(r"\w+", text)))
    # To tell names from prose takes a second for all files.
    found = suspects & identifiers(text) if suspects else ()
    return sorted(fault for each in found for fault in retired_in(each))


@cache
def is_retired(word: str) -> bool:
    return any(retired_in(word))


def identifiers(text: str) -> set[str]:
    """Names in Python or Cython text, those in braces of an f-string included."""
    found = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            found.add(token.string)
        elif token.type == tokenize.STRING and "f" in token.string[:2].lower():
            tree = ast.parse(token.string, mode="eval")
            for node in ast.walk(tree):
                if isinstance(node, ast.Name):
                    found.add(node.id)
                if isinstance(node, ast.Attribute):
                    found.add(node.attr)
    return found


def sources(paths: Iterable[Path]) -> list[tuple[str, str]]:
    return [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


def test_a_class_name_has_one_meaning():
    found = classes(sources(STREAMS))
    for name, where in compiled_classes(sources(COMPILED)).items():
        found[name] += where
    assert several(found) == {}


def test_a_file_name_has_one_meaning():
    assert several(stems(path.relative_to(ROOT).as_posix() for path in STREAMS)) == {}


def test_no_identifier_has_a_retired_word():
    found = {
        path: faults
        for path, text in sources([*STREAMS, *COMPILED])
        if (faults := retired_identifiers(text))
    }
    assert found == {}


def test_no_file_is_named_by_a_retired_word():
    assert [fault for path in STREAMS for fault in retired_in(path.stem)] == []


def test_a_verb_says_what_is_taken_or_applied():
    assert [path for path, text in sources(STREAMS) if bare_verbs(text)] == []


def test_a_verb_alone_is_found():
    text = (
        "class A:\n    async def take(self): ...\n    def apply_record(self): ...\ndef apply(): ..."
    )
    assert sorted(bare_verbs(text)) == ["apply", "take"]


def test_two_classes_of_one_name_are_found():
    planted = [("flow/a.py", "class Held: ..."), ("proof/b.py", "if True:\n    class Held: ...")]
    assert several(classes(planted)) == {"Held": ["flow/a.py", "proof/b.py"]}
    assert several(classes(planted[:1])) == {}


def test_a_compiled_class_is_found():
    planted = [("flow/a.pyx", "cdef class Held:\n    cdef int x\n\nclass Kept:\n    pass")]
    assert compiled_classes(planted) == {"Held": ["flow/a.pyx"], "Kept": ["flow/a.pyx"]}


def test_two_files_of_one_name_are_found():
    planted = ["flow/run.py", "proof/run.py", "flow/__init__.py", "proof/__init__.py"]
    assert several(stems(planted)) == {"run": ["flow/run.py", "proof/run.py"]}


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("self._usual = 1", ["_usual: usual is expectation, expected"]),
        ("class MarketUsual: ...", ["MarketUsual: usual is expectation, expected"]),
        ("DAYS_TOLD = 35", ["DAYS_TOLD: told is published"]),
        ("put_aside(x)", ["put_aside: aside is set_aside"]),
        ("letters = dead_letters", ["letters: letters is dead_letters"]),
        ('print(f"{one.mend}")', ["mend: mend is fix"]),
        ("cdef int meet(self): pass", ["meet: meet is add_shopper"]),
        ("SetAside, set_aside, DEAD_LETTERS, unusual, lookup", []),
        ('"the usual"  # as told', []),
    ],
)
def test_a_retired_word_is_found(text, faults):
    assert retired_identifiers(text) == faults
