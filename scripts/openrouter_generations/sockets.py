"""Sockets whose every step is limited by what is left of one attempt."""

from __future__ import annotations

import math
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

_AddressInfo = Sequence[tuple[int, int, int, str, tuple[Any, ...]]]  # as socket.getaddrinfo gives it


class AttemptClock(threading.local):
    """Seconds left for the attempt that the calling thread is making.

    httpx limits each read, not the whole request: a server that sends a byte a
    second never meets its timeout. Here every connect, handshake, read and
    write gets what is left of the attempt.
    """

    ends = math.inf

    def start(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds

    def left(self, out_of_time: type[Exception]) -> float | None:
        if self.ends == math.inf:
            return None
        left = self.ends - time.monotonic()
        if left <= 0:
            raise out_of_time("the attempt took too long")
        return left


class ClockedBackend(httpcore.NetworkBackend):
    """httpcore's own sockets, with the attempt's clock instead of a timeout a step."""

    def __init__(self, clock: AttemptClock) -> None:
        self._clock = clock
        self._sockets = httpcore.SyncBackend()
        self._unreachable: set[str] = set()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        addresses = _addresses(host, port, self._clock.left(httpcore.ConnectTimeout))
        addresses.sort(key=self._unreachable.__contains__)
        for place, address in enumerate(addresses, 1):
            left = self._clock.left(httpcore.ConnectTimeout)
            if place < len(addresses):
                left = _FIRST_TRY if left is None else min(_FIRST_TRY, left / 2)
            try:
                stream = self._sockets.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                self._unreachable.add(address)
                failed = failure
            else:
                return _ClockedStream(stream, self._clock)
        raise failed


_FIRST_TRY = 3.0
"""Seconds for an address while there are others: a host may be reachable by IPv4 and not by IPv6."""


def _addresses(host: str, port: int, timeout: float | None) -> list[str]:
    """The addresses of a host, those of its families in turn."""
    found = _looked_up(host, port, timeout)
    by_family: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        by_family.setdefault(family, []).append(str(address[0]))
    ranked = [(rank, address) for of_one in by_family.values() for rank, address in enumerate(dict.fromkeys(of_one))]
    return [address for _, address in sorted(ranked, key=lambda pair: pair[0])]


def _looked_up(host: str, port: int, timeout: float | None) -> _AddressInfo:
    """What the system's resolver says; it knows no limit, so it works in a thread that may be left behind."""
    answers: queue.SimpleQueue[_AddressInfo | OSError] = queue.SimpleQueue()

    def ask(flags: int = 0) -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
        except OSError as failure:
            answers.put(failure)

    ask(socket.AI_NUMERICHOST)  # answered at once, and without a resolver
    found = answers.get()
    if isinstance(found, OSError):
        threading.Thread(target=ask, daemon=True).start()
        try:
            found = answers.get(timeout=timeout)
        except queue.Empty:
            raise httpcore.ConnectTimeout(f"looking up {host} took too long") from None
    if isinstance(found, OSError):
        raise httpcore.ConnectError(str(found)) from found
    return found


class _ClockedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, clock: AttemptClock) -> None:
        self._stream = stream
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._clock.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._clock.left(httpcore.WriteTimeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._clock.left(httpcore.ConnectTimeout)
        return _ClockedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._clock)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        self._stream.close()
