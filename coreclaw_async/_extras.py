"""Libraries that come with an extra: imported where they are used, with an error that says what is wrong with them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from coreclaw_async.errors import ConfigurationError


def load_library(module: str, *, need: str, requirement: str) -> Any:
    """
    Import a module of a library and return it.

    Args:
        module: Its name.
        need: What needs it, for the message.
        requirement: What pip installs it with, such as ``coreclaw-async[dask]``.

    Raises:
        ConfigurationError: The library is not installed, or it is, and importing it fails.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken library raises anything, such as ValueError for a wrong numpy
        cause = None if is_missing(error, module) else error
        raise ConfigurationError(why_not_imported(error, module, need=need, requirement=requirement)) from cause


def check_installed(module: str, *, need: str, requirement: str) -> None:
    """
    Raise unless a library is installed; imports nothing, so `load_library` finds one that is broken.

    Raises:
        ConfigurationError: It is not.
    """
    from importlib.util import find_spec  # Late, as few need it and each import of the package would take longer.

    library = module.partition(".")[0]
    if find_spec(library) is None:
        raise ConfigurationError(_not_installed(library, need, requirement))


def why_not_imported(error: Exception, module: str, *, need: str, requirement: str) -> str:
    """Return why a module cannot be imported, and what to do; the arguments are those of `load_library`."""
    library = module.partition(".")[0]
    if is_missing(error, module):
        return _not_installed(library, need, requirement)
    return (
        f"{need} needs {library}, which is installed and cannot be imported ({type(error).__name__}: {error}); "
        f'to install it anew: pip install "{requirement}" --force-reinstall'
    )


def _not_installed(library: str, need: str, requirement: str) -> str:
    return f'{need} needs {library}, which is not installed: pip install "{requirement}"'


def is_missing(error: Exception, module: str) -> bool:
    """Return whether *error* says that the library itself is not there, and not something that it needs."""
    library = module.partition(".")[0]
    named = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    # A part of it is named where the library is blocked: None in place of the module.
    return named == library or (named.startswith(f"{library}.") and sys.modules.get(library) is None)
