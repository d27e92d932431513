"""`Client` as a Python library: answers, typed errors, threads."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from openrouter_generations import errors
from openrouter_generations.client import Client
from openrouter_server import (
    CONTENT,
    KEY,
    METADATA,
    Answer,
    Fault,
    OpenRouterServer,
    RateLimit,
    made_ids,
    make_content,
    make_metadata,
)

ID = made_ids(1)[0]


@pytest.fixture
def client(server: OpenRouterServer) -> Iterator[Client]:
    with Client(KEY, server.url, timeout=10, retries=2) as opened:
        yield opened


# Answers


def test_generation_and_content(server: OpenRouterServer, client: Client) -> None:
    server.add(ID, make_metadata(ID), make_content(ID))
    assert client.generation(ID) == {"data": make_metadata(ID)}
    assert client.content(ID) == {"data": make_content(ID)}
    assert [request.path for request in server.requests] == [METADATA, CONTENT]
    assert server.connections == 1  # kept open in between


def test_every_address_of_a_host_is_tried(server: OpenRouterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server listens on 127.0.0.1 alone; 127.0.0.2 refuses."""
    server.add(ID, make_metadata(ID))
    port = int(server.url.rsplit(":", 1)[1])
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]
    look_up = socket.getaddrinfo

    def found(host: str, *more: Any, **options: Any) -> list[Any]:
        return both if host == "localhost" else look_up(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with Client(KEY, f"http://localhost:{port}", retries=0) as by_name:
        assert by_name.generation(ID) == {"data": make_metadata(ID)}


def test_null_is_an_answer(server: OpenRouterServer, client: Client) -> None:
    server.script(ID, Answer.data(None))
    assert client.generation(ID) == {"data": None}


def test_unknown_fields_and_the_order_of_keys_stay(server: OpenRouterServer, client: Client) -> None:
    server.script(ID, Answer(200, '{"b": 1, "data": {"z": 1, "a": {"y": 2, "x": 3}}, "a": 2}'))
    document: dict[str, Any] = client.generation(ID)
    assert list(document) == ["b", "data", "a"]
    assert list(document["data"]["a"]) == ["y", "x"]


def test_other_endpoints(server: OpenRouterServer, client: Client) -> None:
    server.routes["/api/v1/key"] = {
        "GET": lambda request: Answer.data({"label": "x"}),
        "POST": lambda request: Answer.data({"sent": request.json()}),
    }
    assert client.get("/key") == {"data": {"label": "x"}}
    assert client.post("/key", {"limit": [1]}) == {"data": {"sent": {"limit": [1]}}}


def test_what_is_sent(server: OpenRouterServer) -> None:
    server.add(ID, make_metadata(ID))
    with Client(KEY, server.url, headers={"X-OpenRouter-Title": "My app"}) as client:
        client.generation(ID)
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["x-openrouter-title"] == "My app"
    assert request.headers["user-agent"].startswith("openrouter-generations/")
    assert (request.method, request.body) == ("GET", b"")


ODD_IDS = ["a b", "a&id=b", "a#b", "a?b", "a/../b", "a%2Fb", "ü模😀", "a+b", "a=b;c", "'\"<>\\", "%00", "{x}"]


@pytest.mark.parametrize("generation_id", ODD_IDS)
def test_ids_are_encoded(generation_id: str, server: OpenRouterServer, client: Client) -> None:
    server.add(generation_id, {"id": generation_id})
    assert client.generation(generation_id) == {"data": {"id": generation_id}}
    (request,) = server.requests
    assert request.query == {"id": generation_id}
    assert request.target.isascii()


# Errors

TYPES = [
    (Fault.STATUS_400, errors.ApiError, 9),
    (Fault.STATUS_401, errors.AuthenticationError, 3),
    (Fault.STATUS_402, errors.PaymentError, 5),
    (Fault.STATUS_403, errors.ForbiddenError, 3),
    (Fault.STATUS_404, errors.NotFoundError, 4),
    (Fault.STATUS_429, errors.RateLimitError, 6),
    (Fault.STATUS_502, errors.ServerError, 7),
    (Fault.STATUS_529, errors.ServerError, 7),
    (Fault.RESET, errors.NetworkError, 8),
    (Fault.TRUNCATED, errors.NetworkError, 8),
    (Fault.NOT_HTTP, errors.BadAnswerError, 9),
    (Fault.HTML_200, errors.BadAnswerError, 9),
    (Fault.SHAPE_LIST, errors.BadAnswerError, 9),
    (Fault.REDIRECT_302, errors.BadAnswerError, 9),
    (Fault.DEEP_LISTS, errors.BadAnswerError, 9),
]


@pytest.mark.parametrize(("fault", "kind", "code"), TYPES, ids=lambda value: getattr(value, "name", None))
def test_errors_have_types(fault: Fault, kind: type, code: int, server: OpenRouterServer) -> None:
    server.script(ID, fault)
    with Client(KEY, server.url, retries=0) as client, pytest.raises(errors.OpenRouterError) as failure:
        client.generation(ID)
    assert type(failure.value) is kind
    assert int(failure.value.exit_code) == code
    assert ID in str(failure.value)
    if isinstance(failure.value, errors.ApiError):
        assert (failure.value.status, failure.value.subject, failure.value.tried) == (int(fault.name[-3:]), ID, 1)
        assert failure.value.server_message


def test_a_client_works_on_after_a_failure(server: OpenRouterServer, client: Client) -> None:
    server.add(ID, make_metadata(ID))
    for fault in (Fault.STATUS_404, Fault.HUGE_LENGTH, Fault.BAD_CHUNK, Fault.REDIRECT_301):
        server.script("gen-bad", fault)
        with pytest.raises(errors.OpenRouterError):
            client.generation("gen-bad")
        assert client.generation(ID)["data"]


@pytest.mark.parametrize("key", ["a\nb", "a b", "a\r\nHost: x", "schlüssel", "a\x00", "“quoted”", "a\u202e"])
def test_keys_that_cannot_be_sent(key: str, server: OpenRouterServer) -> None:
    with pytest.raises(errors.UsageError, match="cannot be sent") as failure:
        Client(key, server.url)
    assert key not in str(failure.value)
    assert server.requests == []


def test_an_empty_key() -> None:
    with pytest.raises(errors.MissingKeyError):
        Client("")


@pytest.mark.parametrize(
    "base", ["http://example.com", "ftp://example.com", "example.com", "https://a@b.c", "https://[v1.a]"]
)
def test_base_urls_that_are_refused(base: str) -> None:
    with pytest.raises(errors.UsageError):
        Client(KEY, base)


@pytest.mark.parametrize("generation_id", ["", "  ", "a\nb", "\x1b[2J", "x" * 513, "\ud800"])
def test_ids_that_are_refused(generation_id: str, server: OpenRouterServer, client: Client) -> None:
    with pytest.raises(errors.UsageError):
        client.generation(generation_id)
    assert server.requests == []


def test_any_key_is_scrubbed_from_errors(server: OpenRouterServer) -> None:
    key = "Tr0ub4dor&3"
    server.keys.add(key)
    bodies = {
        "error": Answer.error(400, f"Key {key} is bad"),
        "escaped": Answer(500, b'{"error": {"message": "\\u0054r0ub4dor&3 failed"}}'),
        "page": Answer(500, f"<html><title>{'x' * 192}{key}</title></html>"),
        "text": Answer(200, f"{'x' * 50}{key} is not JSON"),
        "redirect": Answer(302, "", {"Location": f"https://x.example/{'a' * 174}?key={key}"}),
        "inside": Answer(200, {"error": {"message": f"no {key}"}}),
    }
    with Client(key, server.url, retries=0) as client:
        for name, answer in bodies.items():
            server.script(name, answer)
            with pytest.raises(errors.OpenRouterError) as failure:
                client.generation(name)
            assert "Tr0u" not in str(failure.value), name
            assert "Tr0u" not in repr(failure.value), name


# Threads


def test_threads_share_one_client(server: OpenRouterServer) -> None:
    server.anything = True
    wanted = made_ids(200)
    with Client(KEY, server.url, connections=8) as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(client.generation, wanted))
    assert [document["data"]["id"] for document in found] == wanted  # type: ignore[index]
    assert Counter(request.id for request in server.requests) == dict.fromkeys(wanted, 1)
    assert server.connections <= 8


