#!/usr/bin/env python3
"""A server on loopback that behaves like OpenRouter's API, for tests and for trying things by hand.

    python3 tests/openrouter_server.py                  serve tests/data/generations
    python3 tests/openrouter_server.py FILE-or-folder   serve these samples instead
    python3 tests/openrouter_server.py --list-faults    IDs that answer with a fault, on purpose

In tests:

    with OpenRouterServer() as server:
        server.add("gen-1", metadata={"id": "gen-1", "total_cost": 0.5})
        server.script("gen-1", Answer.error(429, "Rate limit exceeded"), Fault.RESET, then_record=True)
        ...                                             # run something against server.url
        assert [request.status for request in server.requests_for("gen-1")] == [429, None, 200]

Order of decision for each request: route, key, rate limit, script, record.
Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import math
import random
import socket
import ssl
import struct
import sys
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import lru_cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

DATA = Path(__file__).resolve().parent / "data"
SAMPLES = DATA / "generations"
CERTIFICATE = DATA / "loopback-certificate.pem"
"""Self-signed, for 127.0.0.1 only, with its key. As SSL_CERT_FILE it makes the TLS server trusted."""

METADATA = "/api/v1/generation"
CONTENT = "/api/v1/generation/content"
ANALYTICS_META = "/api/v1/analytics/meta"
ANALYTICS_QUERY = "/api/v1/analytics/query"

KEY = "sk-or-v1-test"
MANAGEMENT_KEY = "sk-or-v1-management"
MANAGEMENT_ONLY = "Only management keys can perform this operation"

MIB = 1 << 20


# What is asked, what is answered


@dataclass
class Request:
    """One request as it arrived. `status` is what was answered, None while nothing has been."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes
    at: float  # time.monotonic()
    connection: int  # which connection it came over, counted from 1
    target: str  # path and query as sent
    status: int | None = None

    @property
    def id(self) -> str:
        return self.query.get("id", "")

    @property
    def key(self) -> str:
        scheme, _, key = self.headers.get("authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer. A body that is not bytes or str is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before the first byte

    @classmethod
    def data(cls, data: Any, **headers: str) -> Answer:
        return cls(200, _json({"data": data}), headers)

    @classmethod
    def error(
        cls,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        metadata: Any = None,
        delay: float = 0.0,
    ) -> Answer:
        """An error in the API's own form."""
        error = {"code": status, "message": message}
        if metadata is not None:
            error["metadata"] = metadata
        return cls(status, _json({"error": error}), headers or {}, delay)

    def octets(self) -> bytes:
        if isinstance(self.body, (bytes, bytearray)):
            return bytes(self.body)
        return self.body.encode() if isinstance(self.body, str) else _json(self.body)


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # lone surrogates exist in JSON as escapes only
        return json.dumps(value, separators=(",", ":")).encode()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _with_length(answer: Answer, keep: bool) -> bytes:
    body = answer.octets()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    if not keep:
        headers["Connection"] = "close"
    given = {name.lower() for name in answer.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given}
    return _head(answer.status, {**headers, **answer.headers}) + body


@dataclass
class RateLimit:
    """So many answers in so many seconds, counted from the first; then 429 until the window ends."""

    requests: int
    seconds: float = 60.0
    retry_after: str | None = None  # instead of the whole seconds that are left
    _opened: float = -math.inf
    _used: int = 0

    def refusal(self) -> Answer | None:
        now = time.monotonic()
        if now - self._opened >= self.seconds:
            self._opened, self._used = now, 0
        if self._used < self.requests:
            self._used += 1
            return None
        left = max(1, math.ceil(self._opened + self.seconds - now))
        return Answer.error(429, "Rate limit exceeded", {"Retry-After": self.retry_after or str(left)})


@dataclass
class _Record:
    metadata: Answer | None
    content: Answer | None
    late: int
    late_seconds: float
    owner: str | None
    data: dict[str, Any] | None  # the metadata as an object, where it is one
    asked: dict[str, int] = field(default_factory=dict)  # by path
    first_asked: float | None = None

    def exists(self, path: str) -> bool:
        now = time.monotonic()
        if self.first_asked is None:
            self.first_asked = now
        asked = self.asked[path] = self.asked.get(path, 0) + 1
        return asked > self.late and now - self.first_asked >= self.late_seconds


@dataclass
class _Script:
    answers: tuple[Answer | Fault, ...]
    then_record: bool
    given: dict[str, int] = field(default_factory=dict)  # by path

    def next(self, path: str) -> Answer | Fault | None:
        turn = self.given.get(path, 0)
        self.given[path] = turn + 1
        if turn < len(self.answers):
            return self.answers[turn]
        return None if self.then_record else self.answers[-1]


# Faults


class Exchange:
    """One request and the bare wire to its client: what a fault plays on."""

    def __init__(self, server: OpenRouterServer, connection: _Connection, request: Request) -> None:
        self.server, self.request, self._connection = server, request, connection

    async def send(self, octets: bytes) -> None:
        """Write, and wait while the client does not read: memory stays bounded."""
        await self._connection.write(octets)

    async def send_head(self, **headers: str) -> None:
        """200 and headers; an underscore in a name stands for a hyphen."""
        self.request.status = 200
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.send(_head(200, {"Content-Type": "application/json", **named}))

    async def forever(self) -> None:
        await asyncio.Event().wait()

    def reset(self) -> None:
        self._connection.reset()

    def good(self) -> bytes:
        """The body of a good answer to this request: the record's own, or a made-up one."""
        return self.server.good_answer(self.request).octets()


Play = Callable[..., Awaitable["Answer | None"]]  # called with the Exchange


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong on purpose.

    Every fault of FAULTS is an attribute by its name in capitals: Fault.RESET.
    `play` answers on the bare wire, after which the connection is closed, or
    returns an Answer, which is sent as usual.
    """

    name: str
    about: str
    play: Play

    RESET: ClassVar[Fault]

    @staticmethod
    def slow(seconds: float) -> Fault:
        """A good answer whose first byte comes late."""
        return Fault("slow", f"A good answer after {seconds:g} s.", partial(_slow, seconds=seconds))

    @staticmethod
    def drip(seconds: float = 1.0, *, headers: bool = False) -> Fault:
        """A good answer, one byte at a time: its body, or its headers."""
        return Fault("drip", "One byte at a time.", partial(_drip, seconds=seconds, headers=headers))

    @staticmethod
    def huge(octets: int, *, length: bool = False) -> Fault:
        """A good answer of exactly so many octets, made on the fly; chunked unless `length`."""
        return Fault("huge", f"{octets} octets.", partial(_huge, octets=octets, length=length))

    @staticmethod
    def redirect(status: int = 302, location: str | None = None) -> Fault:
        """To another origin: by default `server.elsewhere`, which records in `server.strayed`."""
        return Fault("redirect", f"A redirect ({status}).", partial(_redirect, status=status, to=location))

    @staticmethod
    def retry_after(value: str, status: int = 429) -> Fault:
        """An error with this Retry-After."""
        answer = Answer.error(status, "Rate limit exceeded", {"Retry-After": value})
        return _fixed("retry_after", f"{status} with Retry-After: {value[:40]}", answer)

    @staticmethod
    def html(status: int = 502) -> Fault:
        page = f"<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
        answer = Answer(status, page, {"Content-Type": "text/html; charset=UTF-8"})
        return _fixed("html", f"An HTML page with status {status}.", answer)

    @staticmethod
    def body(octets: bytes, status: int = 200, **headers: str) -> Fault:
        """This body, whatever it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return _fixed("body", "A given body.", Answer(status, octets, named))

    @staticmethod
    def key_echo(status: int = 401) -> Fault:
        """An error whose message holds the request's own key."""
        return Fault("key_echo", f"{status} with the key in it.", partial(_key_echo, status=status))


FAULTS: dict[str, Fault] = {}


def _register(fault: Fault) -> None:
    FAULTS[fault.name] = fault
    setattr(Fault, fault.name.upper(), fault)


def _fault(about: str) -> Callable[[Play], Play]:
    def registered(play: Play) -> Play:
        _register(Fault(play.__name__.strip("_"), about, play))
        return play

    return registered


def _fixed(name: str, about: str, answer: Answer) -> Fault:
    async def play(_: Exchange) -> Answer:
        return answer

    return Fault(name, about, play)


def _variant(name: str, about: str, play: Play, **settings: Any) -> None:
    _register(Fault(name, about, partial(play, **settings)))


# Faults of the connection


@_fault("The connection is reset before a byte of the answer.")
async def reset(exchange: Exchange) -> None:
    exchange.reset()


@_fault("The connection is reset in the middle of the body.")
async def reset_body(exchange: Exchange) -> None:
    body = exchange.good()
    await exchange.send_head(Content_Length=str(len(body)))
    await exchange.send(body[: len(body) // 2])
    await asyncio.sleep(0.05)  # let the client read it first
    exchange.reset()


@_fault("The connection is closed before a byte of the answer.")
async def closed(exchange: Exchange) -> None:
    pass


@_fault("A good answer, then the connection is closed without notice.")
async def closed_after(exchange: Exchange) -> None:
    body = exchange.good()
    await exchange.send_head(Content_Length=str(len(body)))
    await exchange.send(body)


@_fault("The body ends before its Content-Length.")
async def truncated(exchange: Exchange) -> None:
    body = exchange.good()
    await exchange.send_head(Content_Length=str(len(body) + 500))
    await exchange.send(body[:-20])


@_fault("A chunked body ends without its last chunk.")
async def truncated_chunked(exchange: Exchange) -> None:
    await exchange.send_head(Transfer_Encoding="chunked")
    await exchange.send(_chunk(exchange.good()))


@_fault("A chunk's size is not a number.")
async def bad_chunk(exchange: Exchange) -> None:
    await exchange.send_head(Transfer_Encoding="chunked")
    await exchange.send(_chunk(exchange.good()) + b"many\r\nmore\r\n0\r\n\r\n")


@_fault("Nothing is ever answered.")
async def silent(exchange: Exchange) -> None:
    await exchange.forever()


@_fault("Headers and half of the body, then nothing more.")
async def stalled(exchange: Exchange) -> None:
    body = exchange.good()
    await exchange.send_head(Content_Length=str(len(body)))
    await exchange.send(body[: len(body) // 2])
    await exchange.forever()


async def _slow(exchange: Exchange, seconds: float) -> Answer:
    await asyncio.sleep(seconds)
    return Answer(200, exchange.good())


async def _drip(exchange: Exchange, seconds: float, headers: bool) -> None:
    body = exchange.good()
    exchange.request.status = 200
    head = _head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
    at_once, slowly = (b"", head + body) if headers else (head, body)
    await exchange.send(at_once)
    for octet in slowly:
        await exchange.send(bytes([octet]))
        await asyncio.sleep(seconds)


_variant("slow", "A good answer after 5 s.", _slow, seconds=5.0)
_variant("drip", "A good body, one byte a second.", _drip, seconds=1.0, headers=False)
_variant("drip_headers", "Good headers, one byte a second.", _drip, seconds=1.0, headers=True)


@_fault("Interim answers (103) without end, ten a second.")
async def interim_flood(exchange: Exchange) -> None:
    while True:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.1)


# Faults of HTTP


@_fault("Not HTTP: another protocol's greeting.")
async def not_http(exchange: Exchange) -> None:
    await exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\x00\x01\x02\xff garbage\r\n\r\n")


@_fault("A header line without a colon.")
async def bad_header(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nthis is no header\r\n\r\n{}")


@_fault("A Content-Length that is not a number.")
async def bad_length(exchange: Exchange) -> None:
    await exchange.send_head(Content_Length="-7e3")
    await exchange.send(exchange.good())


@_fault("One header of 1 MiB.")
async def huge_header(exchange: Exchange) -> None:
    body = exchange.good()
    await exchange.send_head(Content_Length=str(len(body)), X_Filler="a" * MIB)
    await exchange.send(body)


@_fault("20,000 headers.")
async def many_headers(exchange: Exchange) -> None:
    body = exchange.good()
    filler = {f"X-Filler-{n}": "a" * 20 for n in range(20_000)}
    await exchange.send_head(Content_Length=str(len(body)), **filler)
    await exchange.send(body)


@_fault("Headers without end.")
async def endless_headers(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 1000)


@_fault("A status that HTTP does not have (999).")
async def odd_status(exchange: Exchange) -> Answer:
    return Answer(999, exchange.good())


@_fault("204 without a body.")
async def no_content(exchange: Exchange) -> None:
    exchange.request.status = 204
    await exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n")


async def _redirect(exchange: Exchange, status: int, to: str | None) -> Answer:
    location = to if to is not None else exchange.server.elsewhere + exchange.request.target
    return Answer(status, b"", {"Location": location})


for _status in (301, 302, 303, 307, 308):
    _variant(f"redirect_{_status}", f"{_status} to another origin.", _redirect, status=_status, to=None)
_variant("redirect_loop", "302 to the same address.", _redirect, status=302, to="")
_variant("redirect_file", "302 to a file: URL.", _redirect, status=302, to="file:///etc/hostname")


# Faults of size


def _chunk(octets: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(octets), octets)


def _large(exchange: Exchange) -> tuple[bytes, bytes]:
    """Start and end of a good answer with room for a filler in one of its strings."""
    mark = "filler goes here"
    if exchange.request.path == CONTENT:
        data = make_content(exchange.request.id, prompt=mark)
    else:
        data = make_metadata(exchange.request.id, external_user=mark)
    start, _, end = _json({"data": data}).partition(mark.encode())
    return start, end


async def _huge(exchange: Exchange, octets: int, length: bool) -> None:
    start, end = _large(exchange)
    framing = {"Content_Length": str(octets)} if length else {"Transfer_Encoding": "chunked"}
    frame = bytes if length else _chunk
    await exchange.send_head(**framing)
    await exchange.send(frame(start))
    left = octets - len(start) - len(end)
    piece = b"a" * (256 * 1024)
    while left > 0:
        await exchange.send(frame(piece[:left]))
        left -= len(piece)
    await exchange.send(frame(end) + (b"" if length else b"0\r\n\r\n"))


_variant("huge", "A good answer of 96 MiB, chunked.", _huge, octets=96 * MIB, length=False)
_variant("huge_length", "A good answer of 96 MiB with Content-Length.", _huge, octets=96 * MIB, length=True)
_variant("endless", "A chunked body of a petabyte: in effect without end.", _huge, octets=1 << 50, length=False)


def _filler_stream(start: bytes, filler: int, end: bytes) -> bytes:
    """gzip of start, so many MiB of zero digits, and end: small, and quick to make.

    One MiB is compressed once and its bytes repeated: after a full flush a
    block of deflate depends on nothing before it. One gzip member only, since
    many decoders stop after the first.
    """
    block = b"0" * MIB
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = squeeze.compress(start) + squeeze.flush(zlib.Z_FULL_FLUSH)
    repeated = squeeze.compress(block) + squeeze.flush(zlib.Z_FULL_FLUSH)
    last = squeeze.compress(end) + squeeze.flush()
    check = zlib.crc32(start)
    for _ in range(filler):
        check = zlib.crc32(block, check)
    size = len(start) + filler * MIB + len(end)
    trailer = struct.pack("<II", zlib.crc32(end, check), size & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + first + repeated * filler + last + trailer


@lru_cache(maxsize=4)
def _bomb(start: bytes, end: bytes) -> bytes:
    return _filler_stream(start, 1100, end)


async def _gzip_bomb(exchange: Exchange, twice: bool) -> Answer:
    bomb = await asyncio.to_thread(_bomb, *_large(exchange))
    if twice:
        return Answer(200, gzip.compress(bomb), {"Content-Encoding": "gzip, gzip"})
    return Answer(200, bomb, {"Content-Encoding": "gzip"})


_variant("gzip_bomb", "A good answer of 1.1 GiB, 1 MB as gzip.", _gzip_bomb, twice=False)
_variant("double_gzip_bomb", "The same, gzip in gzip: a few kB.", _gzip_bomb, twice=True)


# Faults of encoding


@_fault("A good answer, gzip.")
async def gzip_good(exchange: Exchange) -> Answer:
    return Answer(200, gzip.compress(exchange.good()), {"Content-Encoding": "gzip"})


@_fault("A good answer, gzip in gzip.")
async def double_gzip(exchange: Exchange) -> Answer:
    return Answer(200, gzip.compress(gzip.compress(exchange.good())), {"Content-Encoding": "gzip, gzip"})


@_fault("gzip that ends too early.")
async def gzip_truncated(exchange: Exchange) -> Answer:
    return Answer(200, gzip.compress(exchange.good())[:-40], {"Content-Encoding": "gzip"})


@_fault("Content-Encoding gzip, but it is not.")
async def gzip_garbage(exchange: Exchange) -> Answer:
    return Answer(200, b"\x00garbage\xff" * 50, {"Content-Encoding": "gzip"})


@_fault("Content-Encoding br, but it is garbage.")
async def br_garbage(exchange: Exchange) -> Answer:
    return Answer(200, b"\x00garbage\xff" * 50, {"Content-Encoding": "br"})


@_fault("Invalid UTF-8 in a string.")
async def invalid_utf8(exchange: Exchange) -> Answer:
    return Answer(200, exchange.good().replace(b'"data":{', b'"data":{"external_user":"\xff\xc3\x28\x80",', 1))


@_fault("A byte order mark before good JSON.")
async def bom(exchange: Exchange) -> Answer:
    return Answer(200, b"\xef\xbb\xbf" + exchange.good())


@_fault("Good JSON in UTF-16.")
async def utf16(exchange: Exchange) -> Answer:
    return Answer(200, exchange.good().decode().encode("utf-16"))


# Faults of the answer


def _bodies(deep: int = 100_000) -> Iterator[tuple[str, str, bytes]]:
    yield "empty", "200 with an empty body.", b""
    yield "not_json", "200 with text that is not JSON.", b"upstream connect error or disconnect"
    yield "half_json", "200 with JSON that ends in the middle.", b'{"data": {"id": "gen-'
    yield "two_documents", "200 with two JSON documents.", b'{"data": {}}{"data": {}}'
    yield "shape_list", "A list.", b'[{"data": {}}]'
    yield "shape_string", "A string.", b'"data"'
    yield "shape_number", "A number.", b"42"
    yield "shape_null", "null.", b"null"
    yield "shape_no_data", "An object without data.", b'{"id": "gen-1", "total_cost": 0.5}'
    yield "data_list", "data is a list.", b'{"data": [{"id": "gen-1"}]}'
    yield "data_string", "data is a string.", b'{"data": "gen-1"}'
    yield "data_number", "data is a number.", b'{"data": 7}'
    yield "data_null", "data is null: an answer, not an error.", b'{"data": null}'
    yield "data_empty", "data is an empty object.", b'{"data": {}}'
    yield (
        "error_200",
        "An error in an answer with status 200.",
        b'{"error": {"code": 500, "message": "Oops"}}',
    )
    yield "nan", "NaN as a cost.", b'{"data": {"id": "gen-1", "total_cost": NaN, "latency": -NaN}}'
    yield "infinity", "Infinity as a cost.", b'{"data": {"total_cost": Infinity, "latency": -Infinity}}'
    yield "overflow", "1e999 as a cost.", b'{"data": {"total_cost": 1e999, "tokens_prompt": -1e999}}'
    yield "long_number", "A number of 10,000 digits.", b'{"data": {"tokens_prompt": ' + b"7" * 10_000 + b"}}"
    yield "deep_lists", "Lists nested 100,000 deep.", b'{"data": ' + b"[" * deep + b"]" * deep + b"}"
    yield (
        "deep_objects",
        "Objects nested 100,000 deep.",
        b'{"data": ' + b'{"a":' * deep + b"1" + b"}" * deep + b"}",
    )
    yield "duplicate_keys", "Every key twice.", b'{"data": {"id": "gen-1", "id": "gen-2"}, "data": {"id": 3}}'


for _name, _about, _body in _bodies():
    _register(_fixed(_name, _about, Answer(200, _body)))


@_fault("Another generation than the one asked for.")
async def other_id(exchange: Exchange) -> Answer:
    answer = json.loads(exchange.good())
    answer["data"]["id"] = "gen-1771967973-oTheRgEneRaTioNxyz01"
    return Answer(200, answer)


STEERING = "before\x1b[31m red \x1b]0;title\x07 \x9b2J \x7f\x00 \u202ereversed\u2069 \u2028 \r\n\ttab after"
"""Characters that could steer a terminal: C0, C1, DEL, bidirectional overrides, separators."""


@_fault("An error whose message could steer a terminal.")
async def control_characters(exchange: Exchange) -> Answer:
    return Answer.error(400, STEERING, metadata={"provider_name": STEERING, "raw": STEERING})


@_fault("A record whose strings could steer a terminal.")
async def control_characters_in_data(exchange: Exchange) -> Answer:
    answer = json.loads(exchange.good())
    data = answer["data"]
    for name in [name for name, value in data.items() if isinstance(value, str)]:
        data[name] = STEERING
    if isinstance(data.get("output"), dict):
        data["input"], data["output"] = {"prompt": STEERING}, {"completion": STEERING, "reasoning": STEERING}
    return Answer(200, answer)


async def _key_echo(exchange: Exchange, status: int) -> Answer:
    key = exchange.request.key
    return Answer.error(status, f"Bad key {key}, sent as '{exchange.request.headers.get('authorization')}'")


_variant("key_echo", "401 with the request's own key in its message.", _key_echo, status=401)


@_fault("An HTML error page with the request's own key in it.")
async def key_echo_html(exchange: Exchange) -> Answer:
    page = f"<html><body><h1>500</h1><pre>authorization: Bearer {exchange.request.key}</pre></body></html>"
    return Answer(500, page, {"Content-Type": "text/html"})


@_fault("A record with the request's own key in its fields.")
async def key_echo_in_data(exchange: Exchange) -> Answer:
    answer = json.loads(exchange.good())
    answer["data"].update(user_agent=exchange.request.key, external_user=exchange.request.key)
    return Answer(200, answer)


@_fault("A very long error message (1 MB).")
async def long_message(exchange: Exchange) -> Answer:
    return Answer.error(500, "long " * 200_000)


@_fault("An error that is not an object.")
async def error_string(exchange: Exchange) -> Answer:
    return Answer(500, {"error": "Something went wrong"})


@_fault("A malformed ID's answer: 400 from the validator.")
async def zod_error(exchange: Exchange) -> Answer:
    return _zod_error()


def _retry_afters() -> Iterator[tuple[str, str]]:
    now = datetime.now(timezone.utc)
    yield "billion", "1000000000"
    yield "negative", "-5"
    yield "zero", "0"
    yield "fraction", "0.5"
    yield "nan", "nan"
    yield "inf", "inf"
    yield "date_past", format_datetime(now - timedelta(days=400), usegmt=True)
    yield "date_future", format_datetime(now + timedelta(days=4000), usegmt=True)
    yield "date_bad", "Fri, 99 Foo 2026 99:99:99 GMT"
    yield "garbage", "soon; \xe9\xff maybe"
    yield "empty", ""
    yield "digits", "9" * 5000


for _name, _value in _retry_afters():
    _about = f"429 with Retry-After: {_value[:32]!a}"
    _answer = Answer.error(429, "Rate limit exceeded", {"Retry-After": _value})
    _register(_fixed(f"retry_after_{_name}", _about, _answer))

_MESSAGES = {  # as the API description's examples have them; the rest are in its style
    400: "Invalid request parameters",
    401: "Missing Authentication header",
    402: "Insufficient credits. Add more using https://openrouter.ai/credits",
    403: MANAGEMENT_ONLY,
    404: "Resource not found",
    408: "Operation timed out. Please try again later.",
    409: "Conflict",
    418: "I'm a teapot",
    429: "Rate limit exceeded",
    500: "Internal Server Error",
    502: "Provider returned error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    524: "Request timed out. Please try again later.",
    529: "Provider returned error",
}

for _status, _message in _MESSAGES.items():
    _register(_fixed(f"status_{_status}", f"{_status}: {_message}", Answer.error(_status, _message)))
for _status in (200, 403, 404, 502, 503):
    _register(Fault(f"html_{_status}", f"An HTML page with status {_status}.", Fault.html(_status).play))
for _status in (401, 404, 429, 500, 503):
    _register(_fixed(f"empty_{_status}", f"{_status} with an empty body.", Answer(_status, b"")))


# Made-up records


def make_metadata(generation_id: str, **changes: Any) -> dict[str, Any]:
    """A healthy record whose numbers hang together, the same for the same ID; `changes` replace fields."""
    chance = random.Random(generation_id)
    prompt, completion = chance.randrange(200, 4_900), chance.randrange(20, 2_000)
    model, provider, price_in, price_out = chance.choice(_MODELS)
    cost = round(prompt * price_in / 1e6 + completion * price_out / 1e6, 8)
    latency = chance.randrange(300, 2_000)
    generation_time = latency + completion * chance.randrange(5, 20)
    upstream_id = f"chatcmpl-{chance.getrandbits(64):016x}"
    record = {
        "id": generation_id,
        "upstream_id": upstream_id,
        "api_type": "completions",
        "app_id": 12345,
        "cache_discount": None,
        "cancelled": False,
        "created_at": _created(generation_id, chance),
        "data_region": "global",
        "external_user": None,
        "finish_reason": "stop",
        "native_finish_reason": "stop",
        "generation_time": generation_time,
        "latency": latency,
        "moderation_latency": None,
        "http_referer": "https://app.example/",
        "origin": "https://app.example/",
        "is_byok": False,
        "model": model,
        "provider_name": provider,
        "provider_responses": [
            {
                "endpoint_id": f"ep_{chance.getrandbits(32):08x}",
                "id": upstream_id,
                "is_byok": False,
                "latency": latency,
                "model_permaslug": model,
                "provider_name": provider,
                "status": 200,
            }
        ],
        "native_tokens_prompt": prompt,
        "native_tokens_completion": completion,
        "native_tokens_completion_images": 0,
        "native_tokens_cached": 0,
        "native_tokens_reasoning": 0,
        "tokens_prompt": prompt,
        "tokens_completion": completion,
        "num_fetches": 0,
        "num_input_audio_prompt": 0,
        "num_media_completion": 0,
        "num_media_prompt": 0,
        "num_search_results": 0,
        "preset_id": None,
        "request_id": f"req-{generation_id.removeprefix('gen-')}",
        "response_cache_source_id": None,
        "router": None,
        "service_tier": None,
        "session_id": None,
        "streamed": True,
        "total_cost": cost,
        "usage": cost,
        "upstream_inference_cost": 0,
        "user_agent": "example/1.0",
        "web_search_engine": None,
        "workspace_id": None,
    }
    return {**record, **changes}


_MODELS = (  # model, provider, dollars a million tokens in and out
    ("anthropic/claude-sonnet-4.5", "Anthropic", 3.0, 15.0),
    ("openai/gpt-4o", "OpenAI", 2.5, 10.0),
    ("google/gemini-2.5-flash", "Google", 0.3, 2.5),
    ("deepseek/deepseek-chat", "DeepInfra", 0.28, 0.88),
)


def _created(generation_id: str, chance: random.Random) -> str:
    digits = generation_id[4:14]
    known = generation_id.startswith("gen-") and len(digits) == 10 and digits.isascii() and digits.isdigit()
    seconds = int(digits) if known else 1_770_000_000
    moment = datetime.fromtimestamp(seconds, timezone.utc) + timedelta(milliseconds=chance.randrange(1000))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_content(generation_id: str, prompt: str | None = None, **changes: Any) -> dict[str, Any]:
    """Stored content of a short exchange; with `prompt`, that of a plain prompt."""
    asked = {"messages": [{"role": "user", "content": f"What is {generation_id}?"}]}
    content = {
        "input": asked if prompt is None else {"prompt": prompt},
        "output": {"completion": "It is the ID of a generation.", "reasoning": None},
        "error": None,
    }
    return {**content, **changes}


def made_ids(count: int, start: int = 1_770_000_000) -> list[str]:
    """So many IDs of the usual form, a second apart, the same every time."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    chance = random.Random(start)
    return [f"gen-{start + n}-{''.join(chance.choices(letters, k=20))}" for n in range(count)]


# Analytics: queries over the server's own records


class _Refused(Exception):
    """A query that is answered 400."""


Data = dict[str, Any]
"""One generation: its metadata record."""


def _amount(data: Data, name: str) -> float:
    value = data.get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _sum(*names: str) -> Callable[[list[Data]], float]:
    return lambda group: sum(_amount(data, name) for data in group for name in names)


def _byok_inference(group: list[Data]) -> float:
    return sum(_amount(data, "upstream_inference_cost") for data in group if data.get("is_byok") is True)


def _charged(group: list[Data], byok: bool) -> float:
    return sum(_amount(data, "usage") for data in group if (data.get("is_byok") is True) is byok)


def _share(group: list[Data], part: float, whole: float) -> float | None:
    return part / whole if group and whole else None


def _quantile(of: Callable[[Data], float], share: float | None) -> Callable[[list[Data]], float | None]:
    """The value below which `share` of the group lies; the mean for None."""

    def quantile(group: list[Data]) -> float | None:
        values = sorted(value for value in map(of, group) if value)
        if not values:
            return None
        return sum(values) / len(values) if share is None else values[math.ceil(share * len(values)) - 1]

    return quantile


def _latency(data: Data) -> float:
    return _amount(data, "latency")


def _throughput(data: Data) -> float:
    took = _amount(data, "generation_time")
    return 1000 * _amount(data, "native_tokens_completion") / took if took else 0


def _served_from_cache(group: list[Data]) -> int:
    return sum(1 for data in group if data.get("response_cache_source_id"))


@dataclass(frozen=True)
class _Metric:
    label: str
    display: str  # number, currency, percent, latency, throughput
    days: int  # the longest window
    of: Callable[[list[Data]], float | None]


_METRICS: dict[str, _Metric] = {
    "request_count": _Metric("Request Count", "number", 365, len),
    "tokens_prompt": _Metric("Prompt Tokens", "number", 365, _sum("native_tokens_prompt")),
    "tokens_completion": _Metric("Completion Tokens", "number", 365, _sum("native_tokens_completion")),
    "tokens_total": _Metric("Total Tokens", "number", 365, _sum("native_tokens_prompt", "native_tokens_completion")),
    "reasoning_tokens": _Metric("Reasoning Tokens", "number", 365, _sum("native_tokens_reasoning")),
    "cached_tokens": _Metric("Cached Tokens", "number", 365, _sum("native_tokens_cached")),
    "byok_request_count": _Metric(
        "BYOK Requests", "number", 365, lambda group: sum(1 for data in group if data.get("is_byok") is True)
    ),
    "response_cached_count": _Metric("Cached Responses", "number", 31, _served_from_cache),
    "total_usage": _Metric("Total Usage", "currency", 365, lambda group: _sum("usage")(group) + _byok_inference(group)),
    "credits_usage": _Metric("Credits Usage", "currency", 365, _sum("usage")),
    "byok_usage": _Metric("BYOK Usage", "currency", 365, _byok_inference),
    "openrouter_usage": _Metric("OpenRouter Usage", "currency", 31, partial(_charged, byok=False)),
    "byok_fees": _Metric("BYOK Fees", "currency", 31, partial(_charged, byok=True)),
    "cache_hit_rate": _Metric(
        "Cache Hit Rate",
        "percent",
        365,
        lambda group: _share(group, _sum("native_tokens_cached")(group), _sum("native_tokens_prompt")(group)),
    ),
    "response_cached_rate": _Metric(
        "Response Cache Rate",
        "percent",
        31,
        lambda group: _share(group, _served_from_cache(group), len(group)),
    ),
    **{
        f"{name}_{what}": _Metric(f"{name} {what}".title(), what, 31, _quantile(of, share))
        for what, of in (("latency", _latency), ("throughput", _throughput))
        for name, share in (("avg", None), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    },
}


def _permaslug(data: Data) -> str | None:
    attempts = data.get("provider_responses")
    last = attempts[-1] if isinstance(attempts, list) and attempts else None
    return last.get("model_permaslug") if isinstance(last, dict) else None


def _context_bucket(data: Data) -> str:
    tokens = max(1, _amount(data, "native_tokens_prompt"))
    return next(name for most, name in ((1e3, "1K"), (1e4, "10K"), (1e5, "100K"), (math.inf, "1M")) if tokens <= most)


def _labelled(field_name: str, kind: str) -> Callable[[Data], Any]:
    """What stands in a row instead of the ID: a name. Filters need the ID."""
    return lambda data: None if data.get(field_name) is None else f"{kind} {data[field_name]}"


@dataclass(frozen=True)
class _Dimension:
    label: str
    days: int
    shown: Callable[[Data], Any]
    ids: Callable[[Data], tuple[Any, ...]]  # what a filter's value is compared with


def _plain(label: str, days: int, of: Callable[[Data], Any]) -> _Dimension:
    return _Dimension(label, days, of, lambda data: (of(data),))


def _named(label: str, field_name: str) -> _Dimension:
    return _Dimension(label, 365, _labelled(field_name, label), lambda data: (data.get(field_name),))


_DIMENSIONS: dict[str, _Dimension] = {
    "generation_id": _plain("Generation", 31, lambda data: data[_ASKED_AS]),
    "provider": _plain("Provider", 31, lambda data: data.get("provider_name")),
    "origin": _plain("Origin", 31, lambda data: data.get("origin")),
    "country": _plain("Country", 31, lambda data: data.get("country")),
    "finish_reason": _plain("Finish Reason", 31, lambda data: data.get("finish_reason")),
    "external_user": _plain("External User", 31, lambda data: data.get("external_user")),
    "context_length_bucket": _plain("Context Length", 31, _context_bucket),
    "model": _Dimension(
        "Model", 365, lambda data: data.get("model"), lambda data: (data.get("model"), _permaslug(data))
    ),
    "variant": _plain("Variant", 365, lambda data: str(data.get("model")).partition(":")[2] or "standard"),
    "api_key_id": _named("Key", "api_key_id"),
    "user": _named("User", "creator_user_id"),
    "workspace": _named("Workspace", "workspace_id"),
    "app": _named("App", "app_id"),
}

_ASKED_AS = " asked as "  # no field of a record can be called so: the ID that the record is kept under

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}

_GRANULARITIES = {"minute": 16, "hour": 13, "day": 10, "month": 7}
"""How much of an ISO date is kept. `week` starts on Sunday and has its own rule."""


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _bucket(data: Data, granularity: str) -> str:
    moment = _moment(data["created_at"])
    assert moment
    moment = moment.astimezone(timezone.utc)
    if granularity == "week":
        return (moment - timedelta(days=moment.isoweekday() % 7)).date().isoformat()
    kept = moment.isoformat()[: _GRANULARITIES[granularity]]
    return kept + "0000-01-01T00:00:00.000Z"[len(kept) :]


def _items(query: Data, name: str, most: int, least: int = 0) -> list[Any]:
    items = query.get(name, [])
    if not isinstance(items, list):
        raise _Refused(f"{name}: Invalid input: expected array")
    if len(items) > most:
        raise _Refused(f"{name}: Too big: expected array to have <={most} items")
    if len(items) < least:
        raise _Refused(f"{name}: Too small: expected array to have >={least} items")
    return items


def _known(names: Iterable[Any], table: Mapping[str, Any], kind: str) -> list[str]:
    names = list(names)
    for name in names:
        if not isinstance(name, str) or name not in table:
            raise _Refused(f"Unknown {kind}: {name}")
    return names


def _window(query: Data, days: int) -> tuple[datetime, datetime]:
    """By default the last seven days; at most `days`, which depends on what is asked for."""
    end = datetime.now(timezone.utc)
    start = end - timedelta(days=7)
    if "time_range" in query:
        given = query["time_range"] if isinstance(query["time_range"], dict) else {}
        said = _moment(given.get("start")), _moment(given.get("end"))
        if said[0] is None or said[1] is None:
            raise _Refused("time_range: Invalid ISO datetime")
        start, end = said[0], said[1]
    if start >= end:
        raise _Refused("time_range: start must be before end")
    if end - start > timedelta(days=days):
        raise _Refused(f"Time range exceeds the maximum of {days} days for the requested metrics and dimensions")
    return start, end


class _Filter:
    """One condition of a query. Fields that rows show as names are compared by ID."""

    def __init__(self, given: Any) -> None:
        if not isinstance(given, dict) or not {"field", "operator", "value"} <= given.keys():
            raise _Refused("filters: expected field, operator and value")
        self.field = _known([given["field"]], _DIMENSIONS, "filter field")[0]
        self.operator, self.value = given["operator"], given["value"]
        if self.operator not in {"eq", "neq", "in", "not_in", *_OPERATORS}:
            raise _Refused(f"Unknown operator: {self.operator}")
        array = self.operator in {"in", "not_in"}
        if isinstance(self.value, list) is not array:
            raise _Refused(f"Operator {self.operator} expects {'an array' if array else 'a scalar'}")
        values = self.value if array else [self.value]
        if any(isinstance(value, bool) or not isinstance(value, (str, int, float)) for value in values):
            raise _Refused("filters: value must be a string or a number")
        self._wanted = {str(value) for value in values}
        self._unset = given.get("include_unset") is True

    def warnings(self) -> list[str]:
        hashes = [value for value in self._wanted if self.field == "api_key_id" and len(value) == 64]
        return [f"Could not resolve api_key_id hash: {value}" for value in hashes]

    def keeps(self, data: Data) -> bool:
        ids = [value for value in _DIMENSIONS[self.field].ids(data) if value is not None]
        if self.operator in _OPERATORS:
            return any(self._ordered(value) for value in ids)
        if not ids and self.operator in {"in", "not_in"}:
            return self._unset
        found = any(str(value) in self._wanted for value in ids)
        return found if self.operator in {"eq", "in"} else not found

    def _ordered(self, value: Any) -> bool:
        compare = _OPERATORS[self.operator]
        numeric = isinstance(value, (int, float)) and isinstance(self.value, (int, float))
        return compare(value, self.value) if numeric else compare(str(value), str(self.value))


class _Query:
    """A checked query: rows(records) answers it."""

    def __init__(self, given: Any) -> None:
        if not isinstance(given, dict):
            raise _Refused("Invalid request parameters")
        self.metrics = _known(_items(given, "metrics", 100, 1), _METRICS, "metric")
        self.dimensions = _known(_items(given, "dimensions", 2), _DIMENSIONS, "dimension")
        self.filters = [_Filter(each) for each in _items(given, "filters", 20)]
        self.limit = given.get("limit", 1000)
        if not isinstance(self.limit, int) or isinstance(self.limit, bool) or not 1 <= self.limit <= 10_000:
            raise _Refused("limit: expected an integer from 1 to 10000")
        fields = [*self.dimensions, *(each.field for each in self.filters)]
        days = [_DIMENSIONS[name].days for name in fields] + [_METRICS[name].days for name in self.metrics]
        self.start, self.end = _window(given, min(days))
        self.granularity = given.get("granularity")
        if self.granularity is not None:
            _known([self.granularity], {**_GRANULARITIES, "week": 0}, "granularity")
            if self.granularity == "minute" and self.end - self.start > timedelta(hours=3):
                raise _Refused("Minute granularity is only available for up to 3 hours")
        self.order = self._order(given.get("order_by"))

    def _order(self, given: Any) -> tuple[str, bool] | None:
        """Field and whether it descends."""
        if given is None:
            return (f"date__{self.granularity}", True) if self.granularity else None
        if not isinstance(given, dict) or given.get("direction") not in {"asc", "desc"}:
            raise _Refused("order_by: expected field and direction")
        name = given.get("field")
        if name == "date" and self.granularity:
            name = f"date__{self.granularity}"
        elif name not in {*self.metrics, *self.dimensions, "request_count"}:
            raise _Refused(f"order_by: field must be a requested metric or dimension: {name}")
        return name, given["direction"] == "desc"

    def _in_window(self, data: Data) -> bool:
        moment = _moment(data.get("created_at"))
        return moment is not None and self.start <= moment < self.end

    def rows(self, records: Mapping[str, Data]) -> list[Data]:
        """All rows in order; the limit is not applied yet."""
        groups: dict[tuple[Any, ...], list[Data]] = {}
        for generation_id, record in records.items():
            data = {**record, _ASKED_AS: generation_id}
            if self._in_window(data) and all(each.keeps(data) for each in self.filters):
                groups.setdefault(self._group(data), []).append(data)
        found = list(groups.values()) if groups or self.dimensions or self.granularity else [[]]
        if self.order:
            name, descending = self.order
            found.sort(key=lambda group: _rank(self._value(name, group)), reverse=descending)
        return [self._row(group) for group in found]

    def _group(self, data: Data) -> tuple[Any, ...]:
        when = (_bucket(data, self.granularity),) if self.granularity else ()
        return (*when, *(json.dumps(_DIMENSIONS[name].shown(data)) for name in self.dimensions))

    def _value(self, name: str, group: list[Data]) -> Any:
        if name in _METRICS:
            return _METRICS[name].of(group)
        return _DIMENSIONS[name].shown(group[0]) if name in _DIMENSIONS else _bucket(group[0], name[6:])

    def _row(self, group: list[Data]) -> Data:
        row: Data = {}
        if self.granularity:
            row[f"date__{self.granularity}"] = _bucket(group[0], self.granularity)
        for name in self.dimensions:
            row[name] = _DIMENSIONS[name].shown(group[0])
            if name == "user":
                row["user_email"] = group[0].get("user_email")
        for name in self.metrics:
            value = _METRICS[name].of(group)
            # Counts come as strings, money and rates as numbers (OpenRouter's analytics skill).
            row[name] = str(int(value or 0)) if _METRICS[name].display == "number" else value
        return row


def _rank(value: Any) -> tuple[bool, bool, Any]:
    """Numbers before strings, nothing at the lowest end, so that any two values can be compared."""
    text = isinstance(value, str)
    return value is not None, text, value if value is not None else 0


def _analytics_meta() -> Data:
    operators = [*((name, "scalar") for name in ("eq", "neq", *_OPERATORS)), ("in", "array"), ("not_in", "array")]
    return {
        "metrics": [
            {
                "name": name,
                "display_label": metric.label,
                "is_rate": metric.display in {"percent", "latency", "throughput"},
                "display_format": metric.display,
            }
            for name, metric in _METRICS.items()
        ],
        "dimensions": [{"name": name, "display_label": dimension.label} for name, dimension in _DIMENSIONS.items()],
        "operators": [{"name": name, "value_type": kind} for name, kind in operators],
        "granularities": [
            {"name": name, "display_label": name.title()} for name in ("minute", "hour", "day", "week", "month")
        ],
    }


# The server


def _zod_error() -> Answer:
    issue = {"code": "too_small", "minimum": 1, "type": "string", "inclusive": True, "path": ["id"]}
    issue["message"] = "String must contain at least 1 character(s)"
    message = json.dumps([issue], indent=2)
    return Answer(400, {"success": False, "error": {"name": "ZodError", "message": message}})


def _not_found(generation_id: str) -> Answer:
    return Answer.error(404, f"Generation {generation_id} not found")


class _Connection(asyncio.Protocol):
    """HTTP/1.1 over one socket: requests in, one after the other, each handed to the server."""

    def __init__(self, server: OpenRouterServer, stray: bool) -> None:
        self._server, self._stray = server, stray
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Event | None = None
        self.transport: Any = None
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._number = self._server._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task:
            self._task.cancel()
        self._server._closed(self)

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable:
            self._writable.set()
        self._writable = None

    async def write(self, octets: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(octets)
        if self._writable:
            await self._writable.wait()
        # Give way, always: otherwise an endless writer never hears that its reader has gone.
        await asyncio.sleep(0)

    def reset(self) -> None:
        """Close so that the client sees RST, not FIN."""
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def _work(self) -> None:
        while self._task is None and not self.transport.is_closing():
            try:
                parsed = self._parse()
            except ValueError as problem:
                self.transport.write(_with_length(Answer.error(400, f"Bad request: {problem}"), keep=False))
                self.transport.close()
                return
            if parsed is None:
                return
            request, keep = parsed
            reply = self._server._reply(request, self._stray)
            wait = self._server.delay + (reply.delay if isinstance(reply, Answer) else 0.0)
            if isinstance(reply, Answer) and not wait:
                self._send(request, reply, keep)
            else:
                self._task = asyncio.get_running_loop().create_task(self._later(request, reply, wait, keep))

    def _parse(self) -> tuple[Request, bool] | None:
        """The next whole request and whether the connection stays open; None when more must come."""
        if self._buffer[:1] == b"\x16":
            raise ValueError("this is TLS, and the server is not")
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if "transfer-encoding" in headers:
            raise ValueError("chunked requests are not spoken here")
        stop = end + 4 + int(headers.get("content-length", "0"))
        if len(self._buffer) < stop:
            return None
        body = bytes(self._buffer[end + 4 : stop])
        del self._buffer[:stop]
        address = urlsplit(target)
        query = {k: v[0] for k, v in parse_qs(address.query, keep_blank_values=True).items()}
        said = headers.get("connection", "").lower()
        keep = said != "close" and (version != "HTTP/1.0" or said == "keep-alive")
        at = time.monotonic()
        return Request(method, address.path, query, headers, body, at, self._number, target), keep

    def _send(self, request: Request, answer: Answer, keep: bool) -> None:
        request.status = answer.status
        self.transport.write(_with_length(answer, keep))
        if not keep:
            self.transport.close()

    async def _later(self, request: Request, reply: Answer | Fault, wait: float, keep: bool) -> None:
        with self._server._in_progress():
            if wait:
                await asyncio.sleep(wait)
            if isinstance(reply, Answer):
                answer: Answer | None = reply
            else:
                answer = await reply.play(Exchange(self._server, self, request))
        if answer is None:
            self.transport.close()
            return
        self._send(request, answer, keep)
        self._task = None
        self._work()


class OpenRouterServer:
    """The API on 127.0.0.1; `with OpenRouterServer() as server:` or start() and stop().

    `keys`, `management_keys`, `delay` (seconds before every answer),
    `rate_limit`, `anything` (a made-up record for every ID that is not known)
    and the `analytics_…` settings may be changed while it runs.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        keys: Iterable[str] = (KEY,),
        management_keys: Iterable[str] = (MANAGEMENT_KEY,),
        delay: float = 0.0,
        rate_limit: RateLimit | tuple[int, float] | None = None,
        anything: bool = False,
        tls: bool = False,
    ) -> None:
        self.keys, self.management_keys = set(keys), set(management_keys)
        self.delay, self.anything = delay, anything
        self.rate_limit = RateLimit(*rate_limit) if isinstance(rate_limit, tuple) else rate_limit
        self.requests: list[Request] = []
        self.strayed: list[Request] = []  # what arrived at `elsewhere`
        self.connections = 0  # opened so far
        self.most_at_once = 0  # answers that were being waited for at one time (with a delay or a fault)
        self.url = self.elsewhere = ""
        self.routes: dict[str, dict[str, Callable[[Request], Answer | Fault]]] = {
            METADATA: {"GET": self._generation},
            CONTENT: {"GET": self._generation},
            ANALYTICS_META: {"GET": self._analytics_meta},
            ANALYTICS_QUERY: {"POST": self._analytics_query},
        }
        self.analytics_limit: RateLimit | None = RateLimit(64, 60.0)
        self.analytics_rows = 10_000  # more rows than this are cut, whatever `limit` says
        self.analytics_span: float | None = None  # seconds: longer windows are answered 408
        self.analytics_warnings: list[str] = []  # sent with every answer
        self._port, self._tls = port, tls
        self._records: dict[str, _Record] = {}
        self._scripts: dict[tuple[str | None, str | None], _Script] = {}
        self._open: set[_Connection] = set()
        self._at_once = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # Life

    def __enter__(self) -> OpenRouterServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> OpenRouterServer:
        ready = threading.Event()
        failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._serve, args=(ready, failure), daemon=True)
        self._thread.start()
        ready.wait()
        if failure:
            raise failure[0]
        return self

    def stop(self) -> None:
        if self._loop and self._thread:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop = self._thread = None

    def _serve(self, ready: threading.Event, failure: list[BaseException]) -> None:
        loop = asyncio.new_event_loop()
        listening: list[asyncio.Server] = []
        try:
            for stray in (False, True):
                listening.append(loop.run_until_complete(self._listen(loop, stray)))
            self._loop = loop
        except OSError as problem:
            failure.append(problem)
        ready.set()
        if not failure:
            loop.run_forever()
        for server in listening:
            server.close()
        for connection in list(self._open):
            connection.transport.abort()
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    def _listen(self, loop: asyncio.AbstractEventLoop, stray: bool) -> Coroutine[Any, Any, asyncio.Server]:
        async def listen() -> asyncio.Server:
            context = None
            if self._tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(CERTIFICATE)
            port = 0 if stray else self._port
            server = await loop.create_server(
                lambda: _Connection(self, stray), "127.0.0.1", port, ssl=context, backlog=512
            )
            url = f"{'https' if self._tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.url, self.elsewhere = (self.url, url) if stray else (url, self.elsewhere)
            return server

        return listen()

    def _opened(self, connection: _Connection) -> int:
        self._open.add(connection)
        self.connections += 1
        return self.connections

    def _closed(self, connection: _Connection) -> None:
        self._open.discard(connection)

    @contextmanager
    def _in_progress(self) -> Iterator[None]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            self._at_once -= 1

    # What it knows

    def add(
        self,
        generation_id: str,
        metadata: Any = None,
        content: Any = None,
        *,
        late: int = 0,
        late_seconds: float = 0.0,
        owner: str | None = None,
    ) -> None:
        """A record. `metadata` and `content` are the "data" of a 200, or an Answer for anything else.

        What is None is answered 404. `late`: so many 404s at each endpoint come
        first. `late_seconds`: 404 until so long after the first request for the
        ID. `owner`: the key that may read it; another regular key gets 404 for
        metadata and 403 for content.
        """
        answers = [
            given if given is None or isinstance(given, Answer) else Answer.data(given) for given in (metadata, content)
        ]
        data = _data_of(answers[0])
        self._records[generation_id] = _Record(answers[0], answers[1], late, late_seconds, owner, data)

    def load(self, path: str | Path) -> dict[str, str]:
        """Samples from a file of tests/data/generations or a folder of them; ID → the sample's name."""
        path = Path(path)
        loaded = {}
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            sample = json.loads(file.read_text(encoding="utf-8"))
            both = [_sampled(sample.get(kind)) for kind in ("metadata", "content")]
            self.add(sample["id"], *both)
            loaded[sample["id"]] = file.stem
        return loaded

    def script(
        self,
        generation_id: str | None,
        *answers: Answer | Fault,
        path: str | None = None,
        then_record: bool = False,
    ) -> None:
        """These answers in turn, at each endpoint; then the last one again, or the record if `then_record`.

        `generation_id` None: for every request. `path`: only there (METADATA, CONTENT …).
        """
        self._scripts[generation_id, path] = _Script(answers, then_record)

    def requests_for(self, generation_id: str) -> list[Request]:
        return [request for request in self.requests if request.id == generation_id]

    def good_answer(self, request: Request) -> Answer:
        """The record's own answer where it is a 200, otherwise a made-up one."""
        record = self._records.get(request.id)
        answer = None
        if record:
            answer = record.content if request.path == CONTENT else record.metadata
        if answer and answer.status == 200:
            return answer
        make = make_content if request.path == CONTENT else make_metadata
        return Answer.data(make(request.id))

    # How it decides

    def _reply(self, request: Request, stray: bool) -> Answer | Fault:
        if stray:
            self.strayed.append(request)
            return self.good_answer(request)
        self.requests.append(request)
        methods = self.routes.get(request.path)
        if methods is None:
            return Answer.error(404, "Not Found")
        if request.method not in methods:
            return Answer.error(405, "Method Not Allowed", {"Allow": ", ".join(methods)})
        return self._refusal(request) or self._scripted(request) or methods[request.method](request)

    def _refusal(self, request: Request) -> Answer | None:
        if not request.key:
            return Answer.error(401, "Missing Authentication header")
        if request.key not in self.keys | self.management_keys:
            return Answer.error(401, "User not found.")
        return self.rate_limit.refusal() if self.rate_limit else None

    def _scripted(self, request: Request) -> Answer | Fault | None:
        for generation_id in (request.id, None):
            for path in (request.path, None):
                script = self._scripts.get((generation_id, path))
                if script and (answer := script.next(request.path)):
                    return answer
        return None

    def _generation(self, request: Request) -> Answer:
        if not request.id:
            return _zod_error()
        record = self._records.get(request.id)
        if record is None:
            return self.good_answer(request) if self.anything else _not_found(request.id)
        if not record.exists(request.path):
            return _not_found(request.id)
        foreign = record.owner is not None and request.key not in self.management_keys | {record.owner}
        if request.path == CONTENT:
            return Answer.error(403, MANAGEMENT_ONLY) if foreign else record.content or _not_found(request.id)
        return _not_found(request.id) if foreign else record.metadata or _not_found(request.id)

    def _analytics_refusal(self, request: Request) -> Answer | None:
        if request.key not in self.management_keys:
            return Answer.error(403, MANAGEMENT_ONLY)
        return self.analytics_limit.refusal() if self.analytics_limit else None

    def _analytics_meta(self, request: Request) -> Answer:
        return self._analytics_refusal(request) or Answer.data(_analytics_meta())

    def _analytics_query(self, request: Request) -> Answer:
        """Over the metadata of all records, late and foreign ones too."""
        refusal = self._analytics_refusal(request)
        if refusal:
            return refusal
        try:
            query = _Query(json.loads(request.body))
        except _Refused as problem:
            return Answer.error(400, str(problem))
        except (ValueError, RecursionError):
            return Answer.error(400, "Invalid request parameters")
        if self.analytics_span is not None and (query.end - query.start).total_seconds() > self.analytics_span:
            return Answer.error(408, "Operation timed out. Please try again later.")
        rows = query.rows({name: record.data for name, record in self._records.items() if record.data})
        kept = rows[: min(query.limit, self.analytics_rows)]
        metadata = {"query_time_ms": 7, "row_count": len(kept), "truncated": len(kept) < len(rows)}
        warnings = [*self.analytics_warnings, *(each for one in query.filters for each in one.warnings())]
        return Answer.data({"data": kept, "metadata": metadata, **({"warnings": warnings} if warnings else {})})


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _data_of(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None or answer.status != 200:
        return None
    try:
        data = json.loads(answer.octets())["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _sampled(part: Any) -> Answer | None:
    if not isinstance(part, dict):
        return None
    return Answer(part.get("status", 200), part.get("body", ""), part.get("headers") or {})


_kept: list[socket.socket] = []


def closed_port() -> int:
    """A port where connections are refused. It stays bound, so that nobody else gets it meanwhile."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    _kept.append(bound)
    return int(bound.getsockname()[1])


# By hand


def fault_id(name: str) -> str:
    return f"gen-fault-{name.replace('_', '-')}"


def script_faults(server: OpenRouterServer) -> None:
    """One ID for each fault: gen-fault-reset, gen-fault-gzip-bomb …"""
    for name, fault in FAULTS.items():
        server.script(fault_id(name), fault)


def _print_list(rows: Mapping[str, str]) -> None:
    width = max(map(len, rows), default=0)
    for generation_id, about in rows.items():
        print(f"  {generation_id:{width}}  {about}")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="OpenRouter's generation API on loopback, from sample files, until Ctrl-C."
    )
    parser.add_argument("samples", nargs="*", metavar="FILE-or-folder", help=f"default: {SAMPLES}")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="before every answer")
    parser.add_argument("--rate-limit", nargs=2, type=float, metavar=("REQUESTS", "SECONDS"))
    parser.add_argument("--anything", action="store_true", help="a made-up record for every unknown ID")
    parser.add_argument("--tls", action="store_true", help="https with a self-signed certificate")
    parser.add_argument("--list-faults", action="store_true", help="print the IDs that answer with a fault")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = _arguments(argv)
    faults = {fault_id(name): fault.about for name, fault in FAULTS.items()}
    if options.list_faults:
        _print_list(faults)
        return 0
    limit = (int(options.rate_limit[0]), options.rate_limit[1]) if options.rate_limit else None
    server = OpenRouterServer(
        port=options.port, delay=options.delay, rate_limit=limit, anything=options.anything, tls=options.tls
    )
    loaded: dict[str, str] = {}
    try:
        for path in options.samples or ([SAMPLES] if SAMPLES.is_dir() else []):
            loaded.update(server.load(path))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        print(f"{path}: not a sample: {problem}", file=sys.stderr)
        return 2
    script_faults(server)
    with server:
        print(f"export OPENROUTER_BASE_URL={server.url}")
        print(f"export OPENROUTER_API_KEY={KEY}")
        _print_list(loaded)
        print(f"  {len(faults)} more IDs answer with a fault: --list-faults")
        print(f"  the management key, for analytics: {MANAGEMENT_KEY}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
