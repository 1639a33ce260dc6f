"""A registry lists the plug-ins of one kind. A plug-in registers itself in its own file; nothing else is edited.

Example:
    BACKBONES = Registry("backbone", "cars.backbones")

    @BACKBONES.register("densenet121")        # in cars/backbones/densenet121.py
    class DenseNet121: ...

    BACKBONES.get("densenet121")              # imports cars.backbones.* once, then looks the name up
    BACKBONES.get(my_object)                  # an object is handed back as it is
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

from .errors import SettingError


class Registry:
    """Names → plug-ins of one kind, found by importing the modules of one package on first use."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._items: dict[str, Any] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[Any], Any]:
        """Decorator: file the object under `name`. A second object of the same name is an error."""

        def keep(item: Any) -> Any:
            if name in self._items and self._items[name] is not item:
                raise SettingError(f"Two {self.kind}s are called {name!r}.", "Rename one of them.")
            self._items[name] = item
            return item

        return keep

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._discover()
        return sorted(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def get(self, name_or_object: Any) -> Any:
        """The plug-in of that name, or the object itself when it is not a string.

        Raises: SettingError that lists the registered names, the nearest first.
        """
        if not isinstance(name_or_object, str):
            return name_or_object
        self._discover()
        # "diffusers:/folder" style names carry an argument after the colon
        name = name_or_object.split(":", 1)[0]
        if name not in self._items:
            near = difflib.get_close_matches(name, self._items, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise SettingError(
                f"There is no {self.kind} called {name_or_object!r}.",
                f"{hint}The {self.kind}s are: {', '.join(sorted(self._items))}.",
            )
        return self._items[name]

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.package}.{module.name}")
