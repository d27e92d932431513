"""How long is waited, how often asked: late records, limits on an attempt, retries, Retry-After."""

from __future__ import annotations

import email.utils
import json
import random
import threading
import time

import httpx
import pytest

from conftest import Runner
from openrouter_generations import client as client_module
from openrouter_generations.client import Client
from openrouter_generations.errors import NetworkError, NotFoundError, RateLimitError, ServerError
from openrouter_server import KEY, Answer, Fault, OpenRouterServer, made_ids, make_content, make_metadata

SCRIPT = "get_generation.py"
OLD = made_ids(1, start=1_700_000_000)[0]
TAIL = "aBcDeFgHiJkLmNoPqRsT"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause that a client wants, in seconds; none is made."""
    wanted: list[float] = []
    lapsed = [0.0]
    real = time.monotonic

    def pause(_: Client, seconds: float) -> None:
        wanted.append(seconds)
        lapsed[0] += seconds

    monkeypatch.setattr(Client, "_pause", pause)
    monkeypatch.setattr(client_module.time, "monotonic", lambda: real() + lapsed[0])
    return wanted


def client(server: OpenRouterServer, **options: object) -> Client:
    return Client(KEY, server.url, **options)  # type: ignore[arg-type]


def now() -> int:
    return int(time.time())


# A late record


def test_wait_asks_until_the_record_is_there(server: OpenRouterServer, run: Runner) -> None:
    server.add(OLD, make_metadata(OLD), make_content(OLD), late=1)
    for script in (SCRIPT, "get_generation_content.py"):
        done = run(script, OLD, "--wait", "5")
        assert (done.returncode, done.stderr) == (0, "")
    assert [request.status for request in server.requests_for(OLD)] == [404, 200, 404, 200]


def test_wait_ends(server: OpenRouterServer, run: Runner) -> None:
    done = run(SCRIPT, OLD, "--wait", "1.2")
    assert (done.returncode, done.stdout) == (4, "")
    asked = len(server.requests_for(OLD))
    assert asked >= 2
    assert f"Tried {asked} times over 1 s" in done.stderr


@pytest.mark.parametrize("wait", [None, "0"])
def test_an_old_id_is_asked_for_once(wait: str | None, server: OpenRouterServer, run: Runner) -> None:
    assert run(SCRIPT, OLD, *(["--wait", wait] if wait else [])).returncode == 4
    assert len(server.requests_for(OLD)) == 1


def test_an_id_of_this_minute_is_waited_for_by_itself(server: OpenRouterServer, run: Runner) -> None:
    fresh = f"gen-{now()}-{TAIL}"
    server.add(fresh, make_metadata(fresh), late=1)
    assert run(SCRIPT, fresh).returncode == 0
    assert len(server.requests_for(fresh)) == 2


@pytest.mark.parametrize(
    ("form", "age", "seconds"),
    [
        ("gen-{}-" + TAIL, 0, 30),
        ("gen-{}-" + TAIL, 100, 30),
        ("gen-emb-{}-" + TAIL, 5, 30),
        ("gen-{}-short", 5, 30),
        ("gen-{}", 5, 0),  # a cut one
        ("gen-{}-" + TAIL, -60, 30),  # the clock here is behind
        ("gen-{}-" + TAIL, 130, 0),
        ("gen-{}-" + TAIL, 10_000_000, 0),
        ("gen-{}-" + TAIL, -50_000_000, 0),  # made up
        ("gen-" + TAIL + "12345678", 0, 0),
        ("video-job", 0, 0),
    ],
)
def test_the_default_wait_is_by_the_ids_own_time(
    form: str, age: int, seconds: float, server: OpenRouterServer, pauses: list[float]
) -> None:
    with client(server) as asking, pytest.raises(NotFoundError) as failure:
        asking.generation(form.format(now() - age))
    assert sum(pauses) == pytest.approx(seconds, abs=1)
    assert failure.value.tried == len(pauses) + 1
    assert pauses == sorted(pauses[:-1]) + pauses[-1:]


def test_no_wait_when_zero_was_said(server: OpenRouterServer, pauses: list[float]) -> None:
    with client(server, wait=0) as asking, pytest.raises(NotFoundError):
        asking.generation(f"gen-{now()}-{TAIL}")
    assert pauses == []


def test_waiting_bears_failures_in_between(server: OpenRouterServer, pauses: list[float]) -> None:
    server.add(OLD, make_metadata(OLD))
    missing = Answer.error(404, "Not yet")
    server.script(OLD, missing, Answer.error(500, "Oops"), Fault.RESET, missing, then_record=True)
    with client(server, wait=60) as asking:
        assert asking.generation(OLD)["data"]
    assert [request.status for request in server.requests_for(OLD)] == [404, 500, None, 404, 200]


# The limit on an attempt

FORMS = [
    Fault.SILENT,
    Fault.STALLED,
    Fault.INTERIM_FLOOD,
    Fault.drip(0.05),
    Fault.drip(0.05, headers=True),
    Fault.slow(30),
]


def test_no_trick_goes_beyond_the_timeout(server: OpenRouterServer) -> None:
    """Each answer would take half a minute and more; the clock is for the attempt, not for a read."""
    failures: list[Exception] = []

    def ask(place: int) -> None:
        with client(server, timeout=0.3, retries=0) as asking:
            try:
                asking.generation(f"gen-{place}")
            except NetworkError as failure:
                failures.append(failure)

    for place, fault in enumerate(FORMS):
        server.script(f"gen-{place}", fault)
    threads = [threading.Thread(target=ask, args=(place,), daemon=True) for place in range(len(FORMS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert not any(thread.is_alive() for thread in threads)
    assert len(failures) == len(FORMS)
    assert all("did not answer in full within 0.3 s (--timeout)" in str(failure) for failure in failures)


def test_a_slow_answer_within_the_timeout_is_fine(server: OpenRouterServer, run: Runner) -> None:
    server.script(OLD, Fault.slow(0.4))
    assert run(SCRIPT, OLD, "--timeout", "10", "--retries", 0).returncode == 0


def test_each_attempt_has_the_whole_timeout(server: OpenRouterServer, run: Runner) -> None:
    server.add(OLD, make_metadata(OLD))
    server.script(OLD, Fault.SILENT, then_record=True)
    done = run(SCRIPT, OLD, "--timeout", "0.5", "--retries", 1)
    assert (done.returncode, done.stderr) == (0, "")


# Retries


@pytest.mark.parametrize("retries", [0, 1, 3, 7])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.STATUS_429, RateLimitError),
        (Fault.STATUS_408, ServerError),
        (Fault.STATUS_500, ServerError),
        (Fault.STATUS_524, ServerError),
        (Fault.STATUS_529, ServerError),
        (Fault.HTML_502, ServerError),
        (Fault.RESET, NetworkError),
        (Fault.TRUNCATED, NetworkError),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_so_many_further_attempts(
    fault: Fault, error: type, retries: int, server: OpenRouterServer, pauses: list[float]
) -> None:
    server.script(OLD, fault)
    with client(server, retries=retries) as asking, pytest.raises(error) as failure:
        asking.generation(OLD)
    assert len(server.requests_for(OLD)) == retries + 1 == failure.value.tried
    assert ("Tried once" if retries == 0 else f"Tried {retries + 1} times") in str(failure.value)


def test_three_retries_unless_said_otherwise(server: OpenRouterServer, pauses: list[float]) -> None:
    server.script(OLD, Fault.STATUS_503)
    with client(server) as asking, pytest.raises(ServerError):
        asking.generation(OLD)
    assert len(server.requests_for(OLD)) == 4


def test_backoff_doubles_and_varies(server: OpenRouterServer, pauses: list[float]) -> None:
    server.script(OLD, Fault.STATUS_500)
    random.seed(1)
    with client(server, retries=12) as asking, pytest.raises(ServerError):
        asking.generation(OLD)
    for place, pause in enumerate(pauses):
        most = min(0.5 * 2**place, 60 if place > 7 else 10**9)
        assert most / 2 <= pause <= min(most, 60)
    assert len(set(pauses[:7])) == 7
    assert max(pauses) <= 60


def test_success_after_failures(server: OpenRouterServer, run: Runner) -> None:
    server.add(OLD, make_metadata(OLD))
    server.script(OLD, Answer.error(503, "Busy", {"Retry-After": "0"}), Fault.RESET, then_record=True)
    done = run(SCRIPT, OLD)
    assert (done.returncode, done.stderr) == (0, "")
    assert [request.status for request in server.requests_for(OLD)] == [503, None, 200]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 409])
def test_no_second_attempt_where_it_cannot_help(status: int, server: OpenRouterServer, pauses: list[float]) -> None:
    server.script(OLD, Answer.error(status, "No", {"Retry-After": "1"}))
    with client(server) as asking, pytest.raises(Exception, match="No"):
        asking.generation(OLD)
    assert (len(server.requests_for(OLD)), pauses) == (1, [])


# Retry-After


def in_seconds(value: str) -> str:
    """`20 s` as a date that far ahead; every other value as it is."""
    if not value.endswith(" s"):
        return value
    return email.utils.formatdate(time.time() + int(value[:-2]), usegmt=True)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 6.5, 7),
        ("0", 0, 0),
        ("2.5", 2, 2.5),
        ("  3 ", 2.5, 3),
        ("20 s", 15, 20),
        ("-1000 s", 0, 0),
        ("100000000 s", 59, 60),
        ("61", 59, 60),
        ("1000000000", 59, 60),
        ("99999999999999999999", 59, 60),
        # what says nothing usable: backoff as without it
        ("9" * 5000, 0.2, 0.5),
        ("-5", 0.2, 0.5),
        ("nan", 0.2, 0.5),
        ("inf", 0.2, 0.5),
        ("1e3", 0.2, 0.5),
        ("٣", 0.2, 0.5),
        ("", 0.2, 0.5),
        ("soon", 0.2, 0.5),
        ("Fri, 99 Foo 2026 99:99:99 GMT", 0.2, 0.5),
        ("Fri, 31 Dec 999999 23:59:59 GMT", 0.2, 60),
        (None, 0.2, 0.5),
    ],
    ids=lambda value: str(value)[:24],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(
    *, value: str | None, least: float, most: float, status: int, server: OpenRouterServer, pauses: list[float]
) -> None:
    server.add(OLD, make_metadata(OLD))
    headers = {} if value is None else {"Retry-After": in_seconds(value)}
    server.script(OLD, Answer.error(status, "Wait", headers), then_record=True)
    with client(server) as asking:
        assert asking.generation(OLD)["data"]
    assert least <= sum(pauses) <= most
    assert len(pauses) <= 1


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="no such call on Windows")
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_date_without_a_zone_is_utc(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The asctime form, which servers of old may send (RFC 9110, 5.6.7)."""
    value = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(time.time() + 20))
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    seconds = client_module._retry_after(httpx.Response(429, headers={"retry-after": value}))
    monkeypatch.undo()
    time.tzset()
    assert 15 <= (seconds or 0) <= 20


def test_any_retry_after_is_survived() -> None:
    chance = random.Random(11)
    letters = "0123456789-+:, .GMTFriNov;()\t\xe9\xff"
    for _ in range(3000):
        value = "".join(chance.choices(letters, k=chance.randrange(30)))
        seconds = client_module._retry_after(httpx.Response(429, headers=[(b"retry-after", value.encode("latin-1"))]))
        assert seconds is None or seconds >= 0


def test_a_rate_limit_is_waited_out(server: OpenRouterServer, run: Runner) -> None:
    server.add(OLD, make_metadata(OLD))
    server.script(OLD, Answer.error(429, "Slow down", {"Retry-After": "1"}), then_record=True)
    done = run(SCRIPT, OLD, "--json")
    assert json.loads(done.stdout)["data"]["id"] == OLD
    first, second = server.requests_for(OLD)
    assert second.at - first.at >= 0.95
