"""The only module that speaks HTTP: ask, wait, retry, limit, and name what went wrong.

    from openrouter_generations.client import Client

    with Client("sk-or-…") as client:
        print(client.generation("gen-…")["data"]["total_cost"])

The client is thread-safe: threads share one connection pool, and a 429 seen by
one of them holds all of them back.
"""

from __future__ import annotations

import math
import random
import re
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timezone
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from openrouter_generations import __version__, errors, origin, sockets
from openrouter_generations.documents import parsed
from openrouter_generations.errors import (
    ApiError,
    BadAnswerError,
    MissingKeyError,
    NetworkError,
    NotFoundError,
    UsageError,
)
from openrouter_generations.text import safe_line, scrubbed

Document = dict[str, object]
"""A whole answer: an object whose `data` is an object or null."""

MAX_PAUSE = 60.0
"""Seconds that one pause may last at most, whatever `Retry-After` says."""
MAX_BODY = 64 << 20
"""Bytes of an answer after decompression."""

_FRESH = 120  # seconds: younger records may not be written yet
_CLOCK_ERROR = 3600  # seconds: an ID from later than this clock may lag behind is made up
_FRESH_WAIT = 30.0
_LADDER = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)  # seconds between questions for a late record; the last repeats
_DATED = re.compile(r"gen-(?:[a-z]+-)?([0-9]{10})-[0-9A-Za-z]")  # whatever the rest: an argument is taken as it is
_MAX_ID = 512


