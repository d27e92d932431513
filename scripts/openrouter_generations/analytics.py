"""Generations by time, model, cost …, from the account's analytics; too much for one query is asked in halves.

Nothing here has been seen live. The endpoint is known from its own description
and from OpenRouter's public analytics skills (August 2026); each fact that
rests on these alone is marked "documented".
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from openrouter_generations import errors, fields, ids, measures
from openrouter_generations.errors import BadAnswerError, OpenRouterError, UsageError
from openrouter_generations.text import duration, plural, safe_line

if TYPE_CHECKING:
    from openrouter_generations.client import Client

QUERY = "/analytics/query"
MOST_ROWS = 10_000
"""Documented: `limit` is 1 to 10,000, and 1,000 where it is missing."""
LONGEST = 31 * 86_400.0
"""Seconds. Documented: `generation_id`, `provider` and the latency metrics allow windows up to 31 days."""
PER_MINUTE = 60
"""Documented: 64 queries a minute. Four are left for whoever else uses the key."""
MOST_QUERIES = 240
"""Queries of one run; four minutes' worth. What has not been asked by then is reported as missing."""
SMALLEST = 1.0
"""Seconds: a window that is not halved any more because it has too many rows."""
SMALLEST_HEAVY = 300.0
"""Seconds: a window that is not halved any more because it takes too long."""

# Documented: `total_usage` contains what a provider bills under BYOK; tokens are native ones;
# latency is in milliseconds, and the average over one generation is its own.
_METRICS = (
    "total_usage",
    "byok_usage",
    "tokens_total",
    "tokens_prompt",
    "tokens_completion",
    "reasoning_tokens",
    "cached_tokens",
    "avg_latency",
)
SORTS = {"cost": "total_usage", "tokens": "tokens_total", "latency": "avg_latency", "time": None}
"""What a list can be ordered by, and the metric behind it."""

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhdw])", re.ASCII | re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?)?"
    r"\s*(Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)


# --- Time ---


def moment(text: str) -> float | None:
    """Unix seconds of an ISO date with or without time; without a zone it is UTC. None for anything else."""
    match = _ISO.fullmatch(text.strip())
    if not match:
        return None
    fraction = float(f"0.{match[7]}") if match[7] else 0.0
    try:
        clock = datetime(*(int(part or 0) for part in match.groups()[:6]), tzinfo=timezone.utc)  # type: ignore[misc,arg-type]
        return (clock - _EPOCH).total_seconds() + fraction - _zone(match[8] or "Z")
    except (ValueError, OverflowError):
        return None


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _zone(text: str) -> int:
    """Seconds east of UTC."""
    if text in "Zz":
        return 0
    digits = text[1:].replace(":", "")
    seconds = int(digits[:2]) * 3_600 + int(digits[2:] or 0) * 60
    return -seconds if text[0] == "-" else seconds


def utc(seconds: float) -> str:
    """`2026-11-12T09:00:00.000Z`; the ends of the calendar for what lies outside it."""
    try:
        clock = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    except (OverflowError, ValueError):
        return "9999-12-31T23:59:59.999Z" if seconds > 0 else "0001-01-01T00:00:00.000Z"
    return clock.strftime("%Y-%m-%dT%H:%M:%S.").rjust(20, "0") + f"{clock.microsecond // 1000:03d}Z"


def span(text: str, flag: str) -> float:
    """Seconds of `2h`, `30m`, `3d`. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise UsageError(f"{flag} {safe_line(text)[:80]!r} is no span of time. Expected one like 30m, 2h or 3d.")
    return float(match[1]) * _UNITS[match[2].lower()]


def point(text: str, flag: str, now: float) -> float:
    """Unix seconds of a flag: `2h` (before `now`) or an ISO date. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    seconds = now - float(match[1]) * _UNITS[match[2].lower()] if match else moment(text)
    if seconds is None:
        raise UsageError(
            f"{flag} {safe_line(text)[:80]!r} is no point in time. Expected one like 30m, 2h, 3d (ago), 2026-11-12, "
            "2026-11-12T09:00 (UTC), 2026-11-12T09:00Z or 2026-11-12T10:00+01:00."
        )
    return seconds


