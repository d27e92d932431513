"""The run behind find_generations.py: a list from analytics, or the trace of a session, fetched and printed."""

from __future__ import annotations

import argparse
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from openrouter_generations import (
    analytics,
    cli,
    fetching,
    fields,
    find_report,
    receipts,
    results,
    sessions,
    summary,
)
from openrouter_generations.analytics import Account, Condition, Generation, Window
from openrouter_generations.errors import ExitCode, OpenRouterError, UsageError
from openrouter_generations.fields import Record
from openrouter_generations.find_report import Details, Found, Margin
from openrouter_generations.output import Output
from openrouter_generations.sessions import Family, Trace
from openrouter_generations.text import json_text, plural, safe_line

if TYPE_CHECKING:
    from decimal import Decimal

    from openrouter_generations.client import Client

LIST_LIMIT = 20
TRACE_LIMIT = 100
WINDOW = "2h"
"""Before and after the generation that a trace begins with."""
_FILTERS = (
    ("model", "model"),
    ("provider", "provider"),
    ("finish reason", "finish_reason"),
    ("external user", "external_user"),
    ("origin", "origin"),
    ("API key", "api_key_id"),
)
"""What a filter is called in reports, and its flag and dimension."""


def find(args: argparse.Namespace) -> int:
    """The whole command; the exit code is the first failure's. An empty list is an answer: 0."""
    _check(args)
    search = _trace if args.like or args.session or args.request else _list
    stop = threading.Event()
    client = cli.open_client(args, connections=args.concurrency, stop=stop)
    store = receipts.Store(args.save) if args.save else None
    try:
        with Output(args.output) as out:
            run = _Run(args, client, _Records(args, client, store, stop), out, time.time())
            search(run)
    finally:
        if not stop.is_set():
            client.close()  # after Ctrl-C requests may still be under way
        if store:
            store.close()
    return run.records.outcome()


class _Run(NamedTuple):
    """What one run works with. `now` in unix seconds."""

    args: argparse.Namespace
    client: Client
    records: _Records
    out: Output
    now: float

    def account(self) -> Account:
        return Account(self.client, cli.complain)

    def write(self, report: str) -> None:
        self.out.write(report if self.args.json else cli.without_keys(report))

    def write_ids(self, named: Sequence[str], margin: Margin) -> None:
        """Bare IDs, one a line; what must be known besides goes to stderr."""
        self.write("".join(f"{one}\n" for one in named if analytics.usable(one)))
        for line in (*(f"INCOMPLETE: {gap}." for gap in margin.gaps), *margin.notes, *margin.warnings):
            cli.complain(safe_line(line[:500]))

    def write_json(self, document: dict[str, object], margin: Margin) -> None:
        """The result between the window and what must be known besides."""
        whole: dict[str, object] = {
            "window": {"start": analytics.utc(margin.window.start), "end": analytics.utc(margin.window.end)},
            "complete": not margin.gaps,
            **document,
            "gaps": list(margin.gaps),
            "notes": list(margin.notes),
            "warnings": list(margin.warnings),
        }
        self.write(json_text(whole, indent=2, ascii_only=self.out.ascii_only) + "\n")


# --- Command line ---


def _check(args: argparse.Namespace) -> None:
    tracing = args.like is not None or args.session is not None or args.request is not None
    if args.ids and args.json:
        raise UsageError("--ids and --json exclude each other: bare IDs, or all that is known of them.")
    if args.ids and args.details and not tracing:
        raise UsageError("--ids prints bare IDs, so --details has nothing to add. Leave one out.")
    if args.window is not None and not tracing:
        raise UsageError("--window belongs to --like, --session and --request. For a list use --since and --until.")
    if args.save and not (tracing or args.details):
        raise UsageError("--save keeps the records that are fetched; a list fetches them with --details only.")
    if tracing and not (args.like or args.session or args.request):
        raise UsageError("--like, --session and --request need an ID, and it is empty.")
    for name, flag in _FILTERS:
        for value in getattr(args, flag):
            if not value.strip() or not value.isprintable():
                shown = safe_line(value[:80])
                raise UsageError(f"The {name} {shown!r} is empty or holds a character that cannot be meant.")


