"""The text report of a generation's metadata (pure).

Every line that the TypeScript original prints is here in its order and
wording; what it leaves out stands around and behind those lines, and only when
it says something.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from openrouter_generations import fields, measures
from openrouter_generations.fields import Record
from openrouter_generations.findings import findings
from openrouter_generations.text import number, plain, safe_line, scrubbed, table, usd

_LONGEST = 1000
"""Characters of one value; the API's own are below 300."""


def render(record: Record | None, asked_id: str | None) -> str:
    """The report of one `data` object; `asked_id` is the ID that was asked for, where there was one."""
    if not record:
        return f"Generation: {safe_line(asked_id or 'unknown')}\n\nNo metadata available for this generation.\n"
    blocks = [
        _identity(record, asked_id),
        ["--- Tokens ---", *_tokens(record)],
        ["--- Cost ---", *_cost(record)],
        ["--- Performance ---", *_performance(record)],
        ["--- Status ---", *_status(record)],
    ]
    for title, lines in (
        ("--- Request ---", list(_request(record))),
        ("--- Attempts ---", attempts(record)),
        ("--- Findings ---", _findings(record, asked_id)),
    ):
        if lines:
            blocks.append([title, *lines])
    blocks.append(["Use --json for full raw response"])
    return scrubbed("\n\n".join("\n".join(block) for block in blocks) + "\n")


def _short(value: object) -> str:
    """Any value on one line of a bearable length; keys go before it is cut."""
    shown = scrubbed(plain(value))
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} … ({len(shown):,} characters)"


def _lines(record: Record, rows: tuple[tuple[str, str, str], ...]) -> Iterator[str]:
    """`label: value unit` for each field that is there."""
    for name, label, unit in rows:
        value = record.get(name)
        if value is not None:
            yield f"{label}: {_short(value)}{unit}"


def _identity(record: Record, asked_id: str | None) -> list[str]:
    lines = [f"Generation: {_short(record.get('id') or asked_id or 'unknown')}"]
    lines += _lines(record, (("model", "Model", ""),))
    provider = record.get("provider_name")
    lines.append(f"Provider: {'unknown' if provider is None else _short(provider)}")
    lines += _lines(record, (("created_at", "Created", ""),))
    return lines


def _tokens(record: Record) -> Iterator[str]:
    yield from _lines(
        record,
        (
            ("tokens_prompt", "Prompt", ""),
            ("tokens_completion", "Completion", ""),
            ("native_tokens_reasoning", "Reasoning", ""),
            ("native_tokens_cached", "Cached", ""),
            ("native_tokens_prompt", "Native prompt", ""),
            ("native_tokens_completion", "Native completion", ""),
        ),
    )
    yield from _counts(
        record,
        (
            ("native_tokens_completion_images", "Image tokens in completion"),
            ("num_media_prompt", "Media in prompt"),
            ("num_input_audio_prompt", "Audio in prompt"),
            ("num_media_completion", "Media in completion"),
        ),
    )


