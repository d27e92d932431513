"""Speed as ratios against references in the same run.

    uv run tests/bench/run.py                     all but the SDK
    uv run --with openrouter tests/bench/run.py   with OpenRouter's own SDK as a peer
    uv run tests/bench/run.py --quick             a small log, fewer rounds

Ours and the reference take turns; the medians are compared. Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(ROOT / "scripts")]

from openrouter_server import made_ids, make_metadata  # noqa: E402

IDS = 1_500
WORKERS = 16
DELAY = 0.05


class Work(NamedTuple):
    """One row: commands that take turns. `aim` is for `ratio(ours, reference)` in seconds."""

    name: str
    reference_name: str
    ours: list[str]
    reference: list[str]
    aim: str
    rounds: int = 15
    ratio: Callable[[float, float], float] = lambda ours, reference: ours / reference


class Row(NamedTuple):
    name: str
    ours: str
    reference: str
    ratio: str
    aim: str


def script(name: str, *args: object) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / name), *map(str, args)]


def reference(name: str, *args: object) -> list[str]:
    return [sys.executable, str(HERE / name), *map(str, args)]


def seconds(command: list[str], environment: dict[str, str]) -> float:
    with tempfile.TemporaryFile() as out:  # into /dev/null, grep would stop at its first match
        started = time.perf_counter()
        done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.PIPE, check=False)
        taken = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return taken


def measured(work: Work, environment: dict[str, str]) -> Row:
    ours, theirs = [], []
    for _ in range(work.rounds):
        theirs.append(seconds(work.reference, environment))
        ours.append(seconds(work.ours, environment))
    mine, other = statistics.median(ours), statistics.median(theirs)
    return Row(
        work.name,
        f"{1000 * mine:,.0f} ms",
        f"{work.reference_name}: {1000 * other:,.0f} ms",
        f"{work.ratio(mine, other):.2f}",
        work.aim,
    )


def serve(delay: float) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """A server in a process of its own, so that it does not share a core's lock with the client."""
    command = [sys.executable, str(HERE.parent / "openrouter_server.py"), "--anything", "--delay", str(delay)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENROUTER_")}
    for line in server.stdout:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            environment[name] = value
        if {"OPENROUTER_BASE_URL", "OPENROUTER_API_KEY"} <= environment.keys():
            return server, environment
    raise SystemExit("the test server did not start")


def write_transcript(path: Path) -> None:
    lines = [json.dumps({"message": {"id": one, "model": "a/b"}, "text": "x" * 900}) for one in made_ids(IDS)]
    path.write_text("\n".join(lines) + "\n")


def write_log(path: Path, megabytes: int) -> None:
    """A transcript-like log: long lines of text, an ID in every tenth."""
    chance = random.Random(1)
    words = [chance.choice(["token", "general", "answer", "request", "gen-eral", "{}", "\\n"]) for _ in range(5_000)]
    ids = made_ids(2_000)
    block = "".join(
        json.dumps({"id": ids[i] if i % 10 == 0 else str(i), "text": " ".join(chance.choices(words, k=100))}) + "\n"
        for i in range(2_000)
    ).encode()
    with path.open("wb") as file:
        for _ in range(megabytes * 1_000_000 // len(block) + 1):
            file.write(block)


def write_receipts(path: Path, count: int) -> None:
    with path.open("w") as file:
        for one in made_ids(count):
            file.write(json.dumps({"id": one, "data": make_metadata(one)}, separators=(",", ":")) + "\n")


def short_calls(environment: dict[str, str], rounds: int) -> list[Row]:
    one = made_ids(1)[0]
    ours = script("get_generation.py", one)
    works = [
        Work("one get_generation.py call", "five lines of httpx", ours, reference("reference_get.py", one), "≤ 1.15"),
        Work("--help", "import argparse", script("get_generation.py", "--help"),
             [sys.executable, "-c", "import argparse"], "≤ 1.50"),
    ]  # fmt: skip
    if importlib.util.find_spec("openrouter"):
        works.append(Work("one call", "openrouter SDK", ours, reference("reference_sdk.py", one), "≤ 0.50"))
    return [measured(work._replace(rounds=rounds), environment) for work in works]


def bulk(folder: Path, rounds: int) -> list[Row]:
    transcript = folder / "transcript.jsonl"
    write_transcript(transcript)
    ours = script("reconcile_generations.py", transcript, "--concurrency", WORKERS)
    server, environment = serve(0)
    try:
        work = Work(
            f"{IDS:,} IDs, answered at once", "bare thread pool", ours,
            reference("reference_pool.py", transcript, WORKERS), "≥ 0.85", rounds,
            ratio=lambda mine, other: other / mine,
        )  # fmt: skip
        rows = [measured(work, environment)]
    finally:
        server.terminate()
    server, environment = serve(DELAY)
    try:
        taken = statistics.median(seconds(ours, environment) for _ in range(max(3, rounds // 3)))
    finally:
        server.terminate()
    ideal = IDS / (WORKERS / DELAY)
    row = Row(
        f"{IDS:,} IDs, {1000 * DELAY:.0f} ms each", f"{IDS / taken:,.0f}/s", f"ideal: {WORKERS / DELAY:,.0f}/s",
        f"{ideal / taken:.2f}", "≥ 0.90",
    )  # fmt: skip
    return [*rows, row]


FIND = "import sys; from openrouter_generations import logs; print(len(logs.read(sys.argv[1:]).mentions))"


def search(folder: Path, megabytes: int, rounds: int) -> list[Row]:
    log = folder / "agent.log"
    write_log(log, megabytes)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "LC_ALL": "C"}
    work = Work(
        f"find the IDs in {megabytes:,} MB", "grep -oE", [sys.executable, "-c", FIND, str(log)],
        ["grep", "-oE", "gen-[0-9]{10}-[A-Za-z0-9]{20}", str(log)], "≤ 2.00", rounds,
    )  # fmt: skip
    row = measured(work, environment)
    return [row, Row("its memory", f"{peak_megabytes(work.ours, environment):.0f} MB", "", "", "< 64 MB")]


def peak_megabytes(command: list[str], environment: dict[str, str]) -> float:
    """Peak resident memory of the command, measured by a parent that has no other child."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 1e6


def receipts(folder: Path, rounds: int) -> list[Row]:
    path = folder / "receipts.jsonl"
    write_receipts(path, 100_000)
    work = Work(
        "summarise 100,000 receipts", "json.loads", script("reconcile_generations.py", "--from", path),
        reference("reference_loads.py", path), "≤ 3.00", rounds,
    )  # fmt: skip
    return [measured(work, dict(os.environ))]


def table(rows: list[Row]) -> str:
    head = Row("work", "ours", "reference", "ratio", "aim")
    ruler = Row("---", "---", "---", "---:", "---:")
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ruler, *rows])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a 100 MB log and a third of the rounds")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server, environment = serve(0)
        try:
            rows = short_calls(environment, 7 if quick else 31)
        finally:
            server.terminate()
        rows += bulk(folder, 3 if quick else 9)
        rows += search(folder, 100 if quick else 1_000, 3)
        rows += receipts(folder, 3)
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
