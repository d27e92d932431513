"""The run behind diagnose_generation.py: both answers of each generation, fetched at once or read; the output."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from openrouter_generations import cli, comparison, diagnosis_report, results
from openrouter_generations.diagnosis import Diagnosis, diagnose
from openrouter_generations.documents import Saved
from openrouter_generations.errors import ApiError, NotFoundError, OpenRouterError, UsageError
from openrouter_generations.output import Output
from openrouter_generations.text import json_text, safe_line

if TYPE_CHECKING:
    from concurrent.futures import Future

    from openrouter_generations.client import Client

LATE = 0.3
"""Seconds: a record that came later than the content's 404 by more may have content by now."""


class Answers(NamedTuple):
    """What became of one generation: its record and content, or why they are not there."""

    generation_id: str | None
    record: dict[str, object] | None = None
    error: OpenRouterError | None = None
    content: dict[str, object] | None = None
    unread: str | None = None
    """Why `content` is None, in a line."""


def report(args: argparse.Namespace) -> int:
    """Diagnose every generation asked for; the exit code is the first failure's. Content never fails it."""
    wanted = results.wanted_ids(args)
    with Output(args.output) as out:
        answers = list(_paired(args, wanted) if args.sources else _fetched(args, wanted))
        code = 0
        for one in answers:
            if one.error is not None:
                cli.complain(str(one.error))
                code = code or int(one.error.exit_code)
        diagnoses = [_diagnosed(one) if one.error is None else None for one in answers]
        known = [one for one in diagnoses if one is not None]
        compared = comparison.compare(known) if len(known) > 1 else None
        if args.json:
            out.write(_json(answers, diagnoses, compared, out.ascii_only))
        elif compared is not None:
            out.write(cli.without_keys(diagnosis_report.render_several(known, compared, plain_ascii=out.ascii_only)))
        elif known:
            out.write(cli.without_keys(diagnosis_report.render(known[0], plain_ascii=out.ascii_only)))
    return code


def _diagnosed(one: Answers) -> Diagnosis:
    return diagnose(one.record or {}, one.content, one.generation_id, one.unread)


def _json(
    answers: list[Answers],
    diagnoses: list[Diagnosis | None],
    compared: comparison.Comparison | None,
    ascii_only: bool,
) -> str:
    """One ID: indented, nothing for a failure. Several: one object a line, the last with the comparison."""
    if len(answers) == 1:
        only = diagnoses[0]
        return "" if only is None else json_text(only.as_dict(), indent=2, ascii_only=ascii_only) + "\n"
    lines: list[dict[str, object]] = []
    for one, diagnosis in zip(answers, diagnoses, strict=True):
        if diagnosis is not None:
            lines.append(diagnosis.as_dict())
        elif one.error is not None:
            lines.append({"id": one.generation_id, "error": results.error_object(one.error)})
    if compared is not None:
        lines[-1]["comparison"] = compared.as_dict()
    return "".join(json_text(line, ascii_only=ascii_only) + "\n" for line in lines)


# --- From the API ---


def _fetched(args: argparse.Namespace, wanted: list[str]) -> Iterator[Answers]:
    """Metadata and content of every ID, all at the same time, in the order asked."""
    from concurrent.futures import ThreadPoolExecutor

    pool, stop = ThreadPoolExecutor(2 * min(results.WORKERS, len(wanted))), threading.Event()
    with cli.open_client(args, stop=stop) as client:
        try:
            jobs = []
            for generation_id in wanted:
                record = pool.submit(results.fetch, client.generation, generation_id)
                jobs.append((generation_id, record, pool.submit(_content, client, generation_id, record)))
            for generation_id, record, content in jobs:
                found = record.result()
                if found.error is not None:
                    content.cancel()
                    yield Answers(generation_id, error=found.error)
                    continue
                stored, unread = content.result()
                yield Answers(generation_id, found.data, None, stored, unread)
        finally:
            stop.set()  # what still waits, for content that nobody needs now, ends
            pool.shutdown(wait=False, cancel_futures=True)


