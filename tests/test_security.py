"""Where the key may go, what is believed, what is printed, what is written, and how much memory it may take."""

from __future__ import annotations

import json
import os
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Runner
from openrouter_generations import documents, origin, settings
from openrouter_generations.client import Client
from openrouter_generations.errors import BadAnswerError, MissingKeyError, UsageError
from openrouter_server import (
    CERTIFICATE,
    KEY,
    MIB,
    Answer,
    Fault,
    OpenRouterServer,
    closed_port,
    made_ids,
    make_content,
    make_metadata,
)

METADATA, CONTENT = "get_generation.py", "get_generation_content.py"
ID, OTHER, MISSING = made_ids(3)
NOWHERE = {"OPENROUTER_BASE_URL": None, "HTTPS_PROXY": f"http://127.0.0.1:{closed_port()}"}
"""No base URL, so that of OpenRouter holds; but nothing gets there."""


@pytest.fixture(scope="module")
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer(keys=(KEY, "sk-or-v1-dotenv", "Tr0ub4dor&3", "${TOP_SECRET}")) as running:
        for generation_id in (ID, OTHER):
            running.add(generation_id, make_metadata(generation_id), make_content(generation_id))
        yield running
        assert running.strayed == []  # `elsewhere` is where a key must never arrive


@pytest.fixture
def asked(server: OpenRouterServer) -> list[Any]:
    """The requests of this test."""
    server.requests.clear()
    return server.requests


# Where the key goes


@pytest.mark.parametrize(
    ("base", "root"),
    [
        ("https://openrouter.ai", "https://openrouter.ai/api/v1"),
        ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1"),
        ("https://gateway.example:8443/proxy/", "https://gateway.example:8443/proxy/api/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v1"),
        ("http://127.255.1.2", "http://127.255.1.2/api/v1"),
        ("http://localhost:1", "http://localhost:1/api/v1"),
        ("HTTP://LOCALHOST", "HTTP://LOCALHOST/api/v1"),
        ("http://[::1]:8080", "http://[::1]:8080/api/v1"),
    ],
)
def test_origins_that_may_have_it(base: str, root: str) -> None:
    assert origin.api_root(base) == root


@pytest.mark.parametrize(
    "base",
    [
        "http://openrouter.ai", "http://10.0.0.1", "http://192.168.1.1:80", "http://0.0.0.0", "http://[::]",
        "http://127.0.0.1.example.com", "http://localhost.example.com", "http://127.1", "http://2130706433",
        "http://0x7f000001", "http://127.0.0.1@example.com", "http://example.com#@127.0.0.1",
        "http://example.com?@127.0.0.1", "http://example.com\\@127.0.0.1", "http://127.0.0.1\\.example.com",
        "http://127.0.0.1%2eexample.com", "http://127.0.0.1:80@example.com", "http://user@127.0.0.1",
        "http://\u217c\u2134calhost", "http://localhost\u3002example.com", "http://", "//127.0.0.1", "127.0.0.1",
        "https://", "https://a b", "https://x\n", "https://x\t", " https://x", "https://x?a=b", "https://x#",
        "https://x?", "https://u:p@x", "file:///etc/passwd", "javascript:1", "unix:///run/x.sock", "",
    ],
)  # fmt: skip
def test_origins_that_may_not(base: str) -> None:
    with pytest.raises(UsageError):
        origin.api_root(base)


