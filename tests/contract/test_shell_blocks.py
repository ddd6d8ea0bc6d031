"""Every shell block of the documents can be pasted: it parses, and what it names is there.

Which options our own commands take is tests/unit/operate/test_documented_options.py, what they do is
tests/integration/test_documented_commands.py.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
BRINGS = {
    "pip": "Python",
    "uv": "pip install uv",
    "ecindex": "pip install .; in a clone it is uv run ecindex",
    "python": "Python",
    "pytest": "the dev group",
    "poe": "the dev group",
    "export": "the shell",
    "git": "whoever has a clone",
    "cp": "the system",
    "rm": "the system",
    "sed": "the system",
    "tail": "the system",
    "docker": "named in front of the block",
    "redis-cli": "named in front of the block",
    "npm": "named in front of the block",
    "node": "named in front of the block",
    "go": "named in front of the block",
}
"""Programs that a block may begin a command with, and where they come from."""
WITHOUT_INSTALLATION = ("README.md: Try it", "CONTRIBUTING.md", "examples/README.md")
"""Where nobody has installed anything yet: what is ours is reached by ``uv run``."""
TASKS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["poe"]["tasks"]
MADE_BY_COMMANDS = ("./try", "./demo", "./olist")
_BLOCK = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands(text):
    """Every simple command of the shell blocks of a text, as words."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|\||;|\$\(", re.sub(r"'[^']*'|\s#.*$", "_", line)):
                words = shlex.split(command.strip(" )_"))
                if words:
                    yield words


def fault(words, *, installed=True):
    """What keeps a command from being typed as it is; None when nothing does."""
    if any(re.search(r"<[a-z]", word) for word in words):
        return "a placeholder that a shell takes for a redirection"
    if words[0] == "uv":
        words = words[2:] if words[1] == "run" else words[:1]
        if not words:
            return "uv run without a program"
        if (
            words[0] not in {"uv", "python"}
            and not Path(sys.executable).with_name(words[0]).exists()
        ):
            return f"{words[0]} is not installed"
    elif words[0] == "ecindex" and not installed:
        return "ecindex is not on PATH: uv run ecindex"
    if words[0] == "poe" and words[1] not in TASKS:
        return f"poe has no task {words[1]}"
    if words[0] not in BRINGS and not (ROOT / words[0]).is_file():
        return f"nobody brings {words[0]}"
    for word in words[1:]:
        ours = re.match(r"(examples|tests|config|docs|\.)/", word)
        if ours and not word.startswith(MADE_BY_COMMANDS) and not (ROOT / word).exists():
            return f"{word} is not there"
    return None


def parts():
    """Each page, README.md by its headings."""
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        if name == "README.md":
            for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
                yield f"{name}: {part.splitlines()[0]}", part
        else:
            yield name, page.read_text()


PARTS = {name: text for name, text in parts() if _BLOCK.search(text)}


def test_the_pages_with_blocks_are_known():
    assert {*WITHOUT_INSTALLATION, "README.md: Run it in production", "docs/readers.md"} <= set(
        PARTS
    )


@pytest.mark.parametrize("name", PARTS)
def test_a_shell_parses_every_block(name):
    for block in _BLOCK.findall(PARTS[name]):
        parsed = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize("name", PARTS)
def test_every_command_can_be_typed_as_it_is(name):
    installed = name not in WITHOUT_INSTALLATION
    for words in commands(PARTS[name]):
        assert fault(words, installed=installed) is None, words


@pytest.mark.parametrize(
    "line",
    [
        "git clone <this repository> ecindex",
        "ecindex show PK",
        "uv run ecindexx demo",
        "uv run poe no-such-task",
        "uv run python examples/python/no_such.py",
        "valkey-cli PING",
        "uv run pytest tests/no_such_folder",
    ],
)
def test_a_command_that_nobody_can_type_is_found(line):
    (words,) = commands(f"```sh\n{line}\n```\n")
    assert fault(words, installed=False)
