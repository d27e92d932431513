"""tests/evals: the scenarios are whole, their data hangs together, and the grader can tell right from wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import schemas
from evals import grade, serve, world
from openrouter_server import OpenRouterServer

EVALS = serve.evals()
BY_ID = {one["id"]: one for one in EVALS}
CHECKED = [(one, assertion) for one in EVALS for assertion in one["assertions"] if isinstance(assertion, dict)]
NOW = 1795238400
SCRIPTS_OF_OURS = ("get_generation", "diagnose_generation", "reconcile_generations", "find_generations", "--")


def named(one: Any) -> str:
    return str(one["id"]) if isinstance(one, dict) and "id" in one else ""


# evals.json and triggers.json


def test_there_are_enough_scenarios_each_with_its_own_id() -> None:
    assert len(EVALS) >= 15
    assert len(BY_ID) == len(EVALS)
    assert len({one["prompt"] for one in EVALS}) == len(EVALS)


@pytest.mark.parametrize("one", EVALS, ids=named)
def test_scenario_is_whole(one: dict[str, Any]) -> None:
    assert set(one) - {"files"} == {
        "id",
        "prompt",
        "expected_output",
        "setup",
        "commands",
        "assertions",
        "reference",
    }
    assert set(one["setup"]) <= {"records", "key", "owner", "late_seconds", "fresh"}
    assert one["setup"].get("key", "regular") in {"regular", "management", "unknown", "none"}
    assert one["commands"] in {1, 2}
    assert not [word for word in SCRIPTS_OF_OURS if word in one["prompt"]]


@pytest.mark.parametrize("one", EVALS, ids=named)
def test_scenario_has_something_to_check_and_something_to_judge(one: dict[str, Any]) -> None:
    checked = [assertion for assertion in one["assertions"] if isinstance(assertion, dict)]
    assert checked
    assert len(checked) < len(one["assertions"])
    for assertion in checked:
        assert {"text"} < set(assertion) <= {"text", *grade.KINDS}


def test_triggers_are_half_of_each_kind() -> None:
    triggers = json.loads((serve.HERE / "triggers.json").read_text(encoding="utf-8"))
    assert all(set(each) == {"query", "should_trigger"} for each in triggers)
    assert len({each["query"] for each in triggers}) == len(triggers)
    wanted = [each["should_trigger"] for each in triggers]
    assert wanted.count(True) >= 8
    assert wanted.count(False) >= 8


# Their data


def samples() -> Iterator[Any]:
    for name in dict.fromkeys(name for one in EVALS for name in one["setup"]["records"]):
        for sample in world.make(name, NOW).samples:
            yield pytest.param(sample, id=f"{name}-{sample['id'][-5:]}")


@pytest.mark.parametrize("sample", list(samples()))
def test_sample_is_what_the_api_could_answer(sample: world.Sample) -> None:
    schemas.validate(sample["metadata"]["body"], "GenerationResponse")
    if sample["content"]["status"] == 200:
        schemas.validate(sample["content"]["body"], "GenerationContentResponse")
    data = world.data_of(sample)
    assert datetime.fromisoformat(data["created_at"].replace("Z", "+00:00")).timestamp() // 1 == int(sample["id"][4:14])
    assert (data["latency"] or 0) <= (data["generation_time"] or 0)
    assert (data["native_tokens_cached"] or 0) <= (data["native_tokens_prompt"] or 0)
    assert data["usage"] == data["total_cost"]


@pytest.mark.parametrize("sample", list(samples()))
def test_cost_is_tokens_times_price(sample: world.Sample) -> None:
    data = world.data_of(sample)
    model = world.MODELS.get(data["model"])
    if model is None or data["finish_reason"] == "error" or data["response_cache_source_id"]:
        return
    listed = data["native_tokens_prompt"] * model.prompt + data["native_tokens_completion"] * model.completion
    charged = data["total_cost"] if not data["is_byok"] else data["upstream_inference_cost"]
    assert charged == pytest.approx(listed / 1e9 - (data["cache_discount"] or 0))


@pytest.mark.parametrize("name", ["conversation", "just-created", "other-account", "orders"])
def test_stored_text_fits_its_tokens(name: str) -> None:
    [sample] = world.make(name, NOW).samples
    data, content = world.data_of(sample), sample["content"]["body"]["data"]
    pieces = [message["content"] for message in content["input"]["messages"]]
    characters = sum(len(piece if isinstance(piece, str) else piece[0]["text"]) for piece in pieces)
    assert 2 < characters / data["native_tokens_prompt"] < 6
    assert 2 < len(content["output"]["completion"]) / data["native_tokens_completion"] < 6


def test_conversation_is_long_and_has_one_large_picture() -> None:
    [sample] = world.conversation().samples
    messages = sample["content"]["body"]["data"]["input"]["messages"]
    assert len(messages) == 300
    assert messages[-1] == {"role": "user", "content": world.LAST_MESSAGE}
    assert [len(message["content"]) for message in messages if isinstance(message["content"], list)] == [2]
    assert len(world.picture()) == pytest.approx(2_000_000, rel=0.01)


def costs(made: list[world.Sample]) -> float:
    return sum(round(world.data_of(sample)["total_cost"] * 1e9) for sample in made) / 1e9


def figures_of(eval_id: str) -> list[float]:
    return [
        each["usd"]
        for assertion in BY_ID[eval_id]["assertions"]
        if isinstance(assertion, dict)
        for each in assertion.get("figures", [])
        if isinstance(each, dict)
    ]


def test_figures_of_the_transcript_are_sums_of_its_records() -> None:
    made = world.agent_run()
    models = {name: [one for one in made.samples if world.data_of(one)["model"] == name] for name in world.MODELS}
    assert figures_of("transcript") == [costs(made.samples), *map(costs, models.values())]
    assert len(made.samples) == 59
    assert len(world.ids_in(made.files["agent-run.jsonl"])) == 60
    assert made.absent[0] in BY_ID["transcript"]["reference"]


def test_figures_of_the_session_are_sums_of_its_records() -> None:
    made = [one for one in world.session().samples if world.data_of(one)["session_id"] == "checkout-fix-91"]
    assert len(made) == 8
    assert costs(made) == next(
        each["usd"]
        for assertion in BY_ID["session"]["assertions"]
        if isinstance(assertion, dict)
        for each in assertion.get("figures", [])
        if isinstance(each, dict)
    )


def test_the_dearest_call_is_the_dearest() -> None:
    made = world.account(NOW).samples
    dearest = max(made, key=lambda one: world.data_of(one)["total_cost"])
    assert figures_of("most-expensive") == [world.data_of(dearest)["total_cost"]]
    assert dearest["id"] in BY_ID["most-expensive"]["reference"]
    assert all(NOW - 3 * 3600 < int(one["id"][4:14]) < NOW for one in made)


def test_made_data_is_the_same_every_time() -> None:
    for name in ("conversation", "agent-run", "session", "account"):
        assert world.make(name, NOW) == world.make(name, NOW)


# The server


Served = tuple[OpenRouterServer, dict[str, serve.Task]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with OpenRouterServer(keys=(), management_keys=()) as server:
        tasks = [serve.prepare(one, number, server, folder, NOW) for number, one in enumerate(EVALS)]
        yield server, {task.id: task for task in tasks}


def status(task: serve.Task, generation_id: str) -> int:
    url = f"{task.environment['OPENROUTER_BASE_URL']}/api/v1/generation?id={generation_id}"
    headers = {"Authorization": f"Bearer {task.environment.get('OPENROUTER_API_KEY', '')}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


EXPECTED = {"wrong-key": 401, "other-account": 404, "just-created": 404, "saved-answer": 401}
"""200 for all others. `just-created` is late, and is there after some seconds."""


@pytest.mark.parametrize("one", EVALS, ids=named)
def test_ids_of_the_scenario_answer_on_the_server(one: dict[str, Any], served: Served) -> None:
    task = served[1][one["id"]]
    files = [path.read_text(encoding="utf-8") for path in Path(task.folder).iterdir() if path.name != ".env"]
    made = [world.make(name, NOW) for name in one["setup"]["records"]]
    absent = {generation_id for each in made for generation_id in each.absent}
    ids = world.ids_in(task.prompt + " ".join(files)) or [sample["id"] for each in made for sample in each.samples]
    for generation_id in ids:
        assert status(task, generation_id) == (404 if generation_id in absent else EXPECTED.get(one["id"], 200))


def test_every_scenario_has_its_files_and_a_folder_that_tells_nothing(served: Served) -> None:
    _, tasks = served
    for one in EVALS:
        task = tasks[one["id"]]
        there = {path.name for path in Path(task.folder).iterdir()}
        assert {Path(path).name for path in one.get("files", [])} == there - {".env"}
        assert one["id"] not in task.folder + str(task.environment)


def test_requests_are_told_apart_by_key(served: Served) -> None:
    server, tasks = served
    status(tasks["byok"], "gen-1771967973-XcsZfywt413gHv67lKjF")
    entry = serve.asked(server, list(tasks.values()))["byok"]
    assert entry["answers"]["GET generation 200"] == entry["requests"] >= 1
    assert entry["ids"] == ["gen-1771967973-XcsZfywt413gHv67lKjF"]


def test_the_key_that_must_not_be_shown_is_the_one_that_is_used(served: Served) -> None:
    _, tasks = served
    [shown] = [
        a["none"][0] for a in BY_ID["wrong-key"]["assertions"] if isinstance(a, dict) and "key" in a["text"][-5:]
    ]
    assert tasks["wrong-key"].environment["OPENROUTER_API_KEY"].startswith(shown)


def run(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(serve.HERE / script), *map(str, args)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=60)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_serve_prints_every_prompt_and_counts_until_it_is_told_to_end(form: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(serve.HERE / "serve.py"), "--folder", str(tmp_path), *form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as serving:
        assert serving.stderr
        assert serving.stdout
        assert f"Serving {len(EVALS)} scenarios" in serving.stderr.readline()
        serving.send_signal(signal.SIGINT)
        printed = serving.stdout.read()
        assert serving.wait(30) == 0
    for one in EVALS:
        start = one["prompt"].partition("{now}")[0]
        assert (json.dumps(start, ensure_ascii=False)[1:-1] if form else start) in printed
    if form:
        assert [json.loads(line)["id"] for line in printed.splitlines()] == list(BY_ID)
    assert json.loads((tmp_path / "requests.json").read_text(encoding="utf-8")) == {}
    assert run("serve.py", "--folder", tmp_path).returncode == 2


# The grader


@pytest.mark.parametrize("one", EVALS, ids=named)
def test_reference_answer_passes(one: dict[str, Any]) -> None:
    result = grade.grade(one, {"id": one["id"], "answer": one["reference"], "commands": ["true"]})
    assert [each for each in result["assertion_results"] if not each["passed"]] == []
    assert len(result["judge"]) == sum(isinstance(assertion, str) for assertion in one["assertions"])


def test_every_kind_of_check_is_used() -> None:
    assert {kind for _, assertion in CHECKED for kind in assertion} == {"text", *grade.KINDS}


@pytest.mark.parametrize(("one", "assertion"), CHECKED, ids=[f"{o['id']}: {a['text']}" for o, a in CHECKED])
def test_wrong_answer_fails(one: dict[str, Any], assertion: dict[str, Any]) -> None:
    """Each thing that is checked fails by itself."""
    for wanted in [*assertion.get("figures", []), *assertion.get("words", [])]:
        kind = "figures" if wanted in assertion.get("figures", []) else "words"
        assert grade.problems({"text": "", kind: [wanted]}, {"answer": "I do not know, 77 or $77.7777 or 77.77 s."})
    for word in assertion.get("none", []):
        assert grade.problems({"text": "", "none": [word]}, {"answer": f"{one['reference']} **{word}**"})
    for part in assertion.get("not_run", []):
        assert grade.problems({"text": "", "not_run": [part]}, {"answer": "", "commands": ["ls", f"sh -c '{part} x'"]})


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (2048, "all 2,048 tokens"),
        (2048, "2 048"),
        (2048, "**2048**."),
        (59904, "59.9k"),
        (59904, "60k tokens"),
        (429, "429/503/502"),
        (503, "429,503"),
        (8, "eight calls"),
        ({"usd": 0.016243}, "$0.0162"),
        ({"usd": 0.016243}, "1.6 cents"),
        ({"usd": 0.016243}, "0,016243 USD"),
        ({"usd": 8.625e-05}, "$0.00008625"),
        ({"usd": 8.625e-05}, "8.625e-05"),
        ({"usd": 8.625e-05}, "8.6 × 10⁻⁵ dollars"),
        ({"ms": 30007}, "30 s"),
        ({"ms": 30007}, "30.0 seconds"),
        ({"ms": 30007}, "30,007 ms"),
        ({"ms": 820}, "0.8 s"),
        ([5.59, 5.46], "5.5 tokens/s"),
    ],
)
def test_figure_in_a_usual_spelling_is_found(expected: object, answer: str) -> None:
    assert grade.problems({"figures": [expected]}, {"answer": answer}) == []


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (2048, "2,049"),
        (2048, "20480"),
        (8, "18 or 80 or gpt-8 or gen-1794925397-8Pu7zUZni88OHXx1RLOU"),
        ({"usd": 0.016243}, "$0.0172"),
        ({"usd": 0.016243}, "$0.02"),
        ({"usd": 0.016243}, "$16.24"),
        ({"usd": 8.625e-05}, "$0.0008625"),
        ({"ms": 30007}, "30 ms"),
        ({"ms": 30007}, "35 s"),
    ],
)
def test_other_figure_is_not(expected: object, answer: str) -> None:
    assert grade.problems({"figures": [expected]}, {"answer": answer})


def test_grade_reads_every_form(tmp_path: Path) -> None:
    right, wrong = BY_ID["byok"]["reference"], "No idea."
    plain = tmp_path / "answers.json"
    plain.write_text(json.dumps({"byok": right}), encoding="utf-8")
    done = run("grade.py", plain)
    assert (done.returncode, "No answer\n- cut-off" in done.stdout) == (0, True)
    lines = tmp_path / "run.jsonl"
    records = [{"id": "byok", "answer": right, "commands": ["a", "b"], "characters_read": 2345}]
    records.append({"id": "slow", "answer": wrong})
    lines.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    done = run("grade.py", lines)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split() == ["byok", "2", "0", "2", "1", "2,345"]
    assert done.stdout.splitlines()[2].split() == ["slow", "0", "3", "-", "1", "-"]
    assert "slow: Names the provider that failed and its status: lacks Parasail; lacks 504" in done.stdout
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "slow.md").write_text(BY_ID["slow"]["reference"], encoding="utf-8")
    done = run("grade.py", folder, "--json")
    assert json.loads(done.stdout)["slow"]["summary"] == {"passed": 3, "failed": 0, "total": 3, "pass_rate": 1}


@pytest.mark.parametrize("text", ['{"no-such": "x"}', "not json", '[{"id": "byok"}]', "[1]"])
def test_grade_says_what_it_cannot_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    done = run("grade.py", tmp_path / "a.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_the_young_id_can_be_dated_ahead_for_an_agent_that_starts_late(tmp_path: Path) -> None:
    command = [sys.executable, str(serve.HERE / "serve.py"), "--folder", str(tmp_path)]
    command += ["--json", "--ahead", "3000", "--only", "just-created"]
    before = time.time()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as serving:
        assert serving.stdout
        [generation_id] = world.ids_in(serving.stdout.readline())
        after = time.time()
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=30)
    assert before + 2999 <= int(generation_id.split("-")[1]) <= after + 3001
