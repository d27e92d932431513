"""The texts of find_generations.py: a list of generations, and the trace of a session as a picture and a table (pure).

`plain_ascii` keeps all of it within ASCII, for terminals without UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from openrouter_generations import analytics, diagnosis, diagnosis_report, measures, text
from openrouter_generations.analytics import Generation, Window
from openrouter_generations.fields import Record
from openrouter_generations.findings import INFO
from openrouter_generations.sessions import Family, Step, Trace
from openrouter_generations.summary import Note, Row

WIDTH = 80
"""Columns of the picture."""

_ASCII = str.maketrans({"…": "...", "–": "-", "→": "->", "’": "'", "×": "x", "░": ".", "█": "#"})
_FAILED, _WAITING, _GENERATING, _UNKNOWN = "×", "░", "█", "?"
_LEGEND = {
    _WAITING: "until first token",
    _GENERATING: "generating",
    _FAILED: "failed",
    _UNKNOWN: "time not recorded",
}
_ORDER = {"cost": "dearest first", "tokens": "most tokens first", "latency": "slowest first", "time": "newest first"}
_WHY = {"cost": "dearest", "tokens": "largest", "latency": "slowest", "time": "newest"}


class Margin(NamedTuple):
    """What a reader must know beside the rows. `gaps` make the result incomplete; `warnings` are the server's words."""

    window: Window
    gaps: Sequence[str] = ()
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


class Details(NamedTuple):
    """A generation's record, reckoned up, as far as it could be read."""

    record: Record
    row: Row


class Found(NamedTuple):
    """A list: what was asked, what came. `details` by ID, empty without --details."""

    generations: list[Generation]
    sort: str
    more: bool
    totals: analytics.Totals
    filters: Sequence[tuple[str, Sequence[str]]]
    details: Mapping[str, Details]


# --- Shared ---


def _finished(blocks: Iterable[Sequence[str]], plain_ascii: bool) -> str:
    report = text.scrubbed("\n\n".join("\n".join(block) for block in blocks if block) + "\n")
    if plain_ascii:
        report = report.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return report


def _first(margin: Margin) -> list[str]:
    """What makes the result less than it seems; it stands before everything else."""
    return [f"INCOMPLETE: some generations are missing: {text.safe_line(gap)}." for gap in margin.gaps]


def _last(margin: Margin) -> list[str]:
    lines = [f"Note: {text.safe_line(note)}" for note in margin.notes]
    return lines + [f"OpenRouter warns: {text.safe_line(warning[:300])}" for warning in margin.warnings]


def _between(window: Window) -> str:
    start, end = analytics.utc(window.start), analytics.utc(window.end)
    return f"{start[:10]} {start[11:19]} to {end[:10] + ' ' if end[:10] != start[:10] else ''}{end[11:19]} UTC"


