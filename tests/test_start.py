"""Starting the scripts: four ways, without dependencies, and what they say of themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import SCRIPTS, Runner
from openrouter_server import OpenRouterServer, make_metadata

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

ID = "gen-1770000000-aBcDeFgHiJkLmNoPqRsT"
ENTRIES = sorted(SCRIPTS.glob("*.py"))
PROJECT = (SCRIPTS.parent / "pyproject.toml").read_text("utf-8")
BARE = (sys.executable, "-S", "-E")  # the standard library only

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


@pytest.fixture(scope="module")
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as running:
        running.add(ID, make_metadata(ID))
        yield running


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "saved.json"
    file.write_text(json.dumps({"data": make_metadata(ID)}), "utf-8")
    return file


def start(*command: object, run: Runner, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        encoding="utf-8",
        env=run.environment(env),
        cwd=cwd or run.cwd,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


# Headers


def header(entry: Path) -> dict[str, str]:
    """The PEP 723 block of a script, as raw values."""
    block = re.search(r"(?m)^# /// script\n((?:# .*\n)+?)# ///$", entry.read_text("utf-8"))
    assert block, f"{entry.name} has no PEP 723 block"
    return dict(line.removeprefix("# ").split(" = ", 1) for line in block[1].splitlines())


def project(name: str) -> str:
    found = re.search(rf"(?m)^{name} = (.+)$", PROJECT)
    assert found
    return found[1]


@each_entry
def test_header_is_that_of_pyproject(entry: Path) -> None:
    assert header(entry) == {name: project(name) for name in ("requires-python", "dependencies")}


@pytest.mark.skipif(tomllib is None, reason="tomllib came with Python 3.11")
@each_entry
def test_header_is_toml(entry: Path) -> None:
    values = tomllib.loads("\n".join(f"{name} = {value}" for name, value in header(entry).items()))
    assert values == {name: tomllib.loads(PROJECT)["project"][name] for name in values}


@each_entry
def test_entry_is_an_executable_script(entry: Path) -> None:
    assert entry.read_text("utf-8").startswith("#!/usr/bin/env -S uv run --script\n")
    assert os.access(entry, os.X_OK)


# Four ways


def test_by_path_and_from_inside_scripts(run: Runner) -> None:
    by_path = run("get_generation.py", ID)
    inside = start(sys.executable, "get_generation.py", ID, run=run, cwd=SCRIPTS)
    assert (by_path.returncode, inside.returncode) == (0, 0), inside.stderr
    assert by_path.stdout == inside.stdout
    assert by_path.stdout.startswith(f"Generation: {ID}\n")


def needs_uv(way: list[str], run: Runner) -> subprocess.CompletedProcess[str]:
    """The outcome with uv, in the user's own environment; skips where uv is not there or cannot load packages."""
    found = subprocess.run(["uv", "--version"], capture_output=True, check=False) if shutil.which("uv") else None
    if found is None or found.returncode:
        pytest.skip("uv is not installed")
    loaded = subprocess.run(
        [*way, "--version"], capture_output=True, encoding="utf-8", cwd=run.cwd, timeout=120, check=False
    )
    if loaded.returncode and "package" not in loaded.stderr.lower():
        pytest.skip(f"uv cannot load the packages: {loaded.stderr[-300:]}")
    variables = {name: value for name, value in run.environment().items() if name.startswith("OPENROUTER_")}
    return subprocess.run(
        [*way, ID],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **variables},
        cwd=run.cwd,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("way", [["uv", "run"], []], ids=["uv run", "executable"])
def test_by_uv(way: list[str], run: Runner) -> None:
    done = needs_uv([*way, str(SCRIPTS / "get_generation.py")], run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Generation: {ID}\n")


# Without dependencies


def test_the_bare_interpreter_is_bare(run: Runner) -> None:
    for name in ("httpx", "dotenv"):
        assert "ModuleNotFoundError" in start(*BARE, "-c", f"import {name}", run=run).stderr


@each_entry
def test_help_needs_no_dependency(entry: Path, run: Runner) -> None:
    done = start(*BARE, entry, "--help", run=run)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: {entry.name}" in done.stdout
    examples, codes = done.stdout.partition("examples:")[2].split("exit codes:")
    assert entry.name in examples
    shown = [int(line.split()[0]) for line in codes.strip().splitlines() if line.split()[0].isdigit()]
    assert shown == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]


