"""What a reconciliation found, and the report of it for a screen. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from openrouter_generations import ids, summary, text
from openrouter_generations.claims import Comparison
from openrouter_generations.errors import AuthenticationError, ForbiddenError, NotFoundError, OpenRouterError
from openrouter_generations.findings import INFO
from openrouter_generations.logs import Log
from openrouter_generations.summary import Row, Summary, Totals
from openrouter_generations.text import plural, safe_line, scrubbed, usd

_WIDTH = 100
_GROUPS = 12
"""Lines of a group table in text; what is left over is put into one line."""


class Reconciliation(NamedTuple):
    """Everything there is to report. `log` is None where only receipts were read.

    `failures`: why an ID has no record, in the order asked; `not_asked`: the
    IDs left when the run was interrupted; `problems`: sentences about input.
    """

    rows: list[Row]
    failures: dict[str, OpenRouterError]
    not_asked: list[str]
    log: Log | None
    summary: Summary
    comparison: Comparison | None
    problems: list[str]
    interrupted: bool = False
    offline: bool = False

    @property
    def generations(self) -> int:
        return len(self.rows) + len(self.failures) + len(self.not_asked)

    def failed(self, status: str) -> list[str]:
        return [one for one, error in self.failures.items() if status_word(error) == status]

    def mentions(self, generation_id: str) -> int | None:
        return self.log.mentions.get(generation_id) if self.log else None


def status_word(error: OpenRouterError) -> str:
    """`missing`, `refused` or `failed`."""
    if isinstance(error, NotFoundError):
        return "missing"
    return "refused" if isinstance(error, (AuthenticationError, ForbiddenError)) else "failed"


def render(found: Reconciliation) -> str:
    """The report for a screen, at most 100 columns wide."""
    sections = [_header(found)]
    if found.rows:
        sections.append(_sums(found.summary.totals, found.generations))
        sections += [_group_table(name, groups, found) for name, groups in found.summary.groups.items()]
        sections += [_failed(found.rows), _dearest(found.summary), _slowest(found.summary), _findings(found.summary)]
    if found.comparison:
        sections.append(_claims(found.comparison))
    sections += [_missing(found), _other_failures(found), _cut(found), _remarks(found)]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _header(found: Reconciliation) -> list[str]:
    first = plural(found.generations, "generation")
    if found.log is not None:
        first += f", {plural(sum(found.log.mentions.values()), 'mention')}, in {plural(len(found.log.files), 'file')}"
    counts = [("found", len(found.rows))]
    counts += [(word, len(found.failed(word))) for word in ("missing", "refused", "failed")]
    counts += [("not asked", len(found.not_asked)), ("cut IDs", len(found.log.cut) if found.log else 0)]
    said = [f"{word} {number:,}" for word, number in counts if number or word in ("found", "missing", "refused")]
    lines = [first, "  " + ", ".join(said)]
    if found.summary.period:
        lines.append("  " + _period(*found.summary.period))
    return lines


def _period(first: str, last: str) -> str:
    start, end = first[:16].replace("T", " "), last[:16].replace("T", " ")
    try:
        seconds = (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
    except ValueError:
        return f"{start} to {end} UTC"
    if start == end:
        return f"{start} UTC"
    length = text.duration(1000 * seconds) if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
    return f"{start} to {end[11:] if end[:10] == start[:10] else end} UTC ({length})"


def _sums(totals: Totals, asked: int) -> list[str]:
    """The totals of the records found, which may be fewer than were asked for."""
    complete = totals.generations == asked and not totals.cost_unknown
    rows = [
        ("Cost", usd(totals.cost) + ("" if totals.byok else f"{', the whole of it' if complete else ''} (no BYOK)"))
    ]
    if totals.byok:
        rows.append(("", _byok(totals)))
    if totals.cost_unknown:
        rows.append(
            ("", f"{totals.cost_unknown:,} of {plural(totals.generations, 'record')} without a cost, not in it")
        )
    cached = f" ({_share(totals.cached, totals.cached_of)} from cache: {totals.cached:,})" if totals.cached else ""
    reasoning = f" (reasoning: {totals.reasoning:,})" if totals.reasoning else ""
    rows.append(("Tokens", f"{totals.prompt:,} in{cached}, {totals.completion:,} out{reasoning}"))
    for name, pair in (("Latency", totals.latency), ("Generation time", totals.generation_time)):
        if pair:
            rows.append((name, f"p50 {text.duration(pair[0])}, p95 {text.duration(pair[1])}"))
    if totals.failed:
        rows.append(("Failed", f"{totals.failed:,} of {totals.generations:,}"))
    return text.table(rows)


def _byok(totals: Totals) -> str:
    said = f"{plural(totals.byok, 'BYOK generation')}: "
    if totals.upstream_unknown == totals.byok:
        return said + "what providers bill besides is not recorded"
    said += f"providers bill {usd(totals.upstream)} besides; {usd(totals.cost + totals.upstream)} in all"
    return said + (f"; not recorded for {totals.upstream_unknown:,}" if totals.upstream_unknown else "")


def _share(part: float | Decimal, whole: float | Decimal) -> str:
    return text.percent(float(part), float(whole)) if whole > 0 and 0 <= part <= whole else "-"


_TITLES = {"finish_reason": "finish reason"}


def _group_table(name: str, groups: Sequence[tuple[str | None, Totals]], found: Reconciliation) -> list[str]:
    shown = list(groups if len(groups) <= _GROUPS else groups[: _GROUPS - 1])
    left = {value for value, _ in groups[len(shown) :]}
    if left:
        rest = [row for row in found.rows if getattr(row, name) in left]
        shown.append((f"{len(left)} more (--json lists all)", summary.totals(rest)))
    columns = _group_columns([totals for _, totals in shown], found.summary.totals)
    names = [value or "(not recorded)" for value, _ in shown]
    used = sum(max(map(len, column)) for column in columns)
    gap = 2 if max(map(len, names)) <= _WIDTH - used - 2 * len(columns) else 1
    room = _WIDTH - used - gap * len(columns)
    first = [f"By {_TITLES.get(name, name)}", *(_shortened(value, room) for value in names)]
    rows = list(zip(first, *columns, strict=True))
    return text.table(rows, right=range(1, len(rows[0])), gap=" " * gap)


def _group_columns(groups: list[Totals], everything: Totals) -> list[list[str]]:
    both = everything.cost + everything.upstream
    columns = [
        ["count", *(f"{one.generations:,}" for one in groups)],
        ["cost", *_money(None if one.cost_unknown == one.generations else one.cost for one in groups)],
        ["+ BYOK", *_money(None if 0 < one.byok == one.upstream_unknown else one.upstream for one in groups)],
        ["share", *(_share(one.cost + one.upstream, both) for one in groups)],
        ["tokens", *(_short(one.prompt + one.completion) for one in groups)],
        ["cached", *(_share(one.cached, one.cached_of) for one in groups)],
        ["lat. s", *(_seconds(one.latency) for one in groups)],
        ["gen. s", *(_seconds(one.generation_time) for one in groups)],
        ["failed", *(f"{one.failed:,}" if one.failed else "-" for one in groups)],
    ]
    return columns if everything.byok else [*columns[:2], *columns[3:]]


def _money(amounts: Iterable[Decimal | None]) -> list[str]:
    """Amounts with equally many decimals: two figures of the smallest, eight decimals at most.

    Two decimals at least, four where all of them together are less than ten dollars.
    """
    amounts = list(amounts)
    known = [amount for amount in amounts if amount]
    decimals = 4 if 0 < sum(known) < 10 else 2
    for amount in known:
        decimals = max(decimals, min(8, 1 - amount.adjusted()))
    return ["-" if amount is None else f"${amount:,.{decimals}f}" if amount else "$0" for amount in amounts]


def _short(tokens: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if tokens >= 10 * size or (tokens >= size and unit != "k"):
            amount = tokens / size
            return f"{amount:,.0f}{unit}" if amount >= 100 else f"{amount:.1f}{unit}"
    return f"{tokens:,}"


def _seconds(pair: tuple[float, float] | None) -> str:
    """`0.44/12.6`: p50 and p95."""
    if pair is None:
        return "-"
    values = [value / 1000 for value in pair]
    return "/".join(f"{one:.2f}" if one < 1 else f"{one:.1f}" if one < 100 else f"{one:,.0f}" for one in values)


def _clip(value: str, room: int) -> str:
    shown = safe_line(scrubbed(value))  # before cutting: half a key is not known for one
    return shown if len(shown) <= room else shown[: max(room, 12) - 1] + "…"


def _shortened(value: str, room: int) -> str:
    """A name that is too long: without the vendor, then without its middle; models differ at both ends."""
    shown = safe_line(scrubbed(value))
    if len(shown) > room:
        shown = shown.rpartition("/")[2] or shown
    half = max(room, 12) // 2
    return shown if len(shown) <= room else f"{shown[:half]}…{shown[len(shown) - half + 1 :]}"


def _failed(rows: list[Row]) -> list[str]:
    """The first failed generations, each with its cost, its model and below that its worst finding."""
    failed = [row for row in rows if row.failed]
    if not failed:
        return []
    shown = failed[: summary.EXTREMES]
    costs = _money(row.known_cost for row in shown)
    lines = text.table(
        [(f"  {cost}", _clip(row.id, 50), _source(row)) for cost, row in zip(costs, shown, strict=True)], right=(0,)
    )
    said = [f"{' ' * (2 + max(map(len, costs)))}  {safe_line(row.notes[0].summary)}" for row in shown]
    pairs = [_clip(line, _WIDTH) for pair in zip(lines, said, strict=True) for line in pair]
    more = [f"  and {len(failed) - len(shown):,} more"] if len(failed) > len(shown) else []
    return ["What failed", *pairs, *more]


def _dearest(found: Summary) -> list[str]:
    if len(found.dearest) < 2:
        return []
    costs = _money(row.whole_cost for row in found.dearest)
    rows = [
        (f"  {cost}", row.id, f"{_short((row.prompt or 0) + (row.completion or 0))} tokens", _source(row))
        for cost, row in zip(costs, found.dearest, strict=True)
    ]
    return ["Dearest", *_lines(rows)]


def _slowest(found: Summary) -> list[str]:
    if len(found.slowest) < 2:
        return []
    rows = [
        (f"  {text.duration(summary.duration(row))}", row.id, f"{_short(row.completion or 0)} out", _source(row))
        for row in found.slowest
    ]
    return ["Slowest", *_lines(rows)]


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    clipped = [[_clip(cell, 50) for cell in row] for row in rows]
    return [_clip(line, _WIDTH) for line in text.table(clipped, right=(0, 2))]


def _source(row: Row) -> str:
    names = [name for name in (row.model, row.provider) if name]
    return ", ".join(names) + (" (BYOK: both bills)" if row.upstream else "")


def _findings(found: Summary) -> list[str]:
    if not found.findings:
        return []
    width = max(len(code) for code, _, _ in found.findings)
    lines = ["Findings, worst first (diagnose_generation.py ID explains one)"]
    for code, severity, named in found.findings:
        lines += _named(f"{len(named):>4,} {code:<{width}}  ", named, 2 if severity == INFO else 6)
    return lines


def _named(start: str, named: Sequence[str], most: int) -> list[str]:
    """`start` and the first IDs, as many as fit on each line; of those beyond `most` the number."""
    words = [_clip(one, 50) for one in named[:most]]
    if len(named) > most:
        words.append(f"and {len(named) - most:,} more")
    lines = [start]
    for word in words:
        if len(lines[-1]) + len(word) > _WIDTH and len(lines[-1]) > len(start):
            lines.append(" " * len(start))
        lines[-1] += word + "  "
    return [line.rstrip() for line in lines]


def _claims(comparison: Comparison) -> list[str]:
    agree = comparison.compared - len(comparison.differing)
    difference = comparison.recorded - comparison.claimed
    lines = [
        f"Costs named in the log: {comparison.compared:,}; {agree:,} agree with OpenRouter's records",
        f"  claimed {usd(comparison.claimed)}, recorded {usd(comparison.recorded)}"
        + (f" ({_signed(difference)})" if comparison.differing else ""),
    ]
    largest = comparison.differing[: summary.EXTREMES]
    if largest:
        lines.append("  largest differences:")
        columns = (
            [f"    {_clip(one.id, 50)}" for one in largest],
            [f"claimed {amount}" for amount in _money(one.claimed for one in largest)],
            [f"recorded {amount}" for amount in _money(one.recorded for one in largest)],
            [_signed(one.amount) for one in largest],
        )
        lines += text.table(list(zip(*columns, strict=True)), right=(3,))
    return lines


def _signed(amount: Decimal) -> str:
    return usd(amount) if amount < 0 else f"+{usd(amount)}"


_LISTED = 10


def _missing(found: Reconciliation) -> list[str]:
    missing = found.failed("missing")
    if not missing:
        return []
    lines = [f"Missing: {len(missing):,} of {found.generations:,}"]
    lines += [f"  {_clip(one, 60)}{_mentioned(found.mentions(one), ids.dated(one))}" for one in missing[:_LISTED]]
    if len(missing) > _LISTED:
        lines.append(f"  and {len(missing) - _LISTED:,} more (--json lists all)")
    return [*lines, *(_OFFLINE if found.offline else _CAUSES)]


_OFFLINE = ("  They are not in the receipts given with --from; without --from they would be asked for.",)
_CAUSES = (
    "  Three causes: too early (only if the call ended seconds ago, a minute for an interrupted stream:",
    "  try --wait 60), a key of another account, or a wrong ID. What they cost is not in the totals.",
)


def _mentioned(mentions: int | None, dated: str | None = None) -> str:
    said = [plural(mentions, "mention")] if mentions else []
    said += [f"dated {dated}"] if dated else []
    return f" ({', '.join(said)})" if said else ""


def _other_failures(found: Reconciliation) -> list[str]:
    """Refused and failed ones, those with the same message together."""
    alike: dict[str, list[str]] = {}
    for one, error in found.failures.items():
        if status_word(error) != "missing":
            alike.setdefault(_reason(error), []).append(one)
    lines = []
    for reason, named in alike.items():
        word = "Refused" if reason.startswith(("401", "403")) else "Failed"
        lines += [_clip(f"{word}: {len(named):,} ({reason})", 200), *_named("  ", named, 6)]
    return lines


def _reason(error: OpenRouterError) -> str:
    """Status and first sentence, without what differs from ID to ID."""
    said = str(getattr(error, "server_message", "")).strip() or str(error).split("\n", 1)[0]
    return safe_line(f"{error.status}: {said}" if error.status else said)


def _cut(found: Reconciliation) -> list[str]:
    cut = found.log.cut if found.log else {}
    if not cut:
        return []
    lines = [f"Cut IDs, not asked for: {len(cut):,}"]
    lines += [f"  {one}{_mentioned(number)}" for one, number in list(cut.items())[:5]]
    return [*lines, f"  and {len(cut) - 5:,} more (--json lists all)"] if len(cut) > 5 else lines


def _remarks(found: Reconciliation) -> list[str]:
    lines = [f"Note: {problem}" for problem in found.problems[:_LISTED]]
    if len(found.problems) > _LISTED:
        lines.append(f"Note: {len(found.problems) - _LISTED:,} more of these (--json lists all)")
    if found.interrupted:
        lines.append(f"Interrupted: {plural(len(found.not_asked), 'generation')} not asked yet.")
    return lines
