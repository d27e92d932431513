"""Before the first byte: looking a host up, its addresses, connecting, the TLS handshake, all within --timeout."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from openrouter_generations import sockets
from openrouter_generations.client import Client
from openrouter_generations.errors import NetworkError, UsageError
from openrouter_server import KEY, OpenRouterServer, make_metadata

ID = "gen-1771967930-1gsys6ZhRaY0TPbuRsDR"


@contextlib.contextmanager
def listening(address: str, *, full: bool = False) -> Iterator[int]:
    """A port that takes connections and says nothing; `full`: that does not even take them."""
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.socket())
        server.bind((address, 0))
        server.listen(0 if full else 16)
        port = server.getsockname()[1]
        for _ in range(4 if full else 0):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield port


def resolver(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """`localhost` has these addresses and ports."""
    look_up = socket.getaddrinfo
    known = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    def found(host: str, *more: Any, **options: Any) -> list[Any]:
        if host != "localhost" or options.get("flags"):
            return look_up(host, *more, **options)
        return list(known)

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_an_address_that_does_not_answer_gives_way_to_the_next(
    server: OpenRouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a host's IPv6 leads nowhere. A second connection begins with the one that works."""
    server.add(ID, make_metadata(ID))
    port = int(server.url.rsplit(":", 1)[1])
    tried = []
    connect = sockets.httpcore.SyncBackend.connect_tcp

    def noted(self: Any, host: str, *more: Any) -> Any:
        tried.append(host)
        if host == "127.0.0.2":
            with listening(host, full=True) as dead:
                return connect(self, host, dead, *more[1:])
        return connect(self, host, *more)

    monkeypatch.setattr(sockets.httpcore.SyncBackend, "connect_tcp", noted)
    monkeypatch.setattr(sockets, "_FIRST_TRY", 0.2)
    resolver(monkeypatch, ("127.0.0.2", port), ("127.0.0.1", port))
    with Client(KEY, f"http://localhost:{port}", timeout=10, retries=0) as client:
        assert client.generation(ID) == {"data": make_metadata(ID)}
        client._http.close()
    assert tried == ["127.0.0.2", "127.0.0.1"]
    backend = sockets.ClockedBackend(sockets.AttemptClock())
    backend._unreachable.add("127.0.0.2")
    backend.connect_tcp("localhost", port).close()
    assert tried[2:] == ["127.0.0.1"]


def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    six, four = (socket.AF_INET6, 1, 6, ""), (socket.AF_INET, 1, 6, "")
    answer = [(*six, ("::1", 80, 0, 0)), (*six, ("::2", 80, 0, 0)), (*four, ("1.1.1.1", 80)), (*four, ("1.1.1.2", 80))]
    monkeypatch.setattr(sockets, "_looked_up", lambda *_: answer)
    assert sockets._addresses("host", 80, None) == ["::1", "1.1.1.1", "::2", "1.1.1.2"]


def out_of_time(base_url: str) -> None:
    """Without its limits the client would never come back, so it works in a thread."""
    said: list[str] = []

    def ask() -> None:
        try:
            with Client(KEY, base_url, timeout=0.3, retries=0) as client:
                client.generation(ID)
        except NetworkError as failure:
            said.append(str(failure))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(15)
    assert "0.3 s (--timeout)" in "".join(said)


def test_a_port_that_takes_no_connection() -> None:
    with listening("127.0.0.1", full=True) as port:
        out_of_time(f"http://127.0.0.1:{port}")


def test_a_tls_handshake_without_an_answer() -> None:
    with listening("127.0.0.1") as port:
        out_of_time(f"https://127.0.0.1:{port}")


def test_a_resolver_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own waits for half a minute and more."""
    ready = threading.Event()
    resolver(monkeypatch, ("127.0.0.1", 1))
    slow = socket.getaddrinfo

    def found(host: str, *more: Any, **options: Any) -> Any:
        if not options.get("flags"):
            ready.wait(60)
        return slow(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    out_of_time("http://localhost:1")
    ready.set()


def test_an_httpx_that_cannot_be_limited_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = httpx.HTTPTransport.__init__

    def changed(self: Any, *more: Any, **options: Any) -> None:
        made(self, *more, **options)
        self._renamed = self.__dict__.pop("_pool")

    monkeypatch.setattr(httpx.HTTPTransport, "__init__", changed)
    with pytest.raises(UsageError, match=r"httpx 0\.27"):
        Client(KEY, "http://127.0.0.1:9")
