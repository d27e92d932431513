"""One result per generation asked for, fetched or read from saved answers, and printed as text or JSON."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from openrouter_generations import cli, documents
from openrouter_generations.documents import Saved
from openrouter_generations.errors import OpenRouterError, UsageError, from_status
from openrouter_generations.output import Output
from openrouter_generations.text import json_text

WORKERS = 8
"""Generations asked for at the same time when several IDs are given."""


class Result(NamedTuple):
    """What became of one generation: a document as received with its record, or an error."""

    generation_id: str | None
    document: dict[str, object]
    data: dict[str, object] | None
    error: OpenRouterError | None = None


def report(args: argparse.Namespace, kind: str, render: Callable[[dict[str, object] | None, str | None], str]) -> int:
    """Print one kind of answer ("metadata" or "content") for every generation asked for.

    `render` makes the text report from the record and the ID asked for. The
    exit code is the first failure's.
    """
    wanted = wanted_ids(args)
    saved = saved_of_kind(args, kind, wanted) if args.sources else None
    several = len(saved if saved is not None else wanted) > 1
    code, gap = 0, ""
    with Output(args.output) as out:
        results = _from_saved(saved) if saved is not None else _fetched(args, kind, wanted)
        for result in results:
            if result.error is not None:
                cli.complain(str(result.error))
                code = code or int(result.error.exit_code)
            if args.json:
                out.write(_json(result, several, out))
            elif result.error is None:
                out.write(gap + cli.without_keys(render(result.data, result.generation_id)))
                gap = "\n"
    return code


def _json(result: Result, several: bool, out: Output) -> str:
    if not several:
        return "" if result.error else json_text(result.document, indent=2, ascii_only=out.ascii_only) + "\n"
    line: dict[str, object] = {"id": result.generation_id}
    if result.error is not None:
        line["error"] = error_object(result.error)
    else:
        line.update(result.document if "data" in result.document else {"data": result.document})
        line["id"] = result.generation_id
    return json_text(line, ascii_only=out.ascii_only) + "\n"


def error_object(error: OpenRouterError) -> dict[str, object]:
    """`{"status", "message"}` of a failure for `--json`; status is null where no HTTP answer came."""
    return {"status": error.status, "message": cli.without_keys(" ".join(str(error).split("\n")))}


def wanted_ids(args: argparse.Namespace) -> list[str]:
    """The IDs of the command line. Raises UsageError when there is nothing to report on."""
    wanted: list[str] = [*args.more_ids, *args.ids]
    if not wanted and not args.sources:
        prog = os.path.basename(sys.argv[0])
        raise UsageError(
            f"Usage: {prog} ID … [--json]   or   {prog} --from FILE\n"
            "A generation ID is missing. It looks like gen-1771967930-1gsys6ZhRaY0TPbuRsDR. "
            "--help shows all flags."
        )
    return wanted


def saved_of_kind(args: argparse.Namespace, kind: str, wanted: list[str]) -> list[Saved]:
    """The saved answers of one kind, narrowed to the wanted IDs if there are any. Raises UsageError."""
    saved = read_saved(args)
    chosen = [item for item in saved if item.kind == kind or item.error is not None]
    if not chosen:
        other = "get_generation_content.py" if kind == "metadata" else "get_generation.py"
        raise UsageError(f"{', '.join(args.sources)}: no {kind} in it. For what it holds, use {other}.")
    return narrowed(chosen, wanted)


def read_saved(args: argparse.Namespace) -> list[Saved]:
    return [item for source in args.sources for item in documents.read(source)]


def narrowed(saved: list[Saved], wanted: list[str]) -> list[Saved]:
    """The saved answers with the wanted IDs, in that order; all of them when none is named.

    A single answer that names no ID (content never does) is taken for the single ID wanted.
    """
    if not wanted:
        return saved
    if len(wanted) == 1 and len(saved) == 1 and saved[0].generation_id is None:
        return [saved[0]._replace(generation_id=wanted[0])]
    by_id = {item.generation_id: item for item in saved}
    missing = "It is not in the files given with --from."
    return [
        by_id.get(one) or Saved("metadata", one, {}, None, from_status(404, missing, subject=one)) for one in wanted
    ]


def _from_saved(saved: Iterable[Saved]) -> Iterator[Result]:
    for item in saved:
        yield Result(item.generation_id, item.document, item.data, item.error)


def _fetched(args: argparse.Namespace, kind: str, wanted: list[str]) -> Iterator[Result]:
    with cli.open_client(args) as client:
        ask = client.generation if kind == "metadata" else client.content
        yield from each(lambda one: fetch(ask, one), wanted)


def fetch(ask: Callable[[str], dict[str, object]], generation_id: str) -> Result:
    """One answer as a Result; only failures that have been understood are caught."""
    try:
        document = ask(generation_id)
    except OpenRouterError as failure:
        return Result(generation_id, {}, None, failure)
    data = document["data"]
    return Result(generation_id, document, data if isinstance(data, dict) else None)


def each(ask: Callable[[str], Result], wanted: list[str]) -> Iterator[Result]:
    """The results in the order asked; several IDs are asked for at the same time."""
    if len(wanted) == 1:
        yield ask(wanted[0])
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(WORKERS, len(wanted)))
    try:
        yield from pool.map(ask, wanted)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
