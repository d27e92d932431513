"""find_generations.py as a user runs it: lists, traces, pictures, what it says about its limits."""

from __future__ import annotations

import json
import re
import signal
import time
from datetime import datetime, timezone
from typing import Any

import pytest

from conftest import Runner
from openrouter_generations import analytics, find_report, sessions
from openrouter_generations.analytics import Window
from openrouter_generations.sessions import Family
from openrouter_server import (
    ANALYTICS_QUERY,
    KEY,
    MANAGEMENT_KEY,
    METADATA,
    Answer,
    Fault,
    OpenRouterServer,
    RateLimit,
    make_metadata,
)
from schemas import operation_schema, validate

SCRIPT = "find_generations.py"
SESSION, OTHER = "triage-42", "nightly-7"
CALLER = {"app_id": 777, "origin": "https://triage.example", "external_user": "u-1"}


def find(run: Runner, *args: object, **options: Any) -> tuple[int, str, str]:
    """Exit code, stdout, stderr, with the management key."""
    env = {"OPENROUTER_API_KEY": MANAGEMENT_KEY, **options.pop("env", {})}
    done = run(SCRIPT, *args, env=env, **options)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def report(run: Runner, *args: object, **options: Any) -> str:
    """What was printed by a run in which nothing went wrong."""
    code, out, err = find(run, *args, **options)
    assert (code, err) == (0, "")
    return out


def found(run: Runner, *args: object) -> dict[str, Any]:
    code, out, err = find(run, *args, "--json")
    assert code == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


def ids(run: Runner, *args: object) -> list[str]:
    code, out, _ = find(run, *args, "--ids")
    assert code == 0
    return out.split()


def add(server: OpenRouterServer, name: str, at: float, **fields: Any) -> str:
    generation_id = f"gen-{int(at)}-{name:x<20}"
    created = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
    tokens = {"native_tokens_prompt": 1_000, "native_tokens_completion": 100, "native_tokens_cached": 0}
    plain = {"latency": 400, "generation_time": 2_000, "provider_responses": None, "finish_reason": "stop"}
    money = {"usage": 0.01, "is_byok": False, "upstream_inference_cost": 0, "cache_discount": None}
    given = {**tokens, **plain, **money, "created_at": created, "session_id": None, "request_id": f"req-{name}"}
    given |= {"model": "a/small", "provider_name": "P", "native_tokens_reasoning": 0, **fields}
    given.setdefault("total_cost", given["usage"])
    given |= {name: given[f"native_{name}"] for name in ("tokens_prompt", "tokens_completion")}
    server.add(generation_id, make_metadata(generation_id, **given))
    return generation_id


@pytest.fixture
def now() -> float:
    return float(int(time.time()))


@pytest.fixture
def account(server: OpenRouterServer, now: float) -> dict[str, str]:
    """Name to ID. Four generations of one session over two minutes, and three of others."""
    common = {**CALLER, "session_id": SESSION, "model": "a/large", "provider_name": "Q"}
    start = now - 1_800
    failed = {"provider_name": "Q", "status": 529, "latency": 2_000, "model_permaslug": "a/large-1"}
    return {
        "plan": add(server, "plan", start, **common, usage=0.05, native_tokens_prompt=4_000),
        "tool": add(server, "tool", start + 20.25, **common, usage=0.04, native_tokens_cached=900),
        "down": add(
            server, "down", start + 40, **common, usage=0, finish_reason="error",
            native_tokens_completion=0, latency=2_000, provider_responses=[failed],
        ),
        "last": add(
            server, "last", start + 90, **{**common, "model": "b/other"}, usage=0.2, finish_reason="length",
            generation_time=30_000, latency=10_000, native_tokens_prompt=9_000,
        ),
        "same": add(server, "same", start + 30, **CALLER, session_id=OTHER, usage=0.01),
        "none": add(server, "none", start + 31, usage=0.02, latency=5_000),
        "old": add(server, "old", now - 5 * 86_400, usage=9.0),
    }  # fmt: skip


# A list