class Client:
    """GET answers about generations from OpenRouter.

    `base_url` with or without `/api/v1`; plain http only for loopback unless
    `allow_http`. `key_source`: where the key came from, in words.
    `timeout`: seconds for one attempt, connect to last byte.
    `retries`: further attempts after 408, 429, 5xx and network failures.
    `wait`: seconds to keep asking while the answer is 404; None is 30 for an
    ID whose own timestamp is under two minutes old, otherwise 0.
    `connections`: requests at one time, however many threads ask. `stop`: an
    event that ends every pause at once.

    Raises UsageError for a base URL, key or ID that may not be sent, MissingKeyError for an empty key.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = origin.DEFAULT,
        *,
        key_source: str = "",
        timeout: float = 30.0,
        retries: int = 3,
        wait: float | None = None,
        headers: Mapping[str, str] | None = None,
        allow_http: bool = False,
        connections: int = 16,
        stop: threading.Event | None = None,
    ) -> None:
        if not api_key:
            raise MissingKeyError("No API key given.")
        origin.check_header_value("The API key", api_key)
        self._root = origin.api_root(base_url, allow_http=allow_http)
        self._key = api_key
        self._key_source = key_source
        self._timeout = timeout
        self._retries = retries
        self._wait = wait
        self._stop = stop or threading.Event()
        self._clock = sockets.AttemptClock()
        # More threads than connections must not meet in httpcore's pool: it may close a connection that another
        # thread was just given. Besides, an attempt's time begins when it has a connection.
        self._slots = threading.BoundedSemaphore(connections)
        self._resume_at = 0.0
        self._resume_lock = threading.Lock()
        self._http = _http_client(self._root, api_key, headers or {}, connections, self._clock)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def generation(self, generation_id: str) -> Document:
        """The metadata document, `{"data": {…} | null}`, as received.

        Raises ApiError (NotFoundError, RateLimitError …), NetworkError,
        BadAnswerError, UsageError.
        """
        return self._record("/generation", generation_id)

    def content(self, generation_id: str) -> Document:
        """The stored prompt, completion and failure, `{"data": {"input", "output", "error"} | null}`.

        Raises as `generation`; ForbiddenError where the key may not read content.
        """
        return self._record("/generation/content", generation_id)

    def get(self, path: str) -> Document:
        """Any other GET endpoint below `/api/v1`. Raises as `generation`."""
        return self._retrying(self._http.build_request("GET", self._root + path), path)

    def post(self, path: str, body: object) -> Document:
        """A POST endpoint that only reads (analytics), so that asking again does no harm.

        Raises as `generation`.
        """
        return self._retrying(self._http.build_request("POST", self._root + path, json=body), path)

    def _record(self, path: str, generation_id: str) -> Document:
        _check_id(generation_id)
        request = self._http.build_request("GET", self._root + path, params={"id": generation_id})
        started = time.monotonic()
        wait = _default_wait(generation_id) if self._wait is None else self._wait
        asked = 0
        while True:
            try:
                return self._retrying(request, generation_id)
            except NotFoundError as missing:
                asked += 1
                missing.tried, missing.waited = asked, time.monotonic() - started
                left = wait - missing.waited
                if left <= 0:
                    raise
                self._pause(min(_LADDER[min(asked, len(_LADDER)) - 1], left))

    def _retrying(self, request: httpx.Request, subject: str) -> Document:
        tried = 0
        while True:
            self._wait_for_turn()
            tried += 1
            try:
                with self._slots:
                    return self._attempt(request, subject)
            except BadAnswerError as failure:
                failure.subject = subject
                raise
            except (errors.RateLimitError, errors.ServerError, NetworkError) as failure:
                failure.subject, failure.tried = subject, tried
                if tried > self._retries or (isinstance(failure, NetworkError) and not failure.transient):
                    raise
                pause = _pause_after(failure, tried)
                if isinstance(failure, errors.RateLimitError):
                    self._hold_all(pause)
                else:
                    self._pause(pause)

    def _attempt(self, request: httpx.Request, subject: str) -> Document:
        self._clock.start(self._timeout)
        try:
            response = self._http.send(request, stream=True)
            try:
                if response.status_code >= 300:
                    raise self._refusal(response, subject)
                body = b"".join(_decoded(response, MAX_BODY))
            finally:
                response.close()
        except httpx.HTTPError as failure:
            raise self._network_failure(failure) from failure
        except UnicodeError as failure:  # from the look-up of a host name that cannot be one
            raise NetworkError(f"{urlsplit(self._root).netloc} is no host name.", transient=False) from failure
        return _document(body, self._scrub)

    def _refusal(self, response: httpx.Response, subject: str) -> errors.OpenRouterError:
        status = response.status_code
        if status < 400:
            target = safe_line(self._scrub(response.headers.get("location") or "nowhere"))[:200]
            return BadAnswerError(f"a redirect ({status}) to {target}, which is not followed.")
        try:
            body = b"".join(_decoded(response, MAX_BODY))
        except (httpx.HTTPError, BadAnswerError):
            body = b""  # the status says enough
        message = self._scrub(_server_message(self._scrub(body.decode("utf-8", "replace"))) or response.reason_phrase)
        failure = errors.from_status(status, message, subject=subject, retry_after=_retry_after(response))
        if isinstance(failure, (errors.AuthenticationError, errors.ForbiddenError)) and self._key_source:
            failure.advice = f"The key came from {safe_line(self._key_source)}. {failure.advice}"
        return failure

    def _network_failure(self, failure: httpx.HTTPError) -> errors.OpenRouterError:
        host = urlsplit(self._root).netloc
        if self._root != origin.api_root(origin.DEFAULT):
            host += " (OPENROUTER_BASE_URL, from the environment or .env)"
        said = self._scrub(safe_line(str(failure))).rstrip(".")
        if isinstance(failure, httpx.TimeoutException):
            return NetworkError(f"{host} did not answer in full within {self._timeout:g} s (--timeout).")
        if isinstance(failure, httpx.RemoteProtocolError) and "disconnected" not in said and "closed" not in said:
            return BadAnswerError(f"{host} does not speak HTTP as expected: {said}.")
        certificate = "CERTIFICATE_VERIFY_FAILED" in said
        what = f"the certificate of {host} was not accepted" if certificate else f"no answer from {host}"
        return NetworkError(f"{what}: {said or type(failure).__name__}.", transient=not certificate)

    def _scrub(self, text: str) -> str:
        return scrubbed(text, self._key)

    def _hold_all(self, seconds: float) -> None:
        with self._resume_lock:
            self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def _wait_for_turn(self) -> None:
        while (left := self._resume_at - time.monotonic()) > 0:
            self._pause(left)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise KeyboardInterrupt


def _check_id(generation_id: str) -> None:
    shown = safe_line(generation_id[:80])
    if not generation_id.strip():
        raise UsageError("A generation ID is empty. Expected something like gen-1771967930-1gsys6ZhRaY0TPbuRsDR.")
    if not generation_id.isprintable() or len(generation_id) > _MAX_ID:
        raise UsageError(
            f"The generation ID {shown!r} holds a control character or is longer than {_MAX_ID} characters. "
            "Copy it again."
        )


def _default_wait(generation_id: str) -> float:
    match = _DATED.match(generation_id)
    age = time.time() - int(match[1]) if match else math.inf
    return _FRESH_WAIT if -_CLOCK_ERROR < age < _FRESH else 0.0


def _pause_after(failure: ApiError | NetworkError, tried: int) -> float:
    """Seconds: what the server asked for, otherwise exponential backoff with jitter."""
    asked = failure.retry_after if isinstance(failure, ApiError) else None
    if asked is None:
        asked = 0.5 * 2 ** min(tried - 1, 10) * random.uniform(0.5, 1.0)
    return min(asked, MAX_PAUSE)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds from `Retry-After` in either form, never negative; None where it says nothing usable."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,20}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    if not value:
        return None
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value[:64])
        if moment.tzinfo is None:  # the asctime form names no zone; HTTP dates are UTC (RFC 9110, 5.6.7)
            moment = moment.replace(tzinfo=timezone.utc)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, OverflowError, OSError):
        return None


def _server_message(body: str) -> str:
    """The sentence in an error body; of HTML its title, of other text its beginning."""
    text = body.strip()
    try:
        return errors.message_in(parsed(text))
    except BadAnswerError:
        title = re.search(r"<title[^>]*>([^<]{1,200})", text[:10_000], re.IGNORECASE)
        return " ".join((title[1] if title else re.sub(r"<[^>]{0,2000}>", " ", text[:2_000])).split())


def _decoded(response: httpx.Response, limit: int) -> Iterator[bytes]:
    """The body in pieces, decompressed, never more than `limit` bytes.

    Done here and not by httpx because a decompressor without a limit may turn
    one network read of a hostile answer into gigabytes.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        inflate: Callable[[bytes, int], bytes] = lambda data, _: data  # noqa: E731
    elif encoding in ("gzip", "x-gzip"):
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
    else:
        raise BadAnswerError(f"the body is compressed as {safe_line(encoding[:40])!r}; only gzip was asked for.")
    total = 0
    for piece in response.iter_raw():
        try:
            plain = inflate(piece, limit + 1 - total)
        except zlib.error as problem:
            raise BadAnswerError(f"the compressed body is damaged ({problem}).") from None
        total += len(plain)
        if total > limit:
            raise BadAnswerError(f"the body is larger than {limit >> 20} MiB.")
        yield plain