def _counts(record: Record, rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for name, label in rows:
        if quantity := fields.count(record, name):
            yield f"{label}: {quantity}"


def _cost(record: Record) -> Iterator[str]:
    yield f"Total cost: {_money(record, 'total_cost')}"
    yield f"Usage: {_money(record, 'usage')}"
    if record.get("upstream_inference_cost") is not None:
        on_top = fields.flag(record, "is_byok") and fields.number(record, "upstream_inference_cost")
        yield f"Upstream cost: {_money(record, 'upstream_inference_cost')}" + (
            " (the provider's own bill, on top of the total)" if on_top else ""
        )
    if record.get("cache_discount") is not None:
        discount = fields.number(record, "cache_discount") or 0
        effect = "saved" if discount > 0 else "premium for writing the cache"
        yield f"Cache discount: {_short(record['cache_discount'])}" + (
            f" ({effect}; already in the total)" if discount else ""
        )


def _money(record: Record, name: str) -> str:
    value = record.get(name)
    if value is None:
        return "n/a"
    if isinstance(value, str):  # the original reads "0.5" as a number too
        try:
            value = float(value)
        except ValueError:
            return _short(value)
        if not math.isfinite(value):
            return _short(record[name])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _short(value)
    return usd(value)


def _performance(record: Record) -> Iterator[str]:
    latency, total = fields.number(record, "latency"), fields.number(record, "generation_time")
    if record.get("latency") is not None:
        first_token = latency is not None and total is not None and 0 < latency < total
        yield f"Latency: {_short(record['latency'])} ms" + (
            " (about the time to the first token)" if first_token else ""
        )
    yield from _lines(record, (("generation_time", "Generation time", " ms"),))
    if rate := measures.throughput(record):
        yield f"Throughput: {rate:,.1f} tokens/s"
    yield from _lines(record, (("moderation_latency", "Moderation latency", " ms"),))


def _status(record: Record) -> Iterator[str]:
    reason, native = record.get("finish_reason"), fields.text(record, "native_finish_reason")
    shown = "n/a" if reason is None else _short(reason)
    yield f"Finish reason: {shown}" + (f" (native: {_short(native)})" if native and native != reason else "")
    yield f"Streamed: {_or_na(record.get('streamed'))}"
    yield from _lines(record, (("is_byok", "BYOK", ""),))
    yield f"Cancelled: {_or_na(record.get('cancelled'))}"
    yield from _lines(record, (("web_search_engine", "Web search", ""),))
    yield from _counts(record, (("num_search_results", "Search results"), ("num_fetches", "Web fetches")))


def _or_na(value: object) -> str:
    return "n/a" if value is None else _short(value)


def _request(record: Record) -> Iterator[str]:
    unremarkable = {"api_type": "completions", "data_region": "global"}
    for name, label in (
        ("api_type", "API type"),
        ("service_tier", "Service tier"),
        ("router", "Router"),
        ("data_region", "Region"),
        ("preset_id", "Preset"),
        ("response_cache_source_id", "Served from the cache of"),
        ("request_id", "Request ID"),
        ("session_id", "Session ID"),
        ("app_id", "App ID"),
        ("external_user", "External user"),
        ("workspace_id", "Workspace ID"),
        ("origin", "Origin"),
        ("http_referer", "Referer"),
        ("user_agent", "User agent"),
        ("upstream_id", "Upstream ID"),
    ):
        value = record.get(name)
        said = value not in (None, "", unremarkable.get(name))
        if said and not (name == "http_referer" and value == record.get("origin")):
            yield f"{label}: {_short(value)}"


def attempts(record: Record) -> list[str]:
    """A line for each entry of `provider_responses`: place, provider, status, latency, and what is special."""
    chain = fields.objects(record, "provider_responses")
    rows = []
    for place, attempt in enumerate(chain, 1):
        status, latency = attempt.get("status"), fields.number(attempt, "latency")
        rows.append(
            [
                f"{place}.",
                _short(fields.text(attempt, "provider_name") or "unknown provider"),
                "no status" if status is None else _short(status),
                "" if latency is None else f"{number(latency)} ms",
                "  ".join(_special(attempt, chain)),
            ]
        )
    return table(rows, right=(3,))


def _special(attempt: Record, chain: list[dict[str, object]]) -> Iterator[str]:
    model, tier = fields.text(attempt, "model_permaslug"), fields.text(attempt, "routed_service_tier")
    if model and any(fields.text(other, "model_permaslug") != model for other in chain):
        yield f"model {_short(model)}"
    if tier:
        yield f"tier {_short(tier)}"
    if fields.flag(attempt, "is_byok"):
        yield "own key"


def _findings(record: Record, asked_id: str | None) -> list[str]:
    return [
        f"{found.severity}: {found.code}: {found.summary} {found.advice}".rstrip()
        for found in findings(record, None, asked_id)
    ]