class Window(NamedTuple):
    """From `start` to before `end`, unix seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start

    def halves(self) -> tuple[Window, Window]:
        """The later half first: where not all can be asked, the older part is what is missing."""
        middle = round((self.start + self.end) / 2, 3)
        return Window(middle, self.end), Window(self.start, middle)

    def checked(self) -> Window:
        """Itself. Raises UsageError where the endpoint would refuse it."""
        if self.length <= 0:
            raise UsageError(f"--since ({utc(self.start)}) is not before --until ({utc(self.end)}).")
        if self.length > LONGEST + 1:
            raise UsageError(
                f"The window from {utc(self.start)} to {utc(self.end)} is {self.length / 86_400:,.1f} days long; "
                "generations can be listed over 31 days at most. Name both ends, such as --since "
                f"{utc(self.start)[:10]} --until {utc(self.start + LONGEST)[:10]}, and run it again for the rest."
            )
        return self if self.length <= LONGEST else Window(self.end - LONGEST, self.end)


def window(since: str | None, until: str | None, now: float, default: float = 86_400.0) -> Window:
    """From the flags; `default` is its length in seconds where `since` is missing. Raises UsageError."""
    end = now if until is None else point(until, "--until", now)
    return Window(end - default if since is None else point(since, "--since", now), end).checked()


# --- What is asked ---


Condition = dict[str, object]


def condition(field: str, values: Sequence[object]) -> Condition:
    """A dimension has one of these values."""
    if len(values) == 1:
        return {"field": field, "operator": "eq", "value": values[0]}
    return {"field": field, "operator": "in", "value": list(values)}


def as_id(text: str) -> int | str:
    """Documented: keys and apps are filtered by number (keys also by hash), though rows show their names."""
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else text


# --- What is answered ---


class Generation(NamedTuple):
    """A row of the list. None: the endpoint does not say. US dollars, native tokens, milliseconds."""

    id: str
    model: str | None = None
    provider: str | None = None
    cost: float | None = None
    byok: float | None = None
    """The part of `cost` that a provider bills itself."""
    tokens: int | None = None
    prompt: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    cached: int | None = None
    latency: float | None = None

    @property
    def created(self) -> int | None:
        """Unix seconds, where the ID has them."""
        return ids.created(self.id)


def _figures(row: dict[str, object]) -> dict[str, object]:
    """The row with numbers for figures that came as strings.

    Documented: counts come as strings ("1523"), money and times as numbers, what is unused as null.
    """
    return {
        name: float(value)
        if isinstance(value, str) and name in _NUMERIC and re.fullmatch(r"\d{1,15}(\.\d{1,15})?", value, re.ASCII)
        else value
        for name, value in row.items()
    }


_NUMERIC = frozenset((*_METRICS, "request_count"))


def generation(row: dict[str, object]) -> Generation | None:
    """None for a row that names no generation."""
    named = row.get("generation_id")
    if not isinstance(named, str) or not named.strip():
        return None
    row = _figures(row)
    return Generation(
        named,
        fields.text(row, "model"),
        fields.text(row, "provider"),
        _spent(row, "total_usage"),
        _spent(row, "byok_usage"),
        measures.tokens(row, "tokens_total"),
        measures.tokens(row, "tokens_prompt"),
        measures.tokens(row, "tokens_completion"),
        measures.tokens(row, "reasoning_tokens"),
        measures.tokens(row, "cached_tokens"),
        measures.milliseconds(row, "avg_latency"),
    )


def _spent(row: dict[str, object], name: str) -> float | None:
    amount = measures.dollars(row, name)
    return amount if amount is not None and amount >= 0 else None


def usable(generation_id: str) -> bool:
    """Whether an ID out of an answer can be asked for and printed bare: it may be anything, and reach a shell."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,255}", generation_id, re.ASCII) is not None


class Totals(NamedTuple):
    """Over a whole window. None: not known."""

    generations: int | None = None
    cost: float | None = None
    tokens: int | None = None


