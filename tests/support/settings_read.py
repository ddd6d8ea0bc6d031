"""Finds settings that no code reads, and defaults that are written twice, in the source text.

A setting is read where its field is an attribute of an expression that is a section of the settings:
by an annotation, by what it was assigned from, or by what a call returns. What a method of the
settings reads counts only when the method itself is used.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple, get_args

from pydantic import BaseModel
from support.prose import parsed, walked

Functions = ast.FunctionDef | ast.AsyncFunctionDef


class Use(NamedTuple):
    """A use of a field, property or method of a section."""

    model: str
    name: str


class Fed(NamedTuple):
    """A parameter, by its name or place, that a call fills from a setting."""

    callee: str
    parameter: str | int


def models_of(root: type[BaseModel], *, listed: bool = True) -> dict[str, type[BaseModel]]:
    """The classes of the settings by name, including the root and, if ``listed``, tables in a list."""
    found = {root.__name__: root}
    for field in root.model_fields.values():
        for each in (field.annotation, *(get_args(field.annotation) if listed else ())):
            if isinstance(each, type) and issubclass(each, BaseModel):
                found |= models_of(each, listed=listed)
    return found


def unread(root: type[BaseModel], files: Mapping[str, str]) -> set[str]:
    """Fields, properties and methods, as section.name, that none of the files (name -> text) reads."""
    models = models_of(root)
    pending = list(_reading(root, frozenset(files.items())).uses)
    read: set[Use] = set()
    while pending:
        use = pending.pop()
        if use not in read:
            read.add(use)
            pending += [
                Use(use.model, name) for name in _read_by_method(models[use.model], use.name)
            ]
    return {
        f"{model}.{name}"
        for model, own in models.items()
        for name in (*own.model_fields, *_methods(own))
        if Use(model, name) not in read
    }


def doubled_defaults(root: type[BaseModel], files: Mapping[str, str]) -> set[str]:
    """Defaults beside the setting's own, as ``file: callee.parameter``.

    Searched are parameters that are filled from a setting, whatever their name, and those with a
    setting's name. None is no default: it means that nothing was given.
    """
    defaults = list(_defaults(files))
    found = {
        f"{each.file}: {each.callee}.{each.name}"
        for fed in _reading(root, frozenset(files.items())).fed
        for each in defaults
        if each.callee == fed.callee and fed.parameter in (each.name, each.position)
    }
    names = {
        name
        for model in models_of(root, listed=False).values()
        for name, field in model.model_fields.items()
        if not _is_section(field.annotation)
    }
    return found | {
        f"{each.file}: {each.callee}.{each.name}" for each in defaults if each.name in names
    }


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


# -- what a section says of itself ----------------------------------------------------------------


@cache
def _methods(model: type[BaseModel]) -> dict[str, ast.FunctionDef]:
    """Methods and properties that other code can call: no validators, no overrides."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        each.name: each
        for each in tree.body
        if isinstance(each, ast.FunctionDef)
        and "field_validator" not in "".join(map(ast.unparse, each.decorator_list))
        and not any(hasattr(base, each.name) for base in model.__mro__[1:])
    }


def _read_by_method(model: type[BaseModel], name: str) -> set[str]:
    method = _methods(model).get(name)
    return {
        node.attr
        for node in (() if method is None else ast.walk(method))
        if isinstance(node, ast.Attribute) and _is_self(node.value)
    }


# -- what the files ask of it ---------------------------------------------------------------------


@cache
def _reading(root: type[BaseModel], files: frozenset[tuple[str, str]]) -> _Reading:
    """Cached: both questions are about all files, and walking them takes seconds."""
    return _Reading(root, dict(sorted(files)))


