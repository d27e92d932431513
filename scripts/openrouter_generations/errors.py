"""Everything that can go wrong, and the exit code that each failure carries.

OpenRouterError
├── UsageError            2    wrong usage, unreadable input file, refused setting
├── OutputError           1    the report could not be written
├── MissingKeyError       3    no API key anywhere
├── ApiError              9    any status of 400 and above that has no class of its own
│   ├── AuthenticationError  3    401
│   ├── ForbiddenError       3    403
│   ├── NotFoundError        4    404
│   ├── PaymentError         5    402
│   ├── RateLimitError       6    429
│   └── ServerError          7    408 and 5xx, 524 and 529 among them
├── NetworkError          8    DNS, refused, reset, TLS, timeout
└── BadAnswerError        9    not JSON, not an object with `data`, too large, a redirect

`str(error)` is what a person reads: what happened, what the server said, what to do next.
"""

from __future__ import annotations

import time
from enum import IntEnum

from openrouter_generations import ids
from openrouter_generations.text import plain, safe_line

_QUOTE = 500
"""Characters of a server's message that are quoted."""


class ExitCode(IntEnum):
    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    KEY = 3
    NOT_FOUND = 4
    PAYMENT = 5
    RATE_LIMIT = 6
    SERVER = 7
    NETWORK = 8
    BAD_ANSWER = 9
    INTERRUPTED = 130


EXIT_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.UNEXPECTED: "unexpected: output not written, package missing, a bug",
    ExitCode.USAGE: "wrong usage, unreadable input file, refused setting",
    ExitCode.KEY: "no key, or refused: 401, 403",
    ExitCode.NOT_FOUND: "generation not found: 404",
    ExitCode.PAYMENT: "payment required: 402",
    ExitCode.RATE_LIMIT: "rate limited: 429, retries used up",
    ExitCode.SERVER: "server failure: 408, 5xx, retries used up",
    ExitCode.NETWORK: "network: DNS, refused, reset, TLS, timeout",
    ExitCode.BAD_ANSWER: "the answer is not what the API answers, or another 4xx",
    ExitCode.INTERRUPTED: "interrupted",
}


class OpenRouterError(Exception):
    """A failure that has been understood. `status` is the HTTP status, where there was one."""

    exit_code = ExitCode.UNEXPECTED
    status: int | None = None


class UsageError(OpenRouterError):
    """What the user typed, set or named cannot be used."""

    exit_code = ExitCode.USAGE


class OutputError(OpenRouterError):
    """The report could not be written."""


class MissingKeyError(OpenRouterError):
    """No API key: neither flag nor environment nor `.env` has one."""

    exit_code = ExitCode.KEY


class NetworkError(OpenRouterError):
    """No whole answer arrived. `transient` says whether asking again can help."""

    exit_code = ExitCode.NETWORK

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.transient = transient
        self.subject = ""
        self.tried = 1

    def __str__(self) -> str:
        advice = "Check the connection, the proxy variables and OPENROUTER_BASE_URL."
        return f"Network error: {self.message}{_about(self.subject)}\n{_effort(self.tried)}{advice}"


class BadAnswerError(OpenRouterError):
    """An answer came, but it is not what the API answers."""

    exit_code = ExitCode.BAD_ANSWER

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.subject = ""

    def __str__(self) -> str:
        return (
            f"Unexpected answer: {self.problem}{_about(self.subject)}\n"
            "Expected a JSON object with `data`. Check OPENROUTER_BASE_URL, and any proxy or gateway on the way."
        )


def _about(subject: str) -> str:
    return f" ({safe_line(subject)})" if subject else ""


def _effort(tried: int, waited: float = 0.0) -> str:
    over = f" over {waited:.0f} s" if waited >= 1 else ""
    return f"Tried {'once' if tried == 1 else f'{tried} times'}{over}. "


