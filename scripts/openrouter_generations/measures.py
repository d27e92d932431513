"""The figures of a record that can be reckoned with: plausible counts, times, money, and where the time went.

Stricter than `fields`: a negative or absurdly large figure is no figure. So no
sum, share or sentence built on these can overflow or read as nonsense.
"""

from __future__ import annotations

from typing import NamedTuple

from openrouter_generations import fields
from openrouter_generations.fields import Record

_MOST = 10**12
"""More tokens, or milliseconds (31 years), than any generation has."""
_DEAREST = 10**9


def tokens(record: Record, name: str) -> int | None:
    """A plausible count: whole, not negative."""
    value = record.get(name)
    if type(value) is int and 0 <= value <= _MOST:
        return value
    if type(value) is float and 0 <= value <= _MOST and value == int(value):
        return int(value)
    return None


def milliseconds(record: Record, name: str) -> float | None:
    """A plausible time: not negative."""
    value = record.get(name)
    return value if (type(value) is int or type(value) is float) and 0 <= value <= _MOST else None


def dollars(record: Record, name: str) -> float | None:
    """A plausible amount; negative ones are for the caller to judge (`cache_discount` may be)."""
    value = record.get(name)
    if (type(value) is int or type(value) is float) and -_DEAREST <= value <= _DEAREST:
        return value
    return None


def cost(record: Record) -> float | None:
    """What OpenRouter charged, US dollars. `usage` is the same figure under an older name."""
    amount = dollars(record, "total_cost")
    if amount is None:
        amount = dollars(record, "usage")
    return amount if amount is not None and amount >= 0 else None


def upstream_cost(record: Record) -> float | None:
    """What the provider bills besides, US dollars: only under BYOK, and where the record says so."""
    amount = dollars(record, "upstream_inference_cost") if record.get("is_byok") is True else None
    return amount if amount is not None and amount >= 0 else None


def prompt_tokens(record: Record) -> int | None:
    """Those billed (native); the normalised count where the native one is missing."""
    native = tokens(record, "native_tokens_prompt")
    return tokens(record, "tokens_prompt") if native is None else native


def completion_tokens(record: Record) -> int | None:
    """Those billed (native); the normalised count where the native one is missing."""
    native = tokens(record, "native_tokens_completion")
    return tokens(record, "tokens_completion") if native is None else native


def status(attempt: Record, name: str = "status") -> int | None:
    """An HTTP status; None for anything that is none."""
    value = tokens(attempt, name)
    return value if value is not None and 100 <= value <= 999 else None


def attempts(record: Record) -> list[dict[str, object]]:
    """The entries of `provider_responses`, first tried first."""
    chain = record.get("provider_responses")
    if type(chain) is list and len(chain) == 1 and type(chain[0]) is dict:
        return chain
    return fields.objects(record, "provider_responses") if chain else []


def streams_text(record: Record) -> bool:
    """Whether the record is one of text tokens; other kinds (`embeddings`, `image` …) come in one piece."""
    kind = record.get("api_type")
    return kind is None or kind in ("completions", "decisions")


def answered(attempt: Record) -> bool:
    """Whether the attempt has a 2xx status."""
    code = status(attempt)
    return code is not None and 200 <= code < 300


def failed(attempt: Record) -> bool:
    """Whether the attempt certainly did not answer.

    A status of null says so too where another attempt follows; whether one does is for the caller.
    """
    code = status(attempt)
    return code is not None and not 200 <= code < 300


def gave_way(chain: list[dict[str, object]]) -> list[dict[str, object]]:
    """The failed attempts that others followed; `status: null` is one that broke without a status."""
    return [attempt for attempt in chain[:-1] if failed(attempt) or attempt.get("status", 0) is None]


def all_failed(record: Record, chain: list[dict[str, object]]) -> bool:
    """Whether no attempt succeeded. One without a status counts only when nothing was produced."""
    broken = [failed(attempt) for attempt in chain]
    if True not in broken or any(answered(attempt) for attempt in chain):
        return False
    if False not in broken:
        return True
    return not completion_tokens(record) and record.get("cancelled") is not True


def billed_by_nobody(record: Record) -> bool:
    """Whether no provider can have billed it: from OpenRouter's response cache, or nobody answered."""
    return fields.text(record, "response_cache_source_id") is not None or all_failed(record, attempts(record))