def test_a_list(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    lines = report(run, "--since", "1h").splitlines()
    assert re.match(r"6 generations, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d to .* UTC, dearest first", lines[0])
    assert lines[1] == "$0.32 in all"
    assert lines[3].split() == ["Time", "(UTC)", "ID", "Model", "Provider", "Cost", "Tokens", "Latency"]
    rows = [line.split() for line in lines[4:10]]
    assert [row[2] for row in rows] == [account[name] for name in ("last", "plan", "tool", "none", "same", "down")]
    assert rows[0][3:] == ["b/other", "Q", "$0.20", "9,100", "10.0", "s"]
    assert lines[-1] == f"Why: diagnose_generation.py {account['last']}, or --details here."
    assert "3.8 times the average of 6 ($0.0533): 3.1 times the tokens, at 1.20 times the price" in lines[-2]
    assert not server.requests_for(account["last"])


def test_queries_are_what_the_description_allows(
    run: Runner, server: OpenRouterServer, account: dict[str, str]
) -> None:
    every = [f"--{name}={value}" for name in ("model", "provider", "finish-reason", "external-user", "origin",
             "api-key-id") for value in ("x", "7")]  # fmt: skip
    report(run, *every)
    report(run, "--limit", 2)
    assert find(run, "--like", account["plan"])[0] == 0
    bodies = [request.json() for request in server.requests if request.path == ANALYTICS_QUERY]
    assert len(bodies) >= 5
    for body in bodies:
        validate(body, operation_schema("/analytics/query", "post", None))
    assert [one["field"] for one in bodies[0]["filters"]] == [
        "model", "provider", "finish_reason", "external_user", "origin", "api_key_id",
    ]  # fmt: skip
    assert bodies[0]["filters"][-1] == {"field": "api_key_id", "operator": "in", "value": ["x", 7]}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--since", "6d", "--limit", "1"], "old"),
        (["--since", "6d", "--until", "1d"], "old"),
        (["--since", "1h", "--model", "b/other"], "last"),
        (["--since", "1h", "--model", "b/other", "--model", "a/small"], "last none same"),
        (["--since", "1h", "--provider", "P"], "none same"),
        (["--since", "1h", "--finish-reason", "error", "--finish-reason", "length"], "last down"),
        (["--since", "1h", "--external-user", "u-1", "--model", "a/small"], "same"),
        (["--since", "1h", "--origin", "https://triage.example", "--provider", "P"], "same"),
        (["--since", "1h", "--sort", "latency", "--limit", "2"], "last none"),
        (["--since", "1h", "--sort", "tokens", "--limit", "2"], "last plan"),
        (["--since", "1h", "--sort", "time"], "last down none same tool plan"),
        (["--since", "1h", "--limit", "0"], "last plan tool none same down"),
        (["--since", "10m"], ""),
    ],
)
def test_what_is_listed(run: Runner, account: dict[str, str], flags: list[str], expected: str) -> None:
    assert ids(run, *flags) == [account[name] for name in expected.split()]


def test_the_limit_is_named(run: Runner, server: OpenRouterServer, now: float) -> None:
    for n in range(25):
        add(server, f"n{n}", now - 60 - n, usage=0.01)
    out = report(run)
    assert out.startswith("20 of 25 generations, ")
    assert "$0.20 of the $0.25 spent in this time (80%)" in out
    code, out, err = find(run, "--ids")
    assert (code, len(out.split())) == (0, 20)
    assert "--limit 0" in err
    assert len(ids(run, "--limit", "0")) == 25