class ApiError(OpenRouterError):
    """The API answered with an error status.

    `server_message` is the server's own text (untrusted, may be empty);
    `subject` the generation ID or the path asked for; `tried` the number of
    attempts, `waited` the seconds spent waiting for a late record.
    """

    exit_code = ExitCode.BAD_ANSWER
    headline = ""
    repeated = False
    """Whether this kind is asked again, so that even a single attempt is worth saying."""
    advice = "A malformed ID is one cause. The usual form: gen-, 10 digits, -, 20 letters and digits."

    def __init__(
        self, status: int, server_message: str = "", *, subject: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(status, server_message)
        self.status = status
        self.server_message = server_message
        self.subject = subject
        self.retry_after = retry_after
        self.tried = 1
        self.waited = 0.0

    def __str__(self) -> str:
        said = safe_line(self.server_message.strip())
        said = said if len(said) <= _QUOTE else said[:_QUOTE] + " …"
        headline = self.headline or said or "the server gave no message."
        lines = [f"Error {self.status}: {headline}{_about(self.subject)}"]
        if self.headline and said:
            lines.append(f"The server said: {said}")
        lines.append((_effort(self.tried, self.waited) if self.repeated or self.tried > 1 else "") + self.advice)
        return "\n".join(lines)


class AuthenticationError(ApiError):
    exit_code = ExitCode.KEY
    headline = "Invalid or missing API key. Check your OPENROUTER_API_KEY."
    advice = (
        "It may be mistyped, deleted or disabled: check it at https://openrouter.ai/settings/keys. "
        "A key is taken from --api-key, else from OPENROUTER_API_KEY, else from the nearest .env."
    )


class ForbiddenError(ApiError):
    exit_code = ExitCode.KEY
    headline = "Forbidden. You may not have access to this generation."
    advice = (
        "Two causes: the generation belongs to someone else (then get_generation.py ID fails too), or this key lacks "
        "the right: stored content and analytics are for management keys "
        "(https://openrouter.ai/settings/management-keys), content also for organisation admins."
    )


class NotFoundError(ApiError):
    exit_code = ExitCode.NOT_FOUND
    headline = "Generation not found. Check the generation ID."

    def __init__(
        self, status: int, server_message: str = "", *, subject: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(status, server_message, subject=subject, retry_after=retry_after)
        created, dated = ids.created(subject), ids.dated(subject)
        old = created is not None and time.time() - created > _LATEST
        early = f"too early (not here: the ID is dated {dated})" if old else f"too early ({_LATE}try --wait 60)"
        self.advice = (
            f"Three causes: {early}, a key of another account (its owner can send the output of "
            "get_generation.py ID --json; --from FILE reads it), or a wrong "
            + ("ID." if dated else "or cut ID (usual form: gen-, 10 digits, -, 20 letters and digits).")
        )


_LATEST = 3600  # seconds; records were seen to be late by up to a minute
_LATE = "a record appears seconds after its answer, later after an interrupted stream: "


class PaymentError(ApiError):
    exit_code = ExitCode.PAYMENT
    headline = "Payment required."
    advice = "Add credits at https://openrouter.ai/settings/credits or raise the key's limit."


class RateLimitError(ApiError):
    repeated = True
    exit_code = ExitCode.RATE_LIMIT
    headline = "Rate limited. Wait a moment and try again."
    advice = "Wait longer, ask for fewer IDs at once, or raise --retries."


class ServerError(ApiError):
    repeated = True
    exit_code = ExitCode.SERVER
    headline = "OpenRouter failed or timed out."
    advice = "Try again later, or raise --retries or --timeout."


_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthenticationError,
    402: PaymentError,
    403: ForbiddenError,
    404: NotFoundError,
    408: ServerError,
    429: RateLimitError,
}


def from_status(
    status: int, server_message: str = "", *, subject: str = "", retry_after: float | None = None
) -> ApiError:
    """The error for an HTTP status of 400 or above."""
    kind = _BY_STATUS.get(status) or (ServerError if 500 <= status < 600 else ApiError)
    return kind(status, server_message, subject=subject, retry_after=retry_after)


def message_in(document: object) -> str:
    """The server's sentence in an error body of any shape; empty when there is none.

    Known shapes: `{"error": {"code", "message", "metadata"?}}` and, for a
    malformed ID, `{"success": false, "error": {"name": "ZodError", "message"}}`.
    """
    if not isinstance(document, dict):
        return ""
    error = document.get("error", document)
    if isinstance(error, dict):
        error = error.get("message") or error.get("name")
    if isinstance(error, str) and error.lstrip().startswith("["):
        return _zod_message(error)
    return error if isinstance(error, str) else "" if error is None else plain(error)


def _zod_message(text: str) -> str:
    """A ZodError's message is a JSON list of complaints, each with a `message`."""
    import json

    try:
        complaints = json.loads(text)
        return "; ".join(f"{'.'.join(map(str, one['path']))}: {one['message']}" for one in complaints)
    except (ValueError, RecursionError, KeyError, TypeError):
        return text
