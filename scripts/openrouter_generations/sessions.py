"""Generations that belong together, by session or request: their order, times and sums (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from openrouter_generations import analytics, fields, ids, measures, summary
from openrouter_generations.fields import Record
from openrouter_generations.summary import Row, Totals

_NEAR = 86_400.0
"""Seconds: further from `created_at`, the time inside an ID is not believed."""


class Family(NamedTuple):
    """What related generations have in common: a session, a request, or either of them."""

    session: str | None
    request: str | None

    def has(self, record: Record) -> bool:
        return (self.session is not None and record.get("session_id") == self.session) or (
            self.request is not None and record.get("request_id") == self.request
        )


def family(record: Record) -> Family:
    """The session and the request that a record belongs to."""
    return Family(fields.text(record, "session_id"), fields.text(record, "request_id"))


class Step(NamedTuple):
    """One generation of a trace. Times in milliseconds, `started` in unix seconds; None: not known."""

    row: Row
    started: float | None
    offset: float | None
    """After the first step's start."""
    gap: float | None
    """The time before it in which no generation was under way."""
    took: float | None
    """From the request to the last token, failed attempts included."""
    first_token: float | None
    """The part of `took` before the first token."""
    lost: float
    """The part of it that failed attempts took before another one answered."""
    session: str | None
    request: str | None

    @property
    def end(self) -> float | None:
        """Offset of the last token."""
        return None if self.offset is None else self.offset + (self.took or 0)

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`: names as in reconcile, milliseconds, US dollars; unknown values are null."""
        row = self.row
        return {
            "id": row.id,
            "started_at": None if self.started is None else analytics.utc(self.started),
            "offset": self.offset,
            "gap": self.gap,
            "duration": self.took,
            "first_token": self.first_token,
            "model": row.model,
            "provider_name": row.provider,
            "finish_reason": row.finish_reason,
            "session_id": self.session,
            "request_id": self.request,
            "total_cost": _number(row.cost),
            "is_byok": row.is_byok,
            "upstream_inference_cost": _number(row.upstream),
            "tokens_prompt": row.prompt,
            "tokens_cached": row.cached,
            "tokens_completion": row.completion,
            "tokens_reasoning": row.reasoning,
            "failed": row.failed,
            "findings": [note._asdict() for note in row.notes],
        }


def _number(amount: object) -> float | None:
    return None if amount is None else float(str(amount))


class Trace(NamedTuple):
    """Steps in order of time; those without a time come last."""

    family: Family
    steps: list[Step]
    totals: Totals
    requests: int
    """How many API requests the steps belong to."""
    lasted: float | None
    """Milliseconds from the first start to the last end."""
    busy: float
    """Milliseconds of it in which at least one generation was under way."""

    def as_dict(self) -> dict[str, object]:
        totals = self.totals
        return {
            "generations": len(self.steps),
            "requests": self.requests,
            "failed": totals.failed,
            "total_cost": _number(totals.cost),
            "cost_unknown": totals.cost_unknown,
            "upstream_inference_cost": _number(totals.upstream),
            "upstream_unknown": totals.upstream_unknown,
            "tokens_prompt": totals.prompt,
            "tokens_cached": totals.cached,
            "tokens_completion": totals.completion,
            "tokens_reasoning": totals.reasoning,
            "duration": self.lasted,
            "busy": self.busy,
        }


def trace(shared: Family, records: Mapping[str, Record]) -> Trace:
    """The trace of these records, by the ID that each was asked for."""
    steps = [_step(generation_id, record) for generation_id, record in records.items()]
    times = [step.started for step in steps if step.started is not None]
    first = min(times, default=0.0)
    steps = [
        step if step.started is None else step._replace(offset=round((step.started - first) * 1000, 3))
        for step in steps
    ]
    steps.sort(key=lambda step: (step.offset is None, step.offset or 0.0, step.row.id))
    steps = list(_with_gaps(steps))
    lasted = max((step.end for step in steps if step.end is not None), default=None)
    return Trace(
        shared,
        steps,
        summary.totals([step.row for step in steps]),
        len({step.request for step in steps if step.request}),
        lasted,
        round((lasted or 0.0) - sum(step.gap or 0.0 for step in steps), 3),
    )


def _step(generation_id: str, record: Record) -> Step:
    timing = measures.timing(record)
    return Step(
        summary.row(generation_id, record),
        started(generation_id, record),
        None,
        None,
        timing.total,
        None if timing.total is None or timing.generation is None else timing.total - timing.generation,
        timing.failed_attempts or 0.0,
        fields.text(record, "session_id"),
        fields.text(record, "request_id"),
    )


def started(generation_id: str, record: Record) -> float | None:
    """Unix seconds. The ID has whole seconds; `created_at` is finer where it names the same one.

    Where the two differ, the ID's is the earlier and so nearer to the start
    (a cancelled stream's record was seen to be made 43 s later).
    """
    inside = ids.created(generation_id)
    recorded = analytics.moment(fields.text(record, "created_at") or "")
    if inside is None or recorded is None:
        return recorded if inside is None else float(inside)
    return float(inside) if 1 <= recorded - inside <= _NEAR else recorded


def _with_gaps(steps: Iterable[Step]) -> Iterator[Step]:
    """Steps in order of their start, each with the time that has passed since the last end before it."""
    reached = 0.0
    for step in steps:
        if step.offset is None or step.end is None:
            yield step
            continue
        yield step._replace(gap=round(max(step.offset - reached, 0.0), 3))
        reached = max(reached, step.end)


def narrowing(record: Record) -> list[analytics.Condition]:
    """Filters that every generation of the same caller passes: its app, origin and user, where recorded.

    Documented, not seen live: an app is filtered by its number, origin and
    external user by their own value, and that these are the record's.
    """
    conditions = []
    app = measures.tokens(record, "app_id")
    if app is not None:
        conditions.append(analytics.condition("app", [app]))
    for field in ("origin", "external_user"):
        value = fields.text(record, field)
        if value is not None and value.isprintable():
            conditions.append(analytics.condition(field, [value]))
    return conditions


def edges(found: Trace, window: analytics.Window, now: float) -> list[str]:
    """Sentences where the trace touches an end of the window, so that it may go on beyond."""
    times = [step.started for step in found.steps if step.started is not None]
    if len(times) < 2:
        return []
    ends = []
    if min(times) - window.start < _EDGE:
        ends.append("begins")
    if window.end - max(times) < _EDGE and window.end < now:
        ends.append("ends")
    if not ends:
        return []
    return [f"It {' and '.join(ends)} near the edge of the time searched and may be longer: try a larger --window."]


_EDGE = 900
"""Seconds."""
