"""What a knowledgeable person would point out about a generation: one small pure function a rule.

A rule looks at the record (the `data` object of the metadata), the stored
content (that of the content endpoint, where it was read) and the ID asked for,
and gives a `Finding` or None. A rule that cannot decide stays silent; none
raises, whatever is in the record. `references/findings.md` has a row per code.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from openrouter_generations import fields, measures, providers, text
from openrouter_generations.failures import Failure, clipped, in_quotes, quoted, sentence_of, stored_failure
from openrouter_generations.fields import Record
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

ERROR, WARNING, INFO = "error", "warning", "info"
_RANK = {ERROR: 0, WARNING: 1, INFO: 2}

SLOW_START_MS = 10_000
"""A first token later than this is out of the ordinary for a short prompt."""
SLOW_START_PER_PROMPT_TOKEN_MS = 0.05
"""Reading 20,000 uncached prompt tokens may take a second more."""
SLOW_START_ALONE_MS = 30_000
"""Later than this it is worth saying even when the generation took longer still, or reasoning explains it."""
SLOW_GENERATION_TOKENS_PER_S = 10
SLOW_GENERATION_MS = 5_000
LARGE_PROMPT_TOKENS = 5_000
"""Above every provider's minimum for caching (4,096 at most)."""
NOTABLE_REASONING_TOKENS = 50
COUNT_GAP_RATIO = 1.5
COUNT_GAP_TOKENS = 200

_NATIVE_FAILURE = re.compile(
    r"(?<!no[^a-z])(?<!non[^a-z])error|(?<![a-z])err(?![a-z])|fail|safety|refus|(?<!un)filter|block|prohibit"
    r"|recitation|spii|malformed|timeout|timed|network|rate.?limit|overload|unavailable|abort|interrupt|cancel"
    r"|length|max.?(?:output.?)?tokens|incomplete|exceed|exhaust",
    re.IGNORECASE,
)
_HEALTHY_NATIVE = frozenset(
    (
        "stop",
        "completed",
        "end_turn",
        "STOP",
        "eos",
        "stop_sequence",
        "tool_use",
        "tool_calls",
        "complete",
    )
)


class Finding(NamedTuple):
    """One thing worth saying. `evidence`: field path (`provider_responses[0].status`) to value."""

    code: str
    severity: str
    summary: str
    evidence: dict[str, object]
    advice: str


def findings(record: Record, content: Record | None = None, asked_id: str | None = None) -> list[Finding]:
    """All findings, errors first, then by how much they explain. A healthy generation has none."""
    found = [finding for rule in RULES if (finding := rule(record, content, asked_id)) is not None]
    if len(found) > 1:
        found.sort(key=lambda finding: _RANK[finding.severity])
    return found


# --- Words shared by the rules ---


def _provider(record: Record) -> str | None:
    name = fields.text(record, "provider_name")
    return quoted(name, 60) if name else None


def _name(provider: str | None) -> str:
    return quoted(provider, 60) if provider else "an unnamed provider"


def _who(attempt: Record) -> str:
    return _name(fields.text(attempt, "provider_name"))


def _who_and_status(attempt: Record) -> str:
    code = status(attempt)
    return f"{_who(attempt)} {code if code is not None else 'without a status'}"


def _some(words: list[str], most: int = 6) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _evidence(record: Record, *names: str) -> dict[str, object]:
    """The named fields that hold something, long strings cut."""
    held: dict[str, object] = {}
    for name in names:
        value = record.get(name)
        if isinstance(value, str):
            held[name] = clipped(value)
        elif isinstance(value, bool) or measures.dollars({name: value}, name) is not None:
            held[name] = value
    return held


def _chain_evidence(chain: list[dict[str, object]], *names: str) -> dict[str, object]:
    return {
        f"provider_responses[{i}].{name}": value
        for i, attempt in enumerate(chain[:10])
        for name, value in _evidence(attempt, *(names or ("status", "latency"))).items()
    }


def _setting(name: str, chain: list[dict[str, object]]) -> str:
    """`provider.ignore: ["deepinfra"]`, or the bare parameter where a slug is not certain."""
    names = dict.fromkeys(fields.text(attempt, "provider_name") for attempt in chain)
    slugs = [providers.SLUGS.get(one) if one else None for one in names]
    known = [f'"{slug}"' for slug in slugs if slug]
    return f"{name}: [{', '.join(known)}]" if known and len(known) == len(slugs) <= 5 else name


def _skip(record: Record) -> str:
    return _setting("provider.ignore", [dict(record)])


