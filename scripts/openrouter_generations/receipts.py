"""The append-only store of fetched records: JSON Lines, one record a line.

    {"id": "gen-…", "fetched_at": "2026-02-24T21:18:50.123Z", "data": {…}}

`id` is the ID asked for, `data` the record as the API gave it. A line is
written whole by one call, so a killed run leaves at most one torn line, which
is taken off by the next run and skipped by every reader.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Iterator

from openrouter_generations.errors import OutputError, UsageError
from openrouter_generations.text import json_text, safe_line

_LONGEST = 80 << 20
"""Bytes of a line; a record can hardly be larger than the answer it came in."""
_BEGINNING = b'{"id":"'
_DECODER = json.JSONDecoder()


Receipt = tuple[str, dict[str, object], str]
"""The ID asked for, the record, and when it was fetched; the last is empty where the line does not say."""


def receipt(line: bytes) -> Receipt | None:
    """The receipt in a line; None for a torn one and for anything else."""
    try:
        text = line.decode("utf-8")
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if type(value) is not dict or text[end:].strip():
        return None
    named, data = value.get("id"), value.get("data")
    if type(named) is not str or type(data) is not dict or ("input" in data and "output" in data):
        return None  # the last is stored content
    fetched_at = value.get("fetched_at")
    return named, data, fetched_at if type(fetched_at) is str else ""


def read(path: str) -> Iterator[Receipt | bytes]:
    """Every receipt in the order written, and each line that is none, as bytes.

    Where an ID comes twice, the one fetched last counts. Raises UsageError for a file that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            while line := file.readline(_LONGEST):
                found = receipt(line)
                if found is not None:
                    yield found
                elif line.strip():
                    yield line
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "not a usable name"
        raise UsageError(f"{safe_line(path)} cannot be read: {reason}.") from None


def begins_with_receipts(path: str) -> bool:
    """Whether one of the first lines is a receipt; other saved answers may go over many lines."""
    return any(map(receipt, _beginning(path)))


def _beginning(path: str) -> list[bytes]:
    """The first lines; none where the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return [file.readline(_LONGEST) for _ in range(5)]
    except (OSError, ValueError):
        return []


def _foreign(path: str) -> bool:
    """Whether a file holds something, and nothing like receipts."""
    lines = _beginning(path)
    return any(lines) and not any(map(receipt, lines)) and not (_torn(lines[0]) and not any(lines[1:]))


def _torn(line: bytes) -> bool:
    """Whether a line is the beginning of a receipt and no more."""
    start = line[:40].replace(b" ", b"")[: len(_BEGINNING)]
    return not line.endswith(b"\n") and receipt(line) is None and _BEGINNING.startswith(start)


class Store:
    """A receipts file held by one run: a second run on it is refused while this one lives.

    Raises UsageError for a file that is no receipts file or is in use,
    OutputError when it cannot be opened or written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        except (OSError, ValueError) as problem:
            reason = getattr(problem, "strerror", None) or "not a usable name"
            raise OutputError(f"{safe_line(path)} could not be opened: {reason}.") from None
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise UsageError(f"{safe_line(path)} is not a regular file; receipts need one.")
            _lock(self._file, path)
            if _foreign(path):
                raise UsageError(f"{safe_line(path)} holds something else than receipts; name another file.")
            self._mend()
        except BaseException:
            os.close(self._file)
            raise

    def _mend(self) -> None:
        """Make the file end in a whole line: cut off a torn receipt, end a line that lacks only its end."""
        end = place = os.fstat(self._file).st_size
        tail = b""
        while place and b"\n" not in tail:
            step = min(1 << 16, place)
            place -= step
            os.lseek(self._file, place, os.SEEK_SET)
            tail = os.read(self._file, step) + tail
        last = tail[tail.rfind(b"\n") + 1 :]
        if last and _torn(last):
            os.ftruncate(self._file, end - len(last))
        elif last:
            self._write(b"\n")

    def add(self, generation_id: str, data: dict[str, object]) -> None:
        """Append one record; it survives the end of this process from here on."""
        seconds, thousandths = divmod(time.time_ns() // 1_000_000, 1000)
        fetched_at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        line = json_text({"id": generation_id, "fetched_at": f"{fetched_at}.{thousandths:03}Z", "data": data}) + "\n"
        self._write(line.encode())

    def _write(self, octets: bytes) -> None:
        try:
            written = os.write(self._file, octets)
        except OSError as problem:
            raise OutputError(f"{safe_line(self._path)} could not be written: {problem.strerror}.") from None
        if written < len(octets):
            raise OutputError(f"{safe_line(self._path)} could not be written: the disk is full.")

    def close(self) -> None:
        """Also gives up the lock."""
        os.close(self._file)


def _lock(file: int, path: str) -> None:
    """Raises UsageError when another run holds the file. Without locks (Windows, some network disks): none."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"{safe_line(path)} is being written by another run. Wait until that has ended, "
            "or give this run a file of its own: several files can be read together with --from."
        ) from None
    except OSError:
        return
