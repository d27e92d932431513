"""The text of a diagnosis, and of several side by side (pure).

`plain_ascii` keeps every character of ours within ASCII, for terminals without
UTF-8; what else a record holds is then escaped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from openrouter_generations import fields, text
from openrouter_generations.comparison import Comparison
from openrouter_generations.diagnosis import Attempt, Diagnosis
from openrouter_generations.failures import in_quotes, quoted, sentence_of
from openrouter_generations.findings import Finding
from openrouter_generations.measures import completion_tokens, prompt_tokens, tokens

WIDTH = 80
"""Columns of a timeline."""
COLUMNS = 3
"""Generations side by side in one table; more make a second table."""

_ASCII = str.maketrans({"…": "...", "–": "-", "→": "->", "’": "'"})

_FAILED, _WAITING, _GENERATING, _ANSWERING, _UNKNOWN = "failed", "waiting", "generating", "answering", "unknown"
_MARKS = {_FAILED: "×", _WAITING: "░", _GENERATING: "█", _ANSWERING: "▓", _UNKNOWN: "?"}
_ASCII_MARKS = {_FAILED: "x", _WAITING: ".", _GENERATING: "#", _ANSWERING: "=", _UNKNOWN: "?"}
_LEGEND = {
    _FAILED: "failed",
    _WAITING: "until first token",
    _GENERATING: "generation",
    _ANSWERING: "answering",
    _UNKNOWN: "no status",
}


_IN_ATTEMPTS = re.compile(r"^error\.raw$|\]\.latency$")
"""Evidence that the attempts show already."""


def render(diagnosis: Diagnosis, *, plain_ascii: bool = False) -> str:
    """The whole diagnosis of one generation."""
    blocks = [[text.safe_line(diagnosis.headline), _identity(diagnosis)]]
    for title, lines in (
        ("--- Findings ---", list(_findings(diagnosis))),
        ("--- Time ---", list(_time(diagnosis))),
        ("--- Attempts ---", _attempts(diagnosis, _ASCII_MARKS if plain_ascii else _MARKS)),
        ("--- Cost ---", list(_cost(diagnosis))),
        ("--- Content ---", [diagnosis.content_note]),
    ):
        if lines:
            blocks.append([title, *lines])
    return _finished(blocks, plain_ascii)


def render_several(diagnoses: list[Diagnosis], comparison: Comparison, *, plain_ascii: bool = False) -> str:
    """Each generation in short, what explains the differences, and a table of what differs."""
    blocks = []
    for place, one in enumerate(diagnoses, 1):
        lines = [f"[{place}] {text.safe_line(one.generation_id)}", f"    {text.safe_line(one.headline)}"]
        told = ((found, _untold(found.summary, one)) for found in one.findings)
        lines += [f"    {found.severity}: {found.code}: {rest}" for found, rest in told if rest]
        blocks.append(lines)
    explained = [
        f"{label}: {part.sentence}"
        for label, part in (("Cost", comparison.cost), ("Time", comparison.time))
        if part is not None
    ]
    explained += [
        f"Cost: what the provider of [{place}] bills (BYOK) is not recorded, so [{place}] is left out."
        for place, one in enumerate(diagnoses, 1)
        if one.cost.upstream_unknown
    ]
    differences = list(_difference_table(comparison, len(diagnoses)))
    blocks.append(["--- Comparison ---", *(explained or ["Cost and time are the same, or not recorded."])])
    if differences:
        blocks.append(differences)
    return _finished(blocks, plain_ascii)


def _finished(blocks: list[list[str]], plain_ascii: bool) -> str:
    report = text.scrubbed("\n\n".join("\n".join(block) for block in blocks) + "\n")
    if plain_ascii:
        report = report.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return report


def _identity(diagnosis: Diagnosis) -> str:
    created = fields.text(diagnosis.record, "created_at")
    return text.safe_line(diagnosis.generation_id) + (f", {quoted(created, 40)}" if created else "")


def _untold(summary: str, diagnosis: Diagnosis) -> str:
    """What a summary adds to the headline: nothing, itself, or itself without the words quoted in both."""
    if summary[1:].rstrip(".") in diagnosis.headline:
        return ""
    said = diagnosis.failure.said() if diagnosis.failure else None
    quote = f": {sentence_of(said)}" if said else ""
    return summary.replace(quote, ".", 1) if quote and quote in diagnosis.headline else summary


def _findings(diagnosis: Diagnosis) -> Iterator[str]:
    """Summary, evidence and advice of each; evidence that several share stands with the first of them."""
    shown = {""}
    for found in diagnosis.findings:
        yield f"{found.severity}: {found.code}: {_untold(found.summary, diagnosis) or 'as said above'}"
        evidence = _evidence(found)
        if evidence not in shown:
            yield f"  {evidence}"
        shown.add(evidence)
        if found.advice:
            yield f"  → {found.advice}"


def _evidence(found: Finding) -> str:
    return ", ".join(
        f"{name} = {_shown(name, value)}"
        for name, value in found.evidence.items()
        if not isinstance(value, (list, dict)) and not _IN_ATTEMPTS.search(name)
    )


def _shown(name: str, value: object) -> str:
    """A stored error's words in quotation marks, as everywhere."""
    return in_quotes(value) if name == "error.message" and isinstance(value, str) else text.plain(value)


