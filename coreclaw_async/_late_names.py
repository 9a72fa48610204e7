"""Names of a package that are loaded when they are first used (PEP 562)."""

from collections.abc import Callable, Mapping
from typing import Any


def late_names(package: dict[str, Any], module_of: Mapping[str, str]) -> Callable[[str], Any]:
    """
    Return the ``__getattr__`` of a package; what it has loaded is found without it from then on.

    Args:
        package: The ``globals()`` of the package.
        module_of: For each name the module that has it, as named from the package on; for a module its own name.
    """
    own_name = package["__name__"]

    def load(name: str) -> Any:
        import importlib

        if name not in module_of:
            raise AttributeError(f"module {own_name!r} has no attribute {name!r}")
        module = importlib.import_module(f"{own_name}.{module_of[name]}")
        # Threads that come at once find the same.
        return package.setdefault(name, module if name == module_of[name] else getattr(module, name))

    return load