def _limit(args: argparse.Namespace, default: int | None) -> int | None:
    """None for all."""
    chosen = default if args.limit is None else args.limit
    return chosen or None


def _conditions(args: argparse.Namespace) -> list[Condition]:
    return [
        analytics.condition(flag, [analytics.as_id(one) if flag == "api_key_id" else one for one in values])
        for _, flag in _FILTERS
        if (values := getattr(args, flag))
    ]


def _unusable(named: Sequence[str]) -> list[str]:
    odd = sum(not analytics.usable(one) for one in named)
    return [f"{plural(odd, 'ID')} with characters that no ID has cannot be asked for."] if odd else []


# --- A list ---


def _list(run: _Run) -> None:
    args = run.args
    sort = args.sort or "cost"
    window = analytics.window(args.since, args.until, run.now)
    conditions = _conditions(args)
    account = run.account()
    listing = account.ranked(window, conditions, sort, _limit(args, LIST_LIMIT))
    generations = listing.generations
    named = [one.id for one in generations]
    details: dict[str, Details] = {}
    if args.ids:
        more = ["More generations match: --limit 0 prints all."] if listing.more else []
        hint = [] if named else ["No generations found."]
        run.write_ids(
            named, Margin(window, account.gaps, [*account.notes, *more, *hint, *_unusable(named)], account.warnings)
        )
        return
    if args.details:
        records = run.records.fetch([one for one in named if analytics.usable(one)])
        details = {one: Details(record, summary.row(one, record)) for one, record in records.items()}
    else:
        generations = _with_providers(args, account, window, generations)
    totals = account.totals(window, conditions) if listing.more else _sums(generations)
    margin = Margin(
        window,
        account.gaps,
        [*account.notes, *_unusable(named), *run.records.notes(), *run.records.gaps()],
        account.warnings,
    )
    filters = [(name, getattr(args, flag)) for name, flag in _FILTERS if getattr(args, flag)]
    found = Found(generations, sort, listing.more, totals, filters, details)
    if args.json:
        run.write_json(_list_document(found, run.records), margin)
    else:
        run.write(find_report.render_list(found, margin, plain_ascii=run.out.ascii_only))


def _with_providers(
    args: argparse.Namespace, account: Account, window: Window, generations: list[Generation]
) -> list[Generation]:
    if len(args.provider) == 1:
        return [one._replace(provider=args.provider[0]) for one in generations]
    found = account.providers(window, [one.id for one in generations])
    return [one._replace(provider=found.get(one.id)) for one in generations]


def _sums(generations: Sequence[Generation]) -> analytics.Totals:
    return analytics.Totals(
        len(generations),
        round(sum(one.cost or 0 for one in generations), 12),
        sum(one.tokens or 0 for one in generations),
    )


def _list_document(found: Found, records: _Records) -> dict[str, object]:
    totals = found.totals
    return {
        "sort": found.sort,
        "more": found.more,
        "totals": {"generations": totals.generations, "cost": totals.cost, "tokens_total": totals.tokens},
        "generations": [
            _listed(one, found.details.get(one.id), records.failures.get(one.id)) for one in found.generations
        ],
    }


def _listed(one: Generation, known: Details | None, failure: OpenRouterError | None) -> dict[str, object]:
    shown: dict[str, object] = {
        "id": one.id,
        "created_at": None if one.created is None else analytics.utc(one.created),
        "model": one.model,
        "provider_name": one.provider or (known.row.provider if known else None),
        "cost": one.cost,
        "byok_usage": one.byok,
        "tokens_total": one.tokens,
        "tokens_prompt": one.prompt,
        "tokens_cached": one.cached,
        "tokens_completion": one.completion,
        "tokens_reasoning": one.reasoning,
        "latency": one.latency,
    }
    if known:
        shown["findings"] = [note._asdict() for note in known.row.notes]
        shown["record"] = known.record
    elif failure:
        shown["error"] = results.error_object(failure)
    return shown


# --- A trace ---


