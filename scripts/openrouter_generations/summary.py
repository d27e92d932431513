"""Records reckoned up: totals, groups, percentiles, extremes and findings. Pure functions.

Sums are exact: each amount is taken as the decimal number that the API wrote.
"""

from __future__ import annotations

import heapq
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from decimal import Context, Decimal, localcontext
from operator import attrgetter
from typing import Any, NamedTuple

from openrouter_generations import ids, measures
from openrouter_generations.fields import Record
from openrouter_generations.findings import ERROR, WARNING, findings

GROUPINGS = ("model", "provider", "finish_reason", "session", "day")
EXTREMES = 5
"""How many of the dearest and of the slowest are named."""

_EXACT = Context(prec=100)
_ZERO = Decimal(0)
_UTC = re.compile(
    r"([0-9]{4}-[01][0-9]-[0-3][0-9])[T ]([0-2][0-9]:[0-5][0-9]:[0-5][0-9])(?:\.[0-9]{1,9})?(?:Z|\+00:00)?"
)


class Note(NamedTuple):
    """A finding without its evidence and advice, as kept for each of many records."""

    code: str
    severity: str
    summary: str


class Row(NamedTuple):
    """What a report needs of one record. None: the record does not say.

    `id` is the ID asked for. `created_at`: UTC to the second,
    `2026-02-24T21:18:50`. Money in US dollars: `cost` is what OpenRouter
    charges, `upstream` what the provider bills besides, only under BYOK. Token
    counts are the billed ones. Times in milliseconds. `failed`: a finding says
    that it went wrong.
    """

    id: str
    created_at: str | None
    model: str | None
    provider: str | None
    finish_reason: str | None
    session: str | None
    is_byok: bool
    cost: Decimal | None
    upstream: Decimal | None
    prompt: int | None
    completion: int | None
    reasoning: int | None
    cached: int | None
    latency: float | None
    generation_time: float | None
    failed: bool
    notes: tuple[Note, ...]

    @property
    def day(self) -> str | None:
        return self.created_at[:10] if self.created_at else None

    @property
    def known_cost(self) -> Decimal | None:
        """Both bills together; None where OpenRouter's is not recorded."""
        return None if self.cost is None else self.whole_cost

    @property
    def whole_cost(self) -> Decimal:
        """Both bills together, for sorting and sums: what is not recorded counts as nothing."""
        return (self.cost or _ZERO) + (self.upstream or _ZERO)


def row(asked_id: str, record: Record) -> Row:
    """A record reckoned up; `asked_id` is its key, whatever ID the record has."""
    byok = record.get("is_byok") is True
    found = findings(record, None, asked_id)
    return Row(
        asked_id,
        _created(asked_id, record.get("created_at")),
        _name(record.get("model")),
        _name(record.get("provider_name")),
        _name(record.get("finish_reason")),
        _name(record.get("session_id")),
        byok,
        cost(record),
        _upstream(record) if byok else None,
        measures.prompt_tokens(record),
        measures.completion_tokens(record),
        measures.tokens(record, "native_tokens_reasoning"),
        measures.tokens(record, "native_tokens_cached"),
        measures.milliseconds(record, "latency"),
        measures.milliseconds(record, "generation_time"),
        bool(found) and found[0].severity == ERROR,  # the worst comes first
        tuple([Note(*one[:3]) for one in found]) if found else (),
    )


def cost(record: Record) -> Decimal | None:
    """What OpenRouter charged, as the decimal number that it wrote."""
    return _exact(measures.cost(record))


def _upstream(record: Record) -> Decimal | None:
    """The provider's bill under BYOK."""
    billed = _exact(measures.upstream_cost(record))
    return _ZERO if billed is None and measures.billed_by_nobody(record) else billed


def _exact(amount: float | None) -> Decimal | None:
    return Decimal(repr(amount)) if amount is not None and amount >= 0 else None


def _name(value: object) -> str | None:
    """A name, one object for all records that have it."""
    return sys.intern(value) if type(value) is str and value else None


def _created(asked_id: str, created_at: object) -> str | None:
    """The record's own time in UTC (which one without a zone is in); where it has none, the one inside the ID."""
    if type(created_at) is str:
        if match := _UTC.fullmatch(created_at):
            return f"{match[1]}T{match[2]}"
        try:
            return _utc(datetime.fromisoformat(created_at[:40]))
        except (ValueError, OverflowError):
            pass
    seconds = ids.created(asked_id)
    return None if seconds is None else _utc(datetime.fromtimestamp(seconds, timezone.utc))


