"""Sockets whose every step is limited by what is left of one attempt."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Iterable

import httpcore


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

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in _addresses(host, port):  # one by one, or each would get the whole time
            left = self._clock.left(httpcore.ConnectTimeout)
            try:
                stream = self._sockets.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                failed = failure
            else:
                return _ClockedStream(stream, self._clock)
        raise failed


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as failure:
        raise httpcore.ConnectError(str(failure)) from failure
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


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
