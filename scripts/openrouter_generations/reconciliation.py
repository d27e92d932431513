"""A log against OpenRouter's books: find its IDs, fetch what is not known yet, keep it, report."""

from __future__ import annotations

import argparse
import gc

from openrouter_generations import claims, cli, documents, fetching, fields, logs, receipts, summary
from openrouter_generations import reconciliation_formats as formats
from openrouter_generations import reconciliation_report as report
from openrouter_generations.errors import (
    ExitCode,
    NetworkError,
    NotFoundError,
    OpenRouterError,
    OutputError,
    UsageError,
    from_status,
)
from openrouter_generations.output import Output
from openrouter_generations.reconciliation_report import Reconciliation
from openrouter_generations.summary import Row
from openrouter_generations.text import json_text, plural, safe_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

    Ending = OpenRouterError | KeyboardInterrupt | None  # what ended the fetching early


def reconcile(args: argparse.Namespace) -> int:
    """The whole command. Returns the exit code: 4 when an ID is missing, otherwise the first failure's."""
    _check(args)
    store = receipts.Store(args.save) if args.save else None
    try:
        with Output(args.output) as out:
            found, ended_by = _gathered(args, store)
            if args.json:
                out.write(json_text(formats.as_json(found), indent=2, ascii_only=out.ascii_only) + "\n")
            else:
                out.write(cli.without_keys(formats.as_csv(found) if args.csv else report.render(found)))
    finally:
        if store:
            store.close()
    return _outcome(args, found, ended_by)


def _check(args: argparse.Namespace) -> None:
    if not args.files and not args.sources:
        raise UsageError(
            "Usage: reconcile_generations.py FILE … [--save RECEIPTS.jsonl]\n"
            "Nothing to read: name files or folders that mention generation IDs, - for standard input, "
            "or --from RECEIPTS.jsonl. --help shows all flags."
        )
    if args.json and args.csv:
        raise UsageError("--json and --csv are two forms of one report. Leave one out.")
    if args.sources and args.save:
        raise UsageError("--from reads receipts and asks for nothing, so there is nothing to --save. Leave one out.")
    if [*args.files, *args.sources].count("-") > 1:
        raise UsageError("Standard input (-) can be read only once.")


def _gathered(args: argparse.Namespace, store: receipts.Store | None) -> tuple[Reconciliation, Ending]:
    """Read the files, take what receipts hold, fetch the rest."""
    log = logs.read(args.files, skip=[args.save, args.output, *args.sources]) if args.files else None
    problems = list(log.problems) if log else []
    books = _Books(set(log.mentions) if log else None)
    if args.save:
        books.read_receipts(args.save, problems)
    for path in args.sources:
        books.read(path, problems)
    wanted = list(log.mentions if log else {**books.rows, **books.failures})
    left = [one for one in wanted if one not in books.rows and one not in books.failures]
    ended_by: Ending = None
    if args.sources:
        books.failures.update((one, _not_in_receipts(one)) for one in left)
    elif left:
        ended_by = _fetch(args, store, left, books)
    rows = sorted(
        (books.rows[one] for one in wanted if one in books.rows), key=lambda row: (row.created_at or "", row.id)
    )
    found = Reconciliation(
        rows,
        {one: books.failures[one] for one in wanted if one in books.failures and one not in books.rows},
        [one for one in left if one not in books.rows and one not in books.failures],
        log,
        summary.summarise(rows, args.by or ["model"]),
        claims.compare(log.claims, rows) if log else None,
        problems,
        interrupted=ended_by is not None,
        offline=bool(args.sources),
    )
    return found, ended_by


def _not_in_receipts(generation_id: str) -> NotFoundError:
    return NotFoundError(404, "It is not in the receipts given with --from.", subject=generation_id)