class Listing(NamedTuple):
    """`complete`: every generation asked for is there. `more`: the window has others besides."""

    generations: list[Generation]
    complete: bool
    more: bool


class Answer(NamedTuple):
    """Rows as received; `truncated`: there are more than these."""

    rows: list[dict[str, object]]
    truncated: bool


class Account:
    """The account behind a management key, as analytics shows it. For one thread.

    `notes` are sentences on what could not be had or was done differently,
    `gaps` those that make a listing incomplete, `warnings` the endpoint's own
    words (untrusted). `tell` is given a sentence when a pause is due.

    Every method raises what `Client.post` raises; a 403 says which key is needed.
    """

    def __init__(self, client: Client, tell: Callable[[str], None] = lambda _: None) -> None:
        self._client = client
        self._tell = tell
        self._asked: deque[float] = deque(maxlen=PER_MINUTE)
        self.left = MOST_QUERIES
        self.bearable = float("inf")  # seconds: the longest window that may be asked, after a 408
        self.notes: list[str] = []
        self.gaps: list[str] = []
        self.warnings: list[str] = []

    # Questions

    def ranked(self, window: Window, conditions: list[Condition], sort: str, most: int | None) -> Listing:
        """The first `most` generations by one of SORTS, largest or newest first; all of them for None."""
        body: dict[str, object] = {"metrics": list(_METRICS), "dimensions": ["generation_id", "model"]}
        metric = SORTS[sort]
        if metric:
            body["order_by"] = {"field": metric, "direction": "desc"}
        body["filters"] = conditions
        # Time is no dimension beside generation_id: for the newest, all are listed and ordered here.
        found, cut = self._collected(body, window, most if metric else None)
        found.sort(key=lambda one: _rank(one, sort))
        kept = found if most is None else found[:most]
        return Listing(kept, not self.gaps, cut or len(kept) < len(found))

    def ids(self, window: Window, conditions: list[Condition]) -> Listing:
        """Every generation of the window, with its ID alone."""
        body = {"metrics": ["request_count"], "dimensions": ["generation_id"], "filters": conditions}
        found, _ = self._collected(body, window, None)
        return Listing(found, not self.gaps, False)

    def providers(self, window: Window, named: Sequence[str]) -> dict[str, str]:
        """ID to provider. A query has two dimensions at most (documented), so this is one of its own."""
        found: dict[str, str] = {}
        named = [one for one in named if usable(one)]
        for start in range(0, len(named), _AT_ONCE):
            some = named[start : start + _AT_ONCE]
            body = {
                "metrics": ["request_count"],
                "dimensions": ["generation_id", "provider"],
                "filters": [condition("generation_id", some)],
            }
            rows = self._optional(body, window, 2 * len(some), "The providers are not shown; --details fetches them")
            for row in rows or ():
                one = generation(row)
                if one is not None and one.provider:
                    found[one.id] = one.provider
            if rows is None:
                break
        return found

    def totals(self, window: Window, conditions: list[Condition]) -> Totals:
        """Of the whole window; empty where the endpoint does not answer."""
        body = {"metrics": ["request_count", "total_usage", "tokens_total"], "filters": conditions}
        rows = self._optional(body, window, 1, "The totals of the window are not known")
        row = _figures(rows[0]) if rows else {}
        return Totals(
            measures.tokens(row, "request_count"),
            _spent(row, "total_usage"),
            measures.tokens(row, "tokens_total"),
        )

    # Asking

    def _optional(
        self, body: dict[str, object], window: Window, limit: int, without: str
    ) -> list[dict[str, object]] | None:
        """The rows; None, and a note, where this query fails."""
        if window.length > self.bearable or self.left <= 0:
            self.notes.append(f"{without}: the window is too large for one query.")
            return None
        try:
            return self.ask(body, window, limit).rows
        except OpenRouterError as failure:
            self.notes.append(f"{without}: {_short(failure)}.")
            return None

    def _collected(self, body: dict[str, object], window: Window, most: int | None) -> tuple[list[Generation], bool]:
        """The generations of a window, each once, and whether it has more than these."""
        search = _Search(self, body, most)
        search.run(window)
        if search.nameless:
            self.notes.append(f"Left out: {plural(search.nameless, 'row')} without a generation ID.")
        self.notes += search.story()
        self.gaps += search.missing()
        return list(search.found.values()), search.cut

    def ask(self, body: dict[str, object], window: Window, limit: int) -> Answer:
        """One query, when its turn has come."""
        self._take_turn()
        asked = {
            **body,
            # Documented: without a range the last seven days are meant.
            "time_range": {"start": utc(window.start), "end": utc(window.end)},
            "limit": max(1, min(limit, MOST_ROWS)),
        }
        try:
            document = self._client.post(QUERY, asked)
        except errors.ApiError as failure:
            raise _explained(failure) from None
        return self._read(document, asked)

    def _take_turn(self) -> None:
        self.left -= 1
        wait = self._asked[0] + 60 - time.monotonic() if len(self._asked) == PER_MINUTE else 0
        if wait > 0:
            self._tell(f"Waiting {wait:.0f} s: analytics allows 64 queries a minute.")
            time.sleep(wait)
        self._asked.append(time.monotonic())

    def _read(self, document: dict[str, object], asked: dict[str, object]) -> Answer:
        data = document.get("data")
        if data is None:
            return Answer([], False)
        rows = data.get("data") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(rows, list):
            problem = BadAnswerError("`data.data` is not a list of rows.")
            problem.subject = QUERY
            raise problem
        self._keep_warnings(data.get("warnings"))
        self._note_age(data)
        said = fields.flag(fields.mapping(data, "metadata") or {}, "truncated")
        full = "dimensions" in asked and asked["limit"] == len(rows)
        return Answer([row for row in rows if isinstance(row, dict)], full if said is None else said)

    def _keep_warnings(self, said: object) -> None:
        for warning in said if isinstance(said, list) else ():
            if isinstance(warning, str) and warning not in self.warnings and len(self.warnings) < _MOST_WARNINGS:
                self.warnings.append(warning)

    def _note_age(self, data: dict[str, object]) -> None:
        """Documented: `cachedAt`, Unix milliseconds, stands in answers that come from a cache."""
        cached = fields.number(data, "cachedAt")
        if cached is None or not 0 < cached < 1e15:
            return
        age = time.time() - cached / 1000
        if 60 <= age <= LONGEST and not any("its cache" in note for note in self.notes):
            self.notes.append(
                f"Analytics answered from its cache, {duration(age * 1000)} old: what came later is missing."
            )


