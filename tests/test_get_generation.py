"""The metadata report: what it adds to the original's lines, what it leaves out, several IDs, odd records."""

from __future__ import annotations

import json
import random
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Runner
from openrouter_generations import metadata_report
from openrouter_server import KEY, SAMPLES, Answer, OpenRouterServer, made_ids, make_metadata

SCRIPT = "get_generation.py"
ID, OTHER, MISSING, FORBIDDEN = made_ids(4)
HINT = "Use --json for full raw response"


@pytest.fixture(scope="module")
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as running:
        running.add(ID, make_metadata(ID))
        running.add(OTHER, make_metadata(OTHER))
        running.add(FORBIDDEN, Answer.error(403, "Not yours"))
        yield running


def lines(record: dict[str, Any], asked: str | None = ID) -> list[str]:
    return metadata_report.render(record, asked).splitlines()


def healthy(**changes: Any) -> dict[str, Any]:
    return {**make_metadata(ID), **changes}


# Lines


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"native_tokens_completion": 100, "generation_time": 5000}, "Throughput: 20.0 tokens/s"),
        ({"native_tokens_completion": None, "tokens_completion": 50, "generation_time": 500},
         "Throughput: 100.0 tokens/s"),
        ({"latency": 442, "generation_time": 457}, "Latency: 442 ms (about the time to the first token)"),
        ({"latency": 7913, "generation_time": 7793}, "Latency: 7913 ms"),
        ({"service_tier": "flex"}, "Service tier: flex"),
        ({"router": "openrouter/auto"}, "Router: openrouter/auto"),
        ({"data_region": "europe"}, "Region: europe"),
        ({"api_type": "embeddings"}, "API type: embeddings"),
        ({"preset_id": "p-1"}, "Preset: p-1"),
        ({"num_media_prompt": 2}, "Media in prompt: 2"),
        ({"num_input_audio_prompt": 3}, "Audio in prompt: 3"),
        ({"num_media_completion": 4}, "Media in completion: 4"),
        ({"native_tokens_completion_images": 1290}, "Image tokens in completion: 1290"),
        ({"num_search_results": 5}, "Search results: 5"),
        ({"num_fetches": 1}, "Web fetches: 1"),
        ({"web_search_engine": "exa"}, "Web search: exa"),
        ({"request_id": "req-1"}, "Request ID: req-1"),
        ({"session_id": "s-1"}, "Session ID: s-1"),
        ({"app_id": 12345}, "App ID: 12345"),
        ({"external_user": "u-1"}, "External user: u-1"),
        ({"native_finish_reason": "end_turn"}, "Finish reason: stop (native: end_turn)"),
        ({"response_cache_source_id": "gen-0"}, "Served from the cache of: gen-0"),
        ({"is_byok": True, "upstream_inference_cost": 0.5},
         "Upstream cost: $0.50 (the provider's own bill, on top of the total)"),
        ({"is_byok": False, "upstream_inference_cost": 0.5}, "Upstream cost: $0.50"),
        ({"cache_discount": 0.002}, "Cache discount: 0.002 (saved; already in the total)"),
        ({"cache_discount": -0.002}, "Cache discount: -0.002 (premium for writing the cache; already in the total)"),
        ({"cache_discount": 0}, "Cache discount: 0"),
    ],
)  # fmt: skip
def test_line(changes: dict[str, Any], line: str) -> None:
    assert line in lines(healthy(**changes))


NOTHING = [
    {"service_tier": None}, {"router": ""}, {"data_region": "global"}, {"api_type": "completions"},
    {"num_media_prompt": 0}, {"num_search_results": None}, {"session_id": None}, {"provider_responses": []},
    {"provider_responses": None}, {"generation_time": 0}, {"native_tokens_completion": 0, "tokens_completion": 0},
]  # fmt: skip
LABELS = ("Service tier", "Router", "Region", "API type", "Media", "Search", "Session ID", "--- Attempts", "Throughput")


@pytest.mark.parametrize("changes", NOTHING, ids=str)
def test_what_says_nothing_is_not_shown(changes: dict[str, Any]) -> None:
    bare = {"service_tier": None, "generation_time": None, "provider_responses": None}
    shown = lines({**healthy(**bare), **changes})
    assert [line for line in shown if line.startswith(LABELS)] == []
    assert not [line for line in shown if line.endswith((":", ": ")) or "null" in line or "None" in line]