def _trace(run: _Run) -> None:
    args = run.args
    family, first = _family(run)
    window = _trace_window(run, first)
    account = run.account()
    notes: list[str] = []
    records = dict(first)
    if family.session is None and family.request is None:
        notes.append(
            "The record names neither session nor request, so nothing belongs to it. To have sessions later, send "
            "session_id in the request's body or the header x-session-id."
        )
    else:
        candidates = [one for one in _candidates(run, account, window, first, notes) if one not in records]
        notes += _unusable(candidates)
        records |= run.records.fetch([one for one in candidates if analytics.usable(one)], keep=family.has)
    trace = sessions.trace(family, _once(records, args.like))
    notes += sessions.edges(trace, window, run.now)
    if args.sort or args.details:
        notes.append("A trace is in order of time and has all details: --sort and --details change nothing.")
    notes = [*account.notes, *notes, *run.records.notes()]
    margin = Margin(window, [*account.gaps, *run.records.gaps()], notes, account.warnings)
    _show_trace(run, trace, margin)


def _show_trace(run: _Run, trace: Trace, margin: Margin) -> None:
    args = run.args
    if args.ids:
        shown = trace.steps[: _limit(args, None)]
        left = len(trace.steps) - len(shown)
        more = [f"{left} more belong to it: without --limit all are printed."] if left else []
        run.write_ids([step.row.id for step in shown], margin._replace(notes=[*margin.notes, *more]))
    elif args.json:
        run.write_json(_trace_document(run, trace), margin)
    else:
        most = _limit(args, TRACE_LIMIT)
        run.write(find_report.render_trace(trace, margin, args.like, most, plain_ascii=run.out.ascii_only))


def _trace_document(run: _Run, trace: Trace) -> dict[str, object]:
    shown = trace.steps[: _limit(run.args, None)]
    return {
        "like": run.args.like,
        "session_id": trace.family.session,
        "request_id": trace.family.request,
        "more": len(shown) < len(trace.steps),
        "totals": trace.as_dict(),
        "generations": [step.as_dict() for step in shown],
        "unread": [
            {"id": one, "error": results.error_object(failure)} for one, failure in run.records.failures.items()
        ],
    }


def _family(run: _Run) -> tuple[Family, dict[str, Record]]:
    """What is looked for, and the generation that it starts from, by the ID asked for.

    Raises what `Client.generation` raises: an unknown ID ends the run.
    """
    args = run.args
    if not args.like:
        return Family(args.session, args.request), {}
    record = run.records.first(args.like)
    return sessions.family(record), {args.like: record}


def _trace_window(run: _Run, first: Mapping[str, Record]) -> Window:
    """`--window` around the first generation or the time inside a request ID; --since and --until override its ends."""
    args, now = run.args, run.now
    around = analytics.span(args.window or WINDOW, "--window")
    centre = next((sessions.started(one, record) for one, record in first.items()), None)
    if args.request:
        centre = _time_inside(args.request, now)
    if centre is None and first and args.since is None:
        raise UsageError("The record does not say when it was made. Say where to look with --since and --until.")
    if centre is None:
        return analytics.window(args.since, args.until, now, around if args.window else 86_400.0)
    start, end = centre - around, centre + around
    if centre <= now:
        end = min(end, now + 60)  # clocks differ
    start = start if args.since is None else analytics.point(args.since, "--since", now)
    end = end if args.until is None else analytics.point(args.until, "--until", now)
    return Window(start, end).checked()


def _time_inside(request_id: str, now: float) -> float | None:
    """Unix seconds. Documented by an example only: req-1727282430-aBcDeFgHiJkLmNoPqRsT."""
    match = re.match(r"req-(\d{10})-", request_id, re.ASCII)
    return float(match[1]) if match and float(match[1]) <= now + 86_400 else None


def _candidates(
    run: _Run, account: Account, window: Window, first: Mapping[str, Record], notes: list[str]
) -> list[str]:
    """The IDs of the window, of the same caller where the first record tells who that is.

    Analytics has no dimension for sessions or requests (documented), so the
    records of all of them have to be looked at.
    """
    chosen = _conditions(run.args)
    given = {one["field"] for one in chosen}
    caller = [one for record in first.values() for one in sessions.narrowing(record) if one["field"] not in given]
    found = [one.id for one in account.ids(window, [*chosen, *caller]).generations]
    expected = {*first, *(fields.text(record, "id") for record in first.values())}
    if caller and not chosen and not expected & set(found):
        notes.append("The first generation is not among those of its own app, origin and user: all were searched.")
        caller = []
        found = [one.id for one in account.ids(window, chosen).generations]
    same = ", ".join(f"{one['field']} {safe_line(str(one['value']))[:60]}" for one in [*chosen, *caller])
    notes.append(
        f"Searched {plural(len(found), 'generation')} from {_minute(window.start)} to {_minute(window.end)} UTC"
        + (f" (only {same})" if same else "")
        + "; what lies outside is not counted."
    )
    return found