class _Books:
    """What is known of each ID: a row of its record, or why there is none. `wanted`: None for every ID."""

    def __init__(self, wanted: set[str] | None) -> None:
        self.rows: dict[str, Row] = {}
        self.failures: dict[str, OpenRouterError] = {}
        self._wanted = wanted
        self._fetched_at: dict[str, str] = {}

    def add(self, generation_id: str, record: dict[str, object]) -> None:
        self.rows[generation_id] = summary.row(generation_id, record)

    def read(self, path: str, problems: list[str]) -> None:
        """Take in a file of receipts, or of other saved answers. Raises UsageError for one that is neither."""
        if path != "-" and receipts.begins_with_receipts(path):
            self.read_receipts(path, problems)
        else:
            self._read_answers(path, problems)

    def read_receipts(self, path: str, problems: list[str]) -> None:
        lost = 0
        gc.disable()  # it would walk all rows again and again, and they have no cycles
        try:
            for item in receipts.read(path):
                if isinstance(item, bytes):
                    lost += not self._saved_failure(item)
                    continue
                named, data, fetched_at = item
                if self._wanted is not None and named not in self._wanted:
                    continue
                if not fetched_at or fetched_at >= self._fetched_at.get(named, ""):
                    self._fetched_at[named] = fetched_at
                    self.add(named, data)
        finally:
            gc.enable()
        if lost:
            problems.append(f"{safe_line(path)}: {plural(lost, 'line')} skipped, torn or no receipt.")

    def _saved_failure(self, line: bytes) -> bool:
        """Take in a line `{"id", "error": {"status", "message"}}`, as get_generation.py --json prints it."""
        try:
            item = documents.parsed(line.decode())
        except (OpenRouterError, UnicodeDecodeError):
            return False
        error, named = (fields.mapping(item, "error"), item.get("id")) if isinstance(item, dict) else (None, None)
        if error is None or not isinstance(named, str):
            return False
        status, message = fields.count(error, "status") or 0, fields.text(error, "message") or ""
        if self._wanted is None or named in self._wanted:
            known = 400 <= status < 600
            self.failures[named] = (
                from_status(status, message, subject=named) if known else NetworkError(safe_line(message[:300]))
            )
        return True

    def _read_answers(self, path: str, problems: list[str]) -> None:
        read, unusable = 0, []
        for saved in documents.read(path):
            if saved.generation_id is None or saved.kind != "metadata":
                unusable.append(str(saved.error or f"{path}: stored content, not metadata: left out."))
                continue
            read += 1
            if self._wanted is None or saved.generation_id in self._wanted:
                if saved.data is not None:
                    self.add(saved.generation_id, saved.data)
                else:
                    self.failures[saved.generation_id] = saved.error or _without_record(saved.generation_id)
        if unusable and not read:
            raise UsageError(unusable[0])
        problems += unusable


def _without_record(generation_id: str) -> NotFoundError:
    return NotFoundError(404, "The answer holds no record (data is null).", subject=generation_id)


# --- Fetching ---


def _fetch(args: argparse.Namespace, store: receipts.Store | None, wanted: list[str], books: _Books) -> Ending:
    """Ask for every ID and keep what comes, until the end or what ends it early."""
    import threading

    stop = threading.Event()
    client = cli.open_client(args, connections=args.concurrency, stop=stop)

    def take(asked: str, document: dict[str, object]) -> Decimal | None:
        data = document.get("data")
        if not isinstance(data, dict):
            books.failures[asked] = _without_record(asked)
            return None
        books.add(asked, data)
        if store:
            store.add(asked, data)
        return books.rows[asked].cost

    try:
        fetching.fetch(client.generation, wanted, args.concurrency, books.failures, take)
    except (KeyboardInterrupt, OutputError) as ending:
        stop.set()  # the threads are daemons: a request under way does not hold up the end
        return ending
    client.close()
    return None


# --- The end ---


def _outcome(args: argparse.Namespace, found: Reconciliation, ended_by: Ending) -> int:
    """Say on stderr what went wrong, one paragraph a kind, and choose the exit code.

    What is missing stands in the text report, with the causes; on the screen that is enough.
    """
    shown = not (args.json or args.csv or args.output)
    cli.complain_of(error for error in found.failures.values() if not (shown and isinstance(error, NotFoundError)))
    if isinstance(ended_by, OpenRouterError):
        cli.complain(f"{ended_by}\n{plural(len(found.not_asked), 'generation')} left.")
        return ended_by.exit_code
    if ended_by is not None:
        cli.complain(_how_to_resume(args, found))
        return ExitCode.INTERRUPTED
    if not found.generations:
        cli.complain("No generation ID was found. One looks like gen-1771967930-1gsys6ZhRaY0TPbuRsDR.")
        return ExitCode.NOT_FOUND
    codes = [error.exit_code for error in found.failures.values()]
    return ExitCode.NOT_FOUND if ExitCode.NOT_FOUND in codes else codes[0] if codes else ExitCode.DONE


def _how_to_resume(args: argparse.Namespace, found: Reconciliation) -> str:
    left = plural(len(found.not_asked), "generation")
    if args.save:
        return f"Interrupted with {left} left. The same command goes on from there: what was fetched is in {args.save}."
    return (
        f"Interrupted with {left} left. Nothing was kept: with --save RECEIPTS.jsonl a later run "
        "asks only for what is missing."
    )