def _media(record: Record) -> bool:
    return bool(tokens(record, "num_media_completion") or tokens(record, "native_tokens_completion_images"))


def _from_response_cache(record: Record) -> bool:
    return fields.text(record, "response_cache_source_id") is not None


def time_shares(timing: Timing) -> str:
    """`failed attempts 30.0 s (88%), provider until first token 1.40 s (4%), generation 2.60 s (8%)`."""
    whole = sum(value for _, value in timing.parts())
    return ", ".join(f"{name} {text.duration(value)} ({text.percent(value, whole)})" for name, value in timing.parts())


# --- What went wrong ---


def provider_error(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`finish_reason` is `error`, or the content holds a stored error."""
    failure = stored_failure(content) if content else None
    if failure is not None:
        return _stored_error(record, failure)
    if record.get("finish_reason") != "error":
        return None
    native = fields.text(record, "native_finish_reason")
    where = _provider(record) or "the provider"
    chain = attempts(record)
    code = status(chain[-1]) if chain and measures.failed(chain[-1]) else None
    summary = f"The generation ended in an error at {where}" + (f" with status {code}" if code else "")
    summary += f" (native reason {in_quotes(native, 60)})" if native and native != "error" else ""
    produced = completion_tokens(record)
    summary += f", after {text.plural(produced, 'completion token')}." if produced else "."
    return Finding(
        "provider-error",
        ERROR,
        summary,
        _evidence(record, "finish_reason", "native_finish_reason", "provider_name") | _chain_evidence(chain, "status"),
        "No error is stored with it: retry, with other providers allowed (allow_fallbacks, models)."
        if content is not None
        else "The provider's own words are in the stored error: get_generation_content.py ID --part error "
        "(kept only where Input & Output Logging was on).",
    )


def _stored_error(record: Record, failure: Failure) -> Finding:
    evidence = {
        name: clipped(value) if isinstance(value, str) else value
        for name, value in (
            ("error.status", failure.status),
            ("error.provider_name", failure.provider),
            ("error.message", failure.message),
            ("error.raw", failure.sentence),
        )
        if value is not None
    } | _evidence(record, "finish_reason")
    summary = "The request failed" + (f" at {quoted(failure.provider, 60)}" if failure.provider else "")
    summary += f" with status {failure.status}" if failure.status else ""
    said = failure.said()
    summary += f": {sentence_of(said)}" if said else "."
    if failure.earlier:
        before = [
            {"provider_name": clipped(one.provider, 60) if one.provider else "unnamed", "code": one.status}
            for one in failure.earlier[:10]
        ]
        evidence["error.previous_errors"] = [{k: v for k, v in one.items() if v is not None} for one in before]
        names = [f"{_name(one.provider)} {one.status or ''}".strip() for one in failure.earlier]
        summary += f" Before it: {_some(names)}."
    advice = _failure_advice(failure.status, said or "", after_others=bool(failure.earlier))
    return Finding("provider-error", ERROR, summary, evidence, advice)


_CONTEXT = re.compile(r"context.{0,12}(length|window|limit)|too (long|large|many tokens)|maximum.{0,20}tokens", re.I)


def _failure_advice(code: int | None, said: str, *, after_others: bool) -> str:
    """What to change, by the status returned to the client and the words that came with it."""
    if code in (400, 413, 422) and _CONTEXT.search(said):
        return "Shorten the input or lower max_tokens, or choose a model with a larger context."
    advice = {
        400: "Mend the request: the provider refused it as it is, so a retry fails again. "
        "provider.require_parameters: true keeps to providers that support all of its parameters.",
        401: "The key was refused. Under BYOK check yours at openrouter.ai/workspaces/default/byok.",
        402: "Add credits at openrouter.ai/settings/credits, or raise the key's limit at openrouter.ai/settings/keys.",
        403: "Refused by a guardrail, moderation or missing rights: change the input, or check the key's "
        "guardrails and openrouter.ai/settings/privacy.",
        404: "No endpoint was left, or the model is gone: check the model's slug, provider.only, "
        "provider.ignore and openrouter.ai/settings/privacy.",
        429: "Retry with backoff; allow more providers (no provider.only, allow_fallbacks: true) or fallback "
        "models (models), or bring your own key for limits of your own.",
    }
    if code in advice:
        return advice[code]
    if code in (408, 504, 524):
        return (
            "Retry with stream: true; prefer quicker providers with provider.sort: latency, or skip this one "
            "with provider.ignore."
        )
    if code is not None and code >= 500:
        if after_others:
            return "Retry; falling back to other providers did not help, so name fallback models in models."
        return (
            "Retry; allow other providers (allow_fallbacks: true, no provider.only), or name fallback models in models."
        )
    return "Retry; if it comes again, skip the provider with provider.ignore or name fallback models in models."


def all_attempts_failed(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """No entry of `provider_responses` has a 2xx status."""
    chain = attempts(record)
    if not measures.all_failed(record, chain):
        return None
    codes = {status(attempt) for attempt in chain}
    if len(chain) == 1:
        summary = f"The only attempt failed: {_who_and_status(chain[0])}."
        advice = "No fallback was tried: allow one with allow_fallbacks: true, a wider provider.only, or models."
    else:
        names = [_who_and_status(attempt) for attempt in chain]
        summary = f"No attempt of {len(chain)} succeeded: {_some(names)}."
        advice = "Retry; name fallback models in models, or loosen provider.only and provider.ignore if they are set."
    if codes <= {400, 413, 422}:
        advice = "The request itself was refused: mend it. Other providers would refuse it too."
    elif codes == {429}:
        advice = "Every provider was at its limit: retry with backoff, or name fallback models in models."
    return Finding("all-attempts-failed", ERROR, summary, _chain_evidence(chain), advice)


def native_failure(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`finish_reason` is `stop`, but the native reason names a failure."""
    if record.get("finish_reason") != "stop":
        return None
    native = record.get("native_finish_reason")
    if not isinstance(native, str) or native in _HEALTHY_NATIVE or not _NATIVE_FAILURE.search(native[:200]):
        return None
    produced = completion_tokens(record)
    charged = measures.cost(record)
    got = f" after {text.plural(produced, 'completion token')}" if produced is not None else ""
    got += f"; {text.usd(charged)} was charged all the same" if charged else ""
    return Finding(
        "native-failure",
        ERROR,
        f"Reported as a success, but {_provider(record) or 'the provider'} ended it with {in_quotes(native, 60)}{got}.",
        _evidence(record, "finish_reason", "native_finish_reason", "provider_name", "native_tokens_completion"),
        "Treat it as failed and retry; in code, check native_finish_reason as well as finish_reason. "
        f"If it comes again: {_skip(record)}.",
    )


def content_filter(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`finish_reason` is `content_filter`."""
    if record.get("finish_reason") != "content_filter":
        return None
    native, produced = fields.text(record, "native_finish_reason"), completion_tokens(record)
    summary = f"Stopped by {_provider(record) or 'the provider'}'s content filter"
    summary += f" (native reason {in_quotes(native, 60)})" if native else ""
    summary += f" after {text.plural(produced, 'completion token')}." if produced is not None else "."
    return Finding(
        "content-filter",
        ERROR,
        summary,
        _evidence(record, "finish_reason", "native_finish_reason", "provider_name", "native_tokens_completion"),
        "The same request is stopped again: change what set it off, or send it elsewhere "
        "(provider.ignore, or another model in models).",
    )


def empty_completion(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """No completion tokens and no finish reason: zero completion insurance."""
    produced = completion_tokens(record)
    if produced != 0 or tokens(record, "tokens_completion"):
        return None
    if fields.text(record, "finish_reason") or record.get("cancelled") is True:
        return None
    reason = record.get("finish_reason")
    if not (reason is None or isinstance(reason, str)) or not measures.streams_text(record) or _media(record):
        return None
    if _from_response_cache(record) or measures.all_failed(record, attempts(record)):
        return None
    if content and stored_failure(content):
        return None
    charged = measures.cost(record)
    summary = "Nothing was produced: no completion tokens and no finish reason. "
    if charged:
        summary += f"Zero completion insurance: the tokens are not charged; the {text.usd(charged)} are for add-ons."
    else:
        summary += "Zero completion insurance: the tokens are not charged."
    return Finding(
        "empty-completion",
        ERROR,
        summary,
        _evidence(
            record,
            "native_tokens_completion",
            "tokens_completion",
            "finish_reason",
            "total_cost",
            "provider_name",
        ),
        f"Retry; if it comes again, skip the provider: {_skip(record)}.",
    )


def truncated(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`finish_reason` is `length`."""
    if record.get("finish_reason") != "length":
        return None
    produced, reasoning = completion_tokens(record), tokens(record, "native_tokens_reasoning")
    evidence = _evidence(
        record, "finish_reason", "native_finish_reason", "native_tokens_completion", "native_tokens_reasoning"
    )
    advice = (
        "Raise max_tokens (max_output_tokens on the Responses API); if it was not set, the model's own limit "
        "or its context was reached: shorten the input or ask for the rest."
    )
    if produced is None:
        return Finding("truncated", WARNING, "Cut off by a token limit.", evidence, advice)
    if not produced:
        summary = "Cut off before the first token: the input left no room for an answer."
        return Finding("truncated", WARNING, summary, evidence, advice)
    summary = f"Cut off by a token limit after {text.plural(produced, 'completion token')}"
    if reasoning:
        summary += f"; {_reasoning_share(reasoning, produced)}"
        if 0.9 * produced <= reasoning <= produced:
            summary += f", so only {produced - reasoning:,} were left for the answer"
    if reasoning and 2 * reasoning >= produced:
        advice = (
            'Lower reasoning.effort (say "low"; some models take reasoning.max_tokens), or raise max_tokens well above '
            f"the {reasoning:,} that reasoning took. The record does not name the limit; it was probably about "
            f"{produced:,}. Only a new request brings the rest."
        )
    return Finding("truncated", WARNING, summary + ".", evidence, advice)


def _reasoning_share(reasoning: int, produced: int) -> str:
    """A provider may count reasoning apart, and then there is more of it than of the completion."""
    if reasoning > produced:
        return f"{reasoning:,} reasoning tokens are counted beside them"
    return f"{reasoning:,} of them ({text.percent(reasoning, produced)}) were reasoning"


def cancelled(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`cancelled` is true; what was produced until then is billed."""
    if record.get("cancelled") is not True:
        return None
    lasted = milliseconds(record, "generation_time")
    if lasted is None:
        lasted = milliseconds(record, "latency")
    produced, charged = completion_tokens(record), measures.cost(record)
    summary = "Cancelled by the client"
    summary += f" after {text.duration(lasted)}" if lasted else ""
    if produced:
        summary += f"{' and' if lasted else ' after'} {text.plural(produced, 'completion token')}"
    elif produced == 0:
        summary += ", before any token was produced"
    if charged:
        summary += f"; billed for what was produced: {text.usd(charged)}"
    elif charged == 0:
        summary += "; nothing was charged"
    return Finding(
        "cancelled",
        WARNING,
        summary + ".",
        _evidence(record, "cancelled", "generation_time", "native_tokens_completion", "total_cost", "provider_name"),
        _abort_advice(record),
    )


def _abort_advice(record: Record) -> str:
    name = fields.text(record, "provider_name")
    unwanted = "If that was not intended, raise the client's timeout."
    if record.get("streamed") is False:
        return f"{unwanted} Only streamed requests (stream: true) stop, and stop billing, on abort."
    if name in providers.GOES_ON_AFTER_ABORT:
        return f"{unwanted} {name} goes on, and bills, after an abort; to save by cancelling: {_skip(record)}."
    if name in providers.STOPS_ON_ABORT:
        return f"{unwanted} {name} stops, and stops billing, on abort."
    return f"{unwanted} Not every provider stops, and stops billing, on abort."


def id_differs(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """The answered ID is not the one asked for (seen for cancelled streams)."""
    if asked is None:
        return None
    answered = record.get("id")
    if answered == asked or not isinstance(answered, str) or not answered.strip() or not asked.strip():
        return None
    return Finding(
        "id-differs",
        WARNING,
        f"Asked for {quoted(asked, 80)}, answered {quoted(answered, 80)}.",
        {"asked": clipped(asked), "id": clipped(answered)},
        "Check by created_at and model that it is the request you mean; keep it under the ID asked for.",
    )


# --- What made it slow ---


def slow_start(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """The first token came late, by SLOW_START_MS and its neighbours above."""
    latency = milliseconds(record, "latency")
    if latency is None or (latency < SLOW_START_MS and len(attempts(record)) < 2):
        return None
    timing = measures.timing(record)
    first = timing.first_token
    if first is None or not timing.total or not measures.streams_text(record) or _media(record):
        return None
    fresh = max((prompt_tokens(record) or 0) - (tokens(record, "native_tokens_cached") or 0), 0)
    if first < SLOW_START_MS + SLOW_START_PER_PROMPT_TOKEN_MS * fresh:
        return None
    thought = _thought_first(record, timing)
    if first < SLOW_START_ALONE_MS and (thought or 2 * first < timing.total):
        return None
    summary = f"The first token came after {text.duration(first)}. The whole time: {time_shares(timing)}."
    if thought:
        summary += f" Most likely spent on the {text.plural(thought, 'reasoning token')}."
    return Finding(
        "slow-start",
        WARNING,
        summary,
        _evidence(
            record,
            "latency",
            "generation_time",
            "moderation_latency",
            "native_tokens_prompt",
            "native_tokens_reasoning",
        )
        | _chain_evidence(measures.gave_way(attempts(record)), "latency"),
        _slow_start_advice(record, timing, thought),
    )


def _thought_first(record: Record, timing: Timing) -> int:
    """Reasoning tokens that were certainly produced before the first token shown; 0 where that is not so.

    Certainly: what came after the first token is too short a time for all of them (300 tokens/s).
    """
    thought, produced = tokens(record, "native_tokens_reasoning") or 0, completion_tokens(record) or 0
    if not thought or timing.generation is None or timing.provider is None:
        return 0
    if 1000 * produced <= 300 * timing.generation:
        return 0
    return thought if 1000 * thought >= 10 * timing.provider else 0


def _slow_start_advice(record: Record, timing: Timing, thought: int) -> str:
    lost, first = timing.failed_attempts or 0, timing.first_token or 0
    last = milliseconds(attempts(record)[-1], "latency") if timing.failed_attempts is None else None
    if 2 * lost >= first or (timing.failed_attempts is None and 2 * (last or 0) < first):
        return "What failed took it, or most of it: see fallback."
    if thought:
        return "Lower reasoning.effort, or cap it with reasoning.max_tokens."
    if 2 * (timing.moderation or 0) >= first:
        return "Moderation took most of it: OpenRouter's own step before the provider; use a model without it."
    return (
        "Prefer quick providers with provider.sort: latency or provider.preferred_max_latency, "
        f"or skip this one: {_skip(record)}."
    )


def slow_generation(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """Few tokens a second over a time that counts."""
    whole = milliseconds(record, "generation_time")
    if whole is None or whole < SLOW_GENERATION_MS:
        return None
    produced = completion_tokens(record)
    if not produced or 1000 * produced >= SLOW_GENERATION_TOKENS_PER_S * whole:
        return None  # fast enough even if the wait for the first token is counted
    if not measures.streams_text(record) or _media(record):
        return None
    if tokens(record, "num_search_results") or tokens(record, "num_fetches"):
        return None  # pauses for the searches are in the time
    timing = measures.timing(record)
    writing = whole if timing.generation is None else timing.generation
    if writing < SLOW_GENERATION_MS or 1000 * produced >= SLOW_GENERATION_TOKENS_PER_S * writing:
        return None
    shares = time_shares(timing)
    return Finding(
        "slow-generation",
        WARNING,
        f"{text.plural(produced, 'completion token')} took {text.duration(writing)}, "
        f"{1000 * produced / writing:.1f} tokens/s" + (f": {shares}." if shares else "."),
        _evidence(record, "generation_time", "latency", "native_tokens_completion", "provider_name"),
        "Prefer fast providers with provider.sort: throughput (the :nitro variant does it too) or "
        f"provider.preferred_min_throughput; or skip this one: {_skip(record)}.",
    )


def fallback(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """An attempt before the last one failed."""
    chain = attempts(record)
    if len(chain) < 2:
        return None
    losers = measures.gave_way(chain)
    if not losers:
        return None
    in_vain = measures.all_failed(record, chain)
    spent = [milliseconds(attempt, "latency") for attempt in (chain if in_vain else losers)]
    lost = sum(value for value in spent if value is not None)
    last = chain[-1]
    then = "answered" if measures.answered(last) else "failed too" if measures.failed(last) else "came next"
    count = text.plural(len(losers), "attempt")
    names = _some([_who_and_status(one) for one in losers])
    summary = f"{count} failed first ({names}), then {_who(last)} {then}; "
    known = "at least " if None in spent and lost else ""
    summary += f"{known}{text.duration(lost)} lost." if lost or None not in spent else "time lost not recorded."
    return Finding(
        "fallback",
        WARNING,
        summary,
        _chain_evidence(chain),
        "All that were tried failed: see all-attempts-failed." if in_vain else _fallback_advice(chain[-1], losers),
    )


def _fallback_advice(last: dict[str, object], losers: list[dict[str, object]]) -> str:
    if others := _of_others(losers, last):
        return (
            f"To skip what failed: {_setting('provider.ignore', others)}; "
            f"to choose the first: {_setting('provider.order', [last])}."
        )
    if measures.answered(last):
        return f"Another try or endpoint of {_who(last)} worked, so there is nobody to skip."
    return f"Only {_who(last)} was tried: allow other providers, or name fallback models in models."


def _of_others(losers: list[dict[str, object]], last: dict[str, object]) -> list[dict[str, object]]:
    """The failed attempts at other providers than the one tried last."""
    return [one for one in losers if fields.text(one, "provider_name") != fields.text(last, "provider_name")]


def rate_limited(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """A 429 among the attempts, or among the stored errors."""
    chain = attempts(record)
    limited = [(i, attempt) for i, attempt in enumerate(chain) if attempt.get("status") == 429]
    if limited:
        names = list(dict.fromkeys(_who(attempt) for _, attempt in limited))
        evidence: dict[str, object] = {f"provider_responses[{i}].status": 429 for i, _ in limited[:10]}
        own = any(attempt.get("is_byok") is True for _, attempt in limited)
    else:
        failure = stored_failure(content) if content else None
        hit = [one for one in (*failure.earlier, failure) if one.status == 429] if failure else []
        if not hit:
            return None
        names = list(dict.fromkeys(_name(one.provider) for one in hit))
        evidence, own = {"error": 429}, False
    advice = (
        "The limit is that of your own key (BYOK): raise it with the provider, or let OpenRouter's capacity "
        "take over (allow_fallbacks: true)."
        if own
        else "A key of your own has limits of its own: openrouter.ai/workspaces/default/byok."
        if len(chain) > 1 and measures.all_failed(record, chain)
        else "Spread the load: more providers (no provider.only, allow_fallbacks: true), fallback models "
        "(models), or your own key at openrouter.ai/workspaces/default/byok for limits of your own."
    )
    return Finding("rate-limited-upstream", WARNING, f"Rate limited (429) by {_some(names)}.", evidence, advice)


# --- What it cost ---


def prompt_cache_miss(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """A large prompt of which nothing came from the cache, and nothing was written to it."""
    size = tokens(record, "native_tokens_prompt")
    if size is None or size < LARGE_PROMPT_TOKENS or tokens(record, "native_tokens_cached") != 0:
        return None
    if (
        not measures.streams_text(record)
        or (dollars(record, "cache_discount") or 0) != 0
        or _from_response_cache(record)
    ):
        return None
    if measures.cost(record) == 0 and record.get("is_byok") is not True:
        return None  # nothing to save
    chain = attempts(record)
    losers = _of_others(measures.gave_way(chain), chain[-1]) if chain else []
    where = _provider(record) or "the provider"
    summary = f"Not one of {size:,} prompt tokens came from {where}'s prompt cache, so all were read at full price"
    if losers:
        summary += f"; the request had just moved there from {_who(losers[-1])}, and a cache does not move along"
    return Finding(
        "prompt-cache-miss",
        WARNING if losers else INFO,
        summary + ".",
        _evidence(record, "native_tokens_prompt", "native_tokens_cached", "provider_name", "session_id")
        | _chain_evidence(losers, "provider_name", "status"),
        _cache_advice(record),
    )


def _cache_advice(record: Record) -> str:
    advice = "A cache holds only on the same provider and for an unchanged beginning of the prompt"
    sticky = "keeps a conversation on one provider for 10 minutes after each success, unless provider.order is set."
    advice += f". A session_id {sticky}" if fields.text(record, "session_id") is None else f". The session_id {sticky}"
    model = fields.text(record, "model") or ""
    if model.startswith(("anthropic/", "qwen/")):
        advice += " This model caches only what cache_control marks."
    return advice


def prompt_cache(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`cache_discount` is not 0: positive was saved, negative is the price of writing."""
    discount = record.get("cache_discount")
    if discount is None or discount == 0:
        return None
    saved = dollars(record, "cache_discount")
    if not saved:
        return None
    cached, size = tokens(record, "native_tokens_cached"), tokens(record, "native_tokens_prompt")
    share = ""
    if cached is not None and size and cached <= size:
        share = f": {cached:,} of {size:,} prompt tokens ({text.percent(cached, size)}) were read from it"
    if saved > 0:
        summary = f"The prompt cache saved {text.usd(saved)}{share}"
        advice = "Nothing to do; total_cost contains it. Keep the prompt's beginning and session_id as they are."
    else:
        summary = f"Writing the prompt cache cost {text.usd(-saved)} more{share}"
        advice = (
            "total_cost contains it. It pays when the same beginning is sent again in time (Anthropic: 5 "
            'minutes, or an hour with "ttl": "1h"); otherwise leave cache_control out.'
        )
    evidence = _evidence(record, "cache_discount", "native_tokens_cached", "native_tokens_prompt", "total_cost")
    return Finding("prompt-cache", INFO, summary + ".", evidence, advice)


def byok(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`is_byok` is true: two bills, of OpenRouter and of the provider."""
    if record.get("is_byok") is not True:
        return None
    fee, upstream = measures.cost(record), measures.upstream_cost(record)
    who = _provider(record) or "the provider"
    if fee is None:
        summary = f"Your own key was used (BYOK): {who} bills the inference to your account there"
        summary += f", {text.usd(upstream)}." if upstream is not None else "."
    elif upstream is None:
        summary = f"Two bills (BYOK): OpenRouter's {text.usd(fee)} and {who}'s own, which is not recorded here."
    else:
        summary = (
            f"Two bills (BYOK): OpenRouter's {text.usd(fee)} and {who}'s own {text.usd(upstream)}, "
            f"together {text.usd(fee + upstream)}."
        )
    return Finding(
        "byok",
        INFO,
        summary,
        _evidence(record, "is_byok", "total_cost", "upstream_inference_cost", "provider_name"),
        f"Look for the inference on your account with {who}; the key and when it is used: "
        "openrouter.ai/workspaces/default/byok.",
    )


_TIER_NAMES = {"fast": "priority", "standard": "default", "on_demand": "default"}


def tier_mismatch(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """The last attempt's `routed_service_tier` and the served `service_tier` differ."""
    served = fields.text(record, "service_tier")
    if served is None:
        return None
    chain = attempts(record)
    routed = fields.text(chain[-1], "routed_service_tier") if chain else None
    if routed is None:
        return None
    named = [_TIER_NAMES.get(tier, tier) for tier in (routed.strip().lower(), served.strip().lower())]
    if named[0] == named[1] or named[0] == "auto":
        return None
    return Finding(
        "tier-mismatch",
        WARNING,
        f"Routed to the {quoted(routed, 40)} tier but served, and billed, on {quoted(served, 40)}.",
        {f"provider_responses[{len(chain) - 1}].routed_service_tier": clipped(routed)}
        | _evidence(record, "service_tier", "provider_name", "total_cost"),
        "The provider chose by its own load. For speed whatever the tier: provider.sort: latency; "
        'for one price always: service_tier: "default".',
    )


def add_ons(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """Web searches or fetches, which cost outside the tokens."""
    results, fetches = record.get("num_search_results"), record.get("num_fetches")
    if not results and not fetches:
        return None
    results, fetches = tokens(record, "num_search_results"), tokens(record, "num_fetches")
    named = [text.plural(results, "search result")] if results else []
    named += [f"{fetches:,} web fetch{'es' if fetches != 1 else ''}"] if fetches else []
    if not named:
        return None
    engine = fields.text(record, "web_search_engine")
    by = f" ({quoted(engine, 40)})" if engine else ""
    return Finding(
        "add-ons",
        INFO,
        f"{' and '.join(named)}{by}: charged beside the tokens; their text counts as prompt tokens.",
        _evidence(record, "num_search_results", "num_fetches", "web_search_engine", "total_cost"),
        "To spend less: fewer results or another engine (max_results and engine of the web search tool).",
    )


def zero_cost(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """A cost of 0 that no other finding explains."""
    if measures.cost(record) != 0 or (dollars(record, "usage") or 0) != 0:
        return None
    if record.get("is_byok") is True or record.get("cancelled") is True or _from_response_cache(record):
        return None
    if record.get("finish_reason") == "error" or (content and stored_failure(content)):
        return None
    used = (prompt_tokens(record) or 0) + (completion_tokens(record) or 0)
    if not used or measures.all_failed(record, attempts(record)) or empty_completion(record, content, asked):
        return None
    evidence = _evidence(record, "total_cost", "model", "router")
    if _is_free(record):
        summary = f"No charge for {used:,} tokens: a free model variant."
        advice = "Free variants have daily limits; the same model without :free is charged and has no such limits."
        return Finding("zero-cost", INFO, summary, evidence, advice)
    return Finding(
        "zero-cost",
        INFO,
        f"No charge for {used:,} tokens, and the record does not say why: a free model, or insurance.",
        evidence,
        "Compare the model's price on its page at openrouter.ai with the row at openrouter.ai/activity.",
    )


def _is_free(record: Record) -> bool:
    names = [record.get("model"), record.get("model_permaslug"), record.get("router")]
    names += [attempt.get("model_permaslug") for attempt in attempts(record)]
    return record.get("variant") == "free" or any(
        isinstance(name, str) and (name.endswith(":free") or name == "openrouter/free") for name in names
    )


def token_count_gap(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """Native (billed) and normalised counts differ much."""
    gaps = []
    native, counted = tokens(record, "native_tokens_prompt"), tokens(record, "tokens_prompt")
    if native and counted and _far(native, counted):
        gaps.append(("prompt", native, counted))
    native, counted = tokens(record, "native_tokens_completion"), tokens(record, "tokens_completion")
    if native and counted and _far(native, counted):
        shown = native - (tokens(record, "native_tokens_reasoning") or 0)
        if shown <= 0 or _far(shown, counted):  # the normalised count may leave reasoning out
            gaps.append(("completion", native, counted))
    if not gaps:
        return None
    said = [
        f"{native:,} {name} tokens, {native / counted:.1f} times the normalised {counted:,}"
        if native > counted
        else f"{native:,} {name} tokens where the normalised count is {counted:,}"
        for name, native, counted in gaps
    ]
    names = [f"{prefix}tokens_{name}" for name, _, _ in gaps for prefix in ("native_", "")]
    return Finding(
        "token-count-gap",
        INFO,
        f"Billed by the native count: {' and '.join(said)}.",
        _evidence(record, *names, "num_media_prompt"),
        "Reckon cost and context with the native_tokens_* fields; tokens_* serve to compare models.",
    )


def _far(native: int, counted: int) -> bool:
    return abs(native - counted) >= COUNT_GAP_TOKENS and (
        native >= COUNT_GAP_RATIO * counted or counted >= COUNT_GAP_RATIO * native
    )


# --- What else is worth knowing ---


def response_cache_hit(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`response_cache_source_id` is set: a free copy of another answer."""
    source = fields.text(record, "response_cache_source_id")
    if source is None:
        return None
    return Finding(
        "response-cache-hit",
        INFO,
        f"Served from OpenRouter's response cache, a copy of {quoted(source, 80)}: counters are zero and "
        "it is free, by design.",
        _evidence(record, "response_cache_source_id", "total_cost"),
        "Tokens and cost are with the source ID. The header X-OpenRouter-Cache: true or a preset turned the cache on; "
        "for a fresh answer send X-OpenRouter-Cache-Clear: true.",
    )


def tool_calls(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`finish_reason` is `tool_calls`, and no text beside the call."""
    if record.get("finish_reason") != "tool_calls":
        return None
    output = fields.mapping(content, "output") if content else None
    if output is not None and fields.text(output, "completion"):
        return None
    return Finding(
        "tool-calls",
        INFO,
        "Ended by asking for a tool, which is normal: the answer's text comes after the tool's result.",
        _evidence(record, "finish_reason", "native_finish_reason", "native_tokens_completion"),
        # The API describes stored output as text and reasoning only.
        "Read tool_calls in the response (the stored content does not keep them), run the tool and send the result "
        'in a message with role "tool" and its tool_call_id; tool_choice: "none" asks for text.',
    )


def reasoning_share(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """Half or more of the completion was reasoning."""
    reasoning = tokens(record, "native_tokens_reasoning")
    if not reasoning or reasoning < NOTABLE_REASONING_TOKENS:
        return None
    produced = completion_tokens(record)
    if not produced or 2 * reasoning < produced:
        return None
    share = f"{reasoning:,} reasoning tokens for {produced:,} completion tokens"
    if reasoning <= produced:
        percent = text.percent(reasoning, produced)
        share = f"{reasoning:,} of {produced:,} completion tokens ({percent}) were reasoning"
    return Finding(
        "reasoning-share",
        INFO,
        f"{share}, charged as output whether shown or not.",
        _evidence(record, "native_tokens_reasoning", "native_tokens_completion"),
        "To spend less on it: reasoning.effort or reasoning.max_tokens; reasoning.exclude only hides it.",
    )


def auto_routed(record: Record, content: Record | None, asked: str | None) -> Finding | None:
    """`router` is set: it chose the model."""
    router = fields.text(record, "router")
    model = fields.text(record, "model")
    if router is None or router == model:
        return None
    chose = f"{quoted(router, 80)} chose {quoted(model, 80)}" if model else f"{quoted(router, 80)} chose the model"
    return Finding(
        "auto-routed",
        INFO,
        f"{chose}; the price is that model's.",
        _evidence(record, "router", "model"),
        "To have one model always, name it in model; to narrow the choice, set allowed_models of the "
        "auto-router plugin.",
    )


RULES = (
    provider_error,
    native_failure,
    content_filter,
    all_attempts_failed,
    empty_completion,
    truncated,
    cancelled,
    slow_start,
    prompt_cache_miss,
    tier_mismatch,
    slow_generation,
    fallback,
    rate_limited,
    id_differs,
    response_cache_hit,
    tool_calls,
    byok,
    zero_cost,
    prompt_cache,
    reasoning_share,
    add_ons,
    token_count_gap,
    auto_routed,
)
"""Every rule; within a severity, findings come in this order."""
