"""JSON documents: parsed strictly, and read back from files that `--json`, curl or a dashboard left."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from openrouter_generations import errors
from openrouter_generations.errors import BadAnswerError, OpenRouterError, UsageError
from openrouter_generations.text import encoding_of, safe_line

MAX_DEPTH = 200
"""Levels of nesting; an answer of the API has fewer than ten of its own."""
MAX_FILE = 256 << 20
"""Bytes of a file given with --from."""


def _refused(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return value


_SPACE = re.compile(r"\s+")
_DECODER = json.JSONDecoder(parse_constant=_refused, parse_float=_finite)


def parsed(text: str, scrub: Callable[[str], str] = str) -> object:
    """Any JSON value. Raises BadAnswerError for NaN, Infinity, absurd nesting and what is not JSON.

    The error quotes the beginning of the text, `scrub`bed before it is cut.
    """
    try:
        value: object = _DECODER.decode(text)
    except (RecursionError, ValueError) as problem:
        raise BadAnswerError(f"the body is {_why_not_json(scrub(text[:1000]), problem)}.") from None
    if _too_deep(value):
        raise BadAnswerError("the JSON is nested too deeply.")
    return value


def _why_not_json(text: str, problem: Exception) -> str:
    if isinstance(problem, RecursionError):
        return "JSON nested too deeply"
    if not text.strip():
        return "empty"
    return f"not JSON: it begins with {safe_line(text[:60])!r} ({problem})"


def _too_deep(value: object) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return False
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    return True


class Saved(NamedTuple):
    """One saved answer: `document` as it was, `data` the record in the API's own names, or null.

    `kind` is "metadata" or "content"; `generation_id` is None where the
    document does not say. `error` stands for a failure that was saved or for a
    piece of the file that is no answer.
    """

    kind: str
    generation_id: str | None
    document: dict[str, object]
    data: dict[str, object] | None
    error: OpenRouterError | None = None


def read(path: str) -> Iterator[Saved]:
    """The answers in a file, `-` for standard input: one document, several, or one a line.

    Raises UsageError for a file that cannot be read; a piece that is no answer
    comes as a `Saved` with an `error`, so that the others are not lost.
    """
    name = "standard input" if path == "-" else safe_line(path)
    text = _text(path, name)
    place, line, counted = 0, 1, 0
    while (place := _next_word(text, place)) < len(text):
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (RecursionError, ValueError) as problem:
            yield _unusable(f"{name}, line {line}: {_why_not_json(text[place : place + 100], problem)}.")
            following = text.find("\n{", place)  # the next line that may hold a document
            place = len(text) if following < 0 else following
            continue
        for item in value if isinstance(value, list) else [value]:
            yield _saved(item, f"{name}, line {line}")


def _next_word(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    return space.end() if space else place


def _text(path: str, name: str) -> str:
    try:
        if path == "-":
            octets = sys.stdin.buffer.read(MAX_FILE + 1)
        else:
            with open(path, "rb") as file:
                octets = file.read(MAX_FILE + 1)
    except (OSError, ValueError, AttributeError) as problem:
        reason = getattr(problem, "strerror", None) or "no such input"
        raise UsageError(f"{name} cannot be read: {reason}.") from None
    if len(octets) > MAX_FILE:
        raise UsageError(
            f"{name} is larger than {MAX_FILE >> 20} MiB; reconcile_generations.py reads logs of any size."
        )
    try:
        text = octets.decode(encoding_of(octets))
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not text: neither UTF-8 nor UTF-16.") from None
    if not text.strip():
        raise UsageError(f"{name} is empty. Expected what --json or curl printed.")
    return text


def _unusable(problem: str) -> Saved:
    return Saved("metadata", None, {}, None, UsageError(problem))


def _saved(item: object, where: str) -> Saved:
    if not isinstance(item, dict) or _too_deep(item):
        return _unusable(f"{where}: not a saved answer, which is an object with `data`.")
    named = item.get("id") if isinstance(item.get("id"), str) else None
    if "data" in item and isinstance(item["data"], (dict, type(None))):
        data = item["data"]
        return Saved(_kind(data), named or _own_id(data), item, data and _api_names(data))
    if "error" in item and "input" not in item and "model" not in item:
        return Saved("metadata", named, item, None, _saved_failure(item, named or where))
    if {"input", "output"} <= item.keys() or {"model", "total_cost", "usage", "generation_id"} & item.keys():
        return Saved(_kind(item), _own_id(item), item, _api_names(item))
    return _unusable(f"{where}: not a saved answer, which is an object with `data`.")


def _kind(data: dict[str, object] | None) -> str:
    return "content" if data is not None and {"input", "output"} <= data.keys() else "metadata"


def _own_id(data: dict[str, object] | None) -> str | None:
    for name in ("id", "generation_id"):
        value = data.get(name) if data else None
        if isinstance(value, str) and value:
            return value
    return None


def _saved_failure(item: dict[str, object], subject: str) -> OpenRouterError:
    error = item["error"]
    status = (error.get("status") or error.get("code")) if isinstance(error, dict) else None
    message = errors.message_in(item)
    if isinstance(status, int) and 400 <= status < 600:
        return errors.from_status(status, message, subject=subject)
    return UsageError(f"{safe_line(subject)}: a saved failure: {safe_line(message[:300])}")


def _api_names(data: dict[str, object]) -> dict[str, object]:
    """A record as the API names it, from the API or from the dashboard's flat copy.

    The dashboard's copy has the number 0 as `id`, `usage_cache` with the
    opposite sign of `cache_discount`, and `usage_upstream` equal to `usage`
    also where there is no second bill; only `byok_usage_inference` is one.
    """
    if not isinstance(data.get("generation_id"), str) or isinstance(data.get("id"), str):
        return data
    record = {**data, "id": data["generation_id"]}
    record.setdefault("total_cost", data.get("usage"))
    if data.get("is_byok") is True:
        record.setdefault("upstream_inference_cost", data.get("byok_usage_inference"))
    cache = data.get("usage_cache")
    if isinstance(cache, (int, float)) and not isinstance(cache, bool):
        record.setdefault("cache_discount", -cache if cache else 0)
    return record
