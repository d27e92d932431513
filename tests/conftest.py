"""Fixtures: the API on loopback, and scripts run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from openrouter_server import KEY, OpenRouterServer

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"

INHERITED = ("PATH", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class Runner:
    """Starts a script of scripts/ in an environment where nothing of the developer's own is set."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.home, self.cwd = folder / "home", folder / "work"
        self.home.mkdir()
        self.cwd.mkdir()
        self._variables = dict(variables)

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The clean environment; a change to None takes a variable away."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        chosen: dict[str, str | None] = {
            **inherited,
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            **self._variables,
            **(changes or {}),
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def command(self, script: str, *args: object) -> list[str]:
        return [sys.executable, str(SCRIPTS / script), *map(str, args)]

    def __call__(
        self,
        script: str,
        *args: object,
        env: Mapping[str, str | None] | None = None,
        stdin: str | None = None,
        cwd: str | Path | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end. Without `stdin` there is nothing to read there."""
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            self.command(script, *args),
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            env=self.environment(env),
            cwd=cwd or self.cwd,
            timeout=timeout,
            check=False,
            **source,
        )

    def start(
        self,
        script: str,
        *args: object,
        env: Mapping[str, str | None] | None = None,
        cwd: str | Path | None = None,
        **popen: Any,
    ) -> subprocess.Popen[str]:
        """Start and go on, for signals and closed pipes; use it in `with`."""
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen(
            self.command(script, *args),
            encoding="utf-8",
            errors="backslashreplace",
            env=self.environment(env),
            cwd=cwd or self.cwd,
            **{**streams, **popen},
        )


@pytest.fixture
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as running:
        yield running


@pytest.fixture
def run(server: OpenRouterServer, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """`run("get_generation.py", *args, env=…, stdin=…, cwd=…, timeout=…)`, with `server` as the API."""
    variables = {"OPENROUTER_BASE_URL": server.url, "OPENROUTER_API_KEY": KEY}
    return Runner(tmp_path_factory.mktemp("run"), variables)
