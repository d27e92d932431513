"""What a stored message holds, piece by piece, in readable form (pure).

Knows the shapes that reach OpenRouter: chat completions (text, image_url,
input_audio, file, video_url, tool_calls), Responses (input_text, input_image,
input_file, function_call …) and Anthropic messages (image, tool_use,
tool_result, thinking). Whatever else there is appears as JSON.
"""

from __future__ import annotations

import re
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
        yield from _call(call)
    rest = {
        name: value
        for name, value in message.items()
        if name not in _OWN_FIELDS and value not in (None, "", [], {}) and name != "id"
    }
    if "role" not in message and "content" not in message:
        yield from of_part(message)
    elif rest:
        yield from media.split(json_text(rest))
    if "role" in message and (named := fields.text(message, "name")):
        yield f"(name {named})"
    if answered := fields.text(message, "tool_call_id"):
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
            if name != "text":
                yield f"({name})"
            yield from media.split(str(part[name]))
            return
    if kind in ("tool_use", "function_call", "function", "custom_tool_call"):
        yield from _call(part)
    elif kind in ("tool_result", "function_call_output", "custom_tool_call_output"):
        answered = fields.text(part, "tool_use_id") or fields.text(part, "call_id") or "unknown"
        yield f"({'failed ' if part.get('is_error') is True else ''}result of tool call {answered})"
        yield from of_content(part.get("content", part.get("output")))
    else:
        yield from _embedded(part) or media.split(json_text(part))


def _embedded(part: Record) -> list[Piece]:
    """An image, sound, video or file, embedded or linked; empty for a part of another kind."""
    audio = fields.mapping(part, "input_audio") or fields.mapping(part, "audio")
    if audio and isinstance(audio.get("data"), str):
        sound = media.from_base64(fields.text(audio, "format") or "audio", str(audio["data"]))
        said = fields.text(audio, "transcript")
        return [sound, *([f"(transcript) {said}"] if said else [])]
    source = fields.mapping(part, "source")
    title = [f"(title {words})"] if source and (words := fields.text(part, "title")) else []
    if source and isinstance(source.get("data"), str):
        if source.get("type") == "text":
            return [*title, str(source["data"])]
        return [*title, media.from_base64(fields.text(source, "media_type") or "file", str(source["data"]))]
    file = fields.mapping(part, "file") or part
    if isinstance(file.get("file_data"), str):
        given = str(file["file_data"])
        linked = _LINK.match(given) is not None or given[:5].lower() == "data:"
        named = f"(file {fields.text(file, 'filename') or 'without a name'})"
        return [named, _link("file", given) if linked else media.from_base64("file", given)]
    for name, what in _LINKS.items():
        target = part.get(name, (source or {}).get(name))
        url = target.get("url") if isinstance(target, dict) else target
        if isinstance(url, str):
            kind = part.get("type") if source else None
            return [*title, _link(str(kind) if kind in ("image", "document", "video", "audio") else what, url)]
    return []


_LINK = re.compile("[A-Za-z][A-Za-z0-9+.-]*://")


def _link(what: str, url: str) -> Piece:
    return media.from_uri(url) or f"[{what}: {url}]"


def _call(call: Record) -> Iterator[Piece]:
    function = fields.mapping(call, "function") or fields.mapping(call, "custom") or call
    given = function.get("arguments", function.get("input"))
    arguments = given if isinstance(given, str) else json_text(given if given is not None else {})
    named = fields.text(call, "call_id") or fields.text(call, "id")
    name = fields.text(function, "name") or "without a name"
    yield from media.split(f"(tool call {name} {arguments}{f' id {named}' if named else ''})")