def _utc(moment: datetime) -> str:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat()[:19]


class Totals(NamedTuple):
    """Sums over records; `byok` counts those billed by the provider, `upstream` sums those bills.

    What a record does not say is not in the sums: `cost_unknown` counts the
    records without a cost, `upstream_unknown` those under BYOK without the
    provider's bill. `cached_of` is the prompt tokens of the records that say
    how many of them came from a cache. `p50` and `p95` pairs are nearest-rank percentiles in milliseconds, None
    where no record has the time.
    """

    generations: int
    failed: int
    cost: Decimal
    byok: int
    upstream: Decimal
    prompt: int
    completion: int
    reasoning: int
    cached: int
    cached_of: int
    cost_unknown: int
    upstream_unknown: int
    latency: tuple[float, float] | None
    generation_time: tuple[float, float] | None


def totals(rows: Sequence[Row]) -> Totals:
    """Exact sums; an empty list has zeros and no percentiles."""

    def column(name: str) -> list[Any]:
        return list(map(attrgetter(name), rows))

    cost, prompt, cached, upstream = column("cost"), column("prompt"), column("cached"), column("upstream")
    byok, in_all = sum(column("is_byok")), sum(filter(None, prompt))
    untold = (
        sum([size or 0 for size, part in zip(prompt, cached, strict=True) if part is None]) if None in cached else 0
    )
    with localcontext(_EXACT):
        return Totals(
            len(rows),
            sum(column("failed")),
            sum(filter(None, cost), _ZERO),
            byok,
            sum(filter(None, upstream), _ZERO),
            in_all,
            sum(filter(None, column("completion"))),
            sum(filter(None, column("reasoning"))),
            sum(filter(None, cached)),
            in_all - untold,
            cost.count(None),
            byok - (len(rows) - upstream.count(None)),  # only under BYOK is there one
            _percentiles(column("latency")),
            _percentiles(column("generation_time")),
        )


def _percentiles(column: Iterable[float | None]) -> tuple[float, float] | None:
    """The median and the 95th percentile, each a value that occurs."""
    times = sorted([time for time in column if time is not None])
    if not times:
        return None
    return times[-(-len(times) // 2) - 1], times[-(-len(times) * 95 // 100) - 1]


def grouped(rows: Iterable[Row], by: str) -> list[tuple[str | None, Totals]]:
    """Totals for each value of one of GROUPINGS, dearest first, days in their order."""
    groups: dict[str | None, list[Row]] = {}
    for one in rows:
        groups.setdefault(getattr(one, by), []).append(one)
    found = [(value, totals(members)) for value, members in groups.items()]
    if by == "day":
        return sorted(found, key=lambda pair: pair[0] or "")
    return sorted(found, key=lambda pair: (-pair[1].cost - pair[1].upstream, -pair[1].generations, pair[0] or ""))


class Summary(NamedTuple):
    """Everything a report says about the records found. `findings`: code, severity, IDs; worst first."""

    totals: Totals
    period: tuple[str, str] | None
    groups: dict[str, list[tuple[str | None, Totals]]]
    dearest: list[Row]
    slowest: list[Row]
    findings: list[tuple[str, str, list[str]]]


def summarise(rows: Sequence[Row], by: Iterable[str] = ("model",)) -> Summary:
    """Everything that a report says; `by`: names of GROUPINGS."""
    times = [one.created_at for one in rows if one.created_at]
    return Summary(
        totals(rows),
        (min(times), max(times)) if times else None,
        {name: grouped(rows, name) for name in dict.fromkeys(by)},
        [one for one in _top(rows, lambda one: one.whole_cost) if one.whole_cost],
        [one for one in _top(rows, duration) if duration(one)],
        _counted_findings(rows),
    )


def duration(one: Row) -> float:
    """Milliseconds that a record took: `generation_time` contains `latency`, with rare exceptions."""
    return max(one.generation_time or 0, one.latency or 0)


def _top(rows: Iterable[Row], size: Callable[[Row], Decimal | float]) -> list[Row]:
    return heapq.nlargest(EXTREMES, rows, key=size)


def _counted_findings(rows: Iterable[Row]) -> list[tuple[str, str, list[str]]]:
    found: dict[tuple[str, str], list[str]] = {}
    for one in rows:
        for note in one.notes:
            found.setdefault((note.code, note.severity), []).append(one.id)
    ranks = {ERROR: 0, WARNING: 1}
    ordered = sorted(found.items(), key=lambda item: (ranks.get(item[0][1], 2), -len(item[1]), item[0]))
    return [(code, severity, named) for (code, severity), named in ordered]
