"""What goes wrong, as a user sees it: exit code, the server's words, the next step, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import Runner
from openrouter_generations import errors
from openrouter_server import (
    CONTENT,
    FAULTS,
    KEY,
    Answer,
    Fault,
    OpenRouterServer,
    closed_port,
    fault_id,
    made_ids,
    make_metadata,
    script_faults,
)

METADATA_SCRIPT, CONTENT_SCRIPT = "get_generation.py", "get_generation_content.py"
GOOD, MISSING, SILENT = made_ids(3)
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as running:
        script_faults(running)
        running.add(GOOD, make_metadata(GOOD))
        running.script(SILENT, Fault.SILENT)
        yield running


# Every fault of the server

HANGS = {"silent", "stalled", "slow", "drip", "drip_headers", "interim_flood"}
PAUSES = {"retry_after_billion", "retry_after_date_future"}  # a minute each, when tried again
FINE = {
    "closed_after", "gzip_good", "bom", "data_null", "data_empty", "duplicate_keys", "other_id",
    "control_characters_in_data", "key_echo_in_data",
}  # fmt: skip
BROKEN = {"reset", "reset_body", "closed", "truncated", "truncated_chunked", *HANGS}
BY_STATUS = {401: 3, 402: 5, 403: 3, 404: 4, 408: 7, 429: 6, 500: 7, 502: 7, 503: 7, 504: 7, 524: 7, 529: 7}
SAYS = {
    "reset": "Connection reset by peer",
    "closed": "Server disconnected without sending a response. (",
    "silent": "did not answer in full within 0.4 s (--timeout)",
    "drip": "did not answer in full within 0.4 s (--timeout)",
    "drip_headers": "did not answer in full within 0.4 s (--timeout)",
    "not_http": "does not speak HTTP",
    "odd_status": "Error 999",
    "no_content": "the body is empty",
    "redirect_307": "which is not followed",
    "redirect_loop": "a redirect (302) to nowhere",
    "huge": "larger than 64 MiB",
    "endless": "larger than 64 MiB",
    "gzip_bomb": "larger than 64 MiB",
    "invalid_utf8": "not valid UTF-8",
    "empty": "the body is empty",
    "not_json": "not JSON: it begins with 'upstream connect error",
    "shape_list": "the body is a list",
    "shape_no_data": "an object without `data`",
    "data_string": "`data` is a string",
    "error_200": "the server said: Oops",
    "nan": "NaN is not JSON",
    "overflow": "a number is out of range",
    "deep_lists": "nested too deeply",
    "html_200": "it begins with '<!DOCTYPE html>",
    "control_characters": "before\\x1b[31m red",
    "key_echo": "Bad key [key removed], sent as 'Bearer [key removed]'",
    "key_echo_html": "500 authorization: Bearer [key removed]",
    "long_message": "long long",
    "error_string": "Something went wrong",
    "zod_error": "id: String must contain at least 1 character(s)",
    "status_400": "Error 400: Invalid request parameters",
    "status_402": "The server said: Insufficient credits.",
    "status_409": "Error 409: Conflict",
    "html_502": "The server said: 502",
    "empty_503": "Error 503",
}
NEXT_STEP = {
    2: "Expected",
    3: "https://openrouter.ai/settings/",
    4: "--wait 60",
    5: "https://openrouter.ai/settings/credits",
    6: "--retries",
    7: "--retries",
    8: "OPENROUTER_BASE_URL",
    9: ("OPENROUTER_BASE_URL", "The usual form"),
}


def expected_exit(name: str) -> int:
    if name in FINE:
        return 0
    if name in BROKEN:
        return 8
    status = re.fullmatch(r"(?:status|html|empty)_(\d{3})", name)
    if status:
        return BY_STATUS.get(int(status[1]), 9)
    if name.startswith("retry_after"):
        return 6
    return {"key_echo": 3, "key_echo_html": 7, "long_message": 7, "error_string": 7}.get(name, 9)


FAMILIES = re.compile(  # one of each is run by itself, the rest together with all others
    r"retry_after_(?!zero|date_future)|redirect_30[1378]|html_[45]0[34]|empty_[45]|data_(list|number)|shape_(s|null|number)"
    r"|status_(409|418|504|524|529|50[03])|infinity|huge_length|deep_lists|many_headers|gzip_(garbage|truncated)"
    r"|double_gzip|br_garbage|bad_length|half_json|two_documents|duplicate_keys|data_empty|long_number|utf16|huge_header"
)
ALONE = [name for name in FAULTS if not FAMILIES.match(name)]


@pytest.fixture(scope="module")
def outcomes(server: OpenRouterServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What each fault led to, all tried at most twice."""
    variables = {"OPENROUTER_BASE_URL": server.url, "OPENROUTER_API_KEY": KEY}
    runner = Runner(tmp_path_factory.mktemp("faults"), variables)

    def outcome(name: str) -> Done:
        timeout, retries = 0.4 if name in HANGS else 20, 0 if name in PAUSES else 1
        return runner(METADATA_SCRIPT, fault_id(name), "--timeout", timeout, "--retries", retries)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(ALONE, pool.map(outcome, ALONE), strict=True))