_AT_ONCE = 500
"""Generation IDs in one filter."""
_MOST_WARNINGS = 20


class _Search:
    """One question over a window, asked in halves where the answer does not fit or takes too long."""

    def __init__(self, account: Account, body: dict[str, object], most: int | None) -> None:
        self._account, self._body, self._most = account, body, most
        self._limit = MOST_ROWS if most is None else min(most, MOST_ROWS)
        self._answered = self._stale = 0
        self._lost: dict[str, list[Window]] = {}
        self._overfull = 0
        self._heavy = False
        self.found: dict[str, Generation] = {}
        self.cut = False
        self.nameless = 0

    def run(self, whole: Window) -> None:
        todo = [whole]
        while todo:
            part = todo.pop()
            if self._account.left <= 0 or self._stale > _HOPELESS:
                reason = "too many queries" if self._account.left <= 0 else "answers that stay cut"
                self._lost.setdefault(reason, []).extend((part, *todo))
                return
            if part.length > self._account.bearable or not self._settled(part):
                todo += reversed(part.halves())  # the later half is asked first

    def _settled(self, part: Window) -> bool:
        """Ask for one part. False: it has to be halved."""
        try:
            answer = self._account.ask(self._body, part, self._limit)
        except errors.ServerError as failure:
            # Documented: 408 says that the query was too heavy, and a narrower window helps.
            if failure.status != 408 or (part.length / 2 < SMALLEST_HEAVY and not self._answered):
                raise
            self._heavy = True
            if part.length / 2 < SMALLEST_HEAVY:
                self._lost.setdefault("timed out (408)", []).append(part)
                return True
            self._account.bearable = part.length / 2 + 0.002  # the ends of halves are rounded to milliseconds
            return False
        self._answered += 1
        fresh = self._take(answer.rows)
        if not answer.truncated:
            return True
        if self._most is not None and len(answer.rows) >= self._most:
            self.cut = True  # documented: ordered before it is cut, so these are the right ones
            return True
        self._overfull = max(self._overfull, len(answer.rows))
        self._stale = 0 if fresh else self._stale + 1
        if part.length > SMALLEST and answer.rows:
            return False
        self._lost.setdefault("more rows than one answer holds", []).append(part)
        return True

    def _take(self, rows: list[dict[str, object]]) -> bool:
        """Keep what the rows say; whether any of it is new.

        Whether its end belongs to a window is not documented: one that stands
        on a seam may come twice.
        """
        known = len(self.found)
        for row in rows:
            one = generation(row)
            if one is None:
                self.nameless += 1
            else:
                self.found.setdefault(one.id, one)
        return len(self.found) > known

    def story(self) -> Iterator[str]:
        """How the window was asked, where not at once."""
        if self._overfull:
            yield (
                f"One answer held {plural(self._overfull, 'row')} and was cut there, "
                f"so the window was asked in parts ({plural(self._answered, 'answer')})."
            )
        if self._heavy:
            yield (
                "The endpoint timed out (408) on the whole window, so it was narrowed and asked in parts "
                f"of {duration(round(self._account.bearable) * 1000)}."
            )

    def missing(self) -> Iterator[str]:
        for reason, parts in self._lost.items():
            first, last = min(part.start for part in parts), max(part.end for part in parts)
            where = f"{utc(first)} to {utc(last)}" if len(parts) == 1 else f"between {utc(first)} and {utc(last)}"
            yield f"{reason}, {where}" + (f" ({len(parts)} parts)" if len(parts) > 1 else "")


