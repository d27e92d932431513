"""Findings: a table of cases for each rule, odd data, and the document that describes them."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openrouter_generations import measures
from openrouter_generations.failures import body_sentence, stored_failure
from openrouter_generations.findings import INFO, RULES, WARNING, Finding, findings

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "tests/data/generations").glob("*.json")}
Data = dict[str, Any]


def record_of(name: str) -> Data:
    return copy.deepcopy(SAMPLES[name]["metadata"]["body"]["data"])


def content_of(name: str) -> Data | None:
    data = SAMPLES[name]["content"]["body"].get("data")
    return copy.deepcopy(data) if isinstance(data, dict) else None


def attempt(status: int | None, latency: float | None = 100, provider: str = "DeepInfra", **more: Any) -> Data:
    return {"provider_name": provider, "status": status, "latency": latency, **more}


def changed(**changes: Any) -> Data:
    return record_of("healthy") | changes


def codes(record: Data, content: Data | None = None, asked: str | None = None) -> list[str]:
    return [finding.code for finding in findings(record, content, asked)]


def the(code: str, record: Data, content: Data | None = None, asked: str | None = None) -> Finding:
    found = {finding.code: finding for finding in findings(record, content, asked)}
    assert code in found, f"{code} is not among {list(found)}"
    return found[code]


GOOD = attempt(200, 1000, "Groq")
NO_TOKENS = {"native_tokens_completion": 0, "tokens_completion": 0}

# changes of a healthy record → what is found then, in this order
CASES: list[tuple[str, Data, list[str]]] = [
    ("healthy", {}, []),
    ("truncated", {"finish_reason": "length"}, ["truncated"]),
    (
        "truncated by reasoning",
        {"finish_reason": "length", "native_tokens_completion": 124, "native_tokens_reasoning": 100},
        ["truncated", "reasoning-share"],
    ),
    ("content filter", {"finish_reason": "content_filter"}, ["content-filter"]),
    ("finish reason error", {"finish_reason": "error"}, ["provider-error"]),
    ("cancelled", {"cancelled": True, "finish_reason": None}, ["cancelled"]),
    ("cancelled before any token", {"cancelled": True, "finish_reason": None, "total_cost": 0, "usage": 0} | NO_TOKENS,
     ["cancelled"]),
    ("empty", {"finish_reason": None} | NO_TOKENS, ["empty-completion"]),
    ("empty, blank reason", {"finish_reason": " "} | NO_TOKENS, ["empty-completion"]),
    ("no finish reason, but tokens", {"finish_reason": None}, []),
    ("no tokens, but a finish reason", dict(NO_TOKENS), []),
    ("embeddings have no completion", {"finish_reason": None, "api_type": "embeddings"} | NO_TOKENS, []),
    ("an image is a completion", {"finish_reason": None, "num_media_completion": 1} | NO_TOKENS, []),
    ("tool call", {"finish_reason": "tool_calls"}, ["tool-calls"]),
    ("fallback", {"provider_responses": [attempt(503), GOOD]}, ["fallback"]),
    ("fallback without a status", {"provider_responses": [attempt(None), GOOD]}, ["fallback"]),
    ("status missing", {"provider_responses": [{"provider_name": "DeepInfra"}, GOOD]}, []),
    ("status not a number", {"provider_responses": [attempt("503"), GOOD]}, []),  # type: ignore[arg-type]
    ("one good attempt", {"provider_responses": [GOOD]}, []),
    ("201 is good", {"provider_responses": [attempt(201), GOOD]}, []),
    ("no attempts", {"provider_responses": []}, []),
    ("rate limited", {"provider_responses": [attempt(429), GOOD]}, ["fallback", "rate-limited-upstream"]),
    ("one attempt, failed", {"provider_responses": [attempt(500)]}, ["all-attempts-failed"]),
    (
        "all failed",
        {"provider_responses": [attempt(500), attempt(429, 10, "Groq")]},
        ["all-attempts-failed", "fallback", "rate-limited-upstream"],
    ),
    ("last status unknown, text came", {"provider_responses": [attempt(500), attempt(None)]}, ["fallback"]),
    (
        "last status unknown, nothing came",
        {"provider_responses": [attempt(500), attempt(None)], "finish_reason": None} | NO_TOKENS,
        ["all-attempts-failed", "fallback"],
    ),
    ("slow start", {"latency": 12_000, "generation_time": 13_500}, ["slow-start"]),
    ("slow start, large prompt", {"latency": 12_000, "generation_time": 13_500, "native_tokens_prompt": 90_000,
     "tokens_prompt": 90_000, "native_tokens_cached": None}, []),
    ("quick enough", {"latency": 9_000, "generation_time": 10_500}, []),
    ("late, but most of the time is generation", {"latency": 12_000, "generation_time": 40_000,
     "native_tokens_completion": 2_000, "tokens_completion": 2_000}, []),
    ("very late in a long one", {"latency": 35_000, "generation_time": 90_000, "native_tokens_completion": 2_000,
     "tokens_completion": 2_000}, ["slow-start"]),
    ("hidden reasoning takes its time", {"latency": 20_000, "generation_time": 20_400,
     "native_tokens_completion": 1_100, "native_tokens_reasoning": 500, "tokens_completion": 1_100}, []),
    ("latency above generation_time", {"latency": 20_000, "generation_time": 19_900,
     "native_tokens_completion": 600, "tokens_completion": 600}, []),
    ("a slow image", {"latency": 20_000, "generation_time": 20_000, "api_type": "image"}, []),
    ("slow generation", {"latency": 500, "generation_time": 30_500}, ["slow-generation"]),
    ("slow, but short", {"latency": 500, "generation_time": 4_500, "native_tokens_completion": 20,
     "tokens_completion": 20}, []),
    ("slow for the searches", {"latency": 500, "generation_time": 30_500, "num_search_results": 3}, ["add-ons"]),
    ("speed of 12 tokens/s", {"latency": 500, "generation_time": 10_500}, []),
    ("response cache", {"response_cache_source_id": "gen-1", "total_cost": 0, "usage": 0, "native_tokens_prompt": 0,
     "finish_reason": "stop"} | NO_TOKENS, ["response-cache-hit"]),
    ("cache saved", {"cache_discount": 0.01, "native_tokens_cached": 40}, ["prompt-cache"]),
    ("cache written", {"cache_discount": -0.01, "native_tokens_cached": 0, "native_tokens_prompt": 50_000,
     "tokens_prompt": 50_000}, ["prompt-cache"]),
    ("cache discount zero", {"cache_discount": 0}, []),
    ("cache miss", {"native_tokens_prompt": 50_000, "tokens_prompt": 50_000, "native_tokens_cached": 0},
     ["prompt-cache-miss"]),
    ("cached count not reported", {"native_tokens_prompt": 50_000, "tokens_prompt": 50_000,
     "native_tokens_cached": None}, []),
    ("cache miss, just large enough", {"native_tokens_prompt": 5_000, "tokens_prompt": 5_000,
     "native_tokens_cached": 0}, ["prompt-cache-miss"]),
    ("prompt just too small for a cache", {"native_tokens_prompt": 4_999, "tokens_prompt": 4_999,
     "native_tokens_cached": 0}, []),
    ("small prompt uncached", {"native_tokens_prompt": 3_000, "tokens_prompt": 3_000, "native_tokens_cached": 0}, []),
    ("large prompt, free", {"native_tokens_prompt": 50_000, "tokens_prompt": 50_000, "native_tokens_cached": 0,
     "total_cost": 0, "usage": 0, "model": "a/b:free"}, ["zero-cost"]),
    ("byok", {"is_byok": True, "upstream_inference_cost": 0.01}, ["byok"]),
    ("upstream cost without byok", {"upstream_inference_cost": 0.01}, []),
    ("tier", {"service_tier": "default", "provider_responses": [GOOD | {"routed_service_tier": "flex"}]},
     ["tier-mismatch"]),
    ("tier not reported", {"service_tier": None, "provider_responses": [GOOD | {"routed_service_tier": "flex"}]}, []),
    ("tier as asked", {"service_tier": "priority", "provider_responses": [GOOD | {"routed_service_tier": "fast"}]}, []),
    ("tier without a route", {"service_tier": "priority"}, []),
    ("tier of a failed attempt", {"service_tier": "default",
     "provider_responses": [attempt(503, routed_service_tier="priority"), GOOD]}, ["fallback"]),
    ("auto", {"router": "openrouter/auto"}, ["auto-routed"]),
    ("router that is the model", {"router": "google/gemini-2.5-flash"}, []),
    ("search", {"num_search_results": 5}, ["add-ons"]),
    ("fetch", {"num_fetches": 2}, ["add-ons"]),
    ("no search", {"num_search_results": 0, "num_fetches": 0}, []),
    ("native failure", {"native_finish_reason": "network_error"}, ["native-failure"]),
    ("native safety", {"native_finish_reason": "SAFETY"}, ["native-failure"]),
    ("native failure in one word", {"native_finish_reason": "networkError"}, ["native-failure"]),
    ("native interruption", {"native_finish_reason": "interrupted"}, ["native-failure"]),
    ("native words with a failure inside", {"native_finish_reason": "inferred_stop"}, []),
    ("native preferred", {"native_finish_reason": "preferred"}, []),
    *((f"native {word}", {"native_finish_reason": word}, ["native-failure"]) for word in ("APIError", "HTTPTimeout",
      "internalerror", "readtimeout", "no_network", "server_err", "ERR_EMPTY", "unexpected_error")),
    ("native unfiltered", {"native_finish_reason": "unfiltered"}, []),
    ("native no_error", {"native_finish_reason": "no_error"}, []),
    ("native end_turn", {"native_finish_reason": "end_turn"}, []),
    ("native word that is new", {"native_finish_reason": "finished_well"}, []),
    ("native failure, known as such", {"finish_reason": "length", "native_finish_reason": "max_tokens"}, ["truncated"]),
    ("free", {"total_cost": 0, "usage": 0, "model": "a/b:free"}, ["zero-cost"]),
    ("zero without a reason", {"total_cost": 0, "usage": 0}, ["zero-cost"]),
    ("zero, byok", {"total_cost": 0, "usage": 0, "is_byok": True, "upstream_inference_cost": 1}, ["byok"]),
    ("zero, error", {"total_cost": 0, "usage": 0, "finish_reason": "error"}, ["provider-error"]),
    ("zero, insured", {"total_cost": 0, "usage": 0, "finish_reason": None} | NO_TOKENS, ["empty-completion"]),
    ("zero, but usage", {"total_cost": 0, "usage": 0.1}, []),
    ("reasoning", {"native_tokens_reasoning": 62}, ["reasoning-share"]),
    ("less reasoning", {"native_tokens_reasoning": 61}, []),
    ("a little reasoning", {"native_tokens_reasoning": 19, "native_tokens_completion": 16, "tokens_completion": 16},
     []),
    ("counts apart", {"native_tokens_prompt": 900, "tokens_prompt": 500}, ["token-count-gap"]),
    ("counts a little apart", {"native_tokens_prompt": 700, "tokens_prompt": 500}, []),
    ("small counts apart", {"native_tokens_prompt": 90, "tokens_prompt": 30}, []),
    ("reasoning left out of the normalised count", {"native_tokens_completion": 900, "tokens_completion": 300,
     "native_tokens_reasoning": 600}, ["reasoning-share"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cases(changes: Data, expected: list[str]) -> None:
    assert codes(changed(**changes)) == expected


def test_every_rule_speaks_and_is_silent_in_the_cases() -> None:
    silent = {rule.__name__ for rule in RULES}
    spoken: set[str] = set()
    for _, changes, _ in CASES:
        speaking = {rule.__name__ for rule in RULES if rule(changed(**changes), None, None)}
        spoken |= speaking
    assert silent - spoken == {"id_differs"}  # needs the ID asked for: below


EXPECTED = {
    "auto-routed": ["auto-routed"],
    "byok": ["byok"],
    "cache-hit": ["prompt-cache"],
    "cache-miss-after-provider-change": ["prompt-cache-miss", "fallback"],
    "cancelled-stream": ["cancelled"],
    "content-filter": ["content-filter"],
    "content-refused": [],
    "context-too-long": ["provider-error", "all-attempts-failed"],
    "embeddings": [],
    "empty-completion": ["empty-completion"],
    "failed-on-three-providers": [
        "provider-error",
        "all-attempts-failed",
        "fallback",
        "rate-limited-upstream",
    ],
    "free-variant": ["zero-cost"],
    "healthy": [],
    "id-differs": ["cancelled", "id-differs"],
    "not-stored": [],
    "provider-error-mid-stream": ["provider-error"],
    "rate-limited-fallback": ["fallback", "rate-limited-upstream"],
    "response-cache-hit": ["response-cache-hit"],
    "slow-dead-provider": ["slow-start", "fallback"],
    "slow-generation": ["slow-generation"],
    "success-that-is-none": ["native-failure"],
    "tier-mismatch": ["tier-mismatch"],
    "token-count-gap": ["token-count-gap"],
    "tool-call": ["tool-calls"],
    "truncated": ["truncated"],
    "truncated-by-reasoning": ["truncated", "reasoning-share"],
    "web-search": ["add-ons"],
}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_samples(name: str) -> None:
    assert codes(record_of(name), content_of(name), SAMPLES[name]["id"]) == EXPECTED[name]


def test_id_differs() -> None:
    assert codes(changed(), asked=changed()["id"]) == []
    found = the("id-differs", changed(), asked="gen-2")
    assert "gen-2" in found.summary
    assert changed()["id"] in found.summary
    assert codes(changed(id=0), asked="gen-2") == []


# What each sentence must say: a case, and what stands in its summary or advice.
WORDS: list[tuple[str, Data, list[str]]] = [
    ("truncated", {"finish_reason": "length", "native_tokens_reasoning": 120},
     ["124", "120", "97%", "reasoning.effort"]),
    ("truncated", {"finish_reason": "length"}, ["124", "max_tokens"]),
    ("truncated", {"finish_reason": "length"} | NO_TOKENS, ["before the first token"]),
    ("content-filter", {"finish_reason": "content_filter", "native_finish_reason": "SAFETY"},
     ["Google AI Studio", "SAFETY"]),
    ("cancelled", {"cancelled": True, "total_cost": 0.5}, ["2.13 s", "124", "billed", "$0.50", "google-ai-studio"]),
    ("cancelled", {"cancelled": True, "provider_name": "OpenAI"}, ["OpenAI stops, and stops billing"]),
    ("cancelled", {"cancelled": True, "streamed": False}, ["stream: true"]),
    ("empty-completion", {"finish_reason": None, "total_cost": 0, "usage": 0} | NO_TOKENS,
     ["insurance", "not charged"]),
    ("empty-completion", {"finish_reason": None, "total_cost": 0.007} | NO_TOKENS, ["$0.007", "add-ons"]),
    ("fallback", {"provider_responses": [attempt(503, 9_000, "Novita"), GOOD]},
     ["Novita 503", "Groq", "9.00 s lost", 'provider.ignore: ["novita"]']),
    ("fallback", {"provider_responses": [attempt(503, None), attempt(503), GOOD]}, ["at least 100 ms"]),
    ("fallback", {"provider_responses": [attempt(503, None), GOOD]}, ["not recorded"]),
    ("slow-start", {"latency": 12_000, "generation_time": 13_500, "moderation_latency": 9_000},
     ["moderation 9.00 s (67%)", "provider until first token 3.00 s (22%)", "generation 1.50 s (11%)"]),
    ("slow-generation", {"latency": 500, "generation_time": 30_500}, ["4.1 tokens/s", "30.0 s (98%)"]),
    ("response-cache-hit", {"response_cache_source_id": "gen-7"}, ["gen-7", "free", "by design"]),
    ("prompt-cache", {"cache_discount": 0.012, "native_tokens_cached": 40}, ["saved $0.012", "40 of 41", "98%"]),
    ("prompt-cache", {"cache_discount": -0.012}, ["cost $0.012 more", "cache_control"]),
    ("prompt-cache-miss", {"native_tokens_prompt": 50_000, "session_id": None}, ["50,000", "session_id"]),
    ("byok", {"is_byok": True, "total_cost": 0.001, "upstream_inference_cost": 0.02},
     ["$0.001", "$0.02", "$0.021", "Two bills"]),
    ("byok", {"is_byok": True, "total_cost": 0.001, "upstream_inference_cost": None}, ["not recorded"]),
    ("tier-mismatch", {"service_tier": "default", "provider_responses": [GOOD | {"routed_service_tier": "flex"}]},
     ["flex", "default", "billed"]),
    ("add-ons", {"num_search_results": 5, "num_fetches": 1, "web_search_engine": "exa"},
     ["5 search results", "1 web fetch", "exa", "beside the tokens"]),
    ("native-failure", {"native_finish_reason": "network_error"}, ["network_error", "success", "$0.0003223"]),
    ("zero-cost", {"total_cost": 0, "usage": 0, "model": "a/b:free"}, ["free"]),
    ("token-count-gap", {"native_tokens_prompt": 900, "tokens_prompt": 450}, ["900", "450", "2.0 times", "Billed"]),
    ("auto-routed", {"router": "openrouter/auto"}, ["openrouter/auto chose google/gemini-2.5-flash"]),
]  # fmt: skip


@pytest.mark.parametrize(("code", "changes", "words"), WORDS)
def test_words(code: str, changes: Data, words: list[str]) -> None:
    found = the(code, changed(**changes))
    said = f"{found.summary} {found.advice}"
    assert [word for word in words if word not in said] == []


def test_stored_error_is_quoted_with_the_earlier_attempts() -> None:
    found = the("provider-error", record_of("failed-on-three-providers"), content_of("failed-on-three-providers"))
    for word in ("Fireworks", "502", "upstream connect error", "DeepInfra 429", "Novita 503"):
        assert word in found.summary
    assert found.evidence["error.status"] == 502


def test_error_without_content_points_to_it() -> None:
    assert "--part error" in the("provider-error", changed(finish_reason="error")).advice
    assert "--part error" not in the("provider-error", changed(finish_reason="error"), {"error": None}).advice


def test_tool_call_with_text_is_not_worth_a_word() -> None:
    record = changed(finish_reason="tool_calls")
    assert codes(record, {"output": {"completion": "Let me look."}}) == []
    assert codes(record, {"output": {"completion": None}}) == ["tool-calls"]


def test_rate_limit_from_the_stored_error_alone() -> None:
    content = {"error": {"status": 429, "message": "Slow down", "provider_name": "Groq", "previous_errors": []}}
    assert "rate-limited-upstream" in codes(changed(finish_reason="error", provider_responses=None), content)


def test_another_try_of_the_same_provider_is_no_move() -> None:
    chain = [attempt(503, provider="Groq"), attempt(200, provider="Groq")]
    record = changed(
        native_tokens_prompt=50_000, tokens_prompt=50_000, native_tokens_cached=0, provider_responses=chain,
        provider_name="Groq",
    )  # fmt: skip
    assert the("fallback", record).advice == "Another try or endpoint of Groq worked, so there is nobody to skip."
    miss = the("prompt-cache-miss", record)
    assert (miss.severity, "moved" in miss.summary) == (INFO, False)
    none = record | {"provider_responses": [attempt(500, provider="Groq"), attempt(None, provider="Groq")]}
    assert the("fallback", none).advice.startswith("Only Groq was tried")
    other = [attempt(503, provider="Parasail"), *chain]
    advice = the("fallback", record | {"provider_responses": other}).advice
    assert (
        advice == 'To skip what failed: provider.ignore: ["parasail"]; to choose the first: provider.order: ["groq"].'
    )


@pytest.mark.parametrize("status", [None, 200, 204, "x"])
def test_a_stored_error_that_says_nothing_is_none(status: object) -> None:
    assert stored_failure({"error": {"status": status, "message": None, "previous_errors": []}}) is None
    assert stored_failure({"error": {"status": 500, "message": None}}) is not None


def test_cache_miss_weighs_more_after_a_fallback() -> None:
    large = {"native_tokens_prompt": 50_000, "tokens_prompt": 50_000}
    assert the("prompt-cache-miss", changed(**large)).severity == INFO
    moved = the("prompt-cache-miss", changed(**large, provider_responses=[attempt(503, provider="Novita"), GOOD]))
    assert moved.severity == WARNING
    assert "from Novita" in moved.summary


RAW_BODIES = [
    ('{"error":{"code":429,"message":"Resource exhausted"}}', "Resource exhausted"),
    ('{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "Overloaded"),
    ('{"error":"model not loaded"}', "model not loaded"),
    ('{"message":"too many tokens"}', "too many tokens"),
    ('[{"error":{"message":"Quota exceeded"}}]', "Quota exceeded"),
    ('{"detail":[{"loc":["body"],"msg":"field required"}]}', "field required"),
    ('{"error":{"message":"Provider returned error","metadata":{"raw":"{\\"error\\":{\\"message\\":\\"No GPU\\"}}"}}}',
     "No GPU"),
    ("<html><head><title>502 Bad Gateway</title></head></html>", "502 Bad Gateway"),
    ("upstream timed out", "upstream timed out"),
    ('{"error":{"message":"cut', '{"error":{"message":"cut'),
    ('{"ok":false}', '{"ok":false}'),
    ("{}", None),
    ("<p>", None),
    ("[" * 100_000, None),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "sentence"), RAW_BODIES)
def test_sentence_in_a_raw_body(raw: str, sentence: str | None) -> None:
    found = body_sentence(raw)
    assert found == sentence or (sentence is None and found and found.endswith("…"))


# --- Time ---

# latency, generation_time, moderation, attempts → failed, moderation, provider, generation, total
TIMES = [
    (1_000, 3_000, None, [GOOD], (0, None, 1_000, 2_000, 3_000)),
    (1_000, 3_000, 200, [GOOD], (0, 200, 800, 2_000, 3_000)),
    (1_000, 3_000, 2_000, [GOOD], (0, None, 1_000, 2_000, 3_000)),  # moderation cannot be inside: left alone
    (3_000, 2_900, None, [GOOD], (0, None, None, None, 3_000)),
    (1_000, None, None, [GOOD], (0, None, 1_000, None, 1_000)),
    (None, 3_000, None, [GOOD], (0, None, None, None, 3_000)),
    (None, None, None, [GOOD], (0, None, None, None, None)),
    (31_000, 35_000, None, [attempt(504, 30_000), attempt(200, 990)], (30_000, None, 1_000, 4_000, 35_000)),
    # the latency equals the last attempt's alone: what failed before comes on top
    (1_200, 5_000, None, [attempt(429, 300), attempt(200, 1_190)], (300, None, 1_200, 3_800, 5_300)),
    # the last attempt's latency is its whole time
    (2_000, 6_000, None, [attempt(503, 1_000), attempt(200, 5_000)], (1_000, None, 1_000, 4_000, 6_000)),
    (2_000, 6_000, None, [attempt(503, None), attempt(200, 900)], (None, None, None, 4_000, 6_000)),
    (None, None, None, [attempt(503, 700), attempt(502, 300)], (1_000, None, None, None, 1_000)),
    # nobody answered: the recorded times are those of failed attempts
    (20_000, 20_000, None, [attempt(429, 10_000), attempt(503, 20_000)], (30_000, None, None, None, 30_000)),
    (380, 380, None, [attempt(500, 412)], (412, None, None, None, 412)),
    (30_100, 30_100, 50, [attempt(504, 30_000)], (30_000, 50, None, None, 30_100)),
    (5_000, 5_000, None, [attempt(504, None)], (None, None, None, None, 5_000)),
]


@pytest.mark.parametrize(("latency", "whole", "moderation", "chain", "expected"), TIMES)
def test_timing(latency: Any, whole: Any, moderation: Any, chain: list[Data], expected: tuple[Any, ...]) -> None:
    record = changed(latency=latency, generation_time=whole, moderation_latency=moderation, provider_responses=chain)
    timing = measures.timing(record)
    assert (timing.failed_attempts, timing.moderation, timing.provider, timing.generation, timing.total) == expected
    if timing.provider is not None and timing.generation is not None:
        assert sum(value for _, value in timing.parts()) == pytest.approx(timing.total)


def test_parts_make_up_the_total() -> None:
    """What the record does not divide is a part of its own, not silently shared out."""
    chain = [attempt(504, None), attempt(200, 1_000)]
    timing = measures.timing(changed(latency=40_000, generation_time=41_000, provider_responses=chain))
    assert timing.parts() == [("generation", 1_000), (measures.NOT_APART, 40_000)]
    late = the("slow-start", changed(latency=40_000, generation_time=41_000, provider_responses=chain))
    assert "generation 1.00 s (2%), not told apart 40.0 s (98%)" in late.summary
    assert late.advice == "What failed took it, or most of it: see fallback."
    slow = [attempt(429, None, provider="Groq"), attempt(200, 40_000)]
    late = the("slow-start", changed(latency=40_000, generation_time=41_000, provider_responses=slow))
    assert late.advice.startswith("Prefer quick providers")


def test_the_first_token_comes_after_failed_attempts_that_are_recorded_apart() -> None:
    chain = [attempt(429, 20_000), attempt(200, 12_000)]
    record = changed(latency=12_000, generation_time=14_000, provider_responses=chain)
    assert measures.timing(record).first_token == 32_000
    assert the("slow-start", record).summary.startswith("The first token came after 32.0 s.")


# --- Odd data ---

ODD = (
    None, "", "x", "12", " ", "\x1b[31m\u202e", -1, -0.5, 0, 10**30, 10**400, 1e300, 0.5, math.nan, math.inf, True,
    False, [], {}, [None, 1, "x"], [{}], {"a": 1}, "é" * 5_000,
)  # fmt: skip
MISSING = object()


def spoiled(value: Any) -> Iterator[Any]:
    """Copies of a JSON value with one thing in it, at any depth, missing or odd."""
    places = list(places_in(value))
    for place in places:
        for odd in (MISSING, *ODD):
            copied = copy.deepcopy(value)
            inner = copied
            for step in place[:-1]:
                inner = inner[step]
            if odd is MISSING:
                del inner[place[-1]]
            else:
                inner[place[-1]] = odd
            yield copied


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in inside:
        yield (*path, step)
        yield from places_in(inner, (*path, step))


NONSENSE = re.compile(
    r"\b(None|nan|NaN|null|inf|Infinity|True|False|object at)\b|\d{20}|[\x00-\x09\x0b-\x1f\x7f\u202e]"
)


@pytest.mark.parametrize("name", ["failed-on-three-providers", "slow-dead-provider", "byok", "cache-hit", "web-search"])
def test_odd_data_never_raises_and_never_reads_as_nonsense(name: str) -> None:
    content = content_of(name)
    for record in spoiled(record_of(name)):
        for finding in findings(record, content, "gen-asked"):
            assert not NONSENSE.search(finding.summary + finding.advice), finding
            assert len(finding.summary) < 1_200
            json.dumps(finding._asdict(), allow_nan=False)
    if content:
        for odd_content in spoiled(content):
            for finding in findings(record_of(name), odd_content):
                assert not NONSENSE.search(finding.summary + finding.advice), finding


def test_odd_data_in_every_field_at_once() -> None:
    names = list(record_of("healthy"))
    for odd in ODD:
        findings(dict.fromkeys(names, odd), {"error": odd, "output": odd, "input": odd}, "gen-1")
        findings(dict.fromkeys(names, odd), {"error": {"raw": odd, "previous_errors": [odd, {"raw": odd}]}})
    assert findings({}) == []


def test_quotes_are_short_and_safe() -> None:
    content = {"error": {"status": 500, "message": "m\n" * 9_000, "provider_name": "P\x1b[2J" * 500, "raw": None}}
    found = the("provider-error", changed(), content)
    assert len(found.summary) < 500
    assert "\n" not in found.summary
    assert "\x1b" not in found.summary
    content["error"]["message"] = "Incorrect key: sk-or-v1-0123456789"
    assert "sk-or" not in the("provider-error", changed(), content).summary


# --- The document ---


def documented() -> dict[str, list[str]]:
    """Rows of references/findings.md: code → severities."""
    rows = {}
    for line in (ROOT / "references/findings.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            assert len(cells) == 5, line
            assert all(cells), line
            rows[cells[0].strip("`")] = re.findall(r"error|warning|info", cells[1])
    return rows


def test_the_document_has_a_row_per_code_with_its_severities() -> None:
    seen: dict[str, set[str]] = {}
    everything = [changed(**changes) for _, changes, _ in CASES] + [record_of(name) for name in SAMPLES]
    large = changed(native_tokens_prompt=50_000, provider_responses=[attempt(503), GOOD])
    for record in [*everything, large]:
        for finding in findings(record, None, "gen-other"):
            seen.setdefault(finding.code, set()).add(finding.severity)
    assert {code: sorted(severities) for code, severities in seen.items()} == {
        code: sorted(severities) for code, severities in documented().items()
    }


def test_the_document_is_in_the_order_of_the_rules() -> None:
    records = [changed(**changes) for _, changes, _ in CASES]
    in_order = [
        next(found.code for record in records if (found := rule(record, None, "gen-other")) is not None)
        for rule in RULES
    ]
    assert list(documented()) == in_order