def test_a_healthy_generation_has_no_findings() -> None:
    assert "--- Findings ---" not in lines(healthy())


@pytest.mark.parametrize(("name", "code"), [("truncated", "truncated"), ("byok", "byok"), ("id-differs", "id-differs")])
def test_findings_are_one_line_each(name: str, code: str) -> None:
    sample = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
    shown = lines(sample["metadata"]["body"]["data"], sample["id"])
    place = shown.index("--- Findings ---")
    block = shown[place + 1 : shown.index("", place)]
    assert [line for line in block if re.match(rf"(error|warning|info): {code}: \S", line)]
    assert all(re.match(r"(error|warning|info): [a-z-]+: ", line) for line in block)


def test_attempts_are_one_line_each() -> None:
    chain = [
        {"provider_name": "Groq", "status": 429, "latency": 212, "model_permaslug": "m/a"},
        {"provider_name": None, "status": None, "latency": None, "model_permaslug": "m/a"},
        {"provider_name": "OpenAI", "status": 200, "latency": 1190.5, "model_permaslug": "m/b", "is_byok": True,
         "routed_service_tier": "flex"},
    ]  # fmt: skip
    shown = lines(healthy(provider_responses=chain))
    place = shown.index("--- Attempts ---")
    assert shown[place + 1 : place + 4] == [
        "1.  Groq              429           212 ms  model m/a",
        "2.  unknown provider  no status             model m/a",
        "3.  OpenAI            200        1190.5 ms  model m/b  tier flex  own key",
    ]


@pytest.mark.parametrize("record", [None, {}])
def test_no_record(record: dict[str, Any] | None) -> None:
    shown = metadata_report.render(record, ID)
    assert shown == f"Generation: {ID}\n\nNo metadata available for this generation.\n"


ODD: list[Any] = [
    None, True, False, 0, -1, 0.5, -0.0, 1e-9, 1e20, 1e300, 10**30, 10**400, -(10**400), "", " ", "7", "x" * 5000,
    "line\nbreak\x1b[31m\u202e", "sk-or-v1-secret", "NaN", "1e999", "inf", [], [1], [None], [{}], [[]], {}, {"a": 1},
    [{"status": "x", "latency": [], "provider_name": {}}], [{"status": 10**400, "latency": 10**400}],
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_any_value_in_any_field(value: object) -> None:
    for name in [*make_metadata(ID), "unknown_field"]:
        for record in (healthy(**{name: value}), {name: value}):
            report = metadata_report.render(record, ID)
            assert report.endswith(f"{HINT}\n") or not record
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|sk-or-|\bNone\b|\bnan\b|Traceback", report)
            assert max(map(len, report.splitlines())) < 2500


def test_all_fields_odd_at_once() -> None:
    chance = random.Random(7)
    for _ in range(300):
        record = {name: chance.choice(ODD) for name in make_metadata(ID)}
        assert metadata_report.render(record, chance.choice([ID, None, ""])).startswith("Generation: ")


def test_a_key_is_not_cut_in_two() -> None:
    shown = "\n".join(lines(healthy(user_agent="x" * 990 + "sk-or-v1-0123456789abcdef")))
    assert "sk-or" not in shown
    assert "0123" not in shown


# Several IDs


def test_text_of_several_ids_comes_in_the_order_asked(run: Runner) -> None:
    done = run(SCRIPT, OTHER, MISSING, ID)
    assert done.returncode == 4
    assert [line for line in done.stdout.splitlines() if line.startswith("Generation: ")] == [
        f"Generation: {OTHER}",
        f"Generation: {ID}",
    ]
    assert f"Error 404: Generation not found. Check the generation ID. ({MISSING})" in done.stderr


def test_json_of_several_ids_is_one_object_a_line(run: Runner) -> None:
    done = run(SCRIPT, "--json", ID, MISSING, FORBIDDEN, ID)
    assert done.returncode == 4  # the first failure's
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(line) for line in got] == [["id", "data"], ["id", "error"], ["id", "error"], ["id", "data"]]
    assert [line["id"] for line in got] == [ID, MISSING, FORBIDDEN, ID]
    assert got[0]["data"] == got[3]["data"] == make_metadata(ID)
    assert list(got[0]["data"]) == list(make_metadata(ID))
    assert [line["error"]["status"] for line in got[1:3]] == [404, 403]
    assert "Not yours" in got[2]["error"]["message"]
    assert "Error 404" in done.stderr
    assert "Error 403" in done.stderr