def test_plain_http_is_refused_before_any_request(asked: list[Any], run: Runner) -> None:
    done = run(METADATA, ID, env={"OPENROUTER_BASE_URL": "http://gateway.invalid"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "OPENROUTER_ALLOW_HTTP=1" in done.stderr
    assert asked == []


@pytest.mark.parametrize(("value", "code"), [("1", 8), ("0", 2), ("true", 2), ("", 2)])
def test_plain_http_is_allowed_by_the_one_word_only(value: str, code: int, run: Runner) -> None:
    env = {"OPENROUTER_BASE_URL": "http://gateway.invalid", "OPENROUTER_ALLOW_HTTP": value}
    done = run(METADATA, ID, "--retries", 0, env=env)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("script", [METADATA, CONTENT])
@pytest.mark.parametrize("status", [301, 307])
def test_redirects_are_not_followed(status: int, script: str, server: OpenRouterServer, run: Runner) -> None:
    server.script("gen-redirect", Fault.redirect(status))
    done = run(script, "gen-redirect")
    assert (done.returncode, done.stdout) == (9, "")
    assert f"a redirect ({status}) to {server.elsewhere}/api/v1/" in done.stderr
    assert server.strayed == []


def test_a_redirect_to_the_same_origin_is_not_followed_either(
    server: OpenRouterServer, asked: list[Any], run: Runner
) -> None:
    server.script("gen-moved", Fault.redirect(308, f"{server.url}/api/v1/generation?id={ID}"))
    assert run(METADATA, "gen-moved").returncode == 9
    assert [request.id for request in asked] == ["gen-moved"]


@pytest.fixture(scope="module")
def encrypted() -> Iterator[OpenRouterServer]:
    with OpenRouterServer(tls=True) as running:
        running.add(ID, make_metadata(ID))
        yield running


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_is_verified(host: str, encrypted: OpenRouterServer, run: Runner) -> None:
    env = {
        "OPENROUTER_BASE_URL": encrypted.url.replace("127.0.0.1", host),
        "OPENROUTER_ALLOW_HTTP": "1",
        "PYTHONHTTPSVERIFY": "0",
    }
    if host == "localhost":  # trusted, but made for another name
        env["SSL_CERT_FILE"] = str(CERTIFICATE)
    done = run(METADATA, ID, env=env)
    assert (done.returncode, done.stdout) == (8, "")
    assert "certificate" in done.stderr
    assert "Tried once" in done.stderr
    assert encrypted.requests == []


def test_tls_with_an_authority_of_ones_own(encrypted: OpenRouterServer, run: Runner) -> None:
    env = {"OPENROUTER_BASE_URL": encrypted.url, "SSL_CERT_FILE": str(CERTIFICATE)}
    done = run(METADATA, ID, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    encrypted.requests.clear()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_loopback_is_asked_directly(name: str, server: OpenRouterServer, run: Runner) -> None:
    done = run(METADATA, ID, env={name: server.elsewhere})
    assert (done.returncode, done.stderr) == (0, "")
    assert server.strayed == []


# .env


def dotenv(folder: Path, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text("\n".join(lines) + "\n", "utf-8")


def test_dotenv_supplies_the_key(server: OpenRouterServer, asked: list[Any], run: Runner) -> None:
    dotenv(run.cwd, "# mine", "export OPENROUTER_API_KEY='sk-or-v1-dotenv'")
    below = run.cwd / "a" / "b"
    below.mkdir(parents=True)
    for folder in (run.cwd, below):
        assert run(METADATA, ID, cwd=folder, env={"OPENROUTER_API_KEY": None}).returncode == 0
    assert [request.key for request in asked] == ["sk-or-v1-dotenv"] * 2


def test_dotenv_with_key_and_base_url_belong_together(server: OpenRouterServer, asked: list[Any], run: Runner) -> None:
    dotenv(
        run.cwd,
        "OPENROUTER_API_KEY=sk-or-v1-dotenv",
        f"OPENROUTER_BASE_URL={server.url}/api/v1",
        "OPENROUTER_TITLE=Mine",
    )
    env = {"OPENROUTER_API_KEY": None, "OPENROUTER_BASE_URL": None}
    assert run(METADATA, ID, env=env).returncode == 0
    assert [(request.key, request.headers["x-openrouter-title"]) for request in asked] == [("sk-or-v1-dotenv", "Mine")]


@pytest.mark.parametrize(
    ("args", "env"),
    [([], {}), (["--api-key", KEY], {}), (["--api-key", KEY], {"OPENROUTER_API_KEY": None})],
    ids=["environment", "both", "flag"],
)
def test_a_hostile_dotenv_gets_no_key_that_came_from_elsewhere(
    args: list[str], env: dict[str, Any], server: OpenRouterServer, asked: list[Any], run: Runner
) -> None:
    dotenv(
        run.cwd,
        "OPENROUTER_API_KEY=sk-or-v1-theirs",
        f"OPENROUTER_BASE_URL={server.elsewhere}",
        "OPENROUTER_ALLOW_HTTP=1",
        "OPENROUTER_TITLE=Theirs",
        f"HTTP_PROXY={server.elsewhere}",
        f"ALL_PROXY={server.elsewhere}",
    )
    assert run(METADATA, ID, *args, env=env).returncode == 0
    assert [request.key for request in asked] == [KEY]
    assert "x-openrouter-title" not in asked[0].headers
    done = run(METADATA, ID, *args, "--retries", 0, env={**env, **NOWHERE})
    assert done.returncode == 8
    assert "openrouter.ai" in done.stderr
    assert server.strayed == []


def test_base_url_and_key_of_two_files_do_not_meet(server: OpenRouterServer, run: Runner) -> None:
    dotenv(run.cwd, "OPENROUTER_API_KEY=sk-or-v1-dotenv")
    below = run.cwd / "checkout"
    dotenv(below, f"OPENROUTER_BASE_URL={server.elsewhere}")
    done = run(METADATA, ID, "--retries", 0, cwd=below, env={**NOWHERE, "OPENROUTER_API_KEY": None})
    assert done.returncode == 8
    assert "openrouter.ai" in done.stderr
    assert server.strayed == []


def test_plain_http_is_not_allowed_by_a_dotenv(run: Runner) -> None:
    dotenv(run.cwd, "OPENROUTER_API_KEY=k", "OPENROUTER_BASE_URL=http://x.invalid", "OPENROUTER_ALLOW_HTTP=1")
    done = run(METADATA, ID, env={"OPENROUTER_API_KEY": None, "OPENROUTER_BASE_URL": None})
    assert done.returncode == 2


def test_variables_in_a_dotenv_are_not_expanded(server: OpenRouterServer, asked: list[Any], run: Runner) -> None:
    dotenv(run.cwd, "OPENROUTER_API_KEY=${TOP_SECRET}", f"OPENROUTER_BASE_URL={server.url}/${{TOP_SECRET}}/$TOP_SECRET")
    env = {"OPENROUTER_API_KEY": None, "OPENROUTER_BASE_URL": None, "TOP_SECRET": "hunter2"}
    done = run(METADATA, ID, env=env)
    assert done.returncode == 4
    (request,) = asked
    assert "hunter2" not in str(request)
    assert "hunter2" not in done.stderr
    assert request.key == "${TOP_SECRET}"


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff\xfe binary", b"OPENROUTER_API_KEY", b"OPENROUTER_API_KEY=", b"='''\nunclosed", b"x" * 3_000_000],
    ids=lambda value: repr(value)[:20],
)
def test_a_dotenv_that_is_none(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(MissingKeyError):
        settings.load(None, {}, str(tmp_path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "dangling"])
def test_a_dotenv_that_is_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/nonexistent")
    with pytest.raises(MissingKeyError):
        settings.load(None, {}, str(tmp_path))


def test_dotenv_with_windows_marks(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfOPENROUTER_API_KEY=abc\r\n")
    assert settings.load(None, {}, str(tmp_path)).api_key == "abc"
    (tmp_path / ".env").write_bytes("OPENROUTER_API_KEY=def\r\n".encode("utf-16"))
    assert settings.load(None, {}, str(tmp_path)).api_key == "def"


def test_python_files_in_the_working_folder_are_not_run(run: Runner) -> None:
    for name in ("httpx", "dotenv", "json", "openrouter_generations", "argparse", "sitecustomize"):
        (run.cwd / f"{name}.py").write_text("raise SystemExit('hostile code ran')")
    done = run(METADATA, ID)
    assert (done.returncode, done.stderr) == (0, "")


# What is printed

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


@pytest.mark.parametrize(
    ("script", "args"),
    [
        (METADATA, []),
        (METADATA, ["--json"]),
        (METADATA, ["--json", ID]),
        (CONTENT, ["--max-chars", "0"]),
        (CONTENT, ["--json"]),
    ],
    ids=str,
)
def test_nothing_that_steers_a_terminal_is_printed(
    script: str, args: list[str], server: OpenRouterServer, run: Runner
) -> None:
    server.script("gen-steering", Fault.CONTROL_CHARACTERS_IN_DATA)
    done = run(script, "gen-steering", *args)
    assert done.returncode == 0, done.stderr
    assert not STEERING.search(done.stdout)
    if "--json" in args:
        texts = json.dumps(
            [json.loads(part) for part in ([done.stdout] if len(args) == 1 else done.stdout.splitlines())]
        )
        assert "\\u202ereversed" in texts  # the same data
    else:
        assert "\\u202ereversed" in done.stdout


@pytest.mark.parametrize("key", [KEY, "Tr0ub4dor&3"], ids=["usual", "another form"])
@pytest.mark.parametrize("script", [METADATA, CONTENT])
def test_the_key_is_in_no_report(script: str, key: str, server: OpenRouterServer, tmp_path: Path, run: Runner) -> None:
    words = f"before {key} after, sk-or-v1-somebody-elses"
    record = make_metadata(ID, user_agent=words, model=words, finish_reason=words, native_finish_reason=words)
    content = {"input": {"prompt": words}, "output": {"completion": words}, "error": {"message": words, "raw": words}}
    server.script("gen-echo", Answer.data(record if script == METADATA else content))
    shown = run(script, "gen-echo", env={"OPENROUTER_API_KEY": key}).stdout
    assert run(
        script, "gen-echo", "--api-key", key, "--output", tmp_path / "x", env={"OPENROUTER_API_KEY": None}
    ).stdout
    for report in (shown, (tmp_path / "x").read_text("utf-8")):
        assert "before [key removed] after, [key removed]" in report
        assert key not in report
        assert "sk-or" not in report
    data = json.loads(run(script, "gen-echo", "--json", env={"OPENROUTER_API_KEY": key}).stdout)["data"]
    assert data == (record if script == METADATA else content)  # data is data


def test_the_key_is_in_no_error(server: OpenRouterServer, run: Runner) -> None:
    key = "Tr0ub4dor&3"
    server.script("gen-echo-error", Fault.key_echo(500))
    done = run(METADATA, "gen-echo-error", "--json", ID, "--retries", 0, env={"OPENROUTER_API_KEY": key})
    assert done.returncode == 7
    assert "[key removed]" in done.stderr
    assert "[key removed]" in json.loads(done.stdout.splitlines()[0])["error"]["message"]
    assert key not in done.stdout + done.stderr
    done = run(METADATA, key, env={"OPENROUTER_API_KEY": key})  # the key where an ID belongs
    assert done.returncode == 4
    assert key not in done.stderr


# What is sent


@pytest.mark.parametrize(
    "key", ["a\nb", "a\r", "\x1b[31m", "sk or v1", "é", "“x”", "k\x7f", "k\x00", "\u202e", "\ud800"]
)
def test_keys_that_cannot_be_sent(key: str, tmp_path: Path) -> None:
    for flag, environ in ((key, {}), (None, {"OPENROUTER_API_KEY": key})):
        with pytest.raises(UsageError, match="cannot be sent") as failure:
            settings.load(flag, environ, str(tmp_path))
        assert key not in str(failure.value)


@pytest.mark.parametrize("way", ["flag", "variable", "dotenv"])
def test_keys_with_control_characters_are_refused(way: str, asked: list[Any], run: Runner) -> None:
    key = "sk-or-v1-\x1b[31m"
    if way == "dotenv":
        dotenv(run.cwd, f'OPENROUTER_API_KEY="{key}"')
    args = ["--api-key", key] if way == "flag" else []
    done = run(METADATA, ID, *args, env={"OPENROUTER_API_KEY": key if way == "variable" else None})
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be sent" in done.stderr
    assert not STEERING.search(done.stderr)
    assert key not in done.stderr
    assert asked == []


@pytest.mark.parametrize("generation_id", ["x&id=y", "../../key?id=z#%0d%0a ü"])
def test_ids_are_encoded_never_pasted(generation_id: str, asked: list[Any], run: Runner) -> None:
    assert run(METADATA, "--id", generation_id).returncode == 4
    (request,) = asked
    assert (request.path, request.query) == ("/api/v1/generation", {"id": generation_id})


AUDIT = """
import os, sys
log = open(os.environ["AUDIT_LOG"], "a", buffering=1)
def hook(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        log.write(f"{event} {args[-1] if event != 'socket.getaddrinfo' else args[:2]}\\n")
    elif event.startswith(("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.re")):
        log.write(f"{event} {args}\\n")
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        log.write(f"write {args[0]}\\n")
sys.addaudithook(hook)
"""


def test_nothing_is_run_or_written_and_only_the_base_url_is_contacted(
    server: OpenRouterServer, tmp_path: Path, run: Runner
) -> None:
    (tmp_path / "sitecustomize.py").write_text(AUDIT)
    log = tmp_path / "log"
    env = {"PYTHONPATH": str(tmp_path), "AUDIT_LOG": str(log), "PYTHONDONTWRITEBYTECODE": "1"}
    for script in (METADATA, CONTENT):
        assert run(script, ID, MISSING, env=env).returncode == 4
    port = server.url.rpartition(":")[2]
    seen = set(log.read_text().splitlines())
    assert f"socket.connect ('127.0.0.1', {port})" in seen
    assert {line for line in seen if f"'127.0.0.1', {port})" not in line} == set()


# Memory


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def peak(run: Runner, script: str, *args: object) -> list[int]:
    """Exit code and the most memory that the process had, in MiB.

    Measured from a small process between: a child begins with the size of what it was forked from.
    """
    command = [sys.executable, "-c", MEASURE, *run.command(script, *args)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=run.environment(), check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (METADATA, Fault.HUGE),
        (METADATA, Fault.HUGE_LENGTH),
        (METADATA, Fault.GZIP_BOMB),
        (METADATA, Fault.DOUBLE_GZIP_BOMB),
        (METADATA, Fault.DEEP_OBJECTS),
        (METADATA, Fault.ENDLESS_HEADERS),
        (CONTENT, Fault.ENDLESS),
        (CONTENT, Fault.GZIP_BOMB),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_too_much_is_refused_in_bounded_memory(
    script: str, fault: Fault, server: OpenRouterServer, run: Runner
) -> None:
    server.script("gen-much", fault)
    code, mebibytes = peak(run, script, "gen-much")
    assert code == 9
    assert mebibytes < 300


def test_the_limit_is_64_mib(server: OpenRouterServer) -> None:
    with Client(KEY, server.url) as client:
        server.script("gen-most", Fault.huge(64 * MIB))
        assert client.generation("gen-most")["data"]
        for length in (True, False):
            server.script("gen-more", Fault.huge(64 * MIB + 1, length=length))
            with pytest.raises(BadAnswerError, match="larger than 64 MiB"):
                client.generation("gen-more")


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("levels", [1, 200])
def test_bearable_nesting(levels: int) -> None:
    assert json.dumps(documents.parsed(nested(levels))) == nested(levels)


@pytest.mark.parametrize("levels", [201, 900, 5_000, 100_000])
@pytest.mark.parametrize("closed", [True, False])
def test_absurd_nesting(levels: int, closed: bool) -> None:
    for text in (nested(levels), '{"a":' * levels + "1" + "}" * levels):
        with pytest.raises(BadAnswerError):
            documents.parsed(text if closed else text[: len(text) // 2])


def test_the_deepest_bearable_answer_is_printed(server: OpenRouterServer, run: Runner) -> None:
    server.script("gen-deep", Answer(200, f'{{"data": {{"id": "gen-deep", "model": {nested(197)}}}}}'))
    for args in ([], ["--json"], ["--json", ID]):
        done = run(METADATA, "gen-deep", *args)
        assert (done.returncode, done.stderr) == (0, "")


# Files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_for_their_owner_only(tmp_path: Path, run: Runner) -> None:
    file = tmp_path / "new"
    with run.start(METADATA, ID, "--output", file, preexec_fn=lambda: os.umask(0)) as process:
        process.communicate()
    assert (process.returncode, mode(file)) == (0, 0o600)


@pytest.mark.parametrize(
    "args", [[MISSING], ["--api-key", "wrong", ID], ["gen-html"], ["--from", "/nonexistent"]], ids=lambda args: args[0]
)
def test_a_failure_leaves_the_old_file(args: list[str], server: OpenRouterServer, tmp_path: Path, run: Runner) -> None:
    server.script("gen-html", Fault.HTML_200)
    file = tmp_path / "report"
    file.write_text("old")
    assert run(METADATA, *args, "--output", file).returncode != 0
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["report"]


def test_a_disk_that_fills_up_leaves_the_old_file(server: OpenRouterServer, tmp_path: Path, run: Runner) -> None:
    file = tmp_path / "report"
    file.write_text("old")
    small = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))}
    with run.start(METADATA, ID, OTHER, "--output", file, **small) as process:
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (1, "")
    assert "could not be written: File too large" in stderr
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["report"]


def test_a_link_is_kept(tmp_path: Path, run: Runner) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    assert run(METADATA, ID, "--output", link).returncode == 0
    assert link.is_symlink()
    assert target.read_text().startswith("Generation: ")
    assert mode(target) == 0o600


def test_devices_and_pipes_are_not_replaced(tmp_path: Path, run: Runner) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "null"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for path in (pipe, link, Path("/dev/null")):
        assert run(METADATA, ID, "--output", path).returncode == 1
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()


@pytest.mark.parametrize("source", ["--api-key", "OPENROUTER_API_KEY", ".env"])
def test_a_refused_key_is_named_by_its_source_only(source: str, run: Runner) -> None:
    key = "sk-or-v1-refused-0123456789abcdef"
    dotenv(run.cwd, f"OPENROUTER_API_KEY={key if source == '.env' else 'unused-key'}")
    env = {"OPENROUTER_API_KEY": {"--api-key": "unused-key", "OPENROUTER_API_KEY": key}.get(source)}
    done = run(METADATA, ID, *(["--api-key", key] if source == "--api-key" else []), env=env)
    assert done.returncode == 3
    named = str(run.cwd / ".env") if source == ".env" else source
    assert f"The key came from {named}. " in done.stderr
    assert "refused-0" not in done.stderr
    assert "unused" not in done.stderr
