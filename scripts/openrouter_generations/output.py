"""Writing: to standard output, or to files that appear whole or not at all, readable by their owner only."""

from __future__ import annotations

import os
import sys
import tempfile
from types import TracebackType

from openrouter_generations.errors import OutputError
from openrouter_generations.text import safe_line


def write_file(path: str, content: bytes) -> None:
    """Write atomically with mode 0600. Raises OutputError, also for a target that is no regular file."""
    with _NewFile(path) as file:
        file.write(content)


class Output:
    """Where a report goes: standard output piece by piece, or with `path` a file at the end.

    A context manager; the file appears only when the block ends well and
    something was written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: _NewFile | None = None

    def __enter__(self) -> Output:
        if self._path is not None:
            _check_target(self._path)
        elif sys.stdout is None:
            raise OutputError("Standard output is closed; nothing can be printed.")
        return self

    @property
    def ascii_only(self) -> bool:
        """Whether JSON has to leave out what the terminal's encoding may lack."""
        return self._path is None and (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"

    def write(self, text: str) -> None:
        if self._path is None:
            _print(text)
            return
        if self._file is None:
            self._file = _NewFile(self._path)
        self._file.write(text.encode("utf-8", "backslashreplace"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None or self._path is None:
            return
        if kind is not None:
            self._file.discard()
            return
        written = self._file.commit()
        if sys.stdout is not None:
            _print(f"Wrote {written:,} bytes to {safe_line(self._path)}\n")


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as problem:
        raise OutputError(f"The report could not be written: {problem}.") from None


def _check_target(path: str) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{safe_line(path)} is not a regular file and will not be replaced by one.")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise OutputError(f"{safe_line(path)} could not be written: there is no folder {safe_line(folder)}.")


class _NewFile:
    """A temporary neighbour of `path` that takes its place on commit."""

    def __init__(self, path: str) -> None:
        _check_target(path)
        self._path = path
        try:
            self._path = os.path.realpath(path)  # a link is kept, the file behind it replaced
            descriptor, self._temporary = tempfile.mkstemp(  # mode 0600
                dir=os.path.dirname(self._path), prefix=".openrouter-", suffix=".part"
            )
        except OSError as problem:
            raise self._failure(problem) from None
        self._file = os.fdopen(descriptor, "wb")

    def __enter__(self) -> _NewFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def write(self, content: bytes) -> None:
        try:
            self._file.write(content)
        except OSError as problem:
            self.discard()
            raise self._failure(problem) from None

    def commit(self) -> int:
        """Put the file in its place; the number of bytes in it."""
        try:
            written = self._file.tell()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self._path)
        except OSError as problem:
            self.discard()
            raise self._failure(problem) from None
        return written

    def discard(self) -> None:
        for step in (self._file.close, lambda: os.unlink(self._temporary)):
            try:
                step()
            except OSError:
                continue  # the disk that is full now may refuse this too

    def _failure(self, problem: OSError) -> OutputError:
        return OutputError(f"{safe_line(self._path)} could not be written: {problem.strerror}.")
