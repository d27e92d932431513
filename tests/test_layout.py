"""How the library is laid out: imports in one direction, by need, and functions that fit on a screen."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import SCRIPTS, Runner
from openrouter_server import OpenRouterServer, make_content, make_metadata

PACKAGE = "openrouter_generations"
MODULES = {file.stem: ast.parse(file.read_text("utf-8")) for file in sorted((SCRIPTS / PACKAGE).glob("*.py"))}
ENTRIES = {file.stem: ast.parse(file.read_text("utf-8")) for file in sorted(SCRIPTS.glob("*.py"))}

# Each may import those below it only.
ORDER = [
    *("reconciliation", "searching", "diagnosing", "reconciliation_formats", "reconciliation_report", "find_report"),
    *("diagnosis_report", "comparison", "sessions", "logs", "claims", "results", "cli", "settings", "media_folder"),
    *("client", "metadata_report", "content_report", "diagnosis", "summary", "findings", "failures", "analytics"),
    *("measures", "documents", "receipts", "fetching", "output", "origin", "errors", "message_parts", "sockets"),
    *("media", "excerpts", "providers", "ids", "fields", "text"),
]

PURE = [
    *("reconciliation_formats", "reconciliation_report", "find_report", "diagnosis_report", "comparison", "sessions"),
    *("claims", "metadata_report", "content_report", "diagnosis", "summary", "findings", "failures", "measures"),
    *("origin", "errors", "message_parts", "media", "excerpts", "providers", "ids", "fields", "text"),
]
IO = {"os", "socket", "subprocess", "tempfile", "pathlib", "httpx", "httpcore", "threading", "argparse"}
HTTP = {"httpx", "httpcore", "requests", "urllib.request", "http.client", "socket", "aiohttp", "urllib3"}


def runtime(tree: ast.AST) -> Iterator[ast.stmt]:
    """Every import that may run, also inside functions; those under TYPE_CHECKING are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from runtime(node)


def imported(tree: ast.AST) -> set[str]:
    """Full names of the imported modules; those of the library without the package's name."""
    found = set()
    for node in runtime(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = PACKAGE if node.level and not node.module else f"{PACKAGE}.{node.module}" if node.level else None
            base = base or node.module or ""
            if base == PACKAGE:
                found |= {f"{PACKAGE}.{alias.name}" for alias in node.names}
            else:
                found.add(base)
    return {name.removeprefix(f"{PACKAGE}.") for name in found}


GRAPH = {name: imported(tree) & MODULES.keys() for name, tree in MODULES.items()}


def test_every_module_has_its_place() -> None:
    assert sorted(ORDER) == sorted(MODULES.keys() - {"__init__"})
    assert "errors" in GRAPH["client"]


def test_imports_go_one_way() -> None:
    rank = {name: place for place, name in enumerate(ORDER)}
    upward = [
        f"{name} imports {other}" for name in ORDER for other in GRAPH[name] - {"__init__"} if rank[other] < rank[name]
    ]
    assert upward == []


def test_there_is_no_cycle() -> None:
    left = dict(GRAPH)
    while leaves := [name for name, needs in left.items() if not needs & left.keys() - {name}]:
        assert not [name for name in leaves if name in left[name]]
        for name in leaves:
            del left[name]
    assert left == {}


def test_only_the_client_speaks_http() -> None:
    assert {name for name, tree in MODULES.items() if imported(tree) & HTTP} == {"client", "sockets"}


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_no_io(name: str) -> None:
    assert imported(MODULES[name]) & IO == set()
    calls = {node.func.id for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call) and _named(node)}
    assert calls & {"print", "open", "input"} == set()


def _named(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name)


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_use_the_library_and_are_short(name: str) -> None:
    assert len((SCRIPTS / f"{name}.py").read_text("utf-8").splitlines()) <= 130
    assert not imported(ENTRIES[name]) & HTTP


def test_functions_fit_on_a_screen() -> None:
    lengths = {
        f"{name}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, tree in {**MODULES, **ENTRIES}.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: length for name, length in lengths.items() if length > 40} == {}
    assert sum(lengths.values()) / len(lengths) < 24


def test_every_function_says_what_it_returns() -> None:
    assert [
        f"{name}.{node.name}"
        for name, tree in {**MODULES, **ENTRIES}.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.returns is None
    ] == []


LIST_MODULES = """
import json, runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[2:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def loaded(script: str, *args: object, run: Runner) -> set[str]:
    """The modules that are in memory when a script has done its work."""
    command = [sys.executable, "-c", LIST_MODULES, SCRIPTS, SCRIPTS / script, *args]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, encoding="utf-8", env=run.environment(), check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


HEAVY = {"httpx", "httpcore", "ssl", "dotenv", "asyncio", "rich", "click", "concurrent.futures", "email"}


@pytest.mark.parametrize("name", ENTRIES)
def test_help_loads_next_to_nothing(name: str, run: Runner) -> None:
    found = loaded(f"{name}.py", "--help", run=run)
    assert f"{PACKAGE}.cli" in found
    assert (
        found & (HEAVY | {f"{PACKAGE}.{module}" for module in ("client", "settings", "documents", "output")}) == set()
    )


@pytest.mark.parametrize("name", ["get_generation", "get_generation_content"])
def test_saved_answers_load_no_http(name: str, tmp_path: Path, run: Runner) -> None:
    make = make_content if "content" in name else make_metadata
    file = tmp_path / "saved.json"
    file.write_text(json.dumps({"data": make("gen-1")}), "utf-8")
    found = loaded(f"{name}.py", "--from", file, run=run)
    assert f"{PACKAGE}.documents" in found
    assert found & (HEAVY | {f"{PACKAGE}.client", f"{PACKAGE}.settings"}) == set()


def test_a_call_loads_no_dotenv_when_the_key_is_given(server: OpenRouterServer, run: Runner) -> None:
    server.add("gen-1", make_metadata("gen-1"))
    found = loaded("get_generation.py", "gen-1", run=run)
    assert f"{PACKAGE}.client" in found
    assert found & {"dotenv", "concurrent.futures.thread", f"{PACKAGE}.content_report"} == set()
