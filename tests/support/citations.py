"""Finds citations of rules, sequences, properties, decisions, documents and files that lead nowhere.

Each kind of citation has one form, so that all can be found: exactness rule N, sequence VN, property PN,
decision NNNN, and the path of a file. The anchors of docs/exactness.md are what can be cited.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from support.prose import ROOT, Prose, files

LAW = "docs/exactness.md"
_MORE = r"(?:(?:(?:,|,? and|,? or| to) | ?[-–] ?){0})*"  # noqa: RUF001 - a dash may stand in a range


def _cited(kind: str, what: str) -> re.Pattern[str]:
    return re.compile(rf"\b{kind} ({what}{_MORE.format(what)})(?![\w])", re.IGNORECASE)


_KINDS = {
    "rule": (_cited("exactness rules?", r"\d+(?:\.\d+)?"), r"\d+(?:\.\d+)?"),
    "sequence": (_cited("sequences?", r"V\d+"), r"V\d+"),
    "property": (_cited("propert(?:y|ies)", r"P\d+"), r"P\d+"),
    "decision": (_cited("decisions?", r"\d{4}"), r"\d{4}"),
}
_BARE = {
    r"\brules? \d+": "exactness rule N",
    r"(?<![\w{}$-])V\d{1,2}\b(?!\.)": "sequence VN",
    r"(?<![\w{}$-])P[0-9]\b(?!\.)": "property PN",
    r"(?<![\w.:+-])0[0-3]\d\d\b(?![-:.]\d)": "decision NNNN",
}
_MAY_CITE = re.compile(r"\.md|exactness|sequence|propert|decision", re.IGNORECASE)
"""Few strings of the code match this, so the other patterns are tried on few of them."""
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_SUFFIXES = "py|pyx|md|toml|json|yml|lua|js|html|css|sha256"
_PATH = re.compile(
    rf"(?<![\w/:.<>{{}}*~$@-])((?:[\w*][\w.*-]*/|\.github/|\.ci/)*[\w*][\w*-]*\.(?:{_SUFFIXES}))"
    r"(?![\w/{])(?:::(\w+))?(#[\w-]*)?"
)
_FOLDER = re.compile(
    r"(?<![\w/:.<{~$-])((?:tests|docs|config|tools|streams)/[\w./-]*\w)(?![\w*{<])"
)
ELSEWHERE = {
    "targets/ecindex.json": "in the directory of Prometheus, where `ecindex up` writes it",
    "targets/notify.json": "there too",
    "targets/door.json": "there too",
    "targets/translate.json": "there too",
    "notify/sent.json": "in data_dir, where `ecindex notify` writes it",
    "windows.json": "among NAB's files, which `ecindex bench shifts` is given",
}
"""Files that may be named although they are not in the repository."""


@cache
def anchors(path: str) -> frozenset[str]:
    """Anchors of a document: the explicit ones and those of its headings."""
    text = _FENCE.sub("", (ROOT / path).read_text())
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().lower().replace(" ", "-"))
    return frozenset(found)


@cache
def cited() -> dict[str, frozenset[str]]:
    """Everything that can be cited, by kind."""
    law = anchors(LAW)
    found = {
        kind: frozenset(
            name.split("-")[1].upper() for name in law if re.match(rf"{kind}-\w+$", name)
        )
        for kind in ("rule", "sequence", "property")
    }
    numbers = (re.match(r"docs/decisions/(\d{4})-", path) for path in files())
    return found | {"decision": frozenset(number[1] for number in numbers if number)}


def faults(prose: Prose) -> list[str]:
    """Citations in a piece of text that lead nowhere or are not in the one form."""
    text, found = prose.text, list[str]()
    if prose.kind == "message" and not _MAY_CITE.search(text):
        return found
    if prose.kind == "document":
        found += _dead_links(prose)
        text = _LINK.sub(" ", text)
    plain = " ".join(text.split())
    for kind, (pattern, each) in _KINDS.items():
        for match in pattern.findall(plain):
            names = (name.upper() for name in re.findall(each, match, re.IGNORECASE))
            found += [f"no {kind} {name}" for name in names if name not in cited()[kind]]
        plain = pattern.sub(" ", plain)
    found += _dead_paths(prose.path, plain, messages=prose.kind == "message")
    if prose.kind == "document":
        found += [f"no module {name}" for name in _modules().findall(plain) if not _is_module(name)]
    if prose.kind != "message" and prose.path != LAW:
        plain = _PATH.sub(" ", plain)
        if PurePosixPath(prose.path).parent.name == "decisions":
            plain = re.sub(r"^# \d+", "", plain)
        for bare, form in _BARE.items():
            found += [f"{each!r}: cite it as {form!r}" for each in re.findall(bare, plain)]
    return found


def _dead_links(prose: Prose) -> Iterator[str]:
    for target in _LINK.findall(_FENCE.sub("", prose.text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = _normal(PurePosixPath(prose.path).parent / name) if name else prose.path
        if path not in _tree():
            yield f"dead link {target}"
        elif anchor and anchor not in anchors(path):
            yield f"dead anchor {target}"


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


@cache
def _modules() -> re.Pattern[str]:
    """Pattern of a package of streams and a module in it, as maps of the code name them: flow/fold."""
    packages = {
        path.split("/")[1] for path in files() if path.count("/") > 1 and path[:8] == "streams/"
    }
    return re.compile(rf"(?<![\w./-])((?:{'|'.join(sorted(packages))})/[a-z]\w*\*?)(?![\w./*])")


def _is_module(name: str) -> bool:
    return any(resolved(f"{name}{suffix}", LAW) for suffix in ("", ".py", ".pyx", ".lua"))


@cache
def _tree() -> frozenset[str]:
    """Every file and folder of the repository. Untracked files prove nothing and are left out."""
    folders = (str(folder) for path in files() for folder in PurePosixPath(path).parents)
    return frozenset((*files(), *folders))


@cache
def _by_name() -> dict[str, list[Path]]:
    found = defaultdict(list)
    for path in files():
        found[posixpath.basename(path)].append(ROOT / path)
    return dict(found)


def resolved(path: str, beside: str) -> list[Path]:
    """Files that a path may mean: from the root, beside the file that cites it, in streams or tests."""
    if path in _by_name():
        return _by_name()[path]
    if "*" in path:
        return [ROOT / each for each in files() if PurePosixPath(each).match(path)]
    bases = ("", posixpath.dirname(beside), "streams", "tests", "docs")
    places = {posixpath.normpath(posixpath.join("/", base, path))[1:] for base in bases}
    return [ROOT / place for place in sorted(places & _tree())]


def _dead_paths(beside: str, text: str, *, messages: bool) -> Iterator[str]:
    for path, name, anchor in _PATH.findall(text):
        if path in ELSEWHERE or (messages and not path.endswith(".md")):
            continue  # other paths in a program name files that it creates
        found = resolved(path, beside)
        if not found:
            if not messages or path.startswith("docs/"):
                yield f"no file {path}"
            continue
        if name and not any(re.search(rf"\bdef {name}\b", each.read_text()) for each in found):
            yield f"no {name} in {path}"
        if len(anchor) > 1 and path.endswith(".md"):
            target = found[0].relative_to(ROOT).as_posix()
            if anchor[1:] not in anchors(target):
                yield f"dead anchor {path}{anchor}"
    if messages:
        return
    for path in _FOLDER.findall(text):
        if _PATH.fullmatch(path) is None and not any(
            f"{path}{suffix}" in _tree() for suffix in ("", ".py", ".pyx")
        ):
            yield f"no file or folder {path}"