_HOPELESS = 40
"""Cut answers in a row that bring nothing new; halving 31 days down to a second has 22 steps."""


def _rank(one: Generation, sort: str) -> tuple[float, str]:
    """Largest or newest first, the unknown last."""
    value = {"cost": one.cost, "tokens": one.tokens, "latency": one.latency, "time": one.created}[sort]
    return (1.0 if value is None else -float(value)), one.id


def _explained(failure: errors.ApiError) -> errors.ApiError:
    """The failure in the words of this endpoint; its class and exit code stay."""
    if failure.status == 403:
        failure.headline = "Forbidden. Listing generations needs a management key; regular keys cannot."
        failure.advice = (
            "An admin of the account makes one at https://openrouter.ai/settings/management-keys. Pass it with "
            "--api-key or OPENROUTER_API_KEY. For a generation whose ID is known a regular key is enough: "
            "get_generation.py ID."
        )
    elif failure.status == 404:
        failure.headline = "There is no analytics endpoint."
        failure.advice = "Check OPENROUTER_BASE_URL, and any proxy or gateway on the way."
    elif failure.status == 408:
        failure.headline = "The query takes the endpoint too long."
        failure.advice = "Ask for less: a shorter --since … --until, or one --model or --api-key-id."
    elif failure.status == 429:
        failure.advice = "Analytics allows 64 queries a minute. Wait a minute, or raise --retries."
    elif failure.status is not None and 400 <= failure.status < 500 and not failure.headline:
        failure.advice = (
            "A filter's value is one cause: models go by permaslug (model_permaslug in get_generation.py --json), "
            "keys by number or hash."
        )
    return failure


def _short(failure: OpenRouterError) -> str:
    if isinstance(failure, errors.ApiError):
        said = safe_line(failure.server_message.strip())[:120]
        return f"status {failure.status}" + (f", {said.rstrip('.')}" if said else "")
    return safe_line(str(failure)).split("\\n")[0][:160].rstrip(".")
