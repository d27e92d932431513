"""Users' own files: which generations they mention, and what they say those cost.

Files may be anything (transcripts, JSON Lines, CSV exports, plain logs, binary
junk, gzip of these) and of any size: they are read in pieces, so memory does
not grow with them, only with the number of different IDs.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Collection, Iterator
from io import BufferedReader
from typing import BinaryIO, NamedTuple

from openrouter_generations import claims, ids
from openrouter_generations.claims import Claim
from openrouter_generations.errors import UsageError
from openrouter_generations.text import UTF_16_MARKS, safe_line

_PIECE = 1 << 16
_LONGEST_LINE = 1 << 20
"""Bytes; a longer line is searched for IDs, but not read for costs."""


class Log(NamedTuple):
    """What was found. Keys are in the order of first mention.

    `mentions` and `cut` count how often each whole and each cut ID is named;
    `claims` holds what the text says an ID cost; `problems` are sentences about
    files that could not be read to their end.
    """

    mentions: dict[str, int]
    cut: dict[str, int]
    claims: dict[str, Claim]
    files: list[str]
    problems: list[str]


def read(paths: list[str], skip: Collection[str | None] = ()) -> Log:
    """Search files, folders (with all below them) and `-` for standard input.

    `skip`: files to leave out of folders, such as the receipts being written.
    Raises UsageError for a path that is not there or cannot be opened.
    """
    log = Log({}, {}, {}, [], [])
    left_out = {os.path.realpath(path) for path in skip if path}
    for path in paths:
        if path == "-":
            _read_stream(_standard_input(), "standard input", log)
        elif os.path.isdir(path):
            for file in _files_below(path, log):
                if os.path.realpath(file) not in left_out:
                    _read_file(file, log, named=False)
        else:
            _read_file(path, log, named=True)
    return log


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise UsageError("Standard input is closed; name a file instead of -.")
    return sys.stdin.buffer


def _files_below(folder: str, log: Log) -> Iterator[str]:
    def note(problem: OSError) -> None:
        log.problems.append(f"{safe_line(str(problem.filename))}: {problem.strerror}, left out.")

    for parent, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if os.path.isfile(path):  # no pipes, no devices: they may never end
                yield path


def _read_file(path: str, log: Log, *, named: bool) -> None:
    try:
        with open(path, "rb") as file:
            _read_stream(file, path, log)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "not a usable name"
        if named:
            raise UsageError(f"{safe_line(path)} cannot be read: {reason}.") from None
        log.problems.append(f"{safe_line(path)}: {reason}, left out.")


def _read_stream(stream: BinaryIO, name: str, log: Log) -> None:
    log.files.append(name)
    search = _Search(log)
    try:
        for piece in _pieces(stream):
            search.feed(piece)
    except (zlib.error, EOFError, _BadGzip) as problem:
        log.problems.append(f"{safe_line(name)}: damaged gzip ({problem}); what stands before that was read.")
    search.close()


class _BadGzip(Exception):
    """What gzip raises as OSError, which would read as a disk failure."""


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """The text in pieces, whatever it is wrapped in: gzip, or UTF-16 as Windows shells write it."""
    start = stream.peek(2)[:2] if isinstance(stream, BufferedReader) else b""
    if start == b"\x1f\x8b":
        yield from _inflated(stream)
    elif start in UTF_16_MARKS:
        import codecs

        decode = codecs.getincrementaldecoder("utf-16")("replace").decode
        while piece := stream.read(_PIECE):
            yield decode(piece).encode("utf-8", "replace")
    else:
        while piece := stream.read(_PIECE):
            yield piece


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    import gzip

    with gzip.GzipFile(fileobj=stream) as file:
        try:
            while piece := file.read1(_PIECE):
                yield piece
        except gzip.BadGzipFile as problem:
            raise _BadGzip(str(problem)) from None


class _Search:
    """Searches one file fed in pieces: whole lines, and overlong ones with an overlap.

    `_text` is what is at hand, searched up to `_done`; what stands before that
    is kept as context for the next ID.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._text = bytearray()
        self._done = 0
        self._inside_line = False
        self._costs: claims.Reader | None = None

    def feed(self, piece: bytes) -> None:
        context = max(0, self._done - ids.MARGIN)
        del self._text[:context]
        self._text += piece
        self._done -= context
        end = self._text.rfind(b"\n") + 1
        if end > self._done:
            self._search(end)
        elif len(self._text) - self._done > _LONGEST_LINE:
            self._search(len(self._text) - ids.MARGIN)

    def close(self) -> None:
        self._search(len(self._text))

    def _search(self, end: int) -> None:
        """Search up to `end`, which is the end of a line or MARGIN before that of the text."""
        text, counts = self._text, (self._log.cut, self._log.mentions)
        if self._costs is None:
            self._costs = claims.Reader(bytes(text[: text.find(b"\n", 0, 4096) + 1]), self._log.claims)
        line_end, named = self._done, set[str]()
        for place, found, whole in ids.mentions(text, self._done, min(len(text), end + ids.MARGIN)):
            if place >= end:
                break
            counts[whole][found] = counts[whole].get(found, 0) + 1
            if place >= line_end:
                self._read_costs(line_end, named)
                named = set()
                line_end = text.find(b"\n", place, end) + 1 or end
            if whole:
                named.add(found)
        self._read_costs(line_end, named)
        self._inside_line = text[end - 1 : end] != b"\n"
        self._done = end

    def _read_costs(self, line_end: int, named: set[str]) -> None:
        """Read the line that ends there, which holds these IDs, unless its beginning is gone."""
        if not named or self._costs is None:
            return
        start = self._text.rfind(b"\n", 0, line_end - 1) + 1
        if (start > self._done or not self._inside_line) and line_end - start <= _LONGEST_LINE:
            self._costs.line(bytes(self._text[start:line_end]), named)