@pytest.mark.parametrize("name", ALONE)
def test_fault(name: str, outcomes: dict[str, Done], server: OpenRouterServer) -> None:
    done, code = outcomes[name], expected_exit(name)
    assert done.returncode == code, done.stderr
    tried = len(server.requests_for(fault_id(name)))
    again = code in (6, 7, 8) and name not in PAUSES
    assert tried == (2 if again else 1)
    for stream in (done.stdout, done.stderr):
        assert "Traceback" not in stream
        assert KEY not in stream
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028]", stream)
    if code == 0:
        assert done.stdout.startswith("Generation: ")
        assert done.stderr == ""
        return
    assert done.stdout == ""
    assert len(done.stderr) < 1500
    assert 1 < len(done.stderr.splitlines()) <= 4
    assert SAYS.get(name, fault_id(name)) in done.stderr
    assert fault_id(name) in done.stderr
    steps = NEXT_STEP[code]
    assert any(step in done.stderr for step in ([steps] if isinstance(steps, str) else steps))
    if again:
        assert "Tried 2 times" in done.stderr


def test_all_faults_at_once(server: OpenRouterServer, run: Runner) -> None:
    wanted = [fault_id(name) for name in FAULTS if name not in HANGS]
    done = run(METADATA_SCRIPT, "--json", *wanted, "--retries", 0)
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    assert list(answers) == wanted
    assert done.returncode == expected_exit(next(iter(FAULTS)))
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr
    for name in FAULTS.keys() - HANGS:
        answer, code = answers[fault_id(name)], expected_exit(name)
        assert set(answer) == {"id", "data" if code == 0 else "error"}, name
        if code:
            assert set(answer["error"]) == {"status", "message"}
            status = answer["error"]["status"]
            assert code == (BY_STATUS.get(status, 9) if status else 8 if name in BROKEN else 9), name
            assert KEY not in answer["error"]["message"]
            assert 20 < len(answer["error"]["message"]) < 1500
    assert server.strayed == []


def test_the_table_speaks_of_faults_that_exist() -> None:
    assert {*SAYS, *FINE, *BROKEN, *PAUSES} <= FAULTS.keys()


def test_redirects_are_not_contacted(outcomes: dict[str, Done], server: OpenRouterServer) -> None:
    assert outcomes["redirect_302"].returncode == 9
    assert server.strayed == []


# Statuses, word for word

WORDING = [  # the original's own, then what the answer should lead to
    (METADATA_SCRIPT, 401, "Error 401: Invalid or missing API key. Check your OPENROUTER_API_KEY.", ["--api-key"]),
    (CONTENT_SCRIPT, 403, "Error 403: Forbidden. You may not have access to this generation.",
     ["belongs to someone else", "management keys", "lacks the right"]),
    (CONTENT_SCRIPT, 404, "Error 404: Generation not found. Check the generation ID.",
     ["too early", "key of another account", "wrong or cut ID"]),
    (METADATA_SCRIPT, 429, "Error 429: Rate limited. Wait a moment and try again.", ["Tried once"]),
    (METADATA_SCRIPT, 402, "Error 402: Payment required.", ["Add credits"]),
    (METADATA_SCRIPT, 500, "Error 500: ", ["Tried once", "Try again later"]),
    (CONTENT_SCRIPT, 524, "Error 524: ", ["Tried once", "--timeout"]),
]  # fmt: skip


@pytest.mark.parametrize(("script", "status", "first", "advice"), WORDING, ids=lambda value: str(value)[:9])
def test_wording(
    *, script: str, status: int, first: str, advice: list[str], server: OpenRouterServer, run: Runner
) -> None:
    server.script("gen-worded", Answer.error(status, "Its own words"))
    done = run(script, "gen-worded", "--retries", 0)
    assert done.returncode == BY_STATUS[status]
    assert done.stderr.startswith(first)
    assert "Its own words" in done.stderr
    for words in advice:
        assert words in done.stderr


