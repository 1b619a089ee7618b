"""Reads state machines from source text, and runs none of it.

A table is data (machines/table.py): a `StateMachine(…)` with its enums and a tuple of `Row(…)`s. So it can be read from
the syntax tree alone, and that is the only way in which a table of another revision is read: whatever that revision
holds, nothing of it is imported, evaluated or executed. A test compares what is read of the installed machines with the
tables that run.

Understood are names bound in the same module: enum members (also through an alias such as `_S, _E = PostState,
PostEvent`), constants with a text, and functions. What is written otherwise is refused, with its place.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

import machines
from adapters.diagram.chart import Atlas, Chart, Drive, Function, State, Transition

MACHINES: Final = "machines"
"""The folder with the machines, from the root of the repository."""
COMPOSITION: Final = "spec/composition.py"
"""The module that says how they drive each other."""


class UnreadableTable(Exception):
    """A table is not written as data; the message names file and line, and says what was expected."""


def installed() -> Mapping[str, str]:
    """The sources that run in this process, by their path in the repository."""
    root = Path(machines.__file__).parents[1]
    paths = [*sorted((root / MACHINES).glob("*.py")), root / COMPOSITION]
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def read(sources: Mapping[str, str]) -> Atlas:
    """The machines of a revision, from its sources by their path in the repository.

    Raises:
        UnreadableTable: A source is no Python, or a table is not written as data.
    """
    charts: list[Chart] = []
    for path, text in sources.items():
        if PurePosixPath(path).parent.as_posix() == MACHINES:
            with not_too_deep(path):
                charts += SourceModule(path, text).charts()
    drives: tuple[Drive, ...] = ()
    if COMPOSITION in sources:
        with not_too_deep(COMPOSITION):
            drives = tuple(SourceModule(COMPOSITION, sources[COMPOSITION]).drives())
    return Atlas(tuple(sorted(charts, key=lambda chart: chart.name)), drives)


@contextmanager
def not_too_deep(path: str) -> Iterator[None]:
    """Refuse a source as unreadable if it is nested too deeply for Python's own parser, or for who walks its tree."""
    try:
        yield
    except (RecursionError, MemoryError) as error:
        raise UnreadableTable(f"{path}: nested too deeply to be read") from error


