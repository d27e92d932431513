"""What differs between generations, and what explains the difference in cost and in time (pure)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from openrouter_generations import fields, measures, text
from openrouter_generations.diagnosis import Diagnosis
from openrouter_generations.failures import quoted
from openrouter_generations.measures import completion_tokens, prompt_tokens, tokens


class Row(NamedTuple):
    """A field that differs: its values in the order of the generations, and the same for people."""

    name: str
    label: str
    values: list[object]
    shown: list[str]


class Factor(NamedTuple):
    """A part of a difference: US dollars or milliseconds, negative where it worked the other way."""

    name: str
    amount: float
    because: str


class Explained(NamedTuple):
    """The difference between the least (`low`) and the most (`high`): places in the order asked, from 0."""

    low: int
    high: int
    difference: float
    factors: list[Factor]
    sentence: str


class Comparison(NamedTuple):
    """`rows`: what differs; `cost` and `time`: None where nothing differs or too little is recorded."""

    ids: list[str]
    rows: list[Row]
    cost: Explained | None
    time: Explained | None

    def as_dict(self) -> dict[str, object]:
        shown: dict[str, object] = {"ids": self.ids}
        for name, unit, explained in (("cost", "usd", self.cost), ("time", "ms", self.time)):
            if explained is not None:
                shown[name] = {
                    "least": self.ids[explained.low],
                    "most": self.ids[explained.high],
                    f"difference_{unit}": explained.difference,
                    "explained_by": [
                        {"name": factor.name, unit: factor.amount, "because": factor.because}
                        for factor in explained.factors
                    ],
                    "sentence": explained.sentence,
                }
        shown["differences"] = {row.name: row.values for row in self.rows}
        return shown


def compare(diagnoses: list[Diagnosis]) -> Comparison:
    """Two or more generations side by side."""
    rows = [row for row in (_row(diagnoses, *column) for column in _COLUMNS) if row is not None]
    return Comparison(
        [one.generation_id for one in diagnoses], rows, _cost_explained(diagnoses), _time_explained(diagnoses)
    )


# --- What differs ---


def _row(
    diagnoses: list[Diagnosis],
    name: str,
    label: str,
    value_of: Callable[[Diagnosis], object],
    show: Callable[..., str],
) -> Row | None:
    values = [value_of(one) for one in diagnoses]
    if all(value == values[0] for value in values):
        return None
    return Row(name, label, values, ["-" if value is None else show(value) for value in values])


def _named(name: str) -> Callable[[Diagnosis], object]:
    return lambda one: fields.text(one.record, name)


def _counted(name: str) -> Callable[[Diagnosis], object]:
    return lambda one: tokens(one.record, name)


def _words(value: str) -> str:
    return quoted(value, 40)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _signed(value: float) -> str:
    return f"saved {text.usd(value)}" if value > 0 else f"cost {text.usd(-value)}"


def _chain(one: Diagnosis) -> object:
    return " > ".join(f"{try_.provider or '?'} {try_.status or '?'}" for try_ in one.attempts) or None


def _rate(one: Diagnosis) -> object:
    rate = measures.throughput(one.record)
    return None if rate is None else round(rate, 1)


_COLUMNS: tuple[tuple[str, str, Callable[[Diagnosis], object], Callable[..., str]], ...] = (
    ("verdict", "verdict", lambda one: one.verdict, _words),
    ("provider_name", "provider", _named("provider_name"), _words),
    ("model", "model", _named("model"), _words),
    ("service_tier", "service tier", _named("service_tier"), _words),
    ("is_byok", "own key (BYOK)", lambda one: fields.flag(one.record, "is_byok"), _yes),
    ("native_tokens_cached", "cached tokens", _counted("native_tokens_cached"), text.grouped),
    ("cache_discount", "prompt cache", lambda one: one.cost.cache_discount, _signed),
    ("native_tokens_prompt", "prompt tokens", lambda one: prompt_tokens(one.record), text.grouped),
    ("native_tokens_completion", "completion tokens", lambda one: completion_tokens(one.record), text.grouped),
    ("native_tokens_reasoning", "reasoning tokens", _counted("native_tokens_reasoning"), text.grouped),
    ("num_search_results", "search results", _counted("num_search_results"), text.grouped),
    ("num_fetches", "web fetches", _counted("num_fetches"), text.grouped),
    ("attempts", "attempts", _chain, _words),
    ("router", "router", _named("router"), _words),
    ("data_region", "region", _named("data_region"), _words),
    ("streamed", "streamed", lambda one: fields.flag(one.record, "streamed"), _yes),
    ("failed_attempts_ms", "failed attempts", lambda one: one.timing.failed_attempts, text.duration),
    ("provider_ms", "provider's wait", lambda one: one.timing.provider, text.duration),
    ("generation_ms", "generation", lambda one: one.timing.generation, text.duration),
    ("tokens_per_second", "tokens/s overall", _rate, text.grouped),
    ("total_usd", "cost", lambda one: one.cost.total, text.usd),
    ("total_ms", "time", lambda one: one.timing.total, text.duration),
)
"""Name in JSON, label, value, form; those that explain first, what they explain last."""


# --- What explains it ---


def _extremes(values: list[float | None]) -> tuple[int, int] | None:
    """The places of the least and the most; None where nothing differs."""
    known = [(value, place) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    low, high = min(known), max(known, key=lambda pair: (pair[0], -pair[1]))
    return (low[1], high[1]) if low[0] < high[0] else None


def _cost_explained(diagnoses: list[Diagnosis]) -> Explained | None:
    ends = _extremes([one.cost.total for one in diagnoses])
    if ends is None:
        return None
    low, high = diagnoses[ends[0]], diagnoses[ends[1]]
    least, most = low.cost.total or 0.0, high.cost.total or 0.0
    names = f"[{ends[0] + 1}]", f"[{ends[1] + 1}]"
    sentence = (
        f"{names[1]} cost {text.usd(_tidy(most - least))} more than {names[0]} "
        f"({text.usd(most)} against {text.usd(least)}{_times(most, least)})."
    )
    if low.cost.zero_because and not least:
        because = f"{names[0]} was free: {low.cost.zero_because}."
        return Explained(*ends, _tidy(most - least), [], f"{sentence} {because}")
    factors = _cost_factors(low, high, names)
    factors.sort(key=lambda factor: -abs(factor.amount))
    return Explained(
        *ends, _tidy(most - least), factors, f"{sentence} {_mostly(factors, most - least, text.usd)}".rstrip()
    )


def _times(most: float, least: float) -> str:
    """How many times as much, where that says something."""
    if not least or not 1.1 <= most / least < 100_000:
        return ""
    return f", {most / least:.1f} times"


def _tidy(amount: float) -> float:
    """Without the dust that subtracting floats leaves (costs have about ten digits)."""
    return float(f"{amount:.10g}")


def _mostly(factors: list[Factor], difference: float, show: Callable[[float], str]) -> str:
    """The sentence on the largest factor, and on the second where it matters or is all that is left."""
    helping = [factor for factor in factors if factor.amount > 0]
    if not helping:
        return "What is recorded does not say what explains it."
    first = helping[0]
    if abs(first.amount - difference) <= 0.005 * difference:
        return f"All of it is {first.because}."
    if first.amount > difference:
        return f"{_capital(first.because)}: {show(first.amount)}; other differences made up for part of it."
    said = f"{show(first.amount)} of it ({text.percent(first.amount, difference)}) is {first.because}"
    if len(helping) > 1 and helping[1].amount >= 0.1 * difference:
        second = helping[1]
        said += f"; {show(second.amount)} ({text.percent(second.amount, difference)}) is {second.because}"
    elif len(factors) == len(helping) == 2:
        said += f"; the rest is {helping[1].because}"
    return said + "."


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _cost_factors(low: Diagnosis, high: Diagnosis, names: tuple[str, str]) -> list[Factor]:
    factors = []
    saved = [one.cost.cache_discount or 0.0 for one in (low, high)]
    if saved[0] != saved[1]:
        effects = [
            f"{'saved' if amount > 0 else 'cost' if amount < 0 else 'saved nothing'}"
            f"{' ' + text.usd(abs(amount)) if amount else ''} in {name}"
            for amount, name in zip(saved, names, strict=True)
        ]
        because = f"the prompt cache, which {effects[0]} and {effects[1]}"
        factors.append(Factor("prompt cache", _tidy(saved[0] - saved[1]), because))
    gross = [(one.cost.total or 0.0) + amount for one, amount in zip((low, high), saved, strict=True)]
    if abs(gross[1] - gross[0]) > 1e-12:
        factors += _token_factors(low, high, gross)
    return factors


def _token_factors(low: Diagnosis, high: Diagnosis, gross: list[float]) -> list[Factor]:
    """What is left when the prompt cache's part is taken out: tokens, prices, add-ons; empty if they cannot tell."""
    rest, differ, pairs = gross[1] - gross[0], _price_tags(low, high), _token_pairs(low, high)
    changed = _changed(low, high, pairs, rest) if pairs else []
    if rest > 0 and (added := _added(low, high)):
        what = [f"another {' and '.join(differ)}"] if differ else []
        return [Factor("add-ons and tokens", _tidy(rest), _listed([*what, *added, *changed]))]
    if not pairs:
        return []
    if not differ:
        return _same_price(low, high, pairs, gross, changed)
    return _other_price(differ, pairs, gross, changed)


