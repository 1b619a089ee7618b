"""The package's public surface is listed, complete and explained."""

from __future__ import annotations

import inspect
from types import ModuleType

import adapters.hyperliquid as package


def test_what_is_imported_is_exported() -> None:
    public = {
        name for name, value in vars(package).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(package.__all__)
    assert len(package.__all__) == len(set(package.__all__))


def test_every_error_of_the_package_is_exported() -> None:
    modules = [value for value in vars(package).values() if isinstance(value, ModuleType)]
    assert len(modules) == 7
    errors = {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == module.__name__
    }
    assert errors <= set(package.__all__)
    assert len(errors) > 15


def test_every_exported_class_and_function_says_what_it_is_for() -> None:
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
            assert value.__module__.startswith("adapters.hyperliquid."), name