class _Reading(ast.NodeVisitor):
    """Walks every file twice. The first walk learns what functions return and attributes hold."""

    def __init__(self, root: type[BaseModel], files: Mapping[str, str]) -> None:
        self._root = root.__name__
        self._models = models_of(root)
        self._returned: dict[str, str | None] = {}
        self._attributes: dict[str, dict[str, str | None]] = defaultdict(dict)
        trees = {name: parsed(text) for name, text in files.items()}
        for _ in range(2):
            self.uses: set[Use] = set()
            self.fed: set[Fed] = set()
            for self._file, tree in trees.items():
                self._scopes: list[dict[str, str | None]] = [{}]
                self._class = ""
                self.visit(tree)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self._class = self._class, f"{self._file}:{node.name}"
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                self._attributes[self._class][each.target.id] = self._annotated(each.annotation)
        self.generic_visit(node)
        self._class = outer

    def visit_FunctionDef(self, node: Functions) -> None:
        if node.returns is not None:
            self._returned.setdefault(node.name, self._annotated(node.returns))
        self._visit_scope(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's name

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_scope(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                self._hold(name, self._model_of(value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self._hold(node.target, self._annotated(node.annotation))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        use = self._use(node)
        if use is not None and isinstance(node.ctx, ast.Load):
            self.uses.add(use)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        callee = _called(node)
        given: list[tuple[str | int, ast.expr]] = list(enumerate(node.args))
        given += [(each.arg, each.value) for each in node.keywords if each.arg is not None]
        for parameter, value in given:
            for each in ast.walk(value):
                use = self._use(each) if isinstance(each, ast.Attribute) else None
                if use is not None and use.name in self._models[use.model].model_fields:
                    self.fed.add(Fed(callee, parameter))

    def _visit_scope(self, node: Functions | ast.Lambda) -> None:
        arguments = node.args
        held = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        self._scopes.append({each.arg: self._annotated(each.annotation) for each in held})
        self.generic_visit(node)
        self._scopes.pop()

    def _hold(self, target: ast.expr, model: str | None) -> None:
        if isinstance(target, ast.Name):
            self._scopes[-1][target.id] = model
        elif isinstance(target, ast.Attribute) and _is_self(target.value):
            self._attributes[self._class].setdefault(target.attr, model)

    def _annotated(self, annotation: ast.expr | None) -> str | None:
        words = "" if annotation is None else ast.unparse(annotation)
        found = [word for word in words.replace("'", "").split(" | ") if word in self._models]
        return found[0] if found else None

    def _use(self, node: ast.Attribute) -> Use | None:
        model = self._model_of(node.value)
        return None if model is None else Use(model, node.attr)

    def _model_of(self, node: ast.expr) -> str | None:
        """The class of the settings that an expression is an instance of, as far as the text shows."""
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in self._scopes[::-1] if node.id in scope), None)
        if isinstance(node, ast.Call):
            called = _called(node)
            return called if called in self._models else self._returned.get(called)
        if not isinstance(node, ast.Attribute):
            return None
        own = self._attributes[self._class]
        if _is_self(node.value) and node.attr in own:
            return own[node.attr]
        owner = self._model_of(node.value)
        if owner is None:  # an attribute of another object: recognized by its name
            return self._root if node.attr == "settings" else None
        field = self._models[owner].model_fields.get(node.attr)
        return field.annotation.__name__ if field and _is_section(field.annotation) else None


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _called(node: ast.Call) -> str:
    """Name of the called function or class, without what is before the last dot."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


# -- defaults -------------------------------------------------------------------------------------


class _Default(NamedTuple):
    file: str
    callee: str
    name: str
    position: int


def _defaults(files: Mapping[str, str]) -> Iterator[_Default]:
    for file, text in files.items():
        for node in walked(text):
            if isinstance(node, ast.ClassDef):
                fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                for at, each in enumerate(fields):
                    if _is_default(each.value):
                        yield _Default(file, node.name, ast.unparse(each.target), at)
                for each in node.body:
                    if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                        yield from _of_function(file, node.name, each, bound=1)
            elif isinstance(node, Functions) and node.name != "__init__":
                yield from _of_function(file, node.name, node)


def _of_function(file: str, callee: str, node: Functions, bound: int = 0) -> Iterator[_Default]:
    positional = [*node.args.posonlyargs, *node.args.args]
    first = len(positional) - len(node.args.defaults)
    for at, (each, default) in enumerate(
        zip(positional[first:], node.args.defaults, strict=True), first
    ):
        if _is_default(default):
            yield _Default(file, callee, each.arg, at - bound)
    for each, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if _is_default(default):
            yield _Default(file, callee, each.arg, -1)


def _is_default(node: ast.expr | None) -> bool:
    return node is not None and not (isinstance(node, ast.Constant) and node.value is None)
