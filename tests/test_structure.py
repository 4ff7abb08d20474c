"""The house as docs/architecture.md describes it, held by reading the code: who may import whom, and how large things get."""

import ast
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("app", "cli", "config", "model")
FOLDERS = ("domain", "jobs", "outbound", "pages", "resources")
# A floor may import the floors below it, and of its own only modules of the same folder.
FLOORS = (("app", "cli"), ("resources", "pages", "jobs"), ("domain",), ("model", "outbound"), ("config",))
FLASK = {"flask", "flask_restful", "flask_cors", "flask_limiter", "flask_jwt_extended", "flask_mail", "werkzeug"}
FLASK_ROOMS = ("app", "cli", "resources.", "pages.", "outbound.smtp")
SQL_ROOMS = ("domain.", "model")
LONG_FILES = {"config.py": 700, "model.py": 700}
VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "base_service", "services", "repository"}


class Module(NamedTuple):
    """One page of the product."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder or page that it belongs to."""
        return self.name.split(".")[0]


def _modules() -> list[Module]:
    paths = [ROOT / f"{page}.py" for page in PAGES]
    paths += [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [Module(_name(path), path, ast.parse(path.read_text())) for path in paths]


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = _modules()
NAMES = {module.name for module in MODULES}
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def _imports(module: Module) -> set[str]:
    """Every module that is imported, by its full name: `from domain import clock` imports `domain.clock`."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}:{node.lineno} imports relatively"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if name in NAMES} or {str(node.module)}
    return found


def _floor(room: str) -> int:
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


def _functions(module: Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The length of a function without its decorators and its docstring."""
    docstring = node.body[0] if ast.get_docstring(node) is not None else None
    told = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - told


@every_module
def test_imports_point_only_downward(module):
    ours = {name for name in _imports(module) if name.split(".")[0] in (*PAGES, *FOLDERS)}
    same_folder = {name for name in ours if name.split(".")[0] == module.room and module.room in FOLDERS}
    below = {name for name in ours if _floor(name.split(".")[0]) > _floor(module.room)}
    beside = {"cli"} if module.name == "app" else set()  # app.py registers the commands.
    assert ours - same_folder - below - beside == set()


def test_nobody_imports_the_application():
    assert [module.name for module in MODULES if "app" in _imports(module)] == []


def test_no_folder_has_a_cycle_of_imports():
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


@every_module
def test_flask_stays_in_its_rooms(module):
    flask = {name for name in _imports(module) if name.split(".")[0] in FLASK}
    assert not flask or f"{module.name}.".startswith(FLASK_ROOMS)


@every_module
def test_sql_stays_in_the_domain(module):
    sql = {name for name in _imports(module) if name.split(".")[0] in ("sqlalchemy", "alembic", "sqlite3", "psycopg", "pymysql")}
    assert not sql or f"{module.name}.".startswith(SQL_ROOMS)


def test_the_model_declares_tables_and_asks_nothing():
    model = next(module for module in MODULES if module.name == "model")
    named = {alias.name for node in ast.walk(model.tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named & {"select", "insert", "update", "delete", "text", "Session", "create_engine"} == set()


@every_module
def test_nothing_is_imported_inside_a_function(module):
    inside = [node for function in _functions(module) for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node.lineno for node in inside] == []


@every_module
def test_whatever_is_public_says_what_it_promises(module):
    silent = [] if ast.get_docstring(module.tree) else [module.name]
    stack: list[ast.AST] = [module.tree]
    while stack:
        for node in ast.iter_child_nodes(stack.pop()):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                silent += [] if ast.get_docstring(node) else [node.name]
                stack += [node] if isinstance(node, ast.ClassDef) else []
    assert silent == []


@every_module
def test_no_page_and_no_function_is_too_long(module):
    assert len(module.path.read_text().splitlines()) < LONG_FILES.get(module.path.name, 250)
    assert [function.name for function in _functions(module) if _lines(function) > 40] == []


def test_most_functions_are_short():
    lengths = [_lines(function) for module in MODULES for function in _functions(module)]
    assert sum(length < 18 for length in lengths) >= 0.9 * len(lengths)


def test_no_name_is_vague():
    folders = {part for module in MODULES for part in module.name.split(".")}
    assert folders & VAGUE == set()
    classes = [node.name for module in MODULES for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if name.endswith(("Service", "Manager", "Helper", "Repository", "Util", "Utils"))] == []


def test_every_test_mirrors_a_module():
    mirrors = [path for path in (ROOT / "tests").glob("*/test_*.py") if path.parent.name != "attacks"]
    assert mirrors
    assert [str(path) for path in mirrors if f"{path.parent.name}.{path.stem.removeprefix('test_')}" not in NAMES] == []


def test_only_what_is_declared_is_imported():
    """Every package that the product imports is the standard library's, or is named in requirements.in."""
    declared = {_plain(line) for line in (ROOT / "requirements.in").read_text().splitlines() if line and not line.startswith("#")}
    known = {"jwt": "pyjwt", "PIL": "pillow", "yaml": "pyyaml"}
    outside = {name.split(".")[0] for module in MODULES for name in _imports(module)} - {*PAGES, *FOLDERS} - sys.stdlib_module_names
    assert sorted(name for name in outside if known.get(name, name.replace("_", "-")) not in declared) == []


def _plain(line: str) -> str:
    return line.split(";")[0].split("[")[0].split("=")[0].split("<")[0].split(">")[0].split("~")[0].strip().lower().replace("_", "-")