def _document(body: bytes, scrub: Callable[[str], str]) -> Document:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadAnswerError("the body is not valid UTF-8.") from None
    document = parsed(text, scrub)
    if isinstance(document, dict) and isinstance(document.get("data", 0), (dict, type(None))):
        return document
    message = scrub(safe_line(errors.message_in(document)))[:300] if isinstance(document, dict) else ""
    raise BadAnswerError(f"the server said: {message}" if message else _shape(document))


def _shape(document: object) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    if not isinstance(document, dict):
        return f"the body is {names.get(type(document), 'null')}."
    if "data" not in document:
        return "the body is an object without `data`."
    return f"`data` is {names.get(type(document['data']), 'of another type')}."


def _http_client(
    root: str, api_key: str, attribution: Mapping[str, str], connections: int, clock: sockets.AttemptClock
) -> httpx.Client:
    parts = urlsplit(root)
    loopback = parts.scheme == "http" and origin.is_loopback(parts.hostname or "")
    headers = {
        **attribution,
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Authorization": f"Bearer {api_key}",
        "User-Agent": f"openrouter-generations/{__version__}",
    }
    try:
        _ = httpx.URL(root).host  # decoding it finds what the parser let pass
    except (httpx.InvalidURL, UnicodeError) as problem:
        raise UsageError(f"OPENROUTER_BASE_URL {root!r} is not a URL: {safe_line(str(problem))}.") from problem
    try:
        client = httpx.Client(
            headers=headers,
            # A proxy must not see the key of an unencrypted request, so loopback is asked directly. A context
            # without authorities trusts nobody and is made at once; loading the real ones takes 20 ms.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if loopback else True,
            trust_env=not loopback,
            follow_redirects=False,
            timeout=None,  # noqa: S113 -- the attempt clock limits every step
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as problem:
        raise UsageError(
            f"The proxy or certificate variables of the environment cannot be used: {safe_line(str(problem))}."
        ) from problem
    _limit_attempts(client, sockets.ClockedBackend(clock))
    return client


def _limit_attempts(client: httpx.Client, backend: sockets.ClockedBackend) -> None:
    """Put the clocked sockets under every transport, also those of proxies.

    httpx has no public way to do that. Where its insides are not as known, it
    is better not to ask at all than to ask without a limit.
    """
    for transport in (client._transport, *client._mounts.values()):
        if transport is None:  # NO_PROXY: the main transport is used
            continue
        pool: Any = getattr(transport, "_pool", None)
        if not hasattr(pool, "_network_backend"):
            raise UsageError("This version of httpx is not known to this program; install httpx 0.27 or 0.28.")
        pool._network_backend = backend
