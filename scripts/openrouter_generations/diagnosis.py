"""One generation explained: verdict, findings, attempts with their errors, time and money (pure)."""

from __future__ import annotations

from typing import NamedTuple

from openrouter_generations import fields, measures, text
from openrouter_generations.failures import Failure, clipped, in_quotes, quoted, sentence_of, stored_failure
from openrouter_generations.fields import Record
from openrouter_generations.findings import WARNING, Finding, findings
from openrouter_generations.measures import (
    Timing,
    attempts,
    completion_tokens,
    dollars,
    milliseconds,
    prompt_tokens,
    status,
    tokens,
)

SUCCEEDED = "succeeded"
TRUNCATED = "truncated"
FAILED = "failed"
CANCELLED = "cancelled by the client"
FILTERED = "filtered"
EMPTY = "empty"
FROM_CACHE = "served from cache"
TOOLS = "asked for tools"
UNCLEAR = "unclear"
"""The record does not say how it ended."""


class Attempt(NamedTuple):
    """One provider tried: an entry of `provider_responses`, a stored error, or both."""

    provider: str | None
    status: int | None
    latency_ms: float | None
    outcome: str
    """`answered`, `failed` or `unknown`."""
    model: str | None = None
    is_byok: bool | None = None
    routed_service_tier: str | None = None
    message: str | None = None
    """From the stored error: what OpenRouter said, often only "Provider returned error"."""
    said: str | None = None
    """From the stored error: the sentence in the provider's own body."""

    def as_dict(self) -> dict[str, object]:
        """Under the API's own names where it has them; what is not known is left out."""
        known: dict[str, object] = {
            "provider_name": self.provider,
            "status": self.status,
            "outcome": self.outcome,
            "latency": self.latency_ms,
            "model_permaslug": self.model,
            "is_byok": self.is_byok,
            "routed_service_tier": self.routed_service_tier,
            "message": self.message,
            "said": self.said,
        }
        return {name: value for name, value in known.items() if value is not None}


class Cost(NamedTuple):
    """US dollars. None: not recorded, or not to be told from the record."""

    charged: float | None
    """By OpenRouter; for BYOK its fee alone."""
    byok_upstream: float | None
    """The provider's own bill, which comes on top; only for BYOK."""
    upstream_unknown: bool
    """BYOK, but the record does not say what the provider bills."""
    cache_discount: float | None
    """Positive: saved; negative: premium for writing. Already in `charged`."""
    add_ons: dict[str, int]
    zero_because: str | None
    per_million: float | None
    """Effective price of a million native tokens, in and out together."""
    per_million_prompt: float | None
    """Only where nothing else was charged."""
    per_million_completion: float | None

    @property
    def total(self) -> float | None:
        """Both bills together; None where one of them is not recorded."""
        if self.charged is None or self.upstream_unknown:
            return None
        return self.charged + (self.byok_upstream or 0)