# --- Time ---


def _time(diagnosis: Diagnosis) -> Iterator[str]:
    timing = diagnosis.timing
    parts = timing.parts()
    whole = sum(value for _, value in parts)
    rows = [
        [name, text.duration(value), text.percent(value, whole) if len(parts) > 1 else "", ""] for name, value in parts
    ]
    if rows and rows[-1][0] == "generation":
        rows[-1][3] = _speed(diagnosis)
    if timing.total and not (len(parts) == 1 and parts[0][1] == timing.total):
        rows.append(["total", text.duration(timing.total), "", ""])
    yield from text.table(rows, right=(1, 2))
    for note in timing.notes if rows else ():
        yield f"Note: {note}."


def _speed(diagnosis: Diagnosis) -> str:
    """Tokens a second while generating; left out where reasoning went before and would make it absurd."""
    produced, lasted = completion_tokens(diagnosis.record) or 0, diagnosis.timing.generation or 0
    if produced < 10 or lasted < 100 or produced > lasted:
        return ""
    return f"{text.grouped(round(1000 * produced / lasted, 1))} tokens/s"


# --- Attempts ---


def _attempts(diagnosis: Diagnosis, marks: dict[str, str]) -> list[str]:
    tried = diagnosis.attempts
    if not tried:
        return []
    rows = [
        [
            f"{place}.",
            _fitted(quoted(attempt.provider, 60) if attempt.provider else "unnamed", 18),
            str(attempt.status) if attempt.status is not None else "-",
            text.duration(attempt.latency_ms) if attempt.latency_ms is not None else "",
        ]
        for place, attempt in enumerate(tried, 1)
    ]
    lines = text.table(rows, right=(0, 3))
    left = max(map(len, lines)) + 2
    bars, legend = _bars(diagnosis, WIDTH - left, marks)
    if bars:
        lines = [f"{line.ljust(left)}{bar}".rstrip() for line, bar in zip(lines, bars, strict=True)]
        lines.append(" " * left + legend) if len(legend) <= WIDTH - left else lines.append("   " + legend)
    return lines + list(_words_of(tried, diagnosis.headline))


def _words_of(tried: list[Attempt], headline: str) -> Iterator[str]:
    """What the providers said; nothing where only one did and the headline has it."""
    said = [(place, attempt, in_quotes(attempt.said)) for place, attempt in enumerate(tried, 1) if attempt.said]
    if len(said) > 1 or any(words not in headline for _, _, words in said):
        for place, attempt, words in said:
            yield f"{place}. {quoted(attempt.provider or 'unnamed', 60)} said: {words}"


def _fitted(name: str, columns: int) -> str:
    """Cut to a number of terminal columns; East Asian characters take two."""
    taken, kept = 0, ""
    for character in name:
        taken += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if taken > columns:
            return kept[:-1] + "."
        kept += character
    return kept


def _bars(diagnosis: Diagnosis, width: int, marks: dict[str, str]) -> tuple[list[str], str]:
    """A bar for each attempt, to one scale, and the legend with the scale's length; none where no time is known."""
    spans = _spans(diagnosis)
    scale = max([diagnosis.timing.total or 0, *(end for row in spans for _, _, end in row)])
    if not scale or width < 10:
        return [], ""
    bars = []
    for row in spans:
        bar = ""
        for kind, start, end in row:
            first = min(round(start / scale * width), width - 1)
            last = max(min(round(end / scale * width), width), first + 1)
            bar = bar.ljust(first)[: max(first, len(bar))]
            bar += marks[kind] * max(last - len(bar), 0 if len(bar) > first else 1)
        bars.append(bar)
    used = [kind for kind in marks if any(kind == one for row in spans for one, _, _ in row)]
    return bars, "  ".join(f"{marks[kind]} {_LEGEND[kind]}" for kind in used) + f"  (0 to {text.duration(scale)})"