def _name(value: str | None, most: int) -> str:
    """A name on one line, cut; a dash for none."""
    if not value:
        return "-"
    shown = text.safe_line(text.scrubbed(value))  # before cutting: half a key is not known for one
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _money(value: object) -> str:
    return "-" if value is None else text.usd(float(f"{float(str(value)):.12g}"))


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _time(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else text.duration(milliseconds)


def _codes(notes: Sequence[Note]) -> str:
    return ", ".join(note.code for note in notes)


# --- A list ---


def render_list(found: Found, margin: Margin, *, plain_ascii: bool = False) -> str:
    """A list of generations for a screen, with the diagnosis of the first where its record was read."""
    if not found.generations:
        return _finished([_first(margin), list(_nothing(found, margin)), _last(margin)], plain_ascii)
    rows = _detailed_rows(found) if found.details else _rows(found.generations)
    blocks = [_first(margin), list(_head(found, margin)), rows]
    blocks += [_last(margin), list(_why(found))]
    return _finished(blocks, plain_ascii)


def _nothing(found: Found, margin: Margin) -> Iterator[str]:
    yield f"No generations, {_between(margin.window)}{_only(found)}."
    names = [name for name, _ in found.filters]
    if "model" in names:
        yield (
            "--model takes the permaslug, which may end in a date: model_permaslug in get_generation.py --json, "
            "or the model column without --model."
        )
    elif names:
        yield "Run it again without a filter to see the values that there are."
    else:
        yield "Look further back with --since 3d, and check that the key is of the right account."


def _only(found: Found) -> str:
    if not found.filters:
        return ""
    said = (f"{name} {' or '.join(_name(value, 60) for value in values)}" for name, values in found.filters)
    return f", only {', '.join(said)}"


def _head(found: Found, margin: Margin) -> Iterator[str]:
    shown, totals = len(found.generations), found.totals
    whole = totals.generations if totals.generations is not None and totals.generations >= shown else None
    if not found.more:
        counted = text.plural(shown, "generation")
    else:
        counted = f"{shown:,} of {whole:,} generations" if whole else f"The first {text.plural(shown, 'generation')}"
    yield f"{counted}, {_between(margin.window)}{_only(found)}, {_ORDER[found.sort]}"
    costs = [one.cost for one in found.generations if one.cost is not None]
    if not costs:
        return
    spent = sum(costs)
    if found.more and totals.cost and totals.cost >= spent:
        yield f"{_money(spent)} of the {_money(totals.cost)} spent in this time ({text.percent(spent, totals.cost)})"
    elif found.more:
        yield f"{_money(spent)} for these"
    else:
        unknown = shown - len(costs)
        if shown > 1:
            yield f"{_money(spent)} in all" + (f", without {unknown:,} of unknown cost" if unknown else "")


def _when(one: Generation) -> str:
    return "-" if one.created is None else analytics.utc(one.created)[5:19].replace("T", " ")


def _rows(generations: Sequence[Generation]) -> list[str]:
    rows = [["Time (UTC)", "ID", "Model", "Provider", "Cost", "Tokens", "Latency"]]
    rows += [
        [
            _when(one),
            _name(one.id, 80),
            _name(one.model, 40),
            _name(one.provider, 24),
            _money(one.cost),
            _count(one.tokens),
            _time(one.latency),
        ]
        for one in generations
    ]
    return text.table(rows, right=(4, 5, 6))


def _detailed_rows(found: Found) -> list[str]:
    rows = [["Time (UTC)", "ID", "Model", "Provider", "Cost", "In", "Out", "Latency", "Took", "Finish", "Findings"]]
    for one in found.generations:
        known = found.details.get(one.id)
        row = known.row if known else None
        rows.append(
            [
                _when(one),
                _name(one.id, 80),
                _name((row and row.model) or one.model, 40),
                _name((row and row.provider) or one.provider, 24),
                _money(row.whole_cost if row and row.cost is not None else one.cost),
                _count(row.prompt if row else one.prompt),
                _count(row.completion if row else one.completion),
                _time(row.latency if row else one.latency),
                _time(measures.timing(known.record).total if known else None),
                _name(row.finish_reason if row else None, 16),
                _codes(row.notes) if row else "record not read",
            ]
        )
    return text.table(rows, right=(4, 5, 6, 7, 8))


def _why(found: Found) -> Iterator[str]:
    """The diagnosis of the first one; without the records, where to get it."""
    first = found.generations[0]
    known = found.details.get(first.id)
    if known is not None:
        yield f"=== The {_WHY[found.sort]}: why ==="
    yield from _compared(first, found)
    if known is None:
        if not found.details and analytics.usable(first.id):
            yield f"Why: diagnose_generation.py {text.safe_line(first.id)}, or --details here."
        return
    unread = "not asked for; get_generation_content.py shows it"
    whole = diagnosis_report.render(diagnosis.diagnose(known.record, None, first.id, unread))
    yield from whole.rstrip("\n").split("\n")


def _compared(first: Generation, found: Found) -> Iterator[str]:
    """What sets the dearest apart from the average: its tokens, or their price."""
    count, cost, tokens = found.totals
    if found.sort != "cost" or not first.cost or not cost or not count or count < 3:
        return
    if any(one.cost is None for one in found.generations):  # an average over those that say so would be another one
        return
    times = first.cost * count / cost
    line = f"The dearest cost {times:.1f} times the average of {count:,} ({_money(float(f'{cost / count:.3g}'))})"
    if first.tokens and tokens:
        larger = first.tokens * count / tokens
        line += f": {larger:.1f} times the tokens, at {times / larger:.2f} times the price of a token"
    yield f"{line}."


# --- A trace ---


def render_trace(
    trace: Trace, margin: Margin, asked: str | None = None, most: int | None = None, *, plain_ascii: bool = False
) -> str:
    """`asked`: the ID that the trace began with; `most`: steps shown, None for all."""
    if not trace.steps:
        lines = [f"No generations of {_of(trace.family)}, {_between(margin.window)}."]
        lines.append("Widen the time with --since and --until, or --window.")
        return _finished([_first(margin), lines, _last(margin)], plain_ascii)
    steps = trace.steps if most is None else trace.steps[:most]
    left = len(trace.steps) - len(steps)
    more = [f"… and {text.plural(left, 'later generation')}: --limit 0 shows all."] if left else []
    return _finished(
        [
            _first(margin),
            list(_summary(trace)),
            _picture(steps, trace.lasted) + more,
            _steps(steps, asked),
            _details(steps, asked),
            _last(margin),
        ],
        plain_ascii,
    )


def _of(family: Family) -> str:
    names = [("session", family.session), ("request", family.request)]
    return " or ".join(f"{kind} {_name(value, 80)}" for kind, value in names if value) or "no session"


def _summary(trace: Trace) -> Iterator[str]:
    totals, steps = trace.totals, trace.steps
    title = _of(Family(trace.family.session, None if trace.family.session else trace.family.request))
    counted = text.plural(len(steps), "generation")
    if trace.requests > 1:
        counted += f" of {trace.requests:,} requests"
    yield f"{title[:1].upper()}{title[1:]}: {counted}"
    if steps[0].started is not None:
        line = f"{analytics.utc(steps[0].started)[:19].replace('T', ' ')} UTC"
        if trace.lasted:
            line += f", {text.duration(trace.lasted)} in all: waiting for models {text.duration(trace.busy)}"
            line += _between_calls(trace)
        yield line
    money = f"{_money(totals.cost + totals.upstream)}"
    if totals.upstream:
        money += f" ({_money(totals.upstream)} of it billed by providers, BYOK)"
    unknown = ((totals.cost_unknown, "cost"), (totals.upstream_unknown, "BYOK bill"))
    if missing := [text.plural(count, what) for count, what in unknown if count]:
        money += f" (not recorded and not in it: {', '.join(missing)})"
    tokens_in = f"{totals.prompt:,} tokens in"
    if totals.cached and totals.cached_of:
        tokens_in += f" ({text.percent(totals.cached, totals.cached_of)} cached)"
    tokens_out = f"{totals.completion:,} out"
    if totals.reasoning:
        tokens_out += f" ({totals.reasoning:,} reasoning)"
    went_wrong = f", {totals.failed:,} failed" if totals.failed else ""
    yield f"{money}, {tokens_in}, {tokens_out}{went_wrong}"


def _marked(step: Step, asked: str | None) -> str:
    return f"{text.safe_line(step.row.id)}{' *' if step.row.id == asked else ''}"


def _between_calls(trace: Trace) -> str:
    """The time in which no generation was under way, and before which steps most of it passed."""
    gaps = [(step.gap or 0.0, place) for place, step in enumerate(trace.steps, 1)]
    whole, longest = sum(gap for gap, _ in gaps), max(gaps)
    if not whole:
        return ""
    unknown = sum(step.took is None for step in trace.steps)
    within = f", with {text.plural(unknown, 'call')} of unknown length" if unknown else ""
    said = f", between calls (tools, people, own code{within}) {text.duration(whole)}"
    return said + (f", longest {text.duration(longest[0])} before {longest[1]}" if len(gaps) > 2 else "")


def _steps(steps: Sequence[Step], asked: str | None) -> list[str]:
    """The table; a model, provider or finish reason that all have in common stands above it once."""
    columns = [
        ["#", *(f"{place}{'*' if step.row.id == asked else ''}" for place, step in enumerate(steps, 1))],
        ["Offset", *(_offset(step) for step in steps)],
        ["Gap", *(_time(step.gap) if step.gap else "-" for step in steps)],
        ["Model", *(_name(step.row.model, 30) for step in steps)],
        ["Provider", *(_name(step.row.provider, 16) for step in steps)],
        ["In", *(_count(step.row.prompt) for step in steps)],
        ["Cached", *(_cached(step.row) for step in steps)],
        ["Out", *(_count(step.row.completion) for step in steps)],
        ["Cost", *(_money(step.row.known_cost) for step in steps)],
        ["Took", *(_time(step.took) for step in steps)],
        ["Finish", *(_name(step.row.finish_reason, 14) for step in steps)],
    ]
    told = {title: value for title, value in _in_common(steps).items() if value and len(steps) > 1}
    kept = [column for column in columns if column[0] not in told]
    right = [place for place, column in enumerate(kept) if column[0] not in ("#", "Model", "Provider", "Finish")]
    first = [f"All {len(steps)}: {', '.join(_name(value, 60) for value in told.values())}"] if told else []
    return [*first, *text.table(list(zip(*kept, strict=True)), right=right)]


def _in_common(steps: Sequence[Step]) -> dict[str, str | None]:
    """The names that are the same in all steps, by the title of their column."""
    names = {
        "Model": {step.row.model for step in steps},
        "Provider": {step.row.provider for step in steps},
        "Finish": {step.row.finish_reason for step in steps},
    }
    return {title: next(iter(values)) for title, values in names.items() if len(values) == 1}


def _offset(step: Step) -> str:
    return "-" if step.offset is None else f"+{text.duration(step.offset)}" if step.offset else "0"


def _cached(row: Row) -> str:
    return text.percent(row.cached, row.prompt) if row.cached and row.prompt else "-"


def _details(steps: Sequence[Step], asked: str | None) -> list[str]:
    """IDs and findings; a finding that is no mere remark is told in full."""
    shared = set.intersection(*({note.code for note in step.row.notes} for step in steps)) if len(steps) > 1 else set()
    rows = [
        [f"{place}", _marked(step, asked), _codes([note for note in step.row.notes if note.code not in shared])]
        for place, step in enumerate(steps, 1)
    ]
    lines = ["--- IDs and findings ---", *text.table(rows)]
    lines += [f"all: {', '.join(sorted(shared))}"] if shared else []
    for place, step in enumerate(steps, 1):
        lines += [
            f"{place}. {note.severity}: {note.code}: {note.summary}" for note in step.row.notes if note.severity != INFO
        ]
    if any(step.row.id == asked for step in steps):
        lines.append("* the one asked for")
    return lines


# --- The picture ---

_STEPS_S = (
    0.001,
    0.005,
    0.01,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    21_600,
    43_200,
    86_400,
)
"""Seconds between two marks of the axis."""
_LABEL = 10
"""Columns that a mark and its label need."""


def _picture(steps: Sequence[Step], lasted: float | None) -> list[str]:
    """A bar for each step on one axis, WIDTH columns wide; nothing where no time is known."""
    if not lasted or all(step.offset is None for step in steps):
        return []
    left = len(str(len(steps))) + 1
    took = [_time(step.took) for step in steps]
    right = max(map(len, took)) + 2
    width = WIDTH - left - right
    lines = [" " * left + line for line in _axis(lasted, width)]
    used = set()
    for place, step in enumerate(steps, 1):
        bar = _bar(step, lasted, width)
        used |= set(bar)
        lines.append(f"{place:>{left - 1}} {bar.ljust(width)}{took[place - 1].rjust(right)}")
    legend = [f"{mark} {label}" for mark, label in _LEGEND.items() if mark in used]
    return [*lines, " " * left + "   ".join(legend)]


def _bar(step: Step, lasted: float, width: int) -> str:
    """From the step's start to its end, at least one column wide."""
    if step.offset is None:
        return ""
    first = min(int(step.offset / lasted * width), width - 1)
    last = max(min(round((step.end or 0) / lasted * width), width), first + 1)
    if step.row.failed:
        return " " * first + _FAILED * (last - first)
    if step.took is None:
        return " " * first + _UNKNOWN
    columns = last - first
    lost = waited = 0
    if step.took and step.first_token is not None:
        lost = round(columns * min(step.lost / step.took, 1))
        waited = max(round(columns * min(step.first_token / step.took, 1)), lost)
    return " " * first + _FAILED * lost + _WAITING * (waited - lost) + _GENERATING * (columns - waited)


def _axis(lasted: float, width: int) -> list[str]:
    """Labels and marks at round times."""
    seconds = lasted / 1000
    most = max(width // _LABEL, 1)
    step = next((one for one in _STEPS_S if seconds / one <= most), 0.0)
    if not step:
        days = int(seconds / 86_400 / most) + 1
        step = days * 86_400.0
    labels, marks = "", ""
    for number in range(int(seconds / step) + 1):
        place = int(number * step / seconds * width)
        label = _clock(number * step)
        if place + len(label) > width:
            break
        labels = labels.ljust(place) + label
        marks = marks.ljust(place, "-") + "|"
    return [labels, marks.ljust(width, "-")]


def _clock(seconds: float) -> str:
    """`0`, `20ms`, `30s`, `2m`, `1m30s`, `1h05m`, `2d`."""
    if not seconds:
        return "0"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{value}{unit}" for value, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")) if value]
    return "".join(parts[:2])
