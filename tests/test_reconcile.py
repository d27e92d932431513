"""reconcile_generations.py as a user runs it: a log in, fetched records, a report out."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from conftest import SCRIPTS, Runner
from openrouter_generations.summary import GROUPINGS
from openrouter_server import Answer, Fault, OpenRouterServer, RateLimit, made_ids, make_metadata

SCRIPT = "reconcile_generations.py"
ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "tests" / "data" / "logs"
A = "gen-1771967930-1gsys6ZhRaY0TPbuRsDR"
B = "gen-1771967973-8Hk2mQvX4nLpZt7WcYbA"
C = "gen-1771968015-Jd93kfLs0QmXz71VbNtE"


def filled(server: OpenRouterServer, count: int, **changes: Any) -> list[str]:
    made = made_ids(count)
    for one in made:
        server.add(one, make_metadata(one, **changes))
    return made


def reconciled(run: Runner, *args: object, code: int = 0, **settings: Any) -> dict[str, Any]:
    done = run(SCRIPT, *args, "--json", **settings)
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def log(folder: Path, *lines: str, name: str = "log.txt") -> Path:
    path = folder / name
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


# Logs of every kind


@pytest.mark.parametrize("name", sorted(path.name for path in LOGS.iterdir()))
def test_each_kind_of_log_is_totalled(run: Runner, server: OpenRouterServer, name: str) -> None:
    server.anything = True
    server.add(A, make_metadata(A, total_cost=0.0104, usage=0.0104))
    server.add(B, make_metadata(B, total_cost=0.0032, usage=0.0032))
    found = reconciled(run, LOGS / name)
    rows = {row["id"]: row for row in found["generations"]}
    assert {A, B} <= set(rows)
    assert rows[A]["total_cost"] == 0.0104
    assert len(server.requests) == found["counts"]["generations"]
    claims = found["claims"]
    if name in ("langfuse.jsonl", "plain.log"):
        assert claims is None
    else:
        assert (claims["compared"], claims["agree"], claims["claimed"], claims["recorded"]) == (2, 1, 0.0135, 0.0136)
        assert claims["differing"] == [{"id": B, "claimed": 0.0031, "recorded": 0.0032, "difference": 0.0001}]


def test_an_id_is_fetched_once_however_often_it_is_named(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    (one,) = filled(server, 1)
    (tmp_path / "deep").mkdir()
    log(tmp_path / "deep", one, f"time-21-18-50-123456_{one}", name="a.txt")
    log(tmp_path, f"{one} gen-1771967930 req-1771967930-aBcDeFgHiJkLmNoPqRsT gen-eral")
    found = reconciled(run, tmp_path, "-", stdin=one)
    assert found["counts"] == {
        "generations": 1, "mentions": 4, "files": 3, "found": 1, "missing": 0, "refused": 0, "failed": 0,
        "not_asked": 0, "cut": 1,
    }  # fmt: skip
    assert found["cut"] == [{"id": "gen-1771967930", "mentions": 1}]
    assert len(server.requests) == 1


def test_standard_input_without_a_file(run: Runner, server: OpenRouterServer) -> None:
    (one,) = filled(server, 1)
    done = run(SCRIPT, "-", stdin=f"x {one}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 generation, 1 mention, in 1 file" in done.stdout


# The report


def test_the_report_answers_what_people_ask(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = made_ids(6, start=1771967930)
    models = ("a/large", "a/large", "b/small", "b/small", "b/small")
    costs = (1.5, 0.5, 0.001, 0.0002, 0)
    for one, model, cost in zip(made, models, costs, strict=False):
        server.add(one, make_metadata(one, model=model, total_cost=cost, usage=cost, native_tokens_prompt=1000,
                                      native_tokens_cached=250, native_tokens_completion=50,
                                      latency=400, generation_time=1000))  # fmt: skip
    server.add(made[4], make_metadata(made[4], model="b/small", finish_reason="error", total_cost=0, usage=0,
                                      native_tokens_prompt=1000, native_tokens_cached=250,
                                      native_tokens_completion=50, latency=400, generation_time=95_000))  # fmt: skip
    done = run(SCRIPT, log(tmp_path, *made))
    assert done.returncode == 4
    report = done.stdout
    for expected in (
        "6 generations, 6 mentions, in 1 file",
        "found 5, missing 1, refused 0",
        "2026-02-24 21:18 UTC",
        "$2.0012",
        "5,000 in (25% from cache: 1,250), 250 out",
        "p50 400 ms, p95 400 ms",
        "p50 1.00 s, p95 1 min 35 s",
        "Three causes",
        f"  {made[5]} (1 mention, dated 2026-02-24 21:18 UTC)",
        f"provider-error   {made[4]}",
    ):
        assert expected in report, report
    table = {line.split()[0]: line.split() for line in report.splitlines() if line.startswith(("a/", "b/"))}
    assert table["a/large"][1:4] == ["2", "$2.0000", ">99%"]
    assert table["b/small"][1:4] == ["3", "$0.0012", "<1%"]
    assert (table["a/large"][-1], table["b/small"][-1]) == ("-", "1")
    dearest = report[report.index("Dearest") :]
    assert dearest.index(made[0]) < dearest.index(made[1]) < dearest.index(made[2])
    assert re.search(rf"What failed\n +\S+  {made[4]}  b/small, \S+\n +The generation ended in an error at", report)
    assert max(map(len, report.splitlines())) <= 100


def test_several_groupings_make_several_tables(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 5)
    args = [word for by in ("day", "provider", "session", "finish_reason") for word in ("--by", by)]
    found = reconciled(run, log(tmp_path, *made), *args)
    assert list(found["groups"]) == ["day", "provider", "session", "finish_reason"]
    for groups in found["groups"].values():
        assert sum(group["generations"] for group in groups) == 5
        assert sum(group["cost_share"] for group in groups) == pytest.approx(1)
    assert found["groups"]["day"][0]["value"] == "2026-02-02"
    assert found["groups"]["session"][0]["value"] is None


def test_many_groups_still_fit_the_screen(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = made_ids(60)
    for n, one in enumerate(made):
        server.add(one, make_metadata(one, model=f"vendor/{'a-very-long-model-name-' * 5}{n}"))
    done = run(SCRIPT, log(tmp_path, *made))
    assert done.returncode == 0
    assert "49 more (--json lists all)" in done.stdout
    assert len(done.stdout.splitlines()) < 50
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_byok_bills_are_told_apart(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    server.add(A, make_metadata(A, total_cost=0.05, usage=0.05, is_byok=True, upstream_inference_cost=1.0))
    server.add(B, make_metadata(B, total_cost=0.25, usage=0.25, is_byok=False, upstream_inference_cost=0.25))
    answers = [
        json.dumps({"id": A, "usage": {"cost": 0.05, "cost_details": {"upstream_inference_cost": 1.0}}}),
        json.dumps({"id": B, "usage": {"cost": 0.25, "cost_details": {"upstream_inference_cost": 0.25}}}),
    ]
    path = log(tmp_path, *answers)
    totals = reconciled(run, path)["totals"]
    assert (totals["total_cost"], totals["byok_generations"], totals["upstream_inference_cost"]) == (0.3, 1, 1.0)
    report = run(SCRIPT, path).stdout
    assert "1 BYOK generation: providers bill $1.00 besides; $1.30 in all" in report
    assert "Costs named in the log: 2; 2 agree" in report


def test_the_whole_of_it_is_said_only_where_it_is(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    server.add(A, make_metadata(A, total_cost=0.05, usage=0.05))
    assert "Cost             $0.05, the whole of it (no BYOK)\n" in run(SCRIPT, log(tmp_path, A)).stdout
    assert "Cost             $0.05 (no BYOK)\n" in run(SCRIPT, log(tmp_path, A, B)).stdout
    server.add(B, make_metadata(B, total_cost="0.05", usage=None))
    report = run(SCRIPT, log(tmp_path, A, B)).stdout
    assert "Cost             $0.05 (no BYOK)\n                 1 of 2 records without a cost, not in it\n" in report


def test_a_bill_that_is_not_recorded_is_not_taken_for_none(
    run: Runner, server: OpenRouterServer, tmp_path: Path
) -> None:
    server.add(A, make_metadata(A, total_cost=0.05, usage=0.05, is_byok=True, upstream_inference_cost=None))
    path = log(tmp_path, A, B)
    said = "1 BYOK generation: what providers bill besides is not recorded"
    assert said in run(SCRIPT, path).stdout
    server.add(B, make_metadata(B, total_cost=0.05, usage=0.05, is_byok=True, upstream_inference_cost=1))
    said = "2 BYOK generations: providers bill $1.00 besides; $1.10 in all; not recorded for 1\n"
    assert said in run(SCRIPT, path).stdout
    assert reconciled(run, path)["totals"]["upstream_unknown"] == 1


def test_a_key_is_not_cut_into_half_a_key(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    key = "sk-or-v1-" + "0123456789abcdef" * 4
    server.add(A, make_metadata(A, model=f"vendor/{key}", session_id=key))
    report = run(SCRIPT, log(tmp_path, A), "--by", "model", "--by", "session").stdout
    assert "89abcdef" not in report
    assert "[key removed]" in report


def test_hostile_names_cannot_steer_a_terminal(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    name = "m\x1b[2J\u202e\nFake: line\tsk-or-v1-abcdefghijklmnop"
    server.add(A, make_metadata(A, model=name, provider_name=name, finish_reason=name, session_id=name))
    server.add(B, make_metadata(B, model=name))
    path = log(tmp_path, A, B)
    args = [word for by in ("model", "provider", "session", "finish_reason") for word in ("--by", by)]
    for form in ([], ["--csv"]):
        done = run(SCRIPT, path, *args, *form)
        assert done.returncode == 0
        assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\u202e]", done.stdout)
        assert "sk-or-v1" not in done.stdout
        assert not any(line.startswith("Fake") for line in done.stdout.splitlines())
    assert {row["model"] for row in reconciled(run, path)["generations"]} == {name}


@pytest.mark.parametrize("data", [{}, {"id": 7, "model": [], "total_cost": "1", "latency": {}, "is_byok": "yes"}])
def test_records_that_say_nothing_are_reported_without_nothing_words(
    run: Runner, server: OpenRouterServer, tmp_path: Path, data: dict[str, Any]
) -> None:
    server.add(A, data)
    done = run(SCRIPT, log(tmp_path, A))
    assert done.returncode == 0
    assert not re.search(r"\b(None|null|nan|NaN|inf)\b", done.stdout)
    assert "(not recorded)" in done.stdout


def test_sums_have_the_last_digit_of_the_api(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = made_ids(300)
    costs = [round(0.1 + n * 0.00000137, 8) for n in range(300)]
    for one, cost in zip(made, costs, strict=True):
        server.add(one, make_metadata(one, total_cost=cost, usage=cost))
    exact = sum(Decimal(repr(cost)) for cost in costs)
    path = log(tmp_path, *made)
    assert Decimal(repr(reconciled(run, path)["totals"]["total_cost"])) == exact
    assert f"${exact.normalize()}" in run(SCRIPT, path).stdout


# JSON and CSV


def documented(section: str) -> dict[str, list[str]]:
    """Key → the names in backquotes, from the table of a section of references/reconcile.md."""
    text = (ROOT / "references" / "reconcile.md").read_text("utf-8").split(f"## {section}", 1)[1].split("\n## ")[0]
    found = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            keys, holds = line.strip("|").split("|")[:2]
            for key in re.findall(r"`(\w+)`", keys):
                found[key] = re.findall(r"`(\w+)`", holds)
    return found


def test_the_json_has_the_documented_shape(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    server.add(A, make_metadata(A, finish_reason="length"))
    server.script(B, Answer.error(403, "Not yours"))
    server.script(C, Answer.error(400, "Odd"))
    lost = "gen-1771968016-Jd93kfLs0QmXz71VbNtE"
    path = log(tmp_path, json.dumps({"id": A, "usage": {"cost": 9}}), B, C, lost, "gen-1771967930")
    found = reconciled(run, path, code=4)
    shape = documented("`--json`")
    assert list(found) == [
        *("counts", "interrupted", "period", "totals", "groups", "dearest", "slowest", "findings", "claims"),
        *("missing", "refused", "failed", "not_asked", "cut", "problems", "generations"),
    ]
    assert set(shape) == set(found)
    for key in ("counts", "totals", "period"):
        assert set(found[key]) <= set(shape[key]), key
    assert {"value", *found["totals"], "cost_share", "cached_share"} == set(found["groups"]["model"][0])
    for key in ("findings", "missing", "refused", "failed", "cut", "generations"):
        assert set(found[key][0]) <= set(shape[key if key not in ("refused", "failed") else "missing"]), key
    assert set(found["claims"]["differing"][0]) <= set(shape["claims"])
    assert set(found["claims"]) <= set(shape["claims"])
    assert [found[key][0]["id"] for key in ("missing", "refused", "failed")] == [lost, B, C]
    assert found["missing"][0]["status"] == 404
    assert {note["code"] for note in found["generations"][0]["findings"]} >= {"truncated"}
    assert set(found["generations"][0]["findings"][0]) == {"code", "severity", "summary"}


def test_the_shape_is_the_same_with_nothing_found(run: Runner, tmp_path: Path) -> None:
    done = run(SCRIPT, log(tmp_path, "gen-eral remarks"), "--json")
    assert done.returncode == 4
    assert "No generation ID was found" in done.stderr
    found = json.loads(done.stdout)
    assert set(found) == set(documented("`--json`"))
    assert (found["counts"]["generations"], found["period"], found["generations"]) == (0, None, [])


def test_csv_is_rfc_4180_with_a_row_for_every_generation(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    server.add(A, make_metadata(A, model='a, "quoted"', total_cost=1e-07, usage=1e-07, finish_reason="length"))
    output = tmp_path / "rows.csv"
    done = run(SCRIPT, log(tmp_path, A, A, B), "--csv", "--output", output)
    assert done.returncode == 4
    octets = output.read_bytes()
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert octets.count(b"\r\n") == octets.count(b"\n") == 3
    first, second = csv.DictReader(io.StringIO(octets.decode(), newline=""))
    assert (first["id"], first["status"], first["model"], first["mentions"]) == (A, "found", 'a, "quoted"', "2")
    assert Decimal(first["total_cost"]) == Decimal("1e-7")
    assert "truncated" in first["findings"].split()
    assert (second["id"], second["status"], second["total_cost"]) == (B, "missing", "")


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_can_act_as_a_formula(run: Runner, server: OpenRouterServer, tmp_path: Path, start: str) -> None:
    server.add(A, make_metadata(A, model=start, provider_name=start, session_id=start, finish_reason=start))
    done = run(SCRIPT, log(tmp_path, A), "--csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
    assert row["model"].startswith("'")


# Receipts


def test_a_second_run_asks_only_for_what_is_missing(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 20)
    late = "gen-1760000000-Jd93kfLs0QmXz71VbNtE"
    path = log(tmp_path, *made, late)
    first = reconciled(run, path, "--save", "r.jsonl", code=4)
    assert first["counts"]["missing"] == 1
    server.requests.clear()
    server.add(late, make_metadata(late))
    second = reconciled(run, path, "--save", "r.jsonl")
    assert [request.id for request in server.requests] == [late]
    assert second["counts"]["found"] == 21
    assert (run.cwd / "r.jsonl").read_text().count("\n") == 21


def test_receipts_alone_give_the_same_report(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 20)
    online = reconciled(run, log(tmp_path, *made), "--save", "r.jsonl", "--by", "provider")
    asked = len(server.requests)
    nothing = {"OPENROUTER_API_KEY": None, "OPENROUTER_BASE_URL": "http://127.0.0.1:9"}
    offline = reconciled(run, "--from", "r.jsonl", "--by", "provider", env=nothing)
    for key in ("totals", "groups", "period", "findings", "slowest", "dearest"):
        assert offline[key] == online[key]
    assert sorted(row["id"] for row in offline["generations"]) == sorted(made)
    assert len(server.requests) == asked


def test_of_two_receipts_of_an_id_the_one_fetched_last_counts(run: Runner, tmp_path: Path) -> None:
    def line(cost: float, day: int) -> str:
        return json.dumps({"id": A, "fetched_at": f"2026-03-{day:02}T00:00:00.000Z", "data": {"total_cost": cost}})

    newer, older = log(tmp_path, line(5, 2), name="1.jsonl"), log(tmp_path, line(1, 1), name="2.jsonl")
    for files in ((newer, older), (older, newer)):
        flags = [word for file in files for word in ("--from", file)]
        assert reconciled(run, *flags)["totals"]["total_cost"] == 5


def test_a_cost_that_is_not_recorded_is_a_dash(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    server.add(A, make_metadata(A, model="x/unknown", total_cost=None, usage=None, finish_reason="error"))
    server.add(B, make_metadata(B, model="x/known", total_cost=0.5, usage=0.5))
    report = run(SCRIPT, log(tmp_path, A, B)).stdout
    assert re.search(r"\nx/unknown +1 +- ", report)
    assert re.search(rf"What failed\n +- +{A}", report)


def test_a_log_against_receipts_asks_for_nothing(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    (one,) = filled(server, 1)
    reconciled(run, log(tmp_path, one), "--save", "r.jsonl")
    server.requests.clear()
    done = run(SCRIPT, log(tmp_path, one, B), "--from", "r.jsonl", env={"OPENROUTER_API_KEY": None})
    assert done.returncode == 4
    assert "not in the receipts" in done.stdout
    assert server.requests == []


def test_several_receipts_are_read_together_and_the_last_one_of_an_id_counts(run: Runner, tmp_path: Path) -> None:
    def line(one: str, cost: float) -> str:
        return json.dumps({"id": one, "data": {"id": one, "total_cost": cost}})

    first = log(tmp_path, line(A, 1), line(B, 2), name="1.jsonl")
    second = log(tmp_path, line(A, 4), '{"id":"gen-torn', name="2.jsonl")
    found = reconciled(run, "--from", first, "--from", second)
    assert (found["totals"]["generations"], found["totals"]["total_cost"]) == (2, 6)
    assert len(found["problems"]) == 1


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"data": {"id": A, "total_cost": 0.5}}, indent=2),
        json.dumps({"id": 0, "generation_id": A, "usage": 0.5, "model": "m"}),
        json.dumps({"id": A, "error": {"status": 404, "message": "x"}}) + "\n"
        + json.dumps({"id": B, "data": {"id": B, "total_cost": 0.5}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by_stdin", [True, False])
def test_other_saved_answers_are_taken_too(run: Runner, tmp_path: Path, text: str, by_stdin: bool) -> None:
    source = "-" if by_stdin else log(tmp_path, text)
    done = run(SCRIPT, "--from", source, "--json", stdin=text if by_stdin else None)
    assert done.returncode == (4 if "error" in text else 0), done.stderr
    assert json.loads(done.stdout)["totals"]["total_cost"] == 0.5


def test_the_record_is_kept_under_the_id_asked_for(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    server.add(A, make_metadata(A, id=B))
    found = reconciled(run, log(tmp_path, A), "--save", "r.jsonl")
    assert [row["id"] for row in found["generations"]] == [A]
    assert "id-differs" in [finding["code"] for finding in found["findings"]]
    receipt = json.loads((run.cwd / "r.jsonl").read_text())
    assert (receipt["id"], receipt["data"]["id"]) == (A, B)


def test_a_torn_line_is_refetched(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 5)
    path = log(tmp_path, *made)
    reconciled(run, path, "--save", "r.jsonl", "--concurrency", 1)
    receipts = run.cwd / "r.jsonl"
    receipts.write_bytes(receipts.read_bytes()[:-40])
    server.requests.clear()
    assert reconciled(run, path, "--save", "r.jsonl")["counts"]["found"] == 5
    assert [request.id for request in server.requests] == [made[-1]]
    assert [json.loads(line)["id"] for line in receipts.read_text().splitlines()] == made


def test_a_killed_run_loses_nothing_that_was_fetched(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 60)
    server.delay = 0.02
    path, receipts = log(tmp_path, *made), run.cwd / "r.jsonl"
    with run.start(SCRIPT, path, "--save", "r.jsonl", "--concurrency", 2) as process:
        wait_until(lambda: receipts.exists() and receipts.read_bytes().count(b"\n") >= 10)
        process.kill()
    kept = {json.loads(line)["id"] for line in receipts.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")}
    assert 10 <= len(kept) < 60
    server.requests.clear()
    assert reconciled(run, path, "--save", "r.jsonl")["counts"]["found"] == 60
    assert {request.id for request in server.requests} == set(made) - kept


def test_two_runs_on_one_file_do_not_mix(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="file locks are POSIX")
    made = filled(server, 5)
    server.script(made[0], Fault.slow(30))
    path = log(tmp_path, *made)
    with run.start(SCRIPT, path, "--save", "r.jsonl") as first:
        wait_until(lambda: len(server.requests) >= 5)
        second = run(SCRIPT, path, "--save", "r.jsonl")
        first.kill()
    assert second.returncode == 2
    assert "being written by another run" in second.stderr
    assert second.stdout == ""


def test_the_log_itself_is_not_taken_for_receipts(run: Runner, tmp_path: Path) -> None:
    path = log(tmp_path, f"talk of {A}")
    done = run(SCRIPT, path, "--save", path)
    assert done.returncode == 2
    assert path.read_text() == f"talk of {A}\n"


def test_receipts_inside_a_searched_folder_are_left_out(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    (one,) = filled(server, 1)
    log(tmp_path, one)
    for _ in range(2):
        assert reconciled(run, tmp_path, "--save", tmp_path / "r.jsonl")["counts"]["mentions"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_receipts_that_cannot_be_written_end_the_run_with_a_reason(
    run: Runner, server: OpenRouterServer, tmp_path: Path
) -> None:
    import resource

    made = filled(server, 30)

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    with run.start(SCRIPT, log(tmp_path, *made), "--save", "r.jsonl", preexec_fn=small_disk) as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "r.jsonl could not be written" in errors
    assert "Traceback" not in errors
    assert "found" in output


# Failures


def test_a_failed_id_never_stops_the_others(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 12)
    server.script(made[0], Answer.error(403, "Not yours"))
    server.script(made[1], Fault.html())
    server.script(made[2], Answer(200, {}, b"not json"))
    server.script(made[3], Answer.data(None))
    server.script(made[4], Fault.RESET)
    done = run(SCRIPT, log(tmp_path, *made), "--retries", 0, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 4
    assert found["counts"]["found"] == 7
    assert [item["id"] for item in found["refused"]] == [made[0]]
    assert [item["id"] for item in found["missing"]] == [made[3]]
    assert {item["id"] for item in found["failed"]} == {made[1], made[2], made[4]}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([], 0),
        ([Answer.error(403, "Not yours")], 3),
        ([Answer.error(402, "Pay")], 5),
        ([Answer.error(500, "Oops")], 7),
        ([Answer.error(403, "Not yours"), Answer.error(500, "Oops")], 3),
        ([Answer.error(500, "Oops"), Answer.error(403, "Not yours")], 7),
        ([Answer.error(500, "Oops"), Answer.error(404, "Gone")], 4),
        ([Fault.RESET], 8),
        ([Answer.error(400, "Odd")], 9),
    ],
)
def test_exit_codes(run: Runner, server: OpenRouterServer, tmp_path: Path, answers: list[Any], code: int) -> None:
    made = filled(server, 4)
    for one, answer in zip(made[1:], answers, strict=False):
        server.script(one, answer)
    done = run(SCRIPT, log(tmp_path, *made), "--retries", 0)
    assert done.returncode == code
    assert f"found {4 - len(answers)}" in done.stdout
    assert bool(done.stderr) == (code not in (0, 4) or len(answers) > 1)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], r"^Usage: reconcile_generations.py FILE … .*\nNothing to read"),
        (["log.txt", "--output", "log.txt"], "--output log.txt would replace"),
        (["log.txt", "--save", "r.jsonl", "--output", "./r.jsonl"], "--output r.jsonl would replace"),
        (["--from", "log.txt", "--output", "log.txt"], "--output log.txt would replace"),
        (["none.log"], "none.log cannot be read"),
        (["log.txt", "--from", "none.jsonl"], "none.jsonl cannot be read"),
        (["--from", "log.txt"], "not a saved answer|not JSON"),
        (["log.txt", "--from", "r.jsonl", "--save", "r.jsonl"], "Leave one out"),
        (["-", "--from", "-"], "only once"),
        (["log.txt", "--by", "colour"], "--by.*" + ".*".join(GROUPINGS)),
        (["log.txt", "--concurrency", "0"], "--concurrency"),
        (["log.txt", "--json", "--csv"], "--csv"),
        (["log.txt", "--frobnicate"], "--frobnicate"),
    ],
)
def test_wrong_usage_is_exit_2(run: Runner, args: list[str], said: str) -> None:
    log(run.cwd, "nothing here")
    done = run(SCRIPT, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(said, done.stderr)


def test_a_missing_key_is_exit_3_and_not_needed_when_all_is_known(
    run: Runner, server: OpenRouterServer, tmp_path: Path
) -> None:
    (one,) = filled(server, 1)
    path = log(tmp_path, one)
    assert run(SCRIPT, path, "--save", "r.jsonl", env={"OPENROUTER_API_KEY": None}).returncode == 3
    assert run(SCRIPT, path, "--save", "r.jsonl").returncode == 0
    assert run(SCRIPT, path, "--save", "r.jsonl", env={"OPENROUTER_API_KEY": None}).returncode == 0


# Late records, rate limits, retries


def test_late_records_are_waited_for(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    for one in (A, B):
        server.add(one, make_metadata(one), late=1)
    assert reconciled(run, log(tmp_path, A, B), "--wait", 10)["counts"]["found"] == 2
    assert [len(server.requests_for(one)) for one in (A, B)] == [2, 2]


def test_nothing_is_lost_under_a_rate_limit(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 24)
    server.rate_limit = RateLimit(8, 1.0)
    found = reconciled(run, log(tmp_path, *made), "--retries", 1, "--save", "r.jsonl")
    assert found["counts"]["found"] == 24
    good = [request.id for request in server.requests if request.status == 200]
    assert sorted(good) == sorted(made), "asked again although it was answered"


def test_one_429_holds_back_all_workers(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 200)
    server.delay = 0.02
    server.script(made[20], Answer.error(429, "Slow down", {"Retry-After": "1"}), then_record=True)
    assert reconciled(run, log(tmp_path, *made), "--concurrency", 4)["counts"]["found"] == 200
    times = sorted(request.at for request in server.requests)
    assert max(later - earlier for earlier, later in pairwise(times)) > 0.8


def test_a_rate_limit_without_end_is_exit_6(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    server.script(None, Answer.error(429, "Slow down", {"Retry-After": "0"}))
    done = run(SCRIPT, log(tmp_path, A, B), "--retries", 1)
    assert done.returncode == 6
    assert len(server.requests) == 4


def test_transient_failures_are_retried(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 3)
    server.script(made[0], Answer.error(503, "Busy", {"Retry-After": "0"}), Fault.RESET, then_record=True)
    assert reconciled(run, log(tmp_path, *made))["counts"]["found"] == 3


def test_requests_go_out_together_up_to_the_concurrency(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 40)
    server.delay = 0.05
    reconciled(run, log(tmp_path, *made), "--concurrency", 5)
    assert server.most_at_once == 5
    assert server.connections <= 5


# Ctrl-C, progress, output


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("save", [True, False])
def test_ctrl_c_reports_what_is_there_and_how_to_go_on(
    run: Runner, server: OpenRouterServer, tmp_path: Path, save: bool, sent: signal.Signals
) -> None:
    made = filled(server, 10)
    for one in made[5:]:
        server.script(one, Fault.slow(60))
    args = ["--save", "r.jsonl"] if save else []
    with run.start(SCRIPT, log(tmp_path, *made), *args, "--concurrency", 2) as process:
        wait_until(lambda: len(server.requests) >= 7)
        time.sleep(0.3)
        process.send_signal(sent)
        output, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "found 5, missing 0, refused 0, not asked 5" in output
    assert "Interrupted with 5 generations left" in errors
    assert ("r.jsonl" in errors) if save else ("--save" in errors)
    assert "Traceback" not in errors


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_progress_is_for_terminals_only(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    import pty

    made = filled(server, 30)
    server.delay = 0.05
    path = log(tmp_path, *made)
    assert run(SCRIPT, path).stderr == ""
    ours, theirs = pty.openpty()
    with run.start(SCRIPT, path, "--concurrency", 2, stderr=theirs) as process:
        os.close(theirs)
        output, _ = process.communicate(timeout=30)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert re.search(r"\d+ of 30, [\d.]+/s, \$[\d.]+ so far, .* left", shown)
    assert output.startswith("30 generations")
    assert shown.endswith("\r")


def test_output_goes_to_a_file(run: Runner, server: OpenRouterServer, tmp_path: Path) -> None:
    made = filled(server, 3)
    path = log(tmp_path, *made)
    done = run(SCRIPT, path, "--output", "report.txt")
    assert re.fullmatch(r"Wrote [\d,]+ bytes .*to report\.txt\n", done.stdout)
    assert (run.cwd / "report.txt").read_text() == run(SCRIPT, path).stdout


def test_offline_work_loads_no_http_library(tmp_path: Path) -> None:
    path = log(tmp_path, json.dumps({"id": A, "data": {"id": A}}))
    program = (
        "import sys; sys.argv[1:] = ['--from', sys.argv[1]]\n"
        "import reconcile_generations as script\n"
        "code = script.main()\n"
        "assert code == 0 and not {'httpx', 'httpcore', 'ssl', 'dotenv'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=SCRIPTS, check=True, capture_output=True)
