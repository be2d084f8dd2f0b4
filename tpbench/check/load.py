"""From ``file.py:name`` or ``package.module:name`` to the user's factory."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tpbench.parametrization import did_you_mean


def load_factory(word: str) -> Callable[[int], Any]:
    """Return the factory that a word such as ``model.py:build`` or ``package.module:build`` names.

    The directory of a file, or the working directory, is on ``sys.path`` while the module is imported. Raises
    ``ValueError`` when there is no such file, module or function, or when importing it fails.
    """
    where, colon, name = word.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise ValueError(
            f"say where the factory is as file.py:function or package.module:function, got {word!r}; "
            "function(width) returns (model, optimizer), and maybe a batch and a loss"
        )
    module = load_module(where)
    found = getattr(module, name, None)
    if found is None:
        functions = {key: None for key, value in vars(module).items() if callable(value) and not key.startswith("_")}
        raise ValueError(f"{where} has no {name!r}{did_you_mean(name, functions)}")
    if not callable(found):
        raise ValueError(f"{word} is a {type(found).__name__}, not a function of the width")
    factory: Callable[[int], Any] = found
    return factory


def load_module(where: str) -> ModuleType:
    """Return the module of a file's path or of a dotted name; ``ValueError`` as for ``load_factory``."""
    return _from_file(Path(where)) if where.endswith(".py") else _from_name(where)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be imported as a Python module")
    module = importlib.util.module_from_spec(spec)
    with _importing(str(path), path.resolve().parent):
        before = sys.modules.get(name)
        sys.modules[name] = module  # dataclasses and pickle look their module up
        try:
            spec.loader.exec_module(module)
        finally:
            if before is not None:
                sys.modules[name] = before
    return module


def _from_name(name: str) -> ModuleType:
    with _importing(name, Path.cwd()):
        return importlib.import_module(name)


@contextmanager
def _importing(what: str, directory: Path) -> Iterator[None]:
    """Put a directory on the path, and turn what goes wrong into one sentence with the place where it did."""
    sys.path.insert(0, str(directory))
    try:
        yield
    except Exception as error:
        raise ValueError(f"importing {what} failed: {told(error)}") from error
    finally:
        sys.path.remove(str(directory))


def from_users_code(error: BaseException) -> bool:
    """Return whether an error was raised while the user's code was running, by it or by what it called."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    last_ours = max((place for place, name in enumerate(files) if _is_ours(name)), default=-1)
    return any(_is_users(name) for name in files[last_ours + 1 :])


def told(error: BaseException) -> str:
    """Return an error of the user's code with the last line of that code it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    at = f" (in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line})" if frames else ""
    return f"{type(error).__name__}: {error}{at}"


LIBRARY = str(Path(traceback.__file__).resolve().parent)
OURS = str(Path(__file__).resolve().parent.parent)


def _is_ours(filename: str) -> bool:
    return filename.startswith(OURS)


def _is_users(filename: str) -> bool:
    """Return whether a file is neither ours, nor the interpreter's, nor an installed package's."""
    installed = any(part in filename for part in ("site-packages", "dist-packages"))
    return not (_is_ours(filename) or filename.startswith((LIBRARY, "<")) or installed)
