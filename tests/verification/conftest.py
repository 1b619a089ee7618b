"""The marker of the model's longer tests."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Known here, so that these tests can be collected by themselves."""
    config.addinivalue_line("markers", "long_model: runs TLC for minutes; chosen by -m long_model")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without -m, the long ones stay out."""
    if config.getoption("markexpr"):
        return
    long = [item for item in items if item.get_closest_marker("long_model") is not None]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
