"""Generation IDs: which shapes there are, how to find them in any text, the time inside one.

Shapes, as seen in answers and logs:

    gen-1771967930-<20 alphanumerics>       chat, responses, messages; the digits are unix seconds
    gen-emb-1771967930-<20 alphanumerics>   likewise stt, tts, vid, batch, rerank
    gen-<28 alphanumerics>                  the old form, without a time

An ID given on a command line is taken as it is; only a search through text
has to tell IDs from `req-…`, `gen_…` and words such as gen-eral.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

_DATED = "(?:(?:emb|stt|tts|vid|batch|rerank)-)?([0-9]{10})"
_USUAL = re.compile(f"gen-{_DATED}-[A-Za-z0-9]{{20}}")

MARGIN = 64
"""Bytes that must be seen before and after the first byte of an ID to be sure of it."""

_CANDIDATE = re.compile(
    "gen-(?=[A-Za-z0-9-]{10})(?:"  # what is shorter is passed over faster this way
    f"{_DATED}(?![0-9A-Za-z])(?:-(?P<tail>[A-Za-z0-9]{{0,20}})(?![A-Za-z0-9])|(?!-))"
    "|(?P<old>[A-Za-z0-9]{28})(?![A-Za-z0-9])"
    ")".encode()
)
_WORD = frozenset(b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_ESCAPE = re.compile(
    rb"(?:\\[nrtbf]"  # JSON inside JSON: the letter belongs to an escaped line end or tab
    rb"|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|%[0-9A-Fa-f]{2}"  # an escaped quote; `id%3Dgen-…`
    rb"|(?:\x1b|\\x1b|\\u001[bB]|\\033)\[[0-9;]{0,12}m"  # a colour set before the ID
    rb")\Z"
)


def created(generation_id: str) -> int | None:
    """The unix seconds inside a usual ID; None for every other shape."""
    match = _USUAL.fullmatch(generation_id)
    return int(match[1]) if match else None


def dated(generation_id: str) -> str | None:
    """`2026-02-24 21:18 UTC`, the time inside a usual ID; None for every other shape."""
    seconds = created(generation_id)
    return None if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def mentions(data: bytes | bytearray, start: int = 0, end: int | None = None) -> Iterator[tuple[int, str, bool]]:
    """(place, ID, whole) of each ID in `data[start:end]`; one that is not whole lacks its end.

    What stands before `start` is looked at to see whether a word goes on there.
    """
    for match in _candidates(data, start, len(data) if end is None else end):
        place = match.start()
        if place and data[place - 1] in _WORD and not _ESCAPE.search(data, max(0, place - 20), place):
            continue
        tail, old = match["tail"], match["old"]
        if old is not None:
            if not _is_word(old):
                yield place, match[0].decode(), True
        elif tail is not None and len(tail) == 20:
            yield place, match[0].decode(), True
        else:
            yield place, match[0].decode().rstrip("-"), False


def _is_word(tail: bytes) -> bool:
    """28 letters of one case are a word; in an ID that has a chance of one in a billion."""
    return tail.isalpha() and (tail.islower() or tail.isupper())


def _candidates(data: bytes | bytearray, start: int, end: int) -> Iterator[re.Match[bytes]]:
    """Matches of the pattern. Hopping from hyphen to hyphen is ten times faster than a
    search for `gen-` where hyphens are rare, and slower where they are not: so it is
    given up after some."""
    hops = (end - start) >> 11
    place = data.find(b"-", start + 3, end)
    while place >= 0 and hops:
        hops -= 1
        if data.startswith(b"gen", place - 3) and (match := _CANDIDATE.match(data, place - 3, end)):
            yield match
            place = match.end() - 1
        place = data.find(b"-", place + 1, end)
    if place >= 0:
        yield from _CANDIDATE.finditer(data, max(start, place - 3), end)
