"""What the entry scripts share: flags, running the work, printing, exit codes, Ctrl-C and closed pipes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from io import TextIOWrapper

from openrouter_generations import __version__
from openrouter_generations.errors import (
    EXIT_MEANINGS,
    BadAnswerError,
    ExitCode,
    OpenRouterError,
    OutputError,
    UsageError,
)
from openrouter_generations.text import plural, safe_line, safe_text, scrubbed

TYPE_CHECKING = False  # type checkers take it for true; importing typing for it would slow down --help
if TYPE_CHECKING:
    from threading import Event

    from openrouter_generations.client import Client


class Parser(argparse.ArgumentParser):
    """argparse with exact flags, and errors that repeat neither a key nor what could steer a terminal."""

    takes_ids = False

    def __init__(self, doc: str, examples: str) -> None:
        codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_MEANINGS.items())
        super().__init__(
            description=doc,
            epilog=f"examples:\n{examples.strip(chr(10))}\n\nexit codes:\n{codes}",
            # A given width also saves argparse the import of shutil, a tenth of the time that --help takes.
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=80),
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"openrouter-generations {__version__}")

    def error(self, message: str) -> None:  # type: ignore[override]
        if sys.stderr is None:  # closed; argparse before 3.11 does not expect that
            self.exit(ExitCode.USAGE)
        super().error(scrubbed(safe_line(message)))

    def add_ids(self) -> None:
        """`ID …`, `--id` and `--from`: what to report on."""
        self.takes_ids = True
        self.add_argument(
            "ids", metavar="ID", nargs="*", help="generation IDs, like gen-1771967930-1gsys6ZhRaY0TPbuRsDR"
        )
        self.add_argument("--id", dest="more_ids", metavar="ID", action="append", default=[], help="the same as a flag")
        self.add_argument(
            "--from", dest="sources", metavar="FILE", action="append", default=[],
            help="read saved responses instead of calling the API; - is standard input; needs no key",
        )  # fmt: skip

    def add_output(self, json_help: str = "print the API's response, complete; several IDs: one object a line") -> None:
        self.add_argument("--json", action="store_true", help=json_help)
        self.add_argument(
            "--output", metavar="FILE", help="write the report to FILE (mode 0600) instead of printing it"
        )

    def add_network(self) -> None:
        self.add_argument("--api-key", metavar="KEY", help="instead of OPENROUTER_API_KEY")
        self.add_argument(
            "--wait", metavar="SECONDS", type=_seconds(0, 86_400),
            help="keep asking while the answer is 404 (default: 30 for an ID under two minutes old, otherwise 0)",
        )  # fmt: skip
        self.add_argument(
            "--timeout", metavar="SECONDS", type=_seconds(0.001, 86_400), default=30.0,
            help="limit for one attempt, connect to last byte (default: 30)",
        )  # fmt: skip
        self.add_argument(
            "--retries", metavar="N", type=whole(0, 100), default=3,
            help="further attempts after 408, 429, 5xx and network failures (default: 3)",
        )  # fmt: skip


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from {least:g} to {most:g}")
        return value

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    """An argparse type: a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def run(parser: Parser, work: Callable[[argparse.Namespace], int], argv: Sequence[str] | None = None) -> int:
    """Parse the command line, do the work, and turn every failure into a message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # an ASCII terminal shows \u2026 for an ellipsis
            stream.reconfigure(errors="backslashreplace")
    try:
        return _finished(_worked(parser, work, sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        _silence()
        return 0
    except ImportError as missing:
        complain(_missing_package(parser.prog, missing))
        return 1
    except Exception as failure:  # noqa: BLE001 -- the last line of defence: a message instead of a traceback
        return _failed(failure)


def _worked(parser: Parser, work: Callable[[argparse.Namespace], int], argv: Sequence[str]) -> int:
    try:
        args = parser.parse_intermixed_args(_joined(argv, ids=parser.takes_ids))
    except SystemExit as ended:  # --help, --version, wrong usage: all said
        return int(ended.code or 0)
    _check_output(args)
    _heed_termination()
    return work(args)


def _heed_termination() -> None:
    """SIGTERM, which an agent's time limit sends, ends the work as Ctrl-C does: tidily, and with what is known."""
    import signal

    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not in the main thread
        return