def test_a_missing_generation_is_dated_by_its_id() -> None:
    old = str(errors.from_status(404, subject="gen-1771967930-1gsys6ZhRaY0TPbuRsDR"))
    assert "too early (not here: the ID is dated 2026-02-24 21:18 UTC)" in old
    assert "--wait" not in old
    young = str(errors.from_status(404, subject=f"gen-{time.time():.0f}-1gsys6ZhRaY0TPbuRsDR"))
    assert "try --wait 60" in young
    assert "cut ID" not in young
    assert "cut ID (usual form" in str(errors.from_status(404, subject="gen-1771967930"))


@pytest.mark.parametrize("status", range(400, 600, 7))
def test_any_status_has_a_code(status: int) -> None:
    failure = errors.from_status(status, "said")
    code = BY_STATUS.get(status, 7 if status >= 500 else 9)
    assert (int(failure.exit_code), failure.status, "said" in str(failure)) == (code, status, True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"code": 400, "message": "A"}}, "A"),
        ({"error": {"message": None, "name": "B"}}, "B"),
        ({"error": {"message": {"deep": ["C"]}}}, '{"deep":["C"]}'),
        ({"error": ["D"]}, '["D"]'),
        ({"error": None}, ""),
        ({"message": "E"}, "E"),
        ({"error": {"message": '[{"path": ["id"], "message": "F"}]'}}, "id: F"),
        ({"error": {"message": "[not json"}}, "[not json"),
        ({"error": {"message": "[1, 2]"}}, "[1, 2]"),
        ({"error": {"message": '[{"path": 5}]'}}, '[{"path": 5}]'),
        ([], ""),
        ("text", ""),
        (None, ""),
    ],
    ids=str,
)
def test_message_in_a_body_of_any_shape(body: Any, said: str) -> None:
    assert errors.message_in(body) == said


# Before anything is asked


def test_no_key(run: Runner, server: OpenRouterServer) -> None:
    before = len(server.requests)
    done = run(METADATA_SCRIPT, GOOD, env={"OPENROUTER_API_KEY": None})
    assert (done.returncode, done.stdout) == (3, "")
    assert "OPENROUTER_API_KEY" in done.stderr
    assert "https://openrouter.ai/settings/keys" in done.stderr
    assert len(server.requests) == before


@pytest.mark.parametrize("generation_id", ["", " ", "a\nb", "gen-\x1b[31m", "gen-\u202e", "x" * 600, "gen-\udcff"])
def test_ids_that_may_not_be_sent(generation_id: str, run: Runner, server: OpenRouterServer) -> None:
    before = len(server.requests)
    done = run(METADATA_SCRIPT, "--id", generation_id)
    assert (done.returncode, done.stdout) == (2, "")
    assert "generation ID" in done.stderr
    assert len(server.requests) == before
    assert "\x1b" not in done.stderr


# The network