def _minute(seconds: float) -> str:
    return analytics.utc(seconds)[:16].replace("T", " ")


def _once(records: Mapping[str, Record], like: str | None) -> dict[str, Record]:
    """Without the second of two IDs that are answered with the same record (seen for cancelled streams)."""
    kept = dict(records)
    for asked, record in records.items():
        own = fields.text(record, "id")
        if own and own != asked and own in records:
            kept.pop(own if asked == like else asked, None)
    return kept


# --- Records ---


class _Records:
    """Metadata by ID, from receipts where they are and otherwise fetched as reconcile does it."""

    def __init__(
        self, args: argparse.Namespace, client: Client, store: receipts.Store | None, stop: threading.Event
    ) -> None:
        self._args, self._client, self._store, self._stop = args, client, store, stop
        self.failures: dict[str, OpenRouterError] = {}
        self._not_asked = 0
        self._damaged = 0

    def first(self, generation_id: str) -> Record:
        """One record; an empty one where the answer holds none. Raises what `Client.generation` raises."""
        kept = self._kept([generation_id])
        if generation_id in kept:
            return kept[generation_id]
        data = self._client.generation(generation_id)["data"]
        if not isinstance(data, dict):
            return {}
        if self._store:
            self._store.add(generation_id, data)
        return data

    def fetch(self, wanted: list[str], keep: Callable[[Record], bool] = lambda _: True) -> dict[str, Record]:
        """The records that `keep` accepts, in the order wanted; what fails is in `failures`."""
        kept = self._kept(wanted)
        left = [one for one in wanted if one not in kept]
        found = {one: record for one, record in kept.items() if keep(record)}
        answered = set()

        def take(asked: str, document: dict[str, object]) -> Decimal | None:
            answered.add(asked)
            data = document.get("data")
            if not isinstance(data, dict):
                return None
            if self._store:
                self._store.add(asked, data)
            if keep(data):
                found[asked] = data
            return summary.cost(data)

        try:
            fetching.fetch(self._client.generation, left, self._args.concurrency, self.failures, take)
        except KeyboardInterrupt:
            self._stop.set()
            self._not_asked = len(set(left) - answered - self.failures.keys())
        except BaseException:
            self._stop.set()
            raise
        return {one: found[one] for one in wanted if one in found}

    def _kept(self, wanted: Sequence[str]) -> dict[str, Record]:
        if not self._args.save:
            return {}
        some = set(wanted)
        items = [item for item in receipts.read(self._args.save) if isinstance(item, bytes) or item[0] in some]
        self._damaged = sum(isinstance(item, bytes) for item in items)
        return {item[0]: item[1] for item in items if not isinstance(item, bytes)}

    def notes(self) -> list[str]:
        """What else is worth knowing about the records."""
        if not self._damaged:
            return []
        return [f"{safe_line(self._args.save)}: {plural(self._damaged, 'line')} skipped, no receipts."]

    def gaps(self) -> list[str]:
        """What makes a trace incomplete."""
        gaps = []
        if self.failures:
            gaps.append(f"{plural(len(self.failures), 'record')} could not be read, see the errors")
        if self._not_asked:
            gaps.append(f"interrupted with {plural(self._not_asked, 'record')} not read")
        return gaps

    def outcome(self) -> int:
        """Say on stderr what failed, one paragraph a kind; the exit code."""
        cli.complain_of(self.failures.values())
        if self._not_asked:
            kept = f" What was fetched is in {self._args.save}." if self._args.save else ""
            cli.complain(f"Interrupted with {plural(self._not_asked, 'record')} not read.{kept}")
            return ExitCode.INTERRUPTED
        return next((int(failure.exit_code) for failure in self.failures.values()), 0)
