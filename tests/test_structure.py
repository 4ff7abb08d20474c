"""The house as its plan has it, held by reading the code: who may import whom, what stands where, how large things get."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("domain", "jobs", "outbound", "pages", "resources")
# Imports point only downward: to a lower floor, or to a module of the same folder.
FLOORS = (("app", "cli"), ("resources", "pages", "jobs"), ("domain",), ("model", "outbound"), ("config",))
ROOMS = {
    "flask": ("app.", "cli.", "resources.", "pages.", "outbound.smtp."),
    "werkzeug": ("app.", "cli.", "resources.", "pages."),
    "flask_cors": ("app.",),
    "flask_restful": ("resources.",),
    "flask_jwt_extended": ("resources.",),
    "flask_limiter": ("resources.",),
    "flask_mail": ("outbound.smtp.",),
    "flask_bcrypt": ("domain.hash_formats.",),
    "authlib": ("outbound.",),
    "sqlalchemy": ("domain.", "model."),
    "alembic": ("domain.",),
}
# Packages that go by another name, or come with the one that is named.
PACKAGES = {
    "argon2": "argon2-cffi",
    "click": "flask",
    "jwt": "flask-jwt-extended",
    "passlib": "libpass",
    "PIL": "pillow",
    "pydantic_core": "pydantic",
    "werkzeug": "flask",
    "yaml": "pyyaml",
}
QUESTIONS = {"select", "insert", "update", "delete", "text", "Session", "create_engine"}
LONG_PAGES = {"config": 700, "model": 700, "cli": 300, "domain.errors": 300}
VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "repository", "repositories", "schemas"}
VAGUE_ENDINGS = ("Service", "Manager", "Helper", "Helpers", "Repository", "Util", "Utils")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """One page of the product."""

    name: str
    text: str
    tree: ast.Module

    @property
    def folder(self) -> str:
        """Its folder, or itself if it lies in none."""
        return _folder(self.name)


def _modules() -> list[Module]:
    paths = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    return [Module(_name(path), path.read_text(), ast.parse(path.read_text())) for path in sorted(paths)]


def _folder(name: str) -> str:
    return name.partition(".")[0]


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = _modules()
NAMES = {module.name for module in MODULES}


def _imports(module: Module) -> set[str]:
    """What is imported, by full names: `from domain import clock` imports `domain.clock`."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES
            found |= inner or {str(node.module)}
    return found


def _own(module: Module) -> set[str]:
    return {name for name in _imports(module) if name in NAMES or _folder(name) in FOLDERS}


def _floor(name: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if _folder(name) in floor)


def _may_import(module: Module, other: str) -> bool:
    beside = module.folder in FOLDERS and _folder(other) == module.folder
    return beside or _floor(other) > _floor(module.name) or (module.name, other) == ("app", "cli")


def _functions() -> Iterator[tuple[Module, Function]]:
    for module in MODULES:
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                yield module, node


def _length(function: Function) -> int:
    """Its lines, without its decorators and its docstring."""
    first = function.body[0]
    promise = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return (function.end_lineno or 0) - function.lineno + 1 - promise


def _silent(tree: ast.Module | ast.ClassDef, name: str) -> Iterator[str]:
    """What is public in it, itself included, and has no docstring."""
    if ast.get_docstring(tree) is None:
        yield name
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if isinstance(node, ast.ClassDef):
                yield from _silent(node, f"{name}.{node.name}")
            elif ast.get_docstring(node) is None:
                yield f"{name}.{node.name}"


def test_imports_point_only_downward():
    assert [f"{module.name} > {other}" for module in MODULES for other in sorted(_own(module)) if not _may_import(module, other)] == []


def test_nobody_imports_the_application():
    assert [module.name for module in MODULES if "app" in _imports(module)] == []


def test_imports_are_never_relative():
    nodes = [(module.name, node) for module in MODULES for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom)]
    assert [(name, node.lineno) for name, node in nodes if node.level] == []


def test_no_imports_go_round_in_a_circle():
    graph = {module.name: _imports(module) & NAMES for module in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " > ".join((*trail, name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_flask_and_sql_stay_in_their_rooms():
    pairs = [(module.name, _folder(name)) for module in MODULES for name in sorted(_imports(module))]
    strays = [f"{module} > {package}" for module, package in pairs if package in ROOMS and not f"{module}.".startswith(ROOMS[package])]
    assert strays == []


def test_the_model_declares_tables_and_asks_nothing():
    model = next(module for module in MODULES if module.name == "model")
    imported = {alias.name for node in ast.walk(model.tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported & QUESTIONS == set()


def test_nothing_is_imported_inside_a_function():
    inside = [
        f"{module.name}.{function.name}"
        for module, function in _functions()
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function))
    ]
    assert inside == []


def test_whatever_is_public_says_what_it_promises():
    assert [name for module in MODULES for name in _silent(module.tree, module.name)] == []


def test_no_page_is_too_long():
    lengths = {module.name: len(module.text.splitlines()) for module in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines >= LONG_PAGES.get(name, 250)} == {}


def test_functions_are_short():
    lengths = [(f"{module.name}.{function.name}", _length(function)) for module, function in _functions()]
    assert [(name, lines) for name, lines in lengths if lines > 40] == []
    assert sum(lines < 18 for _, lines in lengths) >= 0.9 * len(lengths)


def test_no_name_is_vague():
    assert {part for name in NAMES for part in name.split(".")} & VAGUE == set()
    classes = [node.name for module in MODULES for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    vague = [name for name in classes if name.endswith(VAGUE_ENDINGS)]
    assert vague == ["Service"]  # The table of services.


def test_every_test_mirrors_a_module():
    mirrors = [path for path in sorted((ROOT / "tests").glob("*/test_*.py")) if path.parent.name != "attacks"]
    strays = [path.name for path in mirrors if f"{path.parent.name}.{path.stem.removeprefix('test_')}" not in NAMES]
    assert mirrors
    assert strays == []


def test_every_package_that_is_imported_is_declared():
    lines = (ROOT / "requirements.in").read_text().splitlines()
    declared = {re.split(r"[\[<>=~!;# ]", line, maxsplit=1)[0].lower() for line in lines}
    packages = (
        {_folder(name) for module in MODULES for name in _imports(module)} - {_folder(name) for name in NAMES} - sys.stdlib_module_names
    )
    assert sorted(name for name in packages if PACKAGES.get(name, name.replace("_", "-")) not in declared) == []
