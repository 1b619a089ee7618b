"""`machines/` and `spec/` do no I/O, read no clock, roll no dice, and compute without floats: checked on their source.

The check is one function over a source text, `impurities`, and it is shown to find each impurity in a bad source.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import machines
import spec

ALLOWED: Final = {
    "machines": frozenset({"machines", "msgspec", "transitions"}),
    "spec": frozenset({"machines", "spec"}),
}
"""Which packages besides the standard library's each package may import."""

IMPURE: Final = frozenset(
    {
        *("asyncio", "concurrent", "multiprocessing", "select", "selectors", "signal", "subprocess"),
        *("time", "datetime", "sched", "zoneinfo", "random", "secrets", "uuid"),
        *("socket", "ssl", "http", "urllib", "os", "io", "pathlib", "shutil", "sqlite3", "tempfile", "sys"),
        *("importlib", "logging.handlers", "logging.config"),
    }
)
"""Modules of the standard library that reach outside, wait, or give another answer each time."""

IMPURE_CALLS: Final = frozenset({"open", "input", "print", "eval", "exec", "__import__", "float"})


def impurities(source: str, package: str) -> list[str]:
    """What in `source` a module of `package` must not contain, in order of the lines."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt | ast.expr)]
    return [
        f"line {node.lineno}: {found}"
        for node in sorted(nodes, key=lambda node: node.lineno)
        for found in _impurities_of(node, package)
    ]


def _impurities_of(node: ast.AST, package: str) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (f"imports {alias.name}" for alias in names if not _may_import(alias.name, package))
        case ast.ImportFrom(module, names, level):
            # `from logging import handlers` imports a module too.
            paths = [module or "", *(f"{module}.{alias.name}" for alias in names)]
            forbidden = [path for path in paths if not _may_import(path, package)]
            if level:
                yield "imports relatively"
            elif forbidden:
                yield f"imports {forbidden[0]}"
        case ast.Assert():
            yield "asserts"
        case ast.Constant(value=float() | complex() as number):
            yield f"has the float {number}"
        case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
            yield f"calls {name}"
        case ast.BinOp(op=ast.Div()):
            yield "divides with /, which makes a float of two integers"


def _may_import(path: str, package: str) -> bool:
    top = path.partition(".")[0]
    if top in sys.stdlib_module_names:
        return not any(path == impure or path.startswith(f"{impure}.") for impure in IMPURE)
    return top in ALLOWED[package]


def _sources() -> Iterator[tuple[str, Path]]:
    for package in (machines, spec):
        for folder in package.__path__:
            yield from ((package.__name__, path) for path in sorted(Path(folder).rglob("*.py")))


@pytest.mark.parametrize(
    ("package", "path"), [pytest.param(*found, id=f"{found[0]}/{found[1].stem}") for found in _sources()]
)
def test_module_is_pure(package: str, path: Path) -> None:
    assert impurities(path.read_text(encoding="utf-8"), package) == []


def test_every_module_is_looked_at() -> None:
    names = {f"{package}.{path.stem}" for package, path in _sources()}
    assert {"machines.executor", "machines.table", "machines.nonce", "spec.invariants"} <= names


@pytest.mark.parametrize(
    ("package", "line", "found"),
    [
        *(
            ("machines", f"import {module}", f"imports {module}")
            for module in ("asyncio", "time", "random", "uuid", "socket", "datetime", "os", "logging.handlers")
        ),
        ("machines", "import json, time as t", "imports time"),
        ("machines", "from time import monotonic", "imports time"),
        ("machines", "from logging import handlers", "imports logging.handlers"),
        ("machines", "from adapters.config import Config", "imports adapters.config"),
        ("machines", "from spec.invariants import violations", "imports spec.invariants"),
        ("machines", "from websockets import connect", "imports websockets"),
        ("machines", "from . import clock", "imports relatively"),
        ("machines", "from .clock import Clock", "imports relatively"),
        ("spec", "from transitions import Machine", "imports transitions"),
        ("spec", "from msgspec import Struct", "imports msgspec"),
        ("spec", "from adapters import venue", "imports adapters"),
        ("spec", "import hypothesis", "imports hypothesis"),
        ("machines", "assert 1", "asserts"),
        ("machines", "x = 0.5", "has the float 0.5"),
        ("machines", "def wait(seconds: int = 1e3): ...", "has the float 1000.0"),
        ("machines", "x = float('1')", "calls float"),
        ("machines", "x = 3 / 2", "divides with /, which makes a float of two integers"),
        ("machines", "x = open('file')", "calls open"),
        ("machines", "def now():\n    import time\n    return time.time()", "imports time"),
    ],
)
def test_impurity_is_found(package: str, line: str, found: str) -> None:
    assert [problem.partition(": ")[2] for problem in impurities(line, package)] == [found]


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("machines", "import logging"),
        ("machines", "import threading"),
        ("machines", "from transitions import Machine"),
        ("machines", "from msgspec import Struct"),
        ("machines", "from machines.clock import Clock"),
        ("spec", "from machines.snapshot import Snapshot"),
        ("spec", "from itertools import pairwise"),
        ("machines", "x = 7 // 2"),
        ("machines", "def now(clock): return clock.now_ms()"),
    ],
)
def test_pure_line_passes(package: str, line: str) -> None:
    assert impurities(line, package) == []


def test_line_is_named() -> None:
    assert impurities("x = 1\nimport os\nassert x\n", "machines") == ["line 2: imports os", "line 3: asserts"]