def _content(
    client: Client, generation_id: str, record: Future[results.Result]
) -> tuple[dict[str, object] | None, str | None]:
    """(content, why there is none). A 404 is waited out only as long as the record itself is late."""
    if not generation_id.strip() or not generation_id.isprintable():
        return None, None  # asking for the record refuses such an ID
    path = f"/generation/content?id={quote(generation_id, safe='')}"
    try:
        return _data(client.get(path)), None
    except NotFoundError as missing:
        asked = time.monotonic()
        if record.result().error is not None or time.monotonic() - asked < LATE:
            return None, unread(missing)
    except OpenRouterError as failure:
        return None, unread(failure)
    try:
        return _data(client.get(path)), None
    except OpenRouterError as failure:
        return None, unread(failure)


def _data(document: dict[str, object]) -> dict[str, object] | None:
    data = document["data"]
    return data if isinstance(data, dict) else None


def unread(failure: OpenRouterError) -> str:
    """Why content could not be read, in a line that says what would help."""
    if not isinstance(failure, ApiError):
        return f"could not be read ({safe_line(str(failure)).removeprefix('Error: ')}); the rest stands without it"
    said = safe_line(failure.server_message.strip())[:200]
    reason = f"{failure.status}: {said}" if said else f"status {failure.status}"
    if failure.status == 403:
        return f"could not be read ({reason}): it takes a management key, or an admin of the account it belongs to"
    if failure.status == 404:
        return f"not there ({reason}): not stored (Input & Output Logging off, or ZDR), or not yet, or deleted"
    return f"could not be read ({reason}); the rest stands without it"


# --- From saved answers ---


def _paired(args: argparse.Namespace, wanted: list[str]) -> list[Answers]:
    """Saved metadata with saved content: by ID where the content names one, otherwise in order.

    A saved API error stands for the content of a record that has none, unless
    it names another ID.
    """
    saved = results.read_saved(args)
    answers = [
        Answers(one.generation_id, one.data, one.error)
        for one in saved
        if one.kind == "metadata" and not _about_content(one, saved)
    ]
    if not answers:
        raise UsageError(f"{', '.join(args.sources)}: no metadata in it. Add what get_generation.py --json printed.")
    spare = [one for one in saved if one.kind == "content" or _about_content(one, saved)]
    for item in sorted(spare, key=lambda one: one.generation_id is None):
        place = next((i for i, one in enumerate(answers) if _fits(one, item)), None)
        if place is None:
            cli.complain(
                f"Content of {safe_line(item.generation_id or 'an unnamed generation')} is left out: no metadata."
            )
        elif item.error is not None:
            answers[place] = answers[place]._replace(unread=unread(item.error))
        else:
            answers[place] = answers[place]._replace(content=item.data, unread=None if item.data else "nothing stored")
    answers = [one if one.content or one.unread else one._replace(unread="not given") for one in answers]
    return _wanted(answers, wanted)


def _about_content(item: Saved, saved: list[Saved]) -> bool:
    """Whether a saved API error is that of a content request: there is metadata that it can belong to."""
    return isinstance(item.error, ApiError) and any(
        one.kind == "metadata" and one.error is None and item.generation_id in (None, one.generation_id)
        for one in saved
    )


def _fits(answers: Answers, item: Saved) -> bool:
    if answers.error is not None or answers.content is not None or answers.unread is not None:
        return False
    return item.generation_id in (None, answers.generation_id)


def _wanted(answers: list[Answers], wanted: list[str]) -> list[Answers]:
    """Those asked for, in that order; a single unnamed one is taken for the single ID asked for."""
    if not wanted:
        return answers
    if len(wanted) == len(answers) == 1 and answers[0].generation_id is None:
        return [answers[0]._replace(generation_id=wanted[0])]
    by_id = {one.generation_id: one for one in answers}
    return [by_id.get(one) or Answers(one, error=NotFoundError(404, _NOT_GIVEN, subject=one)) for one in wanted]


_NOT_GIVEN = "It is not in the files given with --from."
