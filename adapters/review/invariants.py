"""The invariants of two revisions, read from spec/invariants.py without running it, and compared."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from adapters.diagram.beside import bound_by, code_beside
from adapters.diagram.marks import Kind
from adapters.diagram.reading import SourceModule, UnreadableTable, code_of, not_too_deep
from adapters.diagram.revisions import INVARIANTS

_FIELDS: Final = ("id", "statement", "findings", "check")


@dataclass(frozen=True, slots=True)
class StatedInvariant:
    """An invariant as its source states it.

    Attributes:
        id: Its name.
        statement: What must hold.
        findings: The findings that it covers.
        code: Its predicate, after the functions and constants of the module that it uses, without docstrings.
    """

    id: str
    statement: str
    findings: tuple[str, ...]
    code: str


@dataclass(frozen=True, slots=True)
class InvariantChange:
    """An invariant that was added, removed or changed.

    Attributes:
        before: As it was; None if it was added.
        after: As it is; None if it was removed.
    """

    before: StatedInvariant | None
    after: StatedInvariant | None

    @property
    def id(self) -> str:
        """Its name."""
        return "".join({each.id for each in (self.before, self.after) if each is not None})

    @property
    def kind(self) -> Kind:
        """What became of it."""
        if self.before is None:
            return Kind.ADDED
        return Kind.REMOVED if self.after is None else Kind.CHANGED


@dataclass(frozen=True, slots=True)
class InvariantsDiff:
    """What differs between the invariants of two revisions.

    Attributes:
        changes: In the order of the new revision; after them those that are gone.
        count: How many there are now.
        beside: Whether other code of the module changed, which no predicate uses: what evaluates them, say.
        unreadable: What could not be read, with the revision: `before: …`, `after: …`. Nothing is compared then.
    """

    changes: tuple[InvariantChange, ...]
    count: int
    beside: bool = False
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Side:
    """The invariants of one revision by id, and the code of the module that none of them uses."""

    stated: dict[str, StatedInvariant]
    beside: str


def compare_invariants(before: Mapping[str, str], after: Mapping[str, str]) -> InvariantsDiff:
    """Compare the invariants of two revisions, given their sources by path; one without the module has none."""
    sides = []
    unreadable = []
    for side, sources in (("before", before), ("after", after)):
        try:
            sides.append(_read(sources.get(INVARIANTS, "INVARIANTS = ()")))
        except UnreadableTable as error:
            sides.append(_Side({}, ""))
            unreadable.append(f"{side}: {error}")
    old, new = sides
    count = len(new.stated)
    if unreadable:
        return InvariantsDiff((), count, unreadable=tuple(unreadable))
    changed = [(old.stated.get(name), stated) for name, stated in new.stated.items()]
    changes = [InvariantChange(was, stated) for was, stated in changed if was != stated]
    changes += [InvariantChange(stated, None) for name, stated in old.stated.items() if name not in new.stated]
    return InvariantsDiff(tuple(changes), count, INVARIANTS in before and old.beside != new.beside)


def _read(text: str) -> _Side:
    """The rows of `INVARIANTS`.

    Raises:
        UnreadableTable: The source is no Python, or the invariants are not written as data.
    """
    with not_too_deep(INVARIANTS):
        module = SourceModule(INVARIANTS, text)
        found: dict[str, StatedInvariant] = {}
        told = {"INVARIANTS"}
        for row in module.elements(module.named("INVARIANTS")):
            given = module.arguments(row, "Invariant", _FIELDS, needed=_FIELDS)
            name = module.text(given["id"])
            if name in found:
                raise module.unreadable(row, "an id of its own")
            used = _used(module, given["check"])
            told |= used
            found[name] = StatedInvariant(
                name,
                module.text(given["statement"]),
                tuple(module.text(finding) for finding in module.elements(given["findings"])),
                "\n\n".join(_code(module, given["check"], used)),
            )
        return _Side(found, code_beside(text, told=told))


def _code(module: SourceModule, check: ast.expr, used: Set[str]) -> Iterator[str]:
    """What a predicate consists of: all of the module that it uses, in the module's order, and the predicate last.

    So a helper that changed changes each invariant that rests on it.
    """
    last = check.id if isinstance(check, ast.Name) else ""
    for node in module.tree.body:
        match node:
            case ast.FunctionDef(name=name) if name in used and name != last:
                yield code_of(node)
            case ast.Assign() | ast.AnnAssign():
                if used & set(bound_by(node)):
                    yield ast.unparse(node)
    yield code_of(module.functions[last]) if last in module.functions else ast.unparse(check)


def _used(module: SourceModule, check: ast.expr) -> set[str]:
    """The names of the module that a predicate uses, and that these use in their turn."""
    used: set[str] = set()
    ahead: list[ast.AST] = [check]
    while ahead:
        for node in ast.walk(ahead.pop()):
            if isinstance(node, ast.Name) and node.id not in used:
                bound = module.functions.get(node.id) or module.values.get(node.id)
                if bound is not None:
                    used.add(node.id)
                    ahead.append(bound)
    return used
