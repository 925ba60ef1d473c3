"""What results are known by: an address, made of every value, every file's content and all code that they depend on.

The code of a method is its module and every module that this one imports (of motif, or of the method's own package),
without comments and docstrings: a change anywhere in there is a change of the method. Libraries and devices are no part
of it: they change nothing but rounding, and results say which they were made with.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from motif.errors import InputError


def address(kind: str, /, **depends: Any) -> str:
    """One word for a result: of its kind and everything it depends on, as JSON."""
    told = json.dumps([kind, depends], sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def content(path: str | Path) -> str:
    """Of a file's bytes, or of all files of a folder with their names."""
    path = Path(path)
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()[:24]
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return address("folder", files=[[str(each.relative_to(path)), content(each)] for each in files])


@cache
def code(place: str) -> str:
    """Of the code behind "package.module:function"."""
    first = place.partition(":")[0]
    return address("code", modules={name: _parsed(file)[0] for name, file in sorted(_reached(first).items())})


@cache
def script(file: Path) -> str:
    """Of a script, of the scripts beside it that it imports, and of all of motif that they import."""
    found, ahead = dict[str, str](), [file.resolve()]
    while ahead:
        one = ahead.pop()
        found[one.stem], imported = _parsed(one)
        for name in imported:
            beside = file.resolve().with_name(f"{name}.py")
            if name.partition(".")[0] == "motif":
                found |= {module: _parsed(place)[0] for module, place in _reached(name).items()}
            elif beside.is_file() and name not in found:
                ahead.append(beside)
    return address("script", modules=found)


def _reached(first: str) -> dict[str, Path]:
    """{module: its file} of a module and all that it imports of its own package and of motif."""
    packages, found, ahead = {"motif", first.partition(".")[0]}, dict[str, Path](), [first]
    while ahead:
        name = ahead.pop()
        if name in found or name.partition(".")[0] not in packages or (file := _file(name)) is None:
            continue
        found[name] = file
        ahead += _parsed(file)[1]
    if not found:
        raise InputError(f"{first}: the code of this method cannot be read")
    return found


def _file(name: str) -> Path | None:
    """The source of a module; None where there is none (a function of a package, a compiled module)."""
    top, *rest = name.split(".")
    found = find_spec(top)
    if found is None or found.origin is None:
        return None
    home = Path(found.origin)
    place = home.parent.joinpath(*rest) if rest else home.parent
    if not rest and home.name != "__init__.py":
        return home
    return next((f for f in (place / "__init__.py", place.with_suffix(".py")) if f.is_file()), None)


@cache
def _parsed(file: Path) -> tuple[str, tuple[str, ...]]:
    """A digest of a file's code, and the modules that it imports."""
    tree = ast.parse(file.read_bytes())
    imported = tuple(dict.fromkeys(_imports(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _says_only(line)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:24], imported


def _says_only(line: ast.stmt) -> bool:
    """A docstring."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def _imports(node: ast.AST) -> Iterator[str]:
    """What is imported anywhere below, but for what only type checkers see."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for name in node.names:  # a module of a package, or a name in a module
            within = f"{node.module}.{name.name}"
            yield within if _file(within) else node.module
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)
