"""People's own code by import path: `package.module:name`, `package.module.name`, or a file of the current folder."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from labelwise.errors import InputError, nearest


def import_object(path: str, key: str, wanted: str) -> Any:
    """Import an object by its path. Importing runs the module's own code, and nothing else.

    path: `module:name`, or `module.name`; a module is looked for among what is installed, then in the current folder,
    which stays importable where it was found there. key: the configuration's key, for errors; wanted: what the object
    has to be, in words. Errors: InputError that says what was not found, and the nearest name.
    """
    where = f"{key}: {path!r}"
    module_path, colon, names = path.partition(":")
    parts = [*module_path.split("."), *(names.split(".") if colon else [])]
    if not all(part.isidentifier() for part in parts):
        raise InputError(f"{where} is no import path; write package.module.name or package.module:name of {wanted}")
    if not colon:
        module_path, names = _longest_module(parts, where, wanted)
    found: Any = _import(module_path, where, wanted)
    known = module_path
    for name in names.split("."):
        if not hasattr(found, name):
            near = nearest(name, [n for n in dir(found) if not n.startswith("_")] or ["nothing"])
            place = getattr(found, "__file__", None) or known
            raise InputError(f"{where}: {known} ({place}) has no '{name}'{_short(near)}; {wanted} is needed")
        found, known = getattr(found, name), f"{known}.{name}"
    return found


def module_of(path: str) -> ModuleType:
    """Return the module of an import path whose object was imported before."""
    name = path.partition(":")[0]
    while name not in sys.modules:
        name = name.rpartition(".")[0]
    return sys.modules[name]


def _longest_module(parts: list[str], where: str, wanted: str) -> tuple[str, str]:
    """Return the module of a dotted path, and the names in it: as many parts as there are modules."""
    if len(parts) < 2:
        raise InputError(f"{where} is no import path; write package.module.name or package.module:name of {wanted}")
    module = parts[0]
    for end in range(2, len(parts)):
        found = _import(module, where, wanted)
        if not hasattr(found, "__path__") or not _is_module(".".join(parts[:end])):
            return module, ".".join(parts[end - 1 :])
        module = ".".join(parts[:end])
    return module, parts[-1]


def _is_module(name: str) -> bool:
    if name in sys.modules:
        return True
    package, _, last = name.rpartition(".")
    return PathFinder.find_spec(name, sys.modules[package].__path__) is not None if package and last else False


def _import(name: str, where: str, wanted: str) -> ModuleType:
    """Import a module. Errors: InputError where it is not there, or fails itself."""
    top = name.partition(".")[0]
    here = str(Path.cwd())
    if top not in sys.modules and PathFinder.find_spec(top) is None and PathFinder.find_spec(top, [here]) is not None:
        sys.path.append(here)  # last: what is installed is never hidden by a file that happens to lie here
        importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise InputError(
                f"{where}: there is no module '{missing}'{_near_module(missing, here)}, neither installed nor in "
                f"{here}; {wanted} is needed"
            ) from None
        raise InputError(f"{where}: {name} needs the module '{missing}', which is not installed") from None
    except (Exception, SystemExit) as error:  # a module's own code can raise anything
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InputError(f"{where}: {name} cannot be imported: {type(error).__name__}: {reason}; mend it") from None


def _near_module(name: str, here: str) -> str:
    """Return `(did you mean x?)` for a module of a near name, beside or inside the same package."""
    package, _, last = name.rpartition(".")
    folders = list(getattr(sys.modules.get(package), "__path__", [])) if package else [*sys.path, here]
    names = {module.name for module in pkgutil.iter_modules(folders)}
    found = difflib.get_close_matches(last, sorted(names - {last}), n=1, cutoff=0.6)
    return f" (did you mean {package + '.' if package else ''}{found[0]}?)" if found else ""


def _short(near: str) -> str:
    """Return a hint; of a long list of known names, nothing."""
    return near if len(near) < 200 else ""