class SourceModule:
    """One module's syntax tree, with what its names stand for.

    Attributes:
        path: Its path in the repository.
        tree: Its syntax tree.
        values: What each name is bound to by an assignment in the module.
        functions: Its functions, by name.
        classes: Its classes, by name.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        try:
            self.tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:
            raise UnreadableTable(f"{path}: no Python: {error}") from error
        self.values: dict[str, ast.expr] = {}
        self.functions: dict[str, ast.FunctionDef] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        for node in self.tree.body:
            self._bind(node)

    def _bind(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef(name=name):
                self.functions[name] = node
            case ast.ClassDef(name=name):
                self.classes[name] = node
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.values[name] = value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                pairs = zip(names, values, strict=False)
                self.values |= {name.id: value for name, value in pairs if isinstance(name, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.values[name] = value

    def charts(self) -> Iterator[Chart]:
        """The machines that the module makes."""
        for value in self.values.values():
            match value:
                case ast.Call(func=ast.Name(id="StateMachine")):
                    yield self._chart(value)

    def drives(self) -> Iterator[Drive]:
        """The rows of `DRIVES`."""
        for row in self.elements(self.named("DRIVES")):
            arguments = self.arguments(row, "Drive", ("cause", "effect", "when"))
            texts = {
                name: self.text(arguments[name]) if name in arguments else "" for name in ("cause", "effect", "when")
            }
            yield Drive(**texts, line=row.lineno)

    def _chart(self, call: ast.Call) -> Chart:
        names = ("name", "states", "events", "initial", "final", "table")
        arguments = self.arguments(call, "StateMachine", names, needed=names)
        members = dict(self._members(arguments["states"]))
        initial = self._member(arguments["initial"])
        final = {self._member(state) for state in self._final(arguments["final"])}
        rows = self.elements(arguments["table"])
        transitions = tuple(self._transition(row) for row in rows)
        for row, transition in zip(rows, transitions, strict=True):
            if not {transition.source, transition.target} <= members.keys():
                raise self.unreadable(row, "a row between states of this machine")
        return Chart(
            name=self.text(arguments["name"]),
            prose=ast.get_docstring(self.tree) or "",
            file=self.path,
            line=call.lineno,
            states=tuple(
                State(name, meaning, name == initial, name in final, line) for name, (meaning, line) in members.items()
            ),
            transitions=transitions,
        )

    def _transition(self, row: ast.expr) -> Transition:
        names = ("event", "source", "target", "guard", "effect", "why")
        arguments = self.arguments(row, "Row", names, needed=names[:3])
        return Transition(
            event=self._member(arguments["event"]),
            source=self._member(arguments["source"]),
            target=self._member(arguments["target"]),
            guard=self._function(arguments.get("guard")),
            effect=self._function(arguments.get("effect")),
            why=self.text(arguments["why"]) if "why" in arguments else "",
            line=row.lineno,
        )

    def arguments(
        self, node: ast.expr, kind: str, names: tuple[str, ...], needed: tuple[str, ...] = ()
    ) -> dict[str, ast.expr]:
        """The arguments of a call of `kind` by name."""
        match node:
            case ast.Call(func=ast.Name(id=called), args=args, keywords=keywords) if called == kind:
                given = dict(zip(names, args, strict=False)) | {word.arg or "**": word.value for word in keywords}
                if len(args) <= len(names) and set(needed) <= given.keys() <= set(names):
                    return given
        raise self.unreadable(node, f"a {kind}(…) with {', '.join(needed or names)}")

    def elements(self, node: ast.expr) -> list[ast.expr]:
        """What a literal tuple, list or set holds."""
        match self._resolved(node):
            case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
                if not any(isinstance(element, ast.Starred) for element in elements):
                    return elements
        raise self.unreadable(node, "a literal tuple")

    def _final(self, node: ast.expr) -> list[ast.expr]:
        match self._resolved(node):
            case ast.Call(func=ast.Name(id="frozenset"), args=[]):
                return []
            case ast.Call(func=ast.Name(id="frozenset"), args=[members]):
                return self.elements(members)
        raise self.unreadable(node, "frozenset({…}) of states")

    def _members(self, enum: ast.expr) -> Iterator[tuple[str, tuple[str, int]]]:
        """The values of an enum, each with its docstring and line."""
        body = self._enum(enum).body
        for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
            match node:
                case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=str(value))):
                    match after:
                        case ast.Expr(value=ast.Constant(value=str(meaning))):
                            yield value, (meaning, node.lineno)
                        case _:
                            yield value, ("", node.lineno)

    def _member(self, node: ast.expr) -> str:
        """The value of an enum's member: `PostState.SENT` is `sent`."""
        match node:
            case ast.Attribute(value=enum, attr=name):
                for statement in self._enum(enum).body:
                    match statement:
                        case ast.Assign(targets=[ast.Name(id=member)], value=ast.Constant(value=str(value))):
                            if member == name:
                                return value
        raise self.unreadable(node, "a member of an enum of this module")

    def _enum(self, node: ast.expr) -> ast.ClassDef:
        match self._resolved(node):
            case ast.Name(id=name) if name in self.classes:
                return self.classes[name]
        raise self.unreadable(node, "an enum of this module")

    def _function(self, node: ast.expr | None) -> Function | None:
        match node:
            case None | ast.Constant(value=None):
                return None
            case ast.Name(id=name) if name in self.functions:
                function = self.functions[name]
                return Function(name, code_of(function), function.lineno)
        raise self.unreadable(node, "a function of this module")

    def text(self, node: ast.expr) -> str:
        """A text, or what a name bound to one stands for."""
        match self._resolved(node):
            case ast.Constant(value=str(text)):
                return text
        raise self.unreadable(node, "a text")

    def named(self, name: str) -> ast.expr:
        """What a name of the module is bound to."""
        if name not in self.values:
            raise UnreadableTable(f"{self.path}: there is no {name}")
        return self.values[name]

    def _resolved(self, node: ast.expr) -> ast.expr:
        """What a name stands for in this module, through any number of aliases."""
        seen: set[str] = set()
        while isinstance(node, ast.Name) and node.id in self.values and node.id not in seen:
            seen.add(node.id)
            node = self.values[node.id]
        return node

    def unreadable(self, node: ast.expr, expected: str) -> UnreadableTable:
        """The error that says where what was expected is missing."""
        place = f"{self.path}, line {node.lineno}"
        return UnreadableTable(f"{place}: {ast.unparse(node)} can't be read without running it; expected {expected}")


def code_of(function: ast.FunctionDef) -> str:
    """The source of a function without its docstring and comments."""
    bare = copy.deepcopy(function)
    if ast.get_docstring(bare) is not None:
        bare.body = bare.body[1:] or [ast.Pass()]
    return ast.unparse(bare)