def test_details_tell_why(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    out = report(run, "--since", "1h", "--limit", "2", "--details")
    table, _, why = out.partition("=== The dearest: why ===\n")
    assert re.search(rf"{account['last']}\s+b/other\s+Q\s+\$0.20\s+9,000\s+100\s+10.0 s\s+30.0 s\s+length", table)
    assert "truncated" in table
    assert why.splitlines()[1].startswith("Truncated: b/other at Q")
    assert "warning: truncated" in why
    assert [request.id for request in server.requests if request.path == METADATA] == [account["last"], account["plan"]]


def test_nothing_found_is_an_answer(run: Runner, account: dict[str, str]) -> None:
    assert "Look further back" in report(run, "--since", "10m")
    out = report(run, "--model", "large", "--provider", "Q")
    assert out.startswith("No generations, ")
    assert "only model large, provider Q." in out
    assert "permaslug" in out
    assert found(run, "--since", "10m")["generations"] == []
    code, out, err = find(run, "--since", "10m", "--ids")
    assert (code, out) == (0, "")
    assert "No generations found" in err


def test_json_of_a_list(run: Runner, account: dict[str, str], now: float) -> None:
    document = found(run, "--since", "1h", "--limit", "1")
    assert list(document) == [
        "window", "complete", "sort", "more", "totals", "generations", "gaps", "notes", "warnings",
    ]  # fmt: skip
    assert document["totals"] == {"generations": 6, "cost": pytest.approx(0.32), "tokens_total": 17_500}
    assert document["generations"] == [
        {
            "id": account["last"],
            "created_at": analytics.utc(now - 1_800 + 90),
            "model": "b/other",
            "provider_name": "Q",
            "cost": 0.2,
            "byok_usage": 0,
            "tokens_total": 9_100,
            "tokens_prompt": 9_000,
            "tokens_cached": 0,
            "tokens_completion": 100,
            "tokens_reasoning": 0,
            "latency": 10_000,
        }
    ]
    (detailed,) = found(run, "--since", "1h", "--limit", "1", "--details")["generations"]
    assert "truncated" in [one["code"] for one in detailed["findings"]]
    assert detailed["record"]["id"] == account["last"]


def test_output(run: Runner, account: dict[str, str]) -> None:
    path = run.cwd / "list.txt"
    assert report(run, "--since", "1h", "--ids", "--output", path).startswith("Wrote ")
    assert len(path.read_text().split()) == 6
    assert path.stat().st_mode & 0o777 == 0o600


def test_ids_go_into_reconcile(run: Runner, account: dict[str, str]) -> None:
    listed = find(run, "--since", "1h", "--limit", "0", "--ids")[1]
    done = run("reconcile_generations.py", "-", "--json", stdin=listed)
    assert done.returncode == 0, done.stderr
    assert account["last"] in done.stdout


# What it says about its limits


def test_a_regular_key(run: Runner, account: dict[str, str]) -> None:
    for flags in ([], ["--like", account["plan"]], ["--session", SESSION]):
        code, out, err = find(run, *flags, env={"OPENROUTER_API_KEY": KEY})
        assert (code, out) == (3, "")
        assert err.startswith("Error 403: Forbidden.")
        assert "management key" in err
        assert "https://openrouter.ai/settings/management-keys" in err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--since", "32d"], "31 days at most"),
        (["--since", "soon"], "--since 'soon'"),
        (["--until", "2h", "--since", "1h"], "not before"),
        (["--window", "2h"], "--window belongs to"),
        (["--like", "gen-1", "--window", "x"], "--window 'x'"),
        (["--session", "s", "--request", "r"], "not allowed with"),
        (["--session", ""], "empty"),
        (["--ids", "--json"], "exclude each other"),
        (["--save", "r.jsonl"], "--details"),
        (["--ids", "--details", "--save", "r.jsonl"], "--ids prints bare IDs"),
        (["--limit", "-1"], "--limit"),
        (["--sort", "price"], "--sort"),
        (["--model", "a\x1b[2J"], "model"),
        (["--model", " "], "model"),
        (["--concurrency", "0"], "--concurrency"),
        (["gen-1"], "gen-1"),
    ],
)
def test_wrong_usage(run: Runner, server: OpenRouterServer, flags: list[str], said: str) -> None:
    if "--like" in flags:
        add(server, "x", time.time())
        server.script("gen-1", Answer.data({"session_id": "s", "created_at": "2026-11-12"}))
    code, out, err = find(run, *flags)
    assert (code, out) == (2, "")
    assert said in err
    assert "\x1b" not in err
    assert not [request for request in server.requests if request.path == ANALYTICS_QUERY]


