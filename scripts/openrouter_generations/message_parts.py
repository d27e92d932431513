"""What a stored message holds, piece by piece, in readable form (pure).

Knows the shapes that reach OpenRouter: chat completions (text, image_url,
input_audio, file, video_url, tool_calls), Responses (input_text, input_image,
input_file, function_call …) and Anthropic messages (image, tool_use,
tool_result, thinking). Whatever else there is appears as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator

from openrouter_generations import fields, media
from openrouter_generations.fields import Record
from openrouter_generations.media import Media
from openrouter_generations.text import json_text

Piece = str | Media
"""Plain text, or an embedded file."""

_LINKS = {
    "image_url": "image",
    "input_image": "image",
    "video_url": "video",
    "file_url": "file",
    "url": "file",
}
_OWN_FIELDS = {"role", "content", "images", "audio", "tool_calls", "tool_call_id", "name", "type", "status"}


def of_message(message: Record) -> Iterator[Piece]:
    """The content of one message, then its tool calls and whatever else it carries."""
    yield from of_content(message.get("content"))
    yield from of_content(message.get("images"))
    if audio := fields.mapping(message, "audio"):
        yield from of_part({"audio": audio})
    for call in fields.objects(message, "tool_calls"):
        yield _call(call)
    rest = {
        name: value
        for name, value in message.items()
        if name not in _OWN_FIELDS and value not in (None, "", [], {}) and name != "id"
    }
    if "role" not in message and "content" not in message:
        yield from of_part(message)
    elif rest:
        yield from media.split(json_text(rest))
    answered = fields.text(message, "tool_call_id")
    if answered:
        yield f"(result of tool call {answered})"


def of_content(content: object) -> Iterator[Piece]:
    """A message's content: text, a list of parts, or something unknown."""
    if isinstance(content, str):
        yield from media.split(content)
    elif isinstance(content, list):
        for part in content:
            yield from of_part(part)
    elif content is not None:
        yield from of_part(content)


def of_part(part: object) -> Iterator[Piece]:
    """One part of a list: text, media, tool call, tool result, or JSON for what is not known."""
    if isinstance(part, str):
        yield from media.split(part)
    elif not isinstance(part, dict):
        yield json_text(part)
    else:
        yield from _of_object(part)


def _of_object(part: Record) -> Iterator[Piece]:
    kind = fields.text(part, "type") or ""
    for name in ("text", "thinking", "refusal"):
        if isinstance(part.get(name), str):
            yield from media.split(str(part[name]))
            return
    if kind in ("tool_use", "function_call", "function"):
        yield _call(part)
    elif kind in ("tool_result", "function_call_output"):
        yield f"(result of tool call {fields.text(part, 'tool_use_id') or fields.text(part, 'call_id') or 'unknown'})"
        yield from of_content(part.get("content", part.get("output")))
    else:
        yield from _embedded(part) or media.split(json_text(part))


def _embedded(part: Record) -> list[Piece]:
    """An image, sound, video or file, embedded or linked; empty for a part of another kind."""
    audio = fields.mapping(part, "input_audio") or fields.mapping(part, "audio")
    if audio and isinstance(audio.get("data"), str):
        return [media.from_base64(fields.text(audio, "format") or "audio", str(audio["data"]))]
    source = fields.mapping(part, "source")
    if source and isinstance(source.get("data"), str):
        if source.get("type") == "text":
            return [str(source["data"])]
        return [media.from_base64(fields.text(source, "media_type") or "file", str(source["data"]))]
    file = fields.mapping(part, "file") or part
    if isinstance(file.get("file_data"), str):
        return [
            f"(file {fields.text(file, 'filename') or 'without a name'})",
            media.from_uri(str(file["file_data"])) or media.from_base64("file", str(file["file_data"])),
        ]
    for name, what in _LINKS.items():
        target = part.get(name, (source or {}).get(name))
        url = target.get("url") if isinstance(target, dict) else target
        if isinstance(url, str):
            return _link(what, url)
    return []


def _link(what: str, url: str) -> list[Piece]:
    return [media.from_uri(url) or f"[{what}: {url}]"]


def _call(call: Record) -> str:
    function = fields.mapping(call, "function") or call
    given = function.get("arguments", function.get("input"))
    arguments = given if isinstance(given, str) else json_text(given if given is not None else {})
    named = fields.text(call, "call_id") or fields.text(call, "id")
    return (
        f"(tool call {fields.text(function, 'name') or 'without a name'} {arguments}{f' id {named}' if named else ''})"
    )
