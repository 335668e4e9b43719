"""Finds every implementation of a contract in the packages, so that a new one cannot miss its suite."""

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

import needleplan
import robots
import sim


@cache
def _all_modules() -> tuple[Any, ...]:
    return tuple(
        importlib.import_module(item.name)
        for package in (needleplan, robots, sim)
        for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not item.name.endswith("__main__")
    )


def implementations(contract: type) -> set[type]:
    """All concrete classes of the packages that derive from a contract."""
    return {
        value
        for module in _all_modules()
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, contract)
        and value is not contract
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
    }