@each_entry
def test_version_needs_no_dependency(entry: Path, run: Runner) -> None:
    done = start(*BARE, entry, "--version", run=run)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[-1] == project("version").strip('"')


@pytest.mark.parametrize("name", ["get_generation.py", "get_generation_content.py"])
def test_saved_answers_need_no_dependency(name: str, saved: Path, run: Runner) -> None:
    if "content" in name:
        saved.write_text('{"data": {"input": {"prompt": "Hi"}, "output": {"completion": "Ho"}}}', "utf-8")
    done = start(*BARE, SCRIPTS / name, "--from", saved, run=run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Use --json for full raw response" in done.stdout


def blocked(tmp_path: Path, *names: str) -> str:
    """A PYTHONPATH entry where these packages are missing."""
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named', name={name!r})")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("module", "package", "env"),
    [
        ("httpx", "httpx", {}),
        ("dotenv", "python-dotenv", {"OPENROUTER_API_KEY": ""}),
    ],
)
def test_one_line_says_what_is_missing(
    module: str, package: str, env: dict[str, str], tmp_path: Path, run: Runner
) -> None:
    (run.cwd / ".env").write_text("OPENROUTER_API_KEY=sk-or-v1-test\n")
    path = blocked(tmp_path, module)
    done = start(sys.executable, SCRIPTS / "get_generation.py", ID, run=run, PYTHONPATH=path, **env)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"Missing Python package {package}" in done.stderr
    assert "uv run " in done.stderr
    assert "python3 -m pip install httpx python-dotenv" in done.stderr


def test_the_bare_interpreter_gets_that_line_too(run: Runner) -> None:
    done = start(*BARE, SCRIPTS / "get_generation_content.py", ID, run=run)
    assert done.returncode == 1
    assert "Missing Python package httpx" in done.stderr
    assert "Traceback" not in done.stderr


# The command line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--frobnicate", ID], "--frobnicate"),
        (["--js", ID], "--js"),  # no abbreviations
        (["--wait", "soon", ID], "--wait"),
        (["--wait", "nan", ID], "--wait"),
        (["--wait", "-1", ID], "--wait"),
        (["--timeout", "0", ID], "--timeout"),
        (["--timeout", "inf", ID], "--timeout"),
        (["--retries", "-1", ID], "--retries"),
        (["--retries", "1.5", ID], "--retries"),
        (["--retries", "9" * 5000, ID], "--retries"),
        (["--id"], "--id"),
        ([ID, "--api-key"], "--api-key"),
    ],
)
def test_wrong_usage_names_the_flag(args: list[str], said: str, server: OpenRouterServer, run: Runner) -> None:
    before = len(server.requests)
    done = run("get_generation.py", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[-1]
    assert len(server.requests) == before


@pytest.mark.parametrize("name", ["get_generation.py", "get_generation_content.py"])
def test_a_missing_id_prints_usage(name: str, run: Runner) -> None:
    done = run(name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage" in done.stderr.lower()
    assert name in done.stderr


def test_an_unknown_flag_repeats_no_key_and_steers_nothing(run: Runner) -> None:
    done = run("get_generation.py", "--key=sk-or-v1-abc\x1b[31m", ID)
    assert done.returncode == 2
    assert "--key=[key removed]" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [["--json", ID, ID], [ID, "--json", ID], [ID, ID, "--json"], ["--id", ID, "--json", ID], ["--json", "--", ID, ID]],
)
def test_flags_may_stand_anywhere(args: list[str], run: Runner) -> None:
    done = run("get_generation.py", *args)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [ID, ID]
