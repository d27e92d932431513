"""Many generations at once: a pool of threads, a second try after the rate limit, progress on a terminal."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator

from openrouter_generations.errors import OpenRouterError, RateLimitError
from openrouter_generations.text import duration, usd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

_Answer = tuple[str, "dict[str, object] | Exception"]
"""The ID asked for with the document as received, or with what went wrong."""


def _answers(ask: Callable[[str], dict[str, object]], wanted: list[str], workers: int) -> Iterator[_Answer | None]:
    """Answers and failures as they come, from `workers` threads; None now and then while there are none."""
    come: queue.Queue[_Answer] = queue.Queue(4 * workers)
    left = iter(wanted)  # threads may share the iterator of a list

    def work() -> None:
        for one in left:
            try:
                come.put((one, ask(one)))
            except KeyboardInterrupt:  # the client was told to stop
                return
            except Exception as failure:  # noqa: BLE001 -- handed over, and raised there if it is a bug
                come.put((one, failure))

    for _ in range(min(workers, len(wanted))):
        threading.Thread(target=work, daemon=True).start()
    for _ in wanted:
        while True:
            try:
                answer = come.get(timeout=0.5)
                break
            except queue.Empty:
                yield None
        yield answer


def fetch(
    ask: Callable[[str], dict[str, object]],
    wanted: list[str],
    workers: int,
    failures: dict[str, OpenRouterError],
    take: Callable[[str, dict[str, object]], Decimal | None],
) -> None:
    """Ask for every ID, again for those that only the rate limit turned away.

    Each document goes to `take`, which returns what the generation cost, where
    it says so; failures go to `failures` by ID. Raises what `take` raises, and
    KeyboardInterrupt; then the threads may still be at work.
    """
    progress = _Progress(len(wanted))
    try:
        while wanted:
            for answer in _answers(ask, wanted, workers):
                if answer is not None:
                    progress.count(_taken(*answer, failures, take))
                progress.show()
            wanted = _turned_away(wanted, failures)
    finally:
        progress.clear()


def _taken(
    asked: str,
    document: dict[str, object] | Exception,
    failures: dict[str, OpenRouterError],
    take: Callable[[str, dict[str, object]], Decimal | None],
) -> Decimal | None:
    if isinstance(document, OpenRouterError):
        failures[asked] = document
        return None
    if isinstance(document, Exception):
        raise document
    return take(asked, document)


def _turned_away(asked: list[str], failures: dict[str, OpenRouterError]) -> list[str]:
    """The IDs to ask for again: only the rate limit stopped them, while others came through.

    They are taken out of `failures`.
    """
    again = [one for one in asked if isinstance(failures.get(one), RateLimitError)]
    if len(again) == len(asked):
        return []
    for one in again:
        del failures[one]
    return again


class _Progress:
    """One line on stderr that is written over, when stderr is a terminal; otherwise nothing."""

    def __init__(self, total: int) -> None:
        self._on = sys.stderr is not None and sys.stderr.isatty()
        self._total, self._done = total, 0
        self._cost: Decimal | int = 0
        self._started, self._shown = time.monotonic(), 0.0

    def count(self, cost: Decimal | None) -> None:
        """One more is done; `cost` in US dollars where it is known."""
        self._done += 1
        self._cost += cost or 0

    def show(self) -> None:
        now = time.monotonic()
        if not self._on or now - self._shown < 0.1:
            return
        self._shown = now
        rate = self._done / max(now - self._started, 0.001)
        left = f", {duration(1000 * (self._total - self._done) / rate)} left" if rate else ""
        line = f"{self._done:,} of {self._total:,}, {rate:.1f}/s, {usd(self._cost)} so far{left}"
        sys.stderr.write(f"\r{line[:78]:<78}")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._on and self._shown:
            sys.stderr.write("\r" + " " * 78 + "\r")
            sys.stderr.flush()