def _check_output(args: argparse.Namespace) -> None:
    """A report does not replace what the same run reads or keeps."""
    if not args.output:
        return
    named = vars(args)
    for flag in ("files", "sources", "save"):
        given = named.get(flag) or []
        for path in [given] if isinstance(given, str) else given:
            if path != "-" and os.path.realpath(path) == os.path.realpath(args.output):
                raise UsageError(
                    f"--output {safe_line(path)} would replace a file that this run reads or keeps. Name another file."
                )


def _joined(argv: Sequence[str], *, ids: bool) -> list[str]:
    """Words that argparse would misread: `--messages -3:` becomes one word, and `--id ID` the bare ID.

    It takes a value that begins with a dash for a flag, and would put every
    `--id` before the other IDs, whatever their order.
    """
    joined: list[str] = []
    for word in argv:
        before = joined[-1] if joined else ""
        if before == "--messages" and word[:1] == "-" and word[1:2].isdigit():
            joined[-1] += f"={word}"
        elif ids and before == "--id" and word[:1] not in ("-", ""):
            joined[-1] = word
        else:
            joined.append(word)
    return joined


def _failed(failure: Exception) -> int:
    if isinstance(failure, RecursionError):
        failure = BadAnswerError("it is nested too deeply to be shown.")
    if isinstance(failure, OpenRouterError):
        complain(str(failure))
        _silence()
        return int(failure.exit_code)
    complain(f"Unexpected {type(failure).__name__}: {failure}\nThis is a bug in openrouter-generations.")
    _silence()
    return 1


def _finished(code: int) -> int:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise OutputError(f"The output could not be written: {problem.strerror}.") from None
    return code


def _interrupted() -> int:
    import threading

    complain("Interrupted.")
    _silence()
    if threading.active_count() > 1:
        os._exit(130)  # requests still under way would hold up a normal exit for as long as their timeout
    return 130


def _silence(descriptor: int = 1) -> None:
    """Nothing that is still buffered may fail a second time when the interpreter ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    except OSError:
        return


def _missing_package(prog: str, missing: ImportError) -> str:
    name = {"dotenv": "python-dotenv", "httpcore": "httpx"}.get(missing.name or "", missing.name or str(missing))
    return (
        f"Missing Python package {name}: run `uv run {sys.argv[0] or prog} …`, "
        "or first `python3 -m pip install httpx python-dotenv`."
    )


def complain(message: str) -> None:
    """A line or paragraph on stderr, without keys and control characters."""
    if sys.stderr is None:
        return
    try:
        print(without_keys(safe_text(message)), file=sys.stderr, flush=True)
    except (OSError, UnicodeError, ValueError):
        _silence(2)


def complain_of(failures: Iterable[OpenRouterError]) -> None:
    """A paragraph for each kind of failure: the first one's message, and how many others there are."""
    kinds: dict[type[OpenRouterError], list[OpenRouterError]] = {}
    for failure in failures:
        kinds.setdefault(type(failure), []).append(failure)
    for alike in kinds.values():
        more = f"\nThe same for {plural(len(alike) - 1, 'other generation')}." if len(alike) > 1 else ""
        complain(f"{alike[0]}{more}")


def without_keys(text: str) -> str:
    """Text without `sk-or-…` strings and without the key that this run may use."""
    candidates = [os.environ.get("OPENROUTER_API_KEY", ""), *_keys_in_use]
    return scrubbed(text, *[key for key in candidates if len(key) >= 8])


_keys_in_use: list[str] = []


def open_client(args: argparse.Namespace, *, connections: int = 16, stop: Event | None = None) -> Client:
    """A client by flags, environment and `.env`. Raises MissingKeyError, UsageError."""
    from openrouter_generations import settings
    from openrouter_generations.client import Client

    try:
        folder = os.getcwd()
    except OSError:  # it was deleted
        folder = ""
    found = settings.load(args.api_key, os.environ, folder)
    _keys_in_use.append(found.api_key)
    return Client(
        found.api_key,
        found.api_root,
        key_source=found.key_source,
        timeout=args.timeout,
        retries=args.retries,
        wait=args.wait,
        headers=found.headers,
        allow_http=os.environ.get(settings.ALLOW_HTTP) == "1",
        connections=connections,
        stop=stop,
    )
