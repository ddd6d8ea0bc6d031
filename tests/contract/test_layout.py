"""No two files of streams/ need each other: each can be read, and tested, after those below it.

import-linter holds the order of the packages; inside a package, and for imports that only types need,
nothing else does.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from support.prose import walked

ROOT = Path(__file__).parents[2]
_CYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<package>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n]+)"
    r"|c?import[ \t]+(?P<modules>[\w., ]+))",
    re.MULTILINE,
)


def _named_in_python(text: str) -> Iterator[tuple[str, str]]:
    """(module, name within it or nothing) of each import, wherever it stands in the file."""
    for node in walked(text):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here (ruff TID252)"
            yield from ((node.module or "", alias.name) for alias in node.names)


def _named_in_cython(text: str) -> Iterator[tuple[str, str]]:
    for found in _CYTHON.finditer(text):
        if found["package"]:
            names = re.findall(r"(\w+)(?:\s+as\s+\w+)?", found["names"])
            yield from ((found["package"], name) for name in names)
        else:
            yield from ((name.split()[0], "") for name in found["modules"].split(","))


def imports_of(root: Path, package: str) -> dict[str, set[str]]:
    """By module of the package: the modules of it whose files this one's file names.

    ``from a import b`` needs ``a.b`` where that is a module, else ``a``. That importing a module
    runs its packages' ``__init__`` first does not count.
    """
    files: dict[str, list[Path]] = {}
    for path in sorted((root / package).rglob("*.py*")):
        if path.suffix in {".py", ".pyx"}:
            parts = path.relative_to(root).with_suffix("").parts
            files.setdefault(".".join(parts).removesuffix(".__init__"), []).append(path)
    found: dict[str, set[str]] = {}
    for module, paths in files.items():
        needed = set()
        for path in paths:
            parse = _named_in_cython if path.suffix == ".pyx" else _named_in_python
            for named, name in parse(path.read_text()):
                inner = f"{named}.{name}"
                needed.add(inner if inner in files else named)
        found[module] = (needed & files.keys()) - {module}
    return found


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """A circle of modules, each of which needs the next; empty when there is none."""
    try:
        tuple(TopologicalSorter(imports).static_order())
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_circle_of_files():
    imports = imports_of(ROOT, "streams")
    assert "streams.flow.source_state" in imports["streams.flow.plain_orders"], "a .pyx is read"
    circle = circle_in(imports)
    assert not circle, (
        "files that need each other cannot be understood one after the other; move what both need "
        "into a file below them: " + " -> ".join(circle)
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("a.py", "from shop.b import B\n"), ("b.py", "import shop.a\n")),
        (("a.py", "from shop import b\n"), ("b.py", "def late():\n    from shop.a import A\n")),
        (
            ("a.py", "from shop.b import B\n"),
            ("b.py", "if TYPE_CHECKING:\n    from shop.a import A\n"),
        ),
        (("a.py", "from shop.b import B\n"), ("b.pyx", "from shop.a cimport A\n")),
        (
            ("a.py", "from shop.b import B\n"),
            ("b.pyx", "from shop import (\n    c,\n    a as x,\n)\n"),
        ),
    ],
)
def test_a_circle_is_found(tmp_path, first, second):
    package = tmp_path / "shop"
    package.mkdir()
    for name, text in (("__init__.py", ""), ("c.py", ""), first, second):
        (package / name).write_text(text)
    assert set(circle_in(imports_of(tmp_path, "shop"))) == {"shop.a", "shop.b"}


def test_files_of_one_package_may_use_each_other_in_one_direction(tmp_path):
    package = tmp_path / "shop"
    package.mkdir()
    for name, text in {
        "__init__.py": "",
        "a.py": "from shop import b\nfrom shop.c import C\n",
        "b.py": "from shop.c import C\n",
        "c.py": "import os\n",
    }.items():
        (package / name).write_text(text)
    imports = imports_of(tmp_path, "shop")
    assert imports == {
        "shop": set(),
        "shop.a": {"shop.b", "shop.c"},
        "shop.b": {"shop.c"},
        "shop.c": set(),
    }
    assert circle_in(imports) == []
