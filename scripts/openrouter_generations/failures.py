"""Why a provider failed, from the content endpoint's stored `error`: status, message, raw bodies' words."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import NamedTuple

from openrouter_generations import fields, text
from openrouter_generations.fields import Record
from openrouter_generations.measures import status

_QUOTE = 300
"""Characters quoted from a record at most: messages can be hostile and long."""
_MAX_RAW = 200_000
_NAMES = ("message", "Message", "error_message", "detail", "msg", "error", "errors", "raw")
"""Where providers put their sentence, most telling first."""


class Failure(NamedTuple):
    """One failed attempt as stored. `earlier`: those before it, first tried first (last provider only)."""

    provider: str | None
    status: int | None
    message: str | None
    sentence: str | None
    """What the provider itself says inside its raw body."""
    earlier: tuple[Failure, ...] = ()

    def said(self) -> str | None:
        """The most telling words: the raw body's, which `message` ("Provider returned error") often hides."""
        return self.sentence or self.message


def clipped(words: str, limit: int = _QUOTE) -> str:
    """The first `limit` characters, with an ellipsis for the rest."""
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


@lru_cache(1024)  # the same provider names and models come up in every record of a log
def quoted(words: str, limit: int = _QUOTE) -> str:
    """Words from a record, for a line of ours: safe to print, without keys, not endless."""
    return clipped(text.safe_line(text.scrubbed(clipped(words.strip(), 4 * _QUOTE))), limit)


def in_quotes(words: str, limit: int = _QUOTE) -> str:
    """As `quoted`, between quotation marks that the words cannot end: those inside become single ones."""
    return '"' + quoted(words, limit).replace('"', "'") + '"'


def sentence_of(words: str) -> str:
    """The same as the end of a sentence of ours."""
    shown = in_quotes(words)
    return shown if shown[-2] in ".!?…" else f"{shown}."


def stored_failure(content: Record) -> Failure | None:
    """The `error` of a content document; None where it is missing or says nothing."""
    error = fields.mapping(content, "error")
    if error is None:
        return None
    earlier = tuple(_failure(entry, "code") for entry in fields.objects(error, "previous_errors"))
    last = _failure(error, "status")
    went_well = last.status is None or 200 <= last.status < 300
    if went_well and not (last.provider or last.message or last.sentence or earlier):
        return None
    return last._replace(earlier=earlier)


def _failure(entry: Record, status_name: str) -> Failure:
    raw = fields.text(entry, "raw")
    return Failure(
        provider=fields.text(entry, "provider_name"),
        status=status(entry, status_name),
        message=fields.text(entry, "message"),
        sentence=body_sentence(raw) if raw else None,
    )


def body_sentence(raw: str) -> str | None:
    """The sentence meant for people inside a provider's error body: any JSON, HTML, or plain text."""
    raw = raw[:_MAX_RAW].strip().removeprefix("data:").strip()
    if raw[:1] in ("{", "["):
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            return clipped(raw)
        return (_message_in(body, 8) or clipped(raw)) if body else None
    if raw[:1] == "<":
        title = re.search(r"<title[^>]{0,200}>([^<]{1,300})", raw[:20_000], re.IGNORECASE)
        return (" ".join(title[1].split()) or None) if title else None
    return clipped(raw) or None


def _message_in(body: object, depth: int) -> str | None:
    """The first message of a parsed body; of bodies wrapped in bodies, the innermost one's."""
    if not depth:
        return None
    if isinstance(body, str):
        words = body.strip()
        inner = _message_in_quoted(words, depth - 1) if words[:1] in ("{", "[") else None
        return inner or clipped(words) or None
    if isinstance(body, list):
        return next((found for item in body[:5] if (found := _message_in(item, depth - 1))), None)
    if not isinstance(body, dict):
        return None
    wrapped = [body.get(name) for name in ("metadata", "error", "response") if isinstance(body.get(name), dict)]
    plain = [body.get(name) for name in _NAMES]
    return next((found for value in wrapped + plain if (found := _message_in(value, depth - 1))), None)


def _message_in_quoted(words: str, depth: int) -> str | None:
    """The message of a body that is quoted as a string inside another one."""
    try:
        return _message_in(json.loads(words), depth)
    except (ValueError, RecursionError):
        return None
