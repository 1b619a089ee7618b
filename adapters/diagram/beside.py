"""The code of a module outside of its tables, in a form that can be compared.

What a guard calls decides as much as the guard, so a change that touches no table can change a machine. Comments,
layout and docstrings are no code. What a chart already tells is left out: the machine itself, the members of its enums,
its guards and effects, and private names that nothing but the table uses. In doubt a thing is code: a name that is
bound twice is left in, because which of its values the table gets can't be told without running the module.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Set

from adapters.diagram.chart import Chart


def code_beside(text: str, charts: tuple[Chart, ...] = (), told: Set[str] = frozenset()) -> str:
    """The code of a module outside of its tables.

    Args:
        text: The module's source.
        charts: The machines that were read from it; none if they can't be read, so that all of it is code.
        told: Names whose values are told elsewhere, unless they are bound twice.

    Returns:
        A text that differs if and only if the code does; of what is no Python, the source itself.
    """
    try:
        tree = _Bare().visit(ast.parse(text))
        bound = Counter(name for statement in tree.body for name in bound_by(statement))
        tree.body = [statement for statement in tree.body if not _is_told(statement, told, bound)]
        if charts:
            _leave_out_tables(tree, charts, bound)
        return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


class _Bare(ast.NodeTransformer):
    """Leaves out docstrings."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        match node.value:
            case ast.Constant(value=str()):
                return None
        return node


def _is_told(statement: ast.stmt, told: Set[str], bound: Counter[str]) -> bool:
    names = set() if isinstance(statement, ast.ClassDef) else set(bound_by(statement))
    return bool(names) and all(name in told and bound[name] == 1 for name in names)


def _leave_out_tables(tree: ast.Module, charts: tuple[Chart, ...], bound: Counter[str]) -> None:
    """Take out of a module what its charts tell."""
    tables = [statement for statement in tree.body if _is_table(statement)]
    told = {
        function.name
        for chart in charts
        for row in chart.transitions
        for function in (row.guard, row.effect)
        if function is not None
    }
    rest = [statement for statement in tree.body if statement not in tables and not _is_told(statement, told, bound)]
    used = {name for statement in tables for name in _loads(statement)}
    while True:
        elsewhere = Counter(name for statement in rest for name in _loads(statement))
        private = [
            statement
            for statement in rest
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            and all(
                name.startswith("_") and name in used and bound[name] == 1 and not elsewhere[name]
                for name in bound_by(statement)
            )
        ]
        if not private:
            break
        used |= {name for statement in private for name in _loads(statement)}
        rest = [statement for statement in rest if statement not in private]
    for statement in rest:
        if isinstance(statement, ast.ClassDef) and statement.name in used and bound[statement.name] == 1:
            statement.body = [node for node in statement.body if not _is_member(node)]
    tree.body = rest


def _is_table(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign(value=ast.Call(func=ast.Name(id="StateMachine"))):
            return True
        case ast.AnnAssign(value=ast.Call(func=ast.Name(id="StateMachine"))):
            return True
    return False


def _is_member(node: ast.stmt) -> bool:
    """Whether it is a member of an enum with a text for its value."""
    match node:
        case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=str())):
            return True
    return False


def bound_by(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case _:
            for node in ast.walk(statement):
                match node:
                    case ast.Name(id=name, ctx=ast.Store()):
                        yield name
                    case ast.alias(name=name, asname=alias):
                        yield alias or name


def _loads(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement uses."""
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                yield name