def _token_pairs(low: Diagnosis, high: Diagnosis) -> list[tuple[int, int]]:
    """(prompt, completion) tokens of both; empty where one of the counts is not recorded."""
    pairs = []
    for one in (low, high):
        size, produced = prompt_tokens(one.record), completion_tokens(one.record)
        if size is None or produced is None:
            return []
        pairs.append((size, produced))
    return pairs


_ADDED = {
    "num_search_results": "web search results",
    "num_fetches": "web pages fetched",
    "num_media_completion": "media made",
}
"""What is paid for beside the tokens, or in tokens of another price."""


def _added(low: Diagnosis, high: Diagnosis) -> list[str]:
    """What the dearer one has more of."""
    counts = [(label, tokens(low.record, name) or 0, tokens(high.record, name) or 0) for name, label in _ADDED.items()]
    return [f"{label} ({after:,} against {before:,})" for label, before, after in counts if after > before]


def _listed(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _changed(low: Diagnosis, high: Diagnosis, pairs: list[tuple[int, int]], rest: float) -> list[str]:
    """The token counts that changed in the direction of the cost."""
    changes = zip(_token_words(low, high, pairs), *pairs, strict=True)
    return [words for words, before, after in changes if (after - before) * rest > 0]


def _price_tags(low: Diagnosis, high: Diagnosis) -> list[str]:
    """What differs of the things that set a price."""
    labels = {"model": "model", "provider_name": "provider", "service_tier": "service tier"}
    differ = [
        label for name, label in labels.items() if fields.text(low.record, name) != fields.text(high.record, name)
    ]
    if (low.record.get("is_byok") is True) != (high.record.get("is_byok") is True):
        differ.append("key (BYOK)")
    return differ


def _same_price(
    low: Diagnosis, high: Diagnosis, pairs: list[tuple[int, int]], gross: list[float], changed: list[str]
) -> list[Factor]:
    """Two generations at one price give two equations for the price in and the price out."""
    (in_low, out_low), (in_high, out_high) = pairs
    because = _token_words(low, high, pairs)
    area = in_low * out_high - in_high * out_low
    if abs(area) > 0.02 * max(in_low * out_high, in_high * out_low, 1) and not _priced_apart(low, high):
        price_in = (gross[0] * out_high - gross[1] * out_low) / area
        price_out = (in_low * gross[1] - in_high * gross[0]) / area
        if price_in >= 0 and price_out >= 0:
            return [
                Factor(name, _tidy(amount), words)
                for name, amount, words in (
                    ("prompt tokens", price_in * (in_high - in_low), because[0]),
                    ("completion tokens", price_out * (out_high - out_low), because[1]),
                )
                if abs(amount) > 1e-12
            ]
    rest, telling = gross[1] - gross[0], list(changed)
    cached = [tokens(one.record, "native_tokens_cached") or 0 for one in (low, high)]
    if _hidden_discount(low, high) and (cached[0] - cached[1]) * rest > 0:
        telling.insert(0, f"the prompt cache ({cached[1]:,} tokens read from it against {cached[0]:,})")
    return [Factor("tokens", _tidy(rest), _listed(telling))] if telling else []


def _hidden_discount(low: Diagnosis, high: Diagnosis) -> bool:
    """Whether tokens came from the cache at a price that the record does not show."""
    return any(tokens(one.record, "native_tokens_cached") and not one.cost.cache_discount for one in (low, high))


def _priced_apart(low: Diagnosis, high: Diagnosis) -> bool:
    """Whether one price in and one out do not make up both costs."""
    return _hidden_discount(low, high) or any(
        (tokens(low.record, name) or 0) != (tokens(high.record, name) or 0) for name in _ADDED
    )


def _token_words(low: Diagnosis, high: Diagnosis, pairs: list[tuple[int, int]]) -> tuple[str, str]:
    (in_low, out_low), (in_high, out_high) = pairs
    thought = [tokens(one.record, "native_tokens_reasoning") or 0 for one in (low, high)]
    of_which = f", {thought[1]:,} against {thought[0]:,} of them reasoning" if thought[0] != thought[1] else ""
    return (
        f"the prompt ({in_high:,} tokens against {in_low:,})",
        f"the completion ({out_high:,} tokens against {out_low:,}{of_which})",
    )


def _other_price(
    differ: list[str], pairs: list[tuple[int, int]], gross: list[float], changed: list[str]
) -> list[Factor]:
    """Different models or providers: price and volume apart, where both have a like mix of in and out."""
    sums, rest = [sum(pair) for pair in pairs], gross[1] - gross[0]
    what = " and ".join(differ)
    if not all(sums):
        return [Factor("price and tokens", _tidy(rest), f"another {what}, and other tokens")]
    rates = [amount / whole for amount, whole in zip(gross, sums, strict=True)]
    mixes = [produced / whole for (_, produced), whole in zip(pairs, sums, strict=True)]
    if abs(mixes[0] - mixes[1]) > 0.05:
        return [Factor("price and tokens", _tidy(rest), _listed([f"another {what}", *changed]))]
    grown = (sums[1] - sums[0]) * rest > 0
    if grown and 0.97 <= rates[1] / (rates[0] or 1) <= 1.03:  # no other price, only a slightly other mix
        return [Factor("tokens", _tidy(rest), f"the tokens ({sums[1]:,} against {sums[0]:,})")]
    prices = f"{text.usd(_rounded(1e6 * rates[1]))} a million tokens against {text.usd(_rounded(1e6 * rates[0]))}"
    volume = rates[0] * (sums[1] - sums[0])
    return [
        Factor("price", _tidy(rest - volume), f"the price of another {what} ({prices})"),
        Factor("tokens", _tidy(volume), f"the tokens ({sums[1]:,} against {sums[0]:,})"),
    ]


def _rounded(price: float) -> float:
    return float(f"{price:.3g}")


def _time_explained(diagnoses: list[Diagnosis]) -> Explained | None:
    ends = _extremes([one.timing.total for one in diagnoses])
    if ends is None:
        return None
    low, high = diagnoses[ends[0]], diagnoses[ends[1]]
    least, most = low.timing.total or 0.0, high.timing.total or 0.0
    sentence = (
        f"[{ends[1] + 1}] took {text.duration(most - least)} longer than [{ends[0] + 1}] "
        f"({text.duration(most)} against {text.duration(least)}{_times(most, least)})."
    )
    factors = sorted(_time_factors(low, high), key=lambda factor: -abs(factor.amount))
    return Explained(
        *ends, most - least, factors, f"{sentence} {_mostly(factors, most - least, text.duration)}".rstrip()
    )


def _time_factors(low: Diagnosis, high: Diagnosis) -> list[Factor]:
    parts = [_time_parts(one) for one in (low, high)]
    if parts[0] is None or parts[1] is None:
        return []
    factors = []
    for (name, before), (_, after) in zip(*parts, strict=True):
        if before != after:
            named = "the wait for the first token" if name == _TO_FIRST else name
            words = f"{named} ({text.duration(after)} against {text.duration(before)}{_why(name, low, high)})"
            factors.append(Factor(name, after - before, words))
    return factors


_TO_FIRST, _REST = "provider until first token", measures.NOT_APART


def _time_parts(one: Diagnosis) -> list[tuple[str, float]] | None:
    """All parts of the time; None where the record does not tell them apart."""
    timing, known = one.timing, dict(one.timing.parts())
    nobody_answered = measures.all_failed(one.record, measures.attempts(one.record))
    if not nobody_answered and (timing.provider is None or timing.generation is None):
        return None
    return [(name, known.get(name, 0.0)) for name in ("failed attempts", "moderation", _TO_FIRST, "generation", _REST)]


def _why(part: str, low: Diagnosis, high: Diagnosis) -> str:
    """What stands behind a part's difference, where the records tell it."""
    if part == "failed attempts":
        losers = [one for one in high.attempts if one.outcome == "failed"] or [
            one for one in low.attempts if one.outcome == "failed"
        ]
        names = ", ".join(f"{quoted(one.provider or 'unnamed', 40)} {one.status or ''}".strip() for one in losers[:3])
        return f": {names}" if names else ""
    if part == _TO_FIRST:
        fresh = [
            max((prompt_tokens(one.record) or 0) - (tokens(one.record, "native_tokens_cached") or 0), 0)
            for one in (low, high)
        ]
        if fresh[1] - fresh[0] >= 5_000 and fresh[1] >= 2 * fresh[0]:
            return f", with {fresh[1]:,} uncached prompt tokens to read against {fresh[0]:,}"
        return ""
    if part == "generation":
        written = [_written(one) for one in (low, high)]
        if all(written):
            return f", for {written[1]} against {written[0]}"
    return ""


def _written(one: Diagnosis) -> str:
    """`100 tokens at 26.5/s`, without the speed where the generation was too short to have one."""
    count, lasted = completion_tokens(one.record), one.timing.generation or 0
    if not count:
        return ""
    speed = f" at {text.grouped(round(1000 * count / lasted, 1))}/s" if lasted >= 100 and count <= lasted else ""
    return text.plural(count, "token") + speed