def test_one_429_pauses_all(server: OpenRouterServer) -> None:
    server.anything, server.delay = True, 0.02
    wanted = made_ids(60)
    server.script(wanted[20], Answer.error(429, "Slow down", {"Retry-After": "1"}), then_record=True)
    with Client(KEY, server.url) as client, ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(client.generation, wanted))) == 60
    asked = Counter(request.id for request in server.requests)
    assert asked.pop(wanted[20]) == 2
    assert set(asked.values()) == {1}
    refused = next(request for request in server.requests if request.status == 429)
    meanwhile = [request for request in server.requests if refused.at + 0.3 < request.at < refused.at + 0.9]
    assert meanwhile == []  # what was under way could end; nothing new began
    assert server.requests[-1].at > refused.at + 0.9


def test_a_rate_limit_loses_nothing(server: OpenRouterServer) -> None:
    server.anything = True
    server.rate_limit = RateLimit(20, seconds=1.0)
    wanted = made_ids(35)
    with Client(KEY, server.url, retries=10) as client, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(client.generation, wanted))
    assert [document["data"]["id"] for document in found] == wanted  # type: ignore[index]
    answered = Counter(request.id for request in server.requests if request.status == 200)
    assert answered == dict.fromkeys(wanted, 1)


def test_stop_ends_every_pause(server: OpenRouterServer) -> None:
    server.script(ID, Answer.error(429, "Slow down", {"Retry-After": "60"}))
    stop, ended = threading.Event(), threading.Event()

    def ask() -> None:
        with Client(KEY, server.url, stop=stop) as client, pytest.raises(KeyboardInterrupt):
            client.generation(ID)
        ended.set()

    threading.Thread(target=ask, daemon=True).start()
    while not server.requests:
        time.sleep(0.01)
    stop.set()
    assert ended.wait(10)