def test_an_answer_that_is_cut(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    server.analytics_rows = 2
    out = report(run, "--since", "1h")
    assert out.startswith("6 generations, ")
    assert "asked in parts" in out
    server.analytics_rows = 10_000
    assert len(found(run, "--like", account["plan"])["generations"]) == 4


def test_what_is_missing_is_said_first(run: Runner, server: OpenRouterServer, now: float) -> None:
    for n in range(5):
        add(server, f"n{n}", now - 600)
    server.analytics_rows, server.analytics_limit = 3, None
    assert report(run, "--since", "1h").startswith("INCOMPLETE: some generations are missing: more rows than")
    document = found(run, "--since", "1h")
    assert (document["complete"], len(document["gaps"])) == (False, 1)
    code, out, err = find(run, "--since", "1h", "--ids")
    assert (code, len(out.split())) == (0, 3)
    assert "INCOMPLETE" in err


def test_a_heavy_query_is_narrowed(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    server.analytics_span = 7_200
    out = report(run, "--since", "6h", "--retries", "0")
    assert "6 generations" in out
    assert "timed out (408) on the whole window, so it was narrowed" in out


def test_warnings_are_shown(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    server.analytics_warnings = ["Data is delayed\x1b[31m"]
    out = report(run, "--since", "1h", "--api-key-id", "f" * 64)
    assert "OpenRouter warns: Data is delayed\\x1b[31m" in out
    assert f"OpenRouter warns: Could not resolve api_key_id hash: {'f' * 64}" in out
    assert "Data is delayed" in find(run, "--ids")[2]
    assert found(run, "--since", "1h")["warnings"] == ["Data is delayed\x1b[31m"]


def test_the_rate_limit_is_respected(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    server.analytics_limit = RateLimit(1, 1.0, retry_after="1")
    assert report(run, "--since", "1h").startswith("6 generations")
    assert 429 in [request.status for request in server.requests]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.html(502), 7),
        (Answer.error(400, "Invalid request parameters"), 9),
        (Answer.error(402, "No credits"), 5),
        (Answer(200, b'{"data": {"rows": []}}'), 9),
        (Answer(200, b"[]"), 9),
        (Fault.redirect(), 9),
        (Fault.RESET, 8),
    ],
)
def test_failures(run: Runner, server: OpenRouterServer, fault: Any, code: int) -> None:
    server.script(None, fault, path=ANALYTICS_QUERY)
    assert find(run, "--retries", "0")[:2] == (code, "")


def test_hostile_rows(run: Runner, server: OpenRouterServer) -> None:
    named = [
        "gen-1\n$(reboot)",
        "--help",
        "gen-\x1b[2J",
        "gen-\u202e",
        "gen-\ud800",
        "sk-or-v1-secret",
        "gen-ok",
        "x" * 900,
    ]
    rows = [{"generation_id": one, "model": "m\x1b[31m", "total_usage": -5, "tokens_total": "1e99"} for one in named]
    data = {"data": rows, "metadata": {"query_time_ms": 1, "row_count": 8, "truncated": False}}
    server.script(None, Answer.data(data), path=ANALYTICS_QUERY)
    out = report(run)
    assert "gen-1\\n$(reboot)" in out
    assert not set("\x1b\u202e\ud800") & set(out)
    assert "sk-or-v1" not in out
    assert "diagnose_generation.py" not in out
    code, out, err = find(run, "--ids")
    assert (code, out) == (0, "gen-ok\n[key removed]\n")
    assert "6 IDs" in err
    assert [one["id"] for one in found(run)["generations"]] == sorted(named)


# A trace


def test_the_session_of_a_generation(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    out = report(run, "--like", account["tool"])
    lines = out.splitlines()
    assert lines[0] == f"Session {SESSION}: 4 generations of 4 requests"
    assert lines[1].endswith(
        "UTC, 2 min 00 s in all: waiting for models 36.0 s, between calls (tools, people, own code) 1 min 24 s, "
        "longest 48.0 s before 4"
    )
    assert lines[2] == "$0.29, 15,000 tokens in (6% cached), 300 out, 1 failed"
    rows = [line.split() for line in lines if re.match(r"\d\*? +(\+|0)", line)]
    assert [row[0] for row in rows] == ["1", "2*", "3", "4"]
    assert " ".join(rows[1]) == "2* +20.2 s 18.2 s a/large 1,000 90% 100 $0.04 2.00 s stop"
    assert rows[3][-1] == "length"
    assert "All 4: Q\n#  " in out
    assert re.search(rf"2  {account['tool']} \*", out)
    assert "3. error: provider-error: " in out
    assert "4. warning: truncated: " in out
    assert "Searched 5 generations" in out
    assert "app 777, origin https://triage.example, external_user u-1" in out
    assert account["same"] not in out


def test_what_all_steps_have_in_common_is_said_once(run: Runner, server: OpenRouterServer, now: float) -> None:
    for n in range(3):
        changes = {"model": "a/same", "provider_name": f"P{n}", "native_tokens_cached": 10, "cache_discount": 0.01}
        add(server, f"n{n}", now - 1_000 + 10 * n, session_id="s", **changes)
    out = report(run, "--session", "s")
    assert "All 3: a/same, stop\n#  " in out
    assert out.count("a/same") == 1
    assert "Model" not in out
    assert "  P1  " in out
    assert out.count("prompt-cache") == 1
    assert "\nall: " in out


def picture(out: str) -> list[str]:
    """The lines of the axis, the bars and the legend."""
    return out.split("\n\n")[1].splitlines()


def test_the_picture(run: Runner, account: dict[str, str]) -> None:
    lines = picture(report(run, "--like", account["plan"]))
    labels, axis, *bars, legend = lines
    assert labels.split() == ["0", "30s", "1m", "1m30s"]
    assert set(axis) == {" ", "-", "|"}
    assert [len(line) <= 80 for line in lines] == [True] * 7
    assert len(bars[0]) == len(axis) + len("  30.0 s") == 80
    starts = [re.search("[░█×]", bar).start() for bar in bars]  # type: ignore[union-attr]
    assert starts == sorted(starts)
    assert starts[0] == 2
    width = len(axis) - 2
    assert starts[3] == 2 + int(90 / 120 * width)
    assert bars[3].count("░") + bars[3].count("█") == width - int(90 / 120 * width)
    assert bars[3].count("█") == 2 * bars[3].count("░")
    assert "×" in bars[2]
    assert [bar.split()[-2:] for bar in bars][-1] == ["30.0", "s"]
    assert legend.strip() == "░ until first token   █ generating   × failed"


def test_time_lost_on_failed_attempts_is_drawn() -> None:
    """The first half of the bar; the record's own times are those of the attempt that answered."""
    chain = [{"provider_name": "A", "status": 529, "latency": 4_000}, {"provider_name": "B", "status": 200}]
    trace = sessions.trace(Family("s", None), {"a": record(0, latency=2_000, generation_time=4_000) | {
        "provider_responses": [chain[0], {**chain[1], "latency": 2_000}]}})  # fmt: skip
    assert (trace.steps[0].took, trace.steps[0].first_token, trace.steps[0].lost) == (8_000, 6_000, 4_000)
    bar = picture(find_report.render_trace(trace, find_report.Margin(Window(0, 1))))[2]
    quarter = bar.count("█")
    assert quarter > 15
    assert abs(bar.count("×") - 2 * quarter) <= 1
    assert abs(bar.count("░") - quarter) <= 1
    assert re.search("×░+█", bar)


def test_the_picture_without_utf8(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    env = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    out = report(run, "--like", account["plan"], env=env)
    assert out.isascii()
    assert ". until first token   # generating   x failed" in out
    assert re.search(r"\n4 +\.+#+ +30.0 s\n", out)
    path = run.cwd / "trace.txt"
    report(run, "--like", account["plan"], "--output", path, env=env)
    assert "█" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--session", SESSION], "plan tool down last"),
        (["--session", SESSION, "--since", "1h", "--until", "29m"], "plan tool down"),
        (["--session", SESSION, "--model", "b/other"], "last"),
        (["--session", SESSION, "--window", "1h"], "plan tool down last"),
        (["--session", SESSION, "--window", "10m"], ""),
        (["--request", "req-same"], "same"),
        (["--request", "req-nothing"], ""),
        (["--session", SESSION.upper()], ""),
        (["--session", SESSION, "--limit", "2"], "plan tool"),
        (["--session", SESSION, "--sort", "cost", "--details"], "plan tool down last"),
    ],
)
def test_traces_without_a_first_generation(
    run: Runner, account: dict[str, str], flags: list[str], expected: str
) -> None:
    assert ids(run, *flags) == [account[name] for name in expected.split()]


def test_what_a_limit_leaves_out_of_a_trace_is_said(run: Runner, account: dict[str, str]) -> None:
    _, out, err = find(run, "--session", SESSION, "--limit", "1", "--ids")
    assert out.split() == [account["plan"]]
    assert "3 more belong to it" in err
    assert "more belong" not in find(run, "--session", SESSION, "--ids")[2]
    document = found(run, "--session", SESSION, "--limit", "1")
    assert (document["more"], document["totals"]["generations"]) == (True, 4)
    assert found(run, "--session", SESSION)["more"] is False


def test_costs_that_a_trace_does_not_know_are_said(
    run: Runner, server: OpenRouterServer, account: dict[str, str], now: float
) -> None:
    common = {**CALLER, "session_id": SESSION}
    add(server, "free", now - 1_700, **common, usage=None, total_cost=None)
    add(server, "own", now - 1_690, **common, is_byok=True, upstream_inference_cost=None)
    out = report(run, "--session", SESSION)
    assert "\n$0.30 (not recorded and not in it: 1 cost, 1 BYOK bill), " in out
    totals = found(run, "--session", SESSION)["totals"]
    assert (totals["cost_unknown"], totals["upstream_unknown"]) == (1, 1)


def test_an_empty_trace(run: Runner, account: dict[str, str]) -> None:
    out = report(run, "--session", "nobody's")
    assert out.startswith("No generations of session nobody's, ")
    document = found(run, "--session", "nobody's")
    assert (document["generations"], document["totals"]["generations"], document["complete"]) == ([], 0, True)


def test_one_request_with_several_generations(run: Runner, server: OpenRouterServer, now: float) -> None:
    """Without a session it is the API request that is traced, and its ID says when it was."""
    at = now - 3 * 86_400
    request = f"req-{int(at)}-abcdefghij0123456789"
    made = [add(server, f"r{n}", at + n, request_id=request) for n in range(3)]
    add(server, "other", at + 1)
    assert ids(run, "--like", made[1]) == made
    assert ids(run, "--request", request) == made
    assert report(run, "--like", made[1]).startswith(f"Request {request}: 3 generations\n")


def test_session_and_request_both_count(run: Runner, server: OpenRouterServer, now: float) -> None:
    first = add(server, "a", now - 90, session_id="s", request_id="req-1")
    same_request = add(server, "b", now - 80, session_id=None, request_id="req-1")
    same_session = add(server, "c", now - 70, session_id="s", request_id="req-2")
    add(server, "d", now - 60, session_id=None, request_id=None)
    assert ids(run, "--like", first) == [first, same_request, same_session]


def test_a_record_without_session_or_request(run: Runner, server: OpenRouterServer, now: float) -> None:
    alone = add(server, "a", now - 90, request_id=None)
    out = report(run, "--like", alone)
    assert out.startswith("No session: 1 generation\n")
    assert "session_id" in out
    assert [request.path for request in server.requests] == [METADATA]


def test_a_record_that_is_null(run: Runner, server: OpenRouterServer) -> None:
    server.add("gen-null", Answer.data(None))
    assert "names neither session nor request" in report(run, "--like", "gen-null", "--since", "1h")


def test_an_unknown_id(run: Runner, server: OpenRouterServer) -> None:
    code, out, err = find(run, "--like", "gen-unknown")
    assert (code, out) == (4, "")
    assert err.startswith("Error 404: Generation not found.")


def test_the_window_follows_the_generation(run: Runner, server: OpenRouterServer, now: float) -> None:
    at = now - 10 * 86_400
    first = add(server, "a", at, session_id="s")
    later = add(server, "b", at + 3 * 3_600, session_id="s")
    assert ids(run, "--like", first) == [first]
    assert ids(run, "--like", first, "--window", "4h") == [first, later]
    window = found(run, "--like", first, "--window", "30m")["window"]
    assert analytics.moment(window["start"]) == at - 1_800
    assert analytics.moment(window["end"]) == at + 1_800
    assert find(run, "--like", first, "--window", "40d")[0] == 2


def test_a_session_at_the_edge_of_its_window(run: Runner, server: OpenRouterServer, now: float) -> None:
    at = now - 86_400
    first = add(server, "a", at, session_id="s")
    add(server, "b", at + 7_000, session_id="s")
    assert "It ends near the edge of the time searched" in report(run, "--like", first)
    assert "near the edge" not in report(run, "--like", first, "--window", "5h")


def test_narrowing_that_misses_the_first_one_is_given_up(
    run: Runner, server: OpenRouterServer, account: dict[str, str]
) -> None:
    """As when analytics and the record mean different things by origin."""
    empty = {"data": [], "metadata": {"query_time_ms": 1, "row_count": 0, "truncated": False}}
    server.script(None, Answer.data(empty), path=ANALYTICS_QUERY, then_record=True)
    out = report(run, "--like", account["plan"])
    assert "4 generations" in out
    assert "not among those of its own app, origin and user" in out


def test_an_answered_id_that_differs_is_one_generation(run: Runner, server: OpenRouterServer, now: float) -> None:
    real = add(server, "real", now - 60, session_id="s")
    record = make_metadata(real, created_at=datetime.fromtimestamp(now - 60, timezone.utc).isoformat(), session_id="s")
    asked = f"gen-{int(now) - 103}-{'asked':x<20}"
    server.add(asked, record)
    assert ids(run, "--like", asked) == [asked]
    assert ids(run, "--session", "s") == [real]


def test_records_are_kept(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    first = report(run, "--like", account["plan"], "--save", "kept.jsonl")
    kept = [json.loads(line)["id"] for line in (run.cwd / "kept.jsonl").read_text().splitlines()]
    assert sorted(kept) == sorted(account[name] for name in ("plan", "tool", "down", "last", "same"))
    server.requests.clear()
    again = report(run, "--like", account["plan"], "--save", "kept.jsonl")
    assert [request.path for request in server.requests] == [ANALYTICS_QUERY]
    assert again.split("Note:")[0] == first.split("Note:")[0]


def test_a_record_that_cannot_be_read(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    server.script(account["tool"], Answer.error(404, "Generation not found"))
    server.script(account["last"], Answer.error(500, "Internal Server Error"))
    code, out, err = find(run, "--like", account["plan"], "--retries", "0")
    assert code in (4, 7)
    assert out.startswith("INCOMPLETE: some generations are missing: 2 records could not be read")
    assert "2 generations" in out
    assert "Error 404" in err
    assert "Error 500" in err
    document = json.loads(find(run, "--like", account["plan"], "--json", "--retries", "0")[1])
    assert sorted(one["error"]["status"] for one in document["unread"]) == [404, 500]
    assert document["complete"] is False


def test_a_trace_waits_out_a_rate_limit(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    server.rate_limit = RateLimit(3, 1.0, retry_after="1")
    assert len(ids(run, "--session", SESSION, "--concurrency", "2")) == 4
    assert 429 in [request.status for request in server.requests]


def test_ctrl_c_shows_what_is_there(run: Runner, server: OpenRouterServer, account: dict[str, str]) -> None:
    server.script(account["last"], Fault.SILENT)  # type: ignore[attr-defined]
    env = {"OPENROUTER_API_KEY": MANAGEMENT_KEY}
    with run.start(SCRIPT, "--session", SESSION, env=env) as process:
        answered = lambda: [r for r in server.requests if r.path == METADATA and r.status == 200]  # noqa: E731
        deadline = time.monotonic() + 20
        while (len(answered()) < 5 or not server.requests_for(account["last"])) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.6)  # the answers are on their way
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out.startswith("INCOMPLETE")
    assert account["plan"] in out
    assert "Interrupted with 1 record not read" in err


def test_json_of_a_trace(run: Runner, account: dict[str, str], now: float) -> None:
    document = found(run, "--like", account["tool"])
    assert list(document) == [
        "window", "complete", "like", "session_id", "request_id", "more", "totals", "generations", "unread",
        "gaps", "notes", "warnings",
    ]  # fmt: skip
    assert document["totals"] == {
        "generations": 4,
        "requests": 4,
        "failed": 1,
        "total_cost": 0.29,
        "cost_unknown": 0,
        "upstream_inference_cost": 0.0,
        "upstream_unknown": 0,
        "tokens_prompt": 15_000,
        "tokens_cached": 900,
        "tokens_completion": 300,
        "tokens_reasoning": 0,
        "duration": 120_000.0,
        "busy": 36_000.0,
    }
    second = document["generations"][1]
    assert second.pop("findings") == []
    assert second == {
        "id": account["tool"],
        "started_at": analytics.utc(now - 1_800 + 20.25),
        "offset": 20_250.0,
        "gap": 18_250.0,
        "duration": 2_000,
        "first_token": 400,
        "model": "a/large",
        "provider_name": "Q",
        "finish_reason": "stop",
        "session_id": SESSION,
        "request_id": "req-tool",
        "total_cost": 0.04,
        "is_byok": False,
        "upstream_inference_cost": None,
        "tokens_prompt": 1_000,
        "tokens_cached": 900,
        "tokens_completion": 100,
        "tokens_reasoning": 0,
        "failed": False,
    }


def test_a_long_session_is_cut_in_the_report_only(run: Runner, server: OpenRouterServer, now: float) -> None:
    made = [add(server, f"n{n}", now - 1_000 + n, session_id="s") for n in range(103)]
    out = report(run, "--session", "s")
    assert out.startswith("Session s: 103 generations")
    assert "… and 3 later generations: --limit 0 shows all." in out
    assert made[99] in out
    assert made[100] not in out
    assert ids(run, "--session", "s") == made


# Reckoning


def record(at: float, **fields: Any) -> dict[str, Any]:
    return {"created_at": analytics.utc(at), "latency": 100, "generation_time": 1_000, **fields}


def test_time_spent_at_once_counts_once() -> None:
    trace = sessions.trace(
        Family("s", None),
        {"a": record(0, generation_time=4_000), "b": record(1), "c": record(10), "d": {"created_at": None}},
    )
    assert [step.row.id for step in trace.steps] == ["a", "b", "c", "d"]
    assert (trace.lasted, trace.busy) == (11_000, 5_000)
    assert [step.gap for step in trace.steps] == [0, 0, 6_000, None]


@pytest.mark.parametrize(
    ("generation_id", "created_at", "expected"),
    [
        ("gen-1771967930-1gsys6ZhRaY0TPbuRsDR", "2026-02-24T21:18:50.7Z", 1771967930.7),
        ("gen-1771967930-1gsys6ZhRaY0TPbuRsDR", "2026-02-24T21:19:33Z", 1771967930.0),
        ("gen-1771967930-1gsys6ZhRaY0TPbuRsDR", None, 1771967930.0),
        ("gen-1771967930-1gsys6ZhRaY0TPbuRsDR", "2028-01-01", 1830297600.0),
        ("gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG", "2024-07-15T23:33:19.5Z", 1721086399.5),
        ("gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG", "soon", None),
    ],
)
def test_when_a_generation_started(generation_id: str, created_at: str | None, expected: float | None) -> None:
    assert sessions.started(generation_id, {"created_at": created_at}) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (CALLER, ["app", "origin", "external_user"]),
        ({"app_id": None, "origin": "", "external_user": None}, []),
        ({"app_id": "7", "origin": "a\x00", "external_user": "\ud800"}, []),
        ({"app_id": -1, "origin": ["x"], "external_user": 5}, []),
    ],
)
def test_narrowing(fields: dict[str, Any], expected: list[str]) -> None:
    assert [one["field"] for one in sessions.narrowing(fields)] == expected


@pytest.mark.parametrize("lasted", [1, 7, 90, 999, 1_000, 4_400, 59_999, 3.6e6, 9e7, 1e9, 1e13])
def test_every_axis_fits(lasted: float) -> None:
    records = {"a": record(0, generation_time=lasted), "b": record(lasted / 2_000)}
    trace = sessions.trace(Family("s", None), records)
    drawn = picture(find_report.render_trace(trace, find_report.Margin(Window(0, 1))))
    assert max(map(len, drawn)) <= 80
    assert drawn[1].count("|") == len(drawn[0].split())
    assert drawn[0].split()[0] == "0"


ODD = [None, True, [], {}, "", "x\x1b[31m\n\u202ey", -1, 1e300, 10**400, "12", 3.7, "\ud800", [None, {"status": "x"}],
       "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "sk-or-v1-secret"]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_records(odd: Any) -> None:
    good = make_metadata("gen-1771967930-1gsys6ZhRaY0TPbuRsDR", session_id="s")
    margin = find_report.Margin(Window(-1e18, 1e18), ["g\x1b"], ["n\x1b"], ["w\x1b\n"])
    for name in good:
        given = {"gen-1771967930-1gsys6ZhRaY0TPbuRsDR": good, "gen-\x1b": {**good, name: odd}}
        sessions.narrowing({**good, name: odd})
        trace = sessions.trace(Family("s\x1b", None), given)
        json.dumps([trace.as_dict(), *(step.as_dict() for step in trace.steps)])
        for plain_ascii in (True, False):
            out = find_report.render_trace(trace, margin, "gen-\x1b", plain_ascii=plain_ascii)
            assert not set("\x1b\u202e\ud800") & set(out)
            assert " None" not in out
            assert "sk-or-v1" not in out
            assert out.isascii() or not plain_ascii
