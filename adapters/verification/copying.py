"""Copies a state of the world, so that the search can take every choice in it.

What can't change is shared: numbers, texts, enum members, frozen values. Everything else is copied, field by
field, and what two objects share, their copies share. The core is the one exception: its handlers belong to the object
itself, so its copy is a new core that takes over all the other fields.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from threading import Lock
from typing import Any, Final, TypeAlias

from msgspec import Struct

from adapters.verification.abstraction import fields_of
from adapters.verification.world import World
from machines.executor import ExecutorCore

Memo: TypeAlias = dict[int, Any]
Copier: TypeAlias = Callable[[Any, Memo], Any]


def copy_of(world: World) -> World:
    """A world in the same state that shares nothing that can change."""
    copied: World = _copy(world, {})
    return copied


def _copy(value: Any, memo: Memo) -> Any:
    kind = type(value)
    copier = _COPIERS.get(kind)
    if copier is None:
        copier = _COPIERS[kind] = _copier_for(value)
    return copier(value, memo)


def _share(value: Any, _: Memo) -> Any:
    return value


def _copier_for(value: object) -> Copier:
    return _share if isinstance(value, Enum) or _frozen(value) else _object_copier(type(value), fields_of(value))


def _frozen(value: object) -> bool:
    if isinstance(value, Struct):
        return value.__struct_config__.frozen
    return is_dataclass(value) and bool(getattr(type(value), "__dataclass_params__").frozen)  # noqa: B009 untyped


def _object_copier(kind: type, names: list[str]) -> Copier:
    new: Callable[[type], Any] = object.__new__

    def copy(value: Any, memo: Memo) -> Any:
        made = memo.get(id(value))
        if made is None:
            made = memo[id(value)] = new(kind)
            for name in names:
                setattr(made, name, _copy(getattr(value, name), memo))
        return made

    return copy


def _core(core: ExecutorCore, memo: Memo) -> ExecutorCore:
    made: ExecutorCore | None = memo.get(id(core))
    if made is None:
        fields = vars(core)
        made = memo[id(core)] = ExecutorCore(_copy(fields["_clock"], memo), core.settings, run_id=0)
        for name, value in fields.items():
            if name != "_handlers":
                setattr(made, name, _copy(value, memo))
    return made


def _tuple(value: tuple[Any, ...], memo: Memo) -> tuple[Any, ...]:
    return tuple([_copy(item, memo) for item in value]) if value else value


def _list(value: list[Any], memo: Memo) -> list[Any]:
    return [_copy(item, memo) for item in value]


def _deque(value: deque[Any], memo: Memo) -> deque[Any]:
    return deque(_copy(item, memo) for item in value)


def _dict(value: dict[Any, Any], memo: Memo) -> dict[Any, Any]:
    return {name: _copy(item, memo) for name, item in value.items()}


def _ordered_dict(value: OrderedDict[Any, Any], memo: Memo) -> OrderedDict[Any, Any]:
    return OrderedDict((name, _copy(item, memo)) for name, item in value.items())


_COPIERS: Final[dict[type, Copier]] = {
    **dict.fromkeys((int, str, bool, type(None), frozenset, type(Lock())), _share),
    tuple: _tuple,
    list: _list,
    deque: _deque,
    dict: _dict,
    OrderedDict: _ordered_dict,
    set: lambda value, _: set(value),
    ExecutorCore: _core,
}
"""Mappings have keys that can't change, and the sets hold numbers; a lock is never held between two steps."""