@pytest.mark.parametrize(
    ("base", "code", "said"),
    [
        ("http://127.0.0.1:{closed}", 8, "Connection refused"),
        ("https://127.0.0.1:{open}", 8, "no answer from 127.0.0.1"),  # TLS against a plain server
        ("https://does-not-exist.invalid", 8, "does-not-exist.invalid"),
        ("https://a..b", 8, "a..b is no host name"),
        ("https://" + "a" * 70 + ".example", 8, "is no host name"),
        ("https://[v1.a]", 2, "is not a URL"),
        ("https://xn--a.invalid", 2, "is not a URL"),
        ("https://[::1", 2, "is not a URL"),
        ("https://x:99999", 2, "is not a URL"),
        ("openrouter.ai", 2, "is not a URL"),
        ("ftp://openrouter.ai", 2, "https://"),
        ("https://exämple.com", 2, "is not a URL"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_base_urls_that_lead_nowhere(base: str, code: int, said: str, server: OpenRouterServer, run: Runner) -> None:
    base = base.format(closed=closed_port(), open=server.url.rpartition(":")[2])
    done = run(METADATA_SCRIPT, GOOD, "--retries", 0, "--timeout", 10, env={"OPENROUTER_BASE_URL": base})
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert ("no answer from" in done.stderr) <= ("(OPENROUTER_BASE_URL, from the environment or .env)" in done.stderr)


@pytest.mark.parametrize(
    "variables",
    [{"HTTPS_PROXY": "foo://bar"}, {"HTTPS_PROXY": "::::"}, {"SSL_CERT_FILE": "/nonexistent"}],
    ids=str,
)
def test_variables_that_cannot_be_used(variables: dict[str, str], run: Runner) -> None:
    done = run(METADATA_SCRIPT, GOOD, env={"OPENROUTER_BASE_URL": "https://x.invalid", **variables})
    assert (done.returncode, done.stdout) == (2, "")
    assert "proxy or certificate variables" in done.stderr


# Output


def test_a_full_disk(run: Runner) -> None:
    for args in ([GOOD], [GOOD, "--json"], ["--help"], ["--version"]):
        with run.start(METADATA_SCRIPT, *args, stdout=os.open("/dev/full", os.O_WRONLY)) as process:
            _, stderr = process.communicate()
        assert process.returncode == 1, args
        assert "could not be written" in stderr
        assert "No space left" in stderr
        assert len(stderr.splitlines()) == 1


def test_a_closed_standard_output(run: Runner, tmp_path: Path) -> None:
    with run.start(METADATA_SCRIPT, GOOD, preexec_fn=lambda: os.close(1)) as process:
        _, stderr = process.communicate()
    assert process.returncode == 1
    assert "Standard output is closed" in stderr
    file = tmp_path / "report"
    with run.start(METADATA_SCRIPT, GOOD, "--output", file, preexec_fn=lambda: os.close(1)) as process:
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")
    assert file.read_text().startswith("Generation: ")


def test_a_closed_standard_error(run: Runner) -> None:
    for args, code in (([GOOD], 0), ([MISSING], 4), (["--nonsense"], 2)):
        with run.start(METADATA_SCRIPT, *args, preexec_fn=lambda: os.close(2)) as process:
            process.communicate()
        assert process.returncode == code
    with run.start(METADATA_SCRIPT, MISSING, stderr=os.open("/dev/full", os.O_WRONLY)) as process:
        process.communicate()
    assert process.returncode == 4


@pytest.mark.parametrize("args", [[GOOD], ["--json", *[GOOD] * 40], ["--help"]], ids=["text", "json", "help"])
def test_a_reader_that_goes_away_ends_it_quietly(args: list[str], run: Runner) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with run.start(METADATA_SCRIPT, *args, stdout=writing) as process:
        os.close(writing)
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")


def test_head(run: Runner) -> None:
    with run.start(METADATA_SCRIPT, "--json", *[GOOD] * 40) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["id"] == GOOD
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "cp1252"},
    ],
    ids=str,
)
def test_poor_terminals(env: dict[str, str], server: OpenRouterServer, run: Runner) -> None:
    server.script("gen-accents", Answer.data({"id": "gen-accents", "model": "Zürich/模型 😀"}))
    done = run(METADATA_SCRIPT, "gen-accents", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rich/" in done.stdout
    done = run(METADATA_SCRIPT, "gen-accents", "--json", env=env)
    assert json.loads(done.stdout)["data"]["model"] == "Zürich/模型 😀"


def test_help_on_a_poor_terminal(run: Runner) -> None:
    done = run(METADATA_SCRIPT, "--help", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "exit codes:" in done.stdout


@pytest.mark.parametrize(
    ("target", "said"),
    [("/dev/null", "not a regular file"), ("/dev/full", "not a regular file"), (".", "not a regular file"),
     ("/nonexistent/report", "there is no folder"), ("/proc/report", "could not be written")],
)  # fmt: skip
def test_output_that_cannot_be_written(target: str, said: str, run: Runner) -> None:
    done = run(METADATA_SCRIPT, GOOD, "--output", target)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_a_working_folder_that_was_deleted(run: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    enter = f'cd "{folder}" && rmdir "{folder}" && exec "$@"'
    for env, args, code in (
        ({}, [GOOD], 0),
        ({"OPENROUTER_API_KEY": ""}, [GOOD], 3),
        ({}, [GOOD, "--output", "x"], 1),
    ):
        command = ["sh", "-c", enter, "sh", *run.command(METADATA_SCRIPT, *args)]
        folder.mkdir(exist_ok=True)
        done = subprocess.run(command, env=run.environment(env), capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "bug" not in done.stderr


# Ctrl-C


@pytest.mark.parametrize(
    "args",
    [[MISSING, "--wait", "30"], [SILENT], [SILENT, GOOD, SILENT], [fault_id("retry_after_billion")]],
    ids=["waiting for a record", "waiting for an answer", "several", "waiting for a limit"],
)
def test_ctrl_c(args: list[str], server: OpenRouterServer, run: Runner) -> None:
    before = len(server.requests_for(args[0]))
    listening = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with run.start(METADATA_SCRIPT, *args, **listening) as process:
        while len(server.requests_for(args[0])) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert stderr == "Interrupted.\n"
    assert stdout == "" or len(args) == 3


def test_content_goes_through_the_same_errors(server: OpenRouterServer, run: Runner) -> None:
    for name in ("html_200", "shape_list", "deep_objects", "status_403", "closed"):
        done = run(CONTENT_SCRIPT, fault_id(name), "--retries", 0)
        assert (done.returncode, done.stdout) == (expected_exit(name), ""), done.stderr
    assert server.requests[-1].path == CONTENT
