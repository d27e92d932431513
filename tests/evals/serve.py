#!/usr/bin/env python3
"""Serves every scenario of evals.json on loopback and prints each prompt with its environment.

    python3 tests/evals/serve.py                       all scenarios, until Ctrl-C
    python3 tests/evals/serve.py --only just-created   this one; start it right before use: its ID is of now
    python3 tests/evals/serve.py --ahead 3000          … or date that ID 50 minutes ahead, for an agent that starts late
    python3 tests/evals/serve.py --json                one JSON object a line: id, prompt, folder, environment

Hand the prompt to an agent whose working directory is the folder: a `.env` there
holds the key and the base URL, so nothing has to be exported. Each scenario has
its own key; requests.json beside the folders counts what was asked with it.
Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evals import world
from openrouter_server import Answer, OpenRouterServer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

Eval = dict[str, Any]


class Task(NamedTuple):
    """What an agent is given."""

    id: str
    prompt: str
    folder: str
    environment: dict[str, str]


def evals() -> list[Eval]:
    loaded: list[Eval] = json.loads((HERE / "evals.json").read_text(encoding="utf-8"))["evals"]
    return loaded


def api_key(eval_id: str) -> str:
    """Tells the requests of the scenarios apart, and tells an agent nothing."""
    return f"sk-or-v1-{hashlib.sha256(eval_id.encode()).hexdigest()}"


def prepare(one: Eval, number: int, server: OpenRouterServer, folder: Path, now: int) -> Task:
    """Records into the server, files and `.env` into a folder whose name gives nothing away."""
    setup, key = one["setup"], api_key(one["id"])
    kind = setup.get("key", "regular")
    own = folder / f"project-{number:02d}"
    own.mkdir(parents=True)
    for path in one.get("files", []):
        if (ROOT / path).is_file():
            (own / Path(path).name).write_bytes((ROOT / path).read_bytes())
    for name in setup["records"]:
        made = world.make(name, now)
        for file, text in made.files.items():
            (own / file).write_text(text, encoding="utf-8")
        for sample in made.samples:
            _add(server, world.redated(sample, now) if setup.get("fresh") else sample, setup)
    environment = {"OPENROUTER_BASE_URL": server.url}
    if kind != "none":
        environment = {"OPENROUTER_API_KEY": key, **environment}
        text = "".join(f"{name}={value}\n" for name, value in environment.items())
        (own / ".env").write_text(text, encoding="utf-8")
    if kind in {"regular", "management"}:
        (server.keys if kind == "regular" else server.management_keys).add(key)
    return Task(one["id"], one["prompt"].replace("{now}", str(now)), str(own), environment)


def _add(server: OpenRouterServer, sample: world.Sample, setup: dict[str, Any]) -> None:
    answers = [Answer(sample[part]["status"], sample[part]["body"]) for part in ("metadata", "content")]
    owner, late = setup.get("owner"), setup.get("late_seconds", 0.0)
    server.add(sample["id"], *answers, owner=owner and api_key(owner), late_seconds=late)


def asked(server: OpenRouterServer, tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """By scenario: how many requests, the answers' statuses, and which IDs at most twenty."""
    names = {api_key(task.id): task.id for task in tasks}
    found: dict[str, dict[str, Any]] = {}
    for request in list(server.requests):
        name = names.get(request.key, "no key" if not request.key else "another key")
        entry = found.setdefault(name, {"requests": 0, "answers": Counter(), "ids": []})
        entry["requests"] += 1
        entry["answers"][f"{request.method} {request.path.removeprefix('/api/v1/')} {request.status}"] += 1
        if request.id and request.id not in entry["ids"] and len(entry["ids"]) < 20:
            entry["ids"].append(request.id)
    return found


def _show(task: Task, as_json: bool) -> None:
    if as_json:
        print(json.dumps(task._asdict(), ensure_ascii=False), flush=True)
        return
    print(f"## {task.id}\n{task.prompt}\n\n  cd {task.folder}")
    for name, value in task.environment.items():
        print(f"  export {name}={value}")
    print(flush=True)


def _watch(server: OpenRouterServer, tasks: Sequence[Task], log: Path) -> None:
    """Keep the log up to date until the process is told to end."""
    known = ""
    while True:
        text = json.dumps(asked(server, tasks), indent=2) + "\n"
        if text != known:
            log.write_text(text, encoding="utf-8")
            known = text
        time.sleep(0.3)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Serve the scenarios of evals.json and print their prompts, until Ctrl-C."
    )
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these scenarios", choices=[e["id"] for e in evals()])
    parser.add_argument("--folder", type=Path, help="where the working folders go; default: a new temporary one")
    parser.add_argument("--ahead", type=int, default=0, metavar="SECONDS", help="date just-created that much later")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="projects-"))).resolve()
    if list(folder.glob("project-*")):
        print(f"{folder} has working folders of an earlier run. Name another --folder.", file=sys.stderr)
        return 2
    server = OpenRouterServer(port=options.port, keys=(), management_keys=())
    tasks: list[Task] = []
    log = folder / "requests.json"
    with server, suppress(KeyboardInterrupt):
        now = int(time.time())
        for number, one in enumerate(evals(), 1):
            if options.only is None or one["id"] in options.only:
                dated = now + options.ahead if one["setup"].get("fresh") else now
                tasks.append(prepare(one, number, server, folder, dated))
                _show(tasks[-1], options.json)
        print(f"Serving {len(tasks)} scenarios at {server.url}; requests are counted in {log}", file=sys.stderr)
        _watch(server, tasks, log)
    log.write_text(json.dumps(asked(server, tasks), indent=2) + "\n", encoding="utf-8")
    for name, entry in asked(server, tasks).items():
        answers = ", ".join(f"{answer} × {count}" for answer, count in entry["answers"].items())
        print(f"{name}: {answers}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
