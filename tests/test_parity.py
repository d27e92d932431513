"""What the TypeScript originals printed, against what these scripts print for the same answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Runner
from openrouter_server import KEY, Answer, OpenRouterServer

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data/parity-cases.json").read_text(encoding="utf-8"))
SCRIPTS = {"metadata": "get_generation.py", "content": "get_generation_content.py"}
HINT = "Use --json for full raw response"
EXITS = {400: 9, 401: 3, 402: 5, 403: 3, 404: 4, 408: 7, 429: 6, 500: 7, 502: 7, 503: 7, 524: 7, 529: 7}

KEPT = {401, 403, 404, 429}
"""Statuses whose wording is the original's own; for the others it prints the body as it came."""


def in_order(lines: list[str], ours: list[str]) -> str | None:
    """The first line that is not the beginning of one of ours behind the previous one's place."""
    rest = iter(ours)
    for line in lines:
        if not any(candidate.startswith(line) for candidate in rest):
            return line
    return None


@pytest.fixture(scope="module")
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer(keys=(KEY, "sk-or-v1-flag")) as running:
        yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_prints_what_the_original_prints(case: dict[str, Any], server: OpenRouterServer, run: Runner) -> None:
    headers = {"Content-Type": "application/json"}
    server.script(case["id"], Answer(case["status"], case["body"], headers))
    key = {} if case["key"] else {"OPENROUTER_API_KEY": None}
    done = run(SCRIPTS[case["script"]], *case["args"], "--retries", 0, env=key)
    original = case["original"]
    if original["exit"] == 0:
        assert done.returncode == 0, done.stderr
        if "--json" in case["args"]:
            ours, theirs = json.loads(done.stdout), json.loads(original["stdout"])
            assert list(ours) == list(theirs)
            assert ours == theirs
            assert json.dumps(ours) == json.dumps(json.loads(case["body"]))  # key order at every level
        else:
            lines = [line for line in original["stdout"].splitlines() if line.strip() and line != HINT]
            assert in_order(lines, done.stdout.splitlines()) is None
        return
    assert done.stdout == ""
    if case["status"] in EXITS:
        assert done.returncode == EXITS[case["status"]]
        assert done.stderr.startswith(f"Error {case['status']}")
        if case["status"] in KEPT:
            assert in_order(original["stderr"].splitlines()[:1], done.stderr.splitlines()) is None
    else:
        expected = 2 if "no-id" in case["name"] else 3 if "no-key" in case["name"] else 9
        assert done.returncode == expected, done.stderr


def test_the_cases_cover_both_scripts() -> None:
    assert {case["script"] for case in CASES} == set(SCRIPTS)
    assert len(CASES) >= 90