class Timing(NamedTuple):
    """Where the wait came from, milliseconds. None: the record does not tell."""

    total: float | None
    """From the request to the last token, failed attempts included."""
    first_token: float | None
    """From the request on: `latency` where it can be that (not above `generation_time`), and failed attempts
    that are not part of it."""
    failed_attempts: float | None
    """Sum over the attempts that failed. 0 where there were none."""
    moderation: float | None
    provider: float | None
    """The last provider until its first token."""
    generation: float | None
    """First token to last token."""
    notes: tuple[str, ...]
    """What the record cannot tell."""

    def parts(self) -> list[tuple[str, float]]:
        """The known parts in order of time, without those that are nothing; what is left of the total comes last."""
        named = (
            ("failed attempts", self.failed_attempts),
            ("moderation", self.moderation),
            ("provider until first token", self.provider),
            ("generation", self.generation),
        )
        known = [(name, value) for name, value in named if value]
        rest = (self.total or 0) - sum(value for _, value in known)
        return [*known, (NOT_APART, rest)] if known and rest > max(1, 0.01 * (self.total or 0)) else known


NOT_APART = "not told apart"
"""The share of the total that the record does not divide."""


def timing(record: Record) -> Timing:
    """Split a generation's time as far as its record allows.

    `latency` is nearly always the time to the first token and inside
    `generation_time`; where it is larger, the two cannot be subtracted. The
    attempts' latencies need not add up to either: a 429 before the last attempt
    may be left out of both.
    """
    latency, whole = milliseconds(record, "latency"), milliseconds(record, "generation_time")
    chain = attempts(record)
    if all_failed(record, chain):
        return _unanswered(record, _spent(chain), latency, whole)
    lost = _spent(gave_way(chain))
    notes: list[str] = []
    if streams_text(record):
        first_token, generation, recorded = _split(latency, whole, notes)
    else:  # an answer in one piece has no first token
        first_token, generation, recorded = None, None, latency if whole is None else whole
    apart = False
    if lost:
        apart = not _contains(lost, chain, latency, whole)
        if apart and recorded is not None:
            notes.append("the failed attempts are not part of the recorded time and are added here")
    elif lost is None:
        notes.append(_UNKNOWN_LOSS)
    before = first_token  # counted from the end of the last failed attempt
    if first_token is not None and before is not None and lost:
        if apart:
            first_token += lost
        else:
            before = max(before - lost, 0)
    moderation = milliseconds(record, "moderation_latency")
    if before is not None and moderation and moderation > before:
        notes.append("moderation_latency is above the time to the first token and is not subtracted")
        moderation = None
    provider = before - (moderation or 0) if before is not None and lost is not None else None
    total = recorded
    if lost and (apart or recorded is None):
        total = lost + (recorded or 0)
    return Timing(total, first_token, lost, moderation, provider, generation, tuple(notes))


_UNKNOWN_LOSS = "a failed attempt has no latency, so the time lost on it is not known"


def _unanswered(record: Record, lost: float | None, latency: float | None, whole: float | None) -> Timing:
    """Where nobody answered, the recorded times are those of failed attempts: of one of them, or of all."""
    times = [value for value in (lost, latency, whole) if value is not None]
    total = max(times) if times else None
    moderation = milliseconds(record, "moderation_latency")
    if moderation is not None and moderation > (total or 0) - (lost or 0):
        moderation = None
    return Timing(total, None, lost, moderation, None, None, (_UNKNOWN_LOSS,) if lost is None else ())


def _spent(losers: list[dict[str, object]]) -> float | None:
    """Milliseconds spent on failed attempts; None where one of them has no latency."""
    spent = [milliseconds(attempt, "latency") for attempt in losers]
    known = [value for value in spent if value is not None]
    return sum(known) if len(known) == len(spent) else None


def _split(
    latency: float | None, whole: float | None, notes: list[str]
) -> tuple[float | None, float | None, float | None]:
    """(first token, generation, total) from the two recorded times."""
    if latency is not None and whole is not None:
        if latency <= whole:
            return latency, whole - latency, whole
        notes.append("latency is above generation_time, so the first token cannot be told apart")
        return None, None, latency
    if latency is not None:
        notes.append("generation_time is not recorded, so only the time to the first token is known")
        return latency, None, latency
    if whole is not None:
        notes.append("latency is not recorded, so the first token cannot be told apart")
    return None, None, whole


def _contains(lost: float, chain: list[dict[str, object]], latency: float | None, whole: float | None) -> bool:
    """Whether the recorded latency has the failed attempts in it.

    It does when it leaves room for them and for the last attempt; the last
    attempt's own figure may be its first token or its whole time.
    """
    recorded = latency if latency is not None else whole
    if recorded is None or lost > recorded * 1.02 + 20:
        return False
    last = milliseconds(chain[-1], "latency")
    if last is None or not answered(chain[-1]):
        return True
    if latency is not None and lost + last <= latency * 1.02 + 20:
        return True
    return whole is not None and abs(lost + last - whole) <= 0.05 * whole


def throughput(record: Record) -> float | None:
    """Completion tokens a second over `generation_time`; None where it cannot be told, as below a millisecond."""
    produced, whole = completion_tokens(record), milliseconds(record, "generation_time")
    return 1000 * produced / whole if produced and whole and whole >= 1 else None