_Span = tuple[str, float, float]


def _spans(diagnosis: Diagnosis) -> list[list[_Span]]:
    """For each attempt its (kind, start, end) in milliseconds, one attempt after the other."""
    clock = diagnosis.timing.moderation or 0.0
    rows: list[list[_Span]] = []
    for place, attempt in enumerate(diagnosis.attempts):
        latency = attempt.latency_ms or 0.0
        if attempt.outcome == "answered" and place == len(diagnosis.attempts) - 1:
            rows.append(_answer(diagnosis, clock, latency))
            break
        kind = {"failed": _FAILED, "answered": _ANSWERING}.get(attempt.outcome, _UNKNOWN)
        rows.append([(kind, clock, clock + latency)] if attempt.latency_ms is not None else [])
        clock += latency
    return rows


def _answer(diagnosis: Diagnosis, start: float, latency: float) -> list[_Span]:
    total, generation = diagnosis.timing.total, diagnosis.timing.generation
    if total is None or total <= start:
        return [(_ANSWERING, start, start + latency)] if latency else []
    if generation is None or total - generation < start:
        return [(_ANSWERING, start, total)]
    waiting: list[_Span] = [(_WAITING, start, total - generation)] if total - generation > start else []
    return waiting + ([(_GENERATING, total - generation, total)] if generation else [])


# --- Money ---


def _cost(diagnosis: Diagnosis) -> Iterator[str]:
    cost, record = diagnosis.cost, diagnosis.record
    who = fields.text(record, "provider_name")
    if cost.zero_because:
        yield f"Nothing charged (total_cost is 0): {cost.zero_because}."
    elif cost.charged is not None and cost.byok_upstream is None:
        yield f"{'OpenRouter charged' if cost.upstream_unknown else 'Charged'}: {text.usd(cost.charged)}"
    if cost.upstream_unknown:
        yield f"{quoted(who, 60) if who else 'The provider'}'s own bill (BYOK) is not recorded; it comes on top."
    if cost.byok_upstream is not None:
        fee = "" if cost.charged is None or cost.zero_because else f"OpenRouter's fee {text.usd(cost.charged)}, and "
        upstream = f"{quoted(who, 60) if who else 'the provider'}'s own bill {text.usd(cost.byok_upstream)}"
        yield f"{fee}{upstream}" + (f": {text.usd(cost.total)} in all" if fee and cost.total is not None else "")
    if cost.cache_discount and cost.total is not None:
        effect = "saved" if cost.cache_discount > 0 else "cost"
        without = cost.total + cost.cache_discount
        yield f"Prompt cache {effect} {text.usd(abs(cost.cache_discount))}" + (
            f" (without it: {text.usd(float(f'{without:.10g}'))})" if without >= 0 else ""
        )
    if counts := _token_counts(diagnosis):
        yield counts
    if cost.add_ons:
        labels = {"num_search_results": "search result", "num_fetches": "web page"}
        named = ", ".join(text.plural(count, labels[name]) for name, count in cost.add_ons.items())
        yield f"Beside the tokens: {named}"
    if price := _price(diagnosis):
        yield price


def _token_counts(diagnosis: Diagnosis) -> str:
    record = diagnosis.record
    words = []
    for count, noun, part, label in (
        (prompt_tokens(record), "prompt token", "native_tokens_cached", "cached"),
        (completion_tokens(record), "completion token", "native_tokens_reasoning", "reasoning"),
    ):
        if count:
            of_which = tokens(record, part)
            words.append(text.plural(count, noun) + (f" ({of_which:,} {label})" if of_which else ""))
    return f"Tokens: {', '.join(words)}" if words else ""


def _price(diagnosis: Diagnosis) -> str:
    cost = diagnosis.cost
    for price, what in (
        (cost.per_million_prompt, "prompt tokens"),
        (cost.per_million_completion, "completion tokens"),
        (cost.per_million, "tokens, in and out together"),
    ):
        if price is not None:
            return f"Effective price: {text.usd(float(f'{price:.3g}'))} a million {what}"
    return ""


# --- Several ---


def _difference_table(comparison: Comparison, count: int) -> Iterator[str]:
    for start in range(0, count, COLUMNS):
        places = range(start, min(start + COLUMNS, count))
        rows = [["", *(f"[{place + 1}]" for place in places)]]
        rows += [[row.label, *(row.shown[place] for place in places)] for row in comparison.rows]
        if len(rows) > 1:
            yield from ([""] if start else [])
            yield from text.table(rows)