class Diagnosis(NamedTuple):
    """What `--json` prints and the report draws; None and empty where the record says nothing."""

    generation_id: str
    """The ID asked for."""
    verdict: str
    headline: str
    """The verdict as a sentence that answers by itself."""
    record: Record
    findings: list[Finding]
    attempts: list[Attempt]
    timing: Timing
    cost: Cost
    failure: Failure | None
    content_note: str

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`: milliseconds, US dollars, tokens."""
        shown: dict[str, object] = {"id": self.generation_id, "verdict": self.verdict, "headline": self.headline}
        for name in ("model", "provider_name", "created_at"):
            if value := fields.text(self.record, name):
                shown[name] = value
        return shown | {
            "findings": [finding._asdict() for finding in self.findings],
            "attempts": [attempt.as_dict() for attempt in self.attempts],
            "timing": timing_dict(self.timing, self.record),
            "cost": cost_dict(self.cost, self.record),
            "content": self.content_note,
            **({"failure": _failure_dict(self.failure)} if self.failure else {}),
        }


def diagnose(record: Record, content: Record | None, asked_id: str | None, unread: str | None = None) -> Diagnosis:
    """Explain one generation. `unread` says why `content` is not there, where it could not be read."""
    failure = stored_failure(content) if content else None
    found = findings(record, content, asked_id)
    tried = merged_attempts(attempts(record), failure)
    cost = cost_of(record, content)
    generation_id = asked_id or fields.text(record, "id") or "unknown ID"
    verdict, headline = judge(record, found, failure)
    return Diagnosis(
        generation_id,
        verdict,
        headline,
        record,
        found,
        tried,
        measures.timing(record),
        cost,
        failure,
        content_note(content, unread),
    )


# --- Verdict ---


def judge(record: Record, found: list[Finding], failure: Failure | None) -> tuple[str, str]:
    """(verdict, sentence). What the user wants to know first goes before what also holds."""
    codes = {finding.code: finding for finding in found}
    who = _who(record)
    if source := fields.text(record, "response_cache_source_id"):
        return FROM_CACHE, f"Served from OpenRouter's response cache, free: a copy of {quoted(source, 80)}."
    if {"provider-error", "all-attempts-failed", "native-failure"} & codes.keys():
        return FAILED, _failed(record, codes, failure)
    if "cancelled" in codes:
        happened = codes["cancelled"].summary.removeprefix("Cancelled by the client").lstrip(",")
        return CANCELLED, f"Cancelled by the client: {who}{',' if happened[:1] == ' ' else ''}{happened}"
    if "content-filter" in codes:
        return FILTERED, f"Filtered: {who} was {_lowered(codes['content-filter'].summary)}"
    if "truncated" in codes:
        summary = _lowered(codes["truncated"].summary).rstrip(".")
        return TRUNCATED, f"Truncated: {who} was {summary} ({_spent(record, count=False)})."
    verdict, sentence = _ended(record, codes, who)
    if found and found[0].severity == WARNING:
        sentence = f"{sentence.rstrip('.')}; {_lowered(found[0].summary)}"
    return verdict, sentence


def _ended(record: Record, codes: dict[str, Finding], who: str) -> tuple[str, str]:
    reason, spent = fields.text(record, "finish_reason"), _spent(record)
    if not record:
        return UNCLEAR, "No metadata available for this generation."
    if reason == "tool_calls":
        return TOOLS, f"Asked for tools: {who} ended with a tool call, which is normal ({spent})."
    if "empty-completion" in codes:
        return EMPTY, f"Empty: {who} produced nothing ({spent})."
    if reason == "stop" or (reason is None and not measures.streams_text(record)):
        return SUCCEEDED, f"Succeeded: {who} finished normally ({spent})."
    if reason is None:
        return UNCLEAR, f"Unclear: {who} recorded no finish reason ({spent})."
    return UNCLEAR, f"Unclear: {who} ended with finish reason {in_quotes(reason, 60)} ({spent})."


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _who(record: Record) -> str:
    model, provider = fields.text(record, "model"), fields.text(record, "provider_name")
    if model and provider:
        return f"{quoted(model, 80)} at {quoted(provider, 60)}"
    return quoted(model or provider or "", 80) or "the provider"


def _spent(record: Record, *, count: bool = True) -> str:
    """`806 completion tokens, 15.9 s, $0.085545`, as far as recorded; without the tokens where `count` is false."""
    words = []
    produced, total, cost = completion_tokens(record), measures.timing(record).total, cost_of(record, None)
    if produced and count:
        words.append(text.plural(produced, "completion token"))
    elif count and (size := prompt_tokens(record)):
        words.append(text.plural(size, "prompt token"))
    if total:
        words.append(text.duration(total))
    if cost.total is not None:
        words.append(text.usd(cost.total))
    elif cost.charged:
        words.append(f"{text.usd(cost.charged)} for OpenRouter")
    return ", ".join(words) or "nothing else recorded"


def _failed(record: Record, codes: dict[str, Finding], failure: Failure | None) -> str:
    model = fields.text(record, "model")
    what = quoted(model, 80) if model else "the request"
    if failure is not None:
        who = quoted(failure.provider, 60) if failure.provider else "the provider"
        answered = f"answered {failure.status}" if failure.status else "failed"
        said = failure.said()
        words = f": {sentence_of(said)}" if said else "."
        if failure.earlier:
            return f"Failed: {what}, {len(failure.earlier) + 1} attempts; the last, {who}, {answered}{words}"
        return f"Failed: {what}, {who if failure.provider else 'OpenRouter'} {answered}{words}"
    if "all-attempts-failed" in codes:
        return f"Failed: {what}. {codes['all-attempts-failed'].summary}"
    if "provider-error" in codes:
        return f"Failed: {what}. {codes['provider-error'].summary}"
    return f"Failed: {what}. {codes['native-failure'].summary}"


# --- Attempts ---


def merged_attempts(chain: list[dict[str, object]], failure: Failure | None) -> list[Attempt]:
    """`provider_responses` in order, each with its stored error; errors without a response keep their place."""
    tried = [_attempt(entry, i < len(chain) - 1) for i, entry in enumerate(chain)]
    place = 0
    stored = [*failure.earlier, failure] if failure else []
    for error in stored:
        found = _match(tried, error, place, error is failure)
        if found is not None:
            place = found + 1
            tried[found] = tried[found]._replace(
                message=_cut(error.message), said=_cut(error.said()), status=tried[found].status or error.status
            )
        elif error.provider:
            tried.insert(place, _from_error(error))
            place += 1
    return tried


def _cut(words: str | None) -> str | None:
    return clipped(words) if words else None


def _attempt(entry: Record, followed: bool) -> Attempt:
    outcome = "unknown"
    if measures.answered(entry):
        outcome = "answered"
    elif measures.failed(entry) or (followed and entry.get("status", 0) is None):
        outcome = "failed"
    return Attempt(
        provider=_cut(fields.text(entry, "provider_name")),
        status=status(entry),
        latency_ms=milliseconds(entry, "latency"),
        outcome=outcome,
        model=_cut(fields.text(entry, "model_permaslug")),
        is_byok=fields.flag(entry, "is_byok"),
        routed_service_tier=_cut(fields.text(entry, "routed_service_tier")),
    )


def _from_error(error: Failure) -> Attempt:
    return Attempt(
        _cut(error.provider), error.status, None, "failed", message=_cut(error.message), said=_cut(error.said())
    )


def _match(tried: list[Attempt], error: Failure, start: int, last: bool) -> int | None:
    """The first attempt from `start` on that this error can belong to.

    The provider decides; a status only where one side has no provider. The
    last error's status is the one the client got, which may differ from the
    provider's, and a failure in mid-stream belongs to an attempt with status 200.
    """
    for i in range(start, len(tried)):
        attempt = tried[i]
        if attempt.outcome == "answered" and not (last and i == len(tried) - 1):
            continue
        if attempt.provider and error.provider:
            if attempt.provider.casefold() == clipped(error.provider).casefold():
                return i
        elif error.status is not None and attempt.status == error.status:
            return i
    return None


# --- Time ---


def timing_dict(timing: Timing, record: Record) -> dict[str, object]:
    """Milliseconds, shares of the sum of the known parts (0 to 1), tokens/s; unknown ones are left out."""
    parts = timing.parts()
    whole = sum(value for _, value in parts)
    known: dict[str, object] = {
        "total_ms": timing.total,
        "first_token_ms": timing.first_token,
        "failed_attempts_ms": timing.failed_attempts,
        "moderation_ms": timing.moderation,
        "provider_ms": timing.provider,
        "generation_ms": timing.generation,
        "shares": {name: round(value / whole, 4) for name, value in parts} if whole else None,
        "tokens_per_second": _rate(record),
    }
    shown = {name: value for name, value in known.items() if value is not None}
    return shown | {"notes": list(timing.notes)}


def _rate(record: Record) -> float | None:
    rate = measures.throughput(record)
    return None if rate is None else round(rate, 2)


# --- Money ---


def cost_of(record: Record, content: Record | None) -> Cost:
    """The money of a record; negative amounts, which are none, are left out."""
    charged, discount = measures.cost(record), dollars(record, "cache_discount")
    upstream = measures.upstream_cost(record)
    unknown = record.get("is_byok") is True and upstream is None and not measures.billed_by_nobody(record)
    add_ons = {}
    for name in ("num_search_results", "num_fetches"):
        if quantity := tokens(record, name):
            add_ons[name] = quantity
    free = zero_because(record, content)
    cost = Cost(charged, upstream, unknown, discount or None, add_ons, free, None, None, None)
    price, size, produced = _price(record, cost)
    return cost._replace(
        per_million=price,
        per_million_prompt=price if not produced else None,
        per_million_completion=price if not size else None,
    )


def _price(record: Record, cost: Cost) -> tuple[float | None, int, int]:
    """(dollars a million tokens, tokens in, tokens out); no price where tokens are not all that was paid for.

    One amount cannot be split in two, so the price in or out alone is known
    only where there were no tokens of the other kind.
    """
    size, produced = tokens(record, "native_tokens_prompt"), tokens(record, "native_tokens_completion")
    total = cost.total
    if not total or size is None or produced is None or not size + produced or cost.add_ons:
        return None, 0, 0
    if tokens(record, "num_media_completion") or tokens(record, "native_tokens_completion_images"):
        return None, 0, 0
    return 1e6 * total / (size + produced), size, produced


def zero_because(record: Record, content: Record | None) -> str | None:
    """Why nothing was charged; None where something was, or no cost is recorded."""
    if measures.cost(record) != 0:
        return None
    if fields.text(record, "response_cache_source_id"):
        return "served from the response cache, which is free"
    if record.get("is_byok") is True:
        return "your own key was used (BYOK) and OpenRouter's fee was waived"
    chain = attempts(record)
    failed = record.get("finish_reason") == "error" or (content is not None and stored_failure(content) is not None)
    if failed or (chain and measures.all_failed(record, chain)):
        return "the request failed, and failed requests are not charged (zero completion insurance)"
    codes = {finding.code: finding for finding in findings(record, content)}
    if "empty-completion" in codes:
        return "nothing was produced, and that is not charged (zero completion insurance)"
    if record.get("cancelled") is True and not completion_tokens(record):
        return "it was cancelled before anything was produced"
    if "zero-cost" in codes:
        return "a free model variant" if "free model variant" in codes["zero-cost"].summary else None
    return None


def cost_dict(cost: Cost, record: Record) -> dict[str, object]:
    """US dollars and native tokens; unknown ones are left out."""
    known: dict[str, object] = {
        "charged_usd": cost.charged,
        "byok_upstream_usd": cost.byok_upstream,
        "total_usd": cost.total,
        "cache_discount_usd": cost.cache_discount,
        "zero_because": cost.zero_because,
        "usd_per_million_tokens": cost.per_million,
        "usd_per_million_prompt_tokens": cost.per_million_prompt,
        "usd_per_million_completion_tokens": cost.per_million_completion,
        "prompt_tokens": prompt_tokens(record),
        "cached_tokens": tokens(record, "native_tokens_cached"),
        "completion_tokens": completion_tokens(record),
        "reasoning_tokens": tokens(record, "native_tokens_reasoning"),
        "add_ons": cost.add_ons or None,
    }
    return {name: value for name, value in known.items() if value is not None}


# --- Content ---


def content_note(content: Record | None, unread: str | None) -> str:
    """One line on what the content endpoint gave."""
    if content is None:
        return unread or "nothing stored"
    stored = fields.mapping(content, "input") or {}
    output = fields.mapping(content, "output") or {}
    words = []
    messages = stored.get("messages")
    if isinstance(messages, list) and messages:
        words.append(text.plural(len(messages), "message"))
    elif prompt := fields.text(stored, "prompt"):
        words.append(f"a prompt of {text.plural(len(prompt), 'character')}")
    for name, label in (("completion", "answer"), ("reasoning", "reasoning")):
        value = output.get(name)
        if isinstance(value, str) and (value or (words and name == "completion")):
            words.append(f"{text.plural(len(value), 'character')} of {label}")
    if stored_failure(content):
        words.append("the error")
    return f"stored: {', '.join(words)}" if words else "nothing stored"


def _failure_dict(failure: Failure) -> dict[str, object]:
    """The stored error as `--json` shows it; its `earlier` ones are in the attempts as well."""
    known: dict[str, object] = {
        "status": failure.status,
        "provider_name": _cut(failure.provider),
        "message": _cut(failure.message),
        "said": _cut(failure.said()),
    }
    shown = {name: value for name, value in known.items() if value is not None}
    if failure.earlier:
        shown["earlier"] = [_failure_dict(error) for error in failure.earlier]
    return shown