def test_the_first_failure_gives_the_exit_code(run: Runner) -> None:
    assert run(SCRIPT, ID, FORBIDDEN, MISSING).returncode == 3


def test_a_report_behind_a_failure_begins_at_the_top(run: Runner) -> None:
    assert run(SCRIPT, MISSING, ID).stdout.startswith(f"Generation: {ID}\n")


def test_ids_by_flag_and_position(run: Runner) -> None:
    done = run(SCRIPT, "--id", ID, "--id", OTHER, ID, "--json")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [ID, OTHER, ID]


def test_json_of_one_id_is_that_of_javascript(run: Runner) -> None:
    done = run(SCRIPT, ID, "--json")
    assert done.stdout == json.dumps({"data": make_metadata(ID)}, indent=2, ensure_ascii=False) + "\n"


def test_json_keeps_what_is_unknown(server: OpenRouterServer, run: Runner) -> None:
    body = '{"zeta": [1, {"y": null, "x": 1e-7}], "data": {"new": 0.1, "id": 5, "ünï": "\\u202e\\u0000"}, "alpha": ""}'
    server.script("gen-new", Answer(200, body))
    done = run(SCRIPT, "gen-new", "--json")
    assert json.dumps(json.loads(done.stdout)) == json.dumps(json.loads(body))
    assert "\u202e" not in done.stdout


# --output


def test_output_goes_to_a_file(tmp_path: Path, run: Runner) -> None:
    file = tmp_path / "report.txt"
    file.write_text("old")
    file.chmod(0o644)
    printed = run(SCRIPT, ID)
    done = run(SCRIPT, ID, "--output", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert file.read_text("utf-8") == printed.stdout
    octets = len(printed.stdout.encode())
    assert done.stdout == f"Wrote {octets:,} bytes to {file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["report.txt"]


def test_output_holds_what_was_found(tmp_path: Path, run: Runner) -> None:
    file = tmp_path / "all.jsonl"
    done = run(SCRIPT, ID, MISSING, "--json", "--output", file)
    assert done.returncode == 4
    assert [list(json.loads(line)) for line in file.read_text("utf-8").splitlines()] == [
        ["id", "data"],
        ["id", "error"],
    ]


def test_attribution_headers(server: OpenRouterServer, run: Runner) -> None:
    env = {
        "OPENROUTER_HTTP_REFERER": "https://app.example/",
        "OPENROUTER_TITLE": "  My app ",
        "OPENROUTER_CATEGORIES": "cli-agent,other",
    }
    assert run(SCRIPT, ID, env=env).returncode == 0
    sent = server.requests_for(ID)[-1].headers
    assert (sent["http-referer"], sent["x-openrouter-title"]) == ("https://app.example/", "My app")
    assert sent["x-openrouter-categories"] == "cli-agent,other"
    assert run(SCRIPT, ID).returncode == 0
    assert {"http-referer", "x-openrouter-title", "x-openrouter-categories"} & server.requests[
        -1
    ].headers.keys() == set()


@pytest.mark.parametrize("base", ["{url}", "{url}/", "{url}/api/v1", "{url}/api/v1/"])
def test_base_url_with_and_without_the_path(base: str, server: OpenRouterServer, run: Runner) -> None:
    assert run(SCRIPT, ID, env={"OPENROUTER_BASE_URL": base.format(url=server.url)}).returncode == 0
    assert server.requests[-1].path == "/api/v1/generation"


def test_the_key_flag_stands_before_the_environment(server: OpenRouterServer, run: Runner) -> None:
    assert run(SCRIPT, ID, "--api-key", "sk-or-v1-other").returncode == 3
    assert server.requests[-1].key == "sk-or-v1-other"
    assert run(SCRIPT, ID, "--api-key", KEY, env={"OPENROUTER_API_KEY": "sk-or-v1-other"}).returncode == 0
