"""What a log itself says its generations cost, from its JSON lines or CSV rows.

Known places, each beside a generation ID: `usage.cost` in an answer of the API
or a transcript that keeps it, with `usage.cost_details.upstream_inference_cost`
under BYOK; `cost_total` in the CSV export of OpenRouter's Logs page;
`total_cost` in a saved record; `gen_ai.usage.cost` in OpenTelemetry spans;
`usage.cost.total` (pi) and `costUSD`, which are the client's own reckoning.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, localcontext
from typing import NamedTuple

from openrouter_generations import measures
from openrouter_generations.fields import Record, mapping
from openrouter_generations.summary import Row

_DECODER = json.JSONDecoder()
_ID_NAMES = ("id", "generation_id", "responseId", "gen_ai.response.id", "response_id")
_CHARGED = ("cost_total", "total_cost", "cost", "gen_ai.usage.cost")
_SIGNS = frozenset((*_CHARGED, "costUSD", "usage"))
_FIGURE = re.compile(rb'cost[A-Za-z_]{0,40}"([^}]{0,200})')
_DEEPEST = 12
_REMEMBERED = 50_000


class Claim(NamedTuple):
    """`cost` in US dollars.

    `upstream`: what the provider bills besides under BYOK, where the log says
    so. `reckoned`: the client worked it out from a price list, so under BYOK it
    is the price of the whole, not OpenRouter's fee.
    """

    cost: float
    upstream: float | None = None
    reckoned: bool = False


class Reader:
    """Collects the claims of one file, line by line, into `claims`.

    A transcript may have several lines for one ID, with usage growing from one
    to the next: the largest counts, and what OpenRouter said before what a
    client reckoned.
    """

    def __init__(self, first_line: bytes, claims: dict[str, Claim]) -> None:
        self._claims = claims
        self._columns = _columns(first_line)
        self._seen: set[int] = set()

    def line(self, line: bytes, named: set[str]) -> None:
        """Read a line that holds the IDs `named`. What is neither JSON nor a row of the table is passed over."""
        if self._columns is not None:
            found = self._columns.claims(line, named)
        elif (figures := _FIGURE.findall(line)) and not self._repeated((*named, *figures)):
            found = _json_claims(line, named)
        else:
            return
        for generation_id, claim in found:
            known = self._claims.get(generation_id)
            if known is None or _weight(claim) > _weight(known):
                self._claims[generation_id] = claim

    def _repeated(self, said: tuple[object, ...]) -> bool:
        """Whether a line with the same IDs and the same costs was there; parsing it again is dear."""
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        count = len(self._seen)
        self._seen.add(hash(said))
        return len(self._seen) == count


def _weight(claim: Claim) -> tuple[bool, float, float]:
    return not claim.reckoned, claim.cost, claim.upstream or 0


def _json_claims(line: bytes, named: set[str]) -> list[tuple[str, Claim]]:
    """Claims of the first JSON value in a line; before it may stand a log's prefix or `data: `."""
    text = line.decode("utf-8", "replace")
    found: list[_Found] = []
    try:
        for item in _objects(_first_value(text)):
            _walk(item, (), named, found)
    except (ValueError, RecursionError):
        return []
    nearest: dict[str | None, int] = {}
    for one in found:
        nearest[one.owner] = min(one.away, nearest.get(one.owner, one.away))
    beside = [(one.owner, one.claim) for one in found if one.owner is not None and one.away == nearest[one.owner]]
    if not beside and len(found) == len(named) == 1:
        only = next(iter(named))
        if f'"{only}"' in text:  # a value of its own, not a word in what a message quotes
            beside = [(only, found[0].claim)]
    return beside


_TRIES = 20
_EARLY = 40
"""Characters: what proves to be no JSON within these was a brace of the log's own."""


def _first_value(text: str) -> list[object]:
    """The first object in a text, or the list that it begins with. Raises ValueError and RecursionError."""
    start = text.find("[")
    if start >= 0 and not text[:start].strip():
        listed: list[object] = []
        with contextlib.suppress(ValueError):
            listed = _DECODER.raw_decode(text, start)[0]
        if any(isinstance(one, dict) for one in listed):
            return listed
    place = text.find("{")
    for _ in range(_TRIES):
        if place < 0:
            break
        try:
            return [_DECODER.raw_decode(text, place)[0]]
        except json.JSONDecodeError as problem:
            if problem.pos - place > _EARLY:
                raise
        place = text.find("{", place + 1)
    return []


class _Found(NamedTuple):
    """`away`: levels between the object with the cost and the one with the ID."""

    owner: str | None
    away: int
    claim: Claim


def _walk(item: Record, around: tuple[Record, ...], named: set[str], found: list[_Found]) -> None:
    """Find the objects that name a cost, each with the nearest ID in it or around it."""
    around = (*around, item)
    if not _SIGNS.isdisjoint(item) and (claim := _own_claim(item)):
        owners = ((owner, away) for away, one in enumerate(reversed(around)) if (owner := _own_id(one, named)))
        owner, away = next(owners, (None, 0))
        found.append(_Found(owner, away, claim))
    if len(around) > _DEEPEST:
        return
    for name, child in item.items():
        if isinstance(child, dict):
            if name != "usage":
                _walk(child, around, named, found)
        elif isinstance(child, list):
            for one in _objects(child):
                _walk(one, around, named, found)


def _own_id(item: Record, named: set[str]) -> str | None:
    for name in _ID_NAMES:
        value = item.get(name)
        if isinstance(value, str) and "gen-" in value:
            value = value[value.rfind("_gen-") + 1 :]  # `time-…_gen-…`
            if value in named:
                return value
    return None


def _own_claim(item: Record) -> Claim | None:
    usage = mapping(item, "usage")
    if usage is not None and "cost" in usage:
        reckoned = mapping(usage, "cost")
        if reckoned is not None:
            return _claim(reckoned, ("total",), reckoned=True)
        details = mapping(usage, "cost_details") or {}
        return _claim(usage, ("cost",), upstream=_amount(details, "upstream_inference_cost"))
    return _claim(item, _CHARGED, upstream=_amount(item, "upstream_inference_cost")) or _claim(
        item, ("costUSD",), reckoned=True
    )


def _claim(
    item: Record, names: tuple[str, ...], *, upstream: float | None = None, reckoned: bool = False
) -> Claim | None:
    for name in names:
        if name in item and (amount := _amount(item, name)) is not None:
            return Claim(amount, upstream, reckoned)
    return None


def _amount(item: Record, name: str) -> float | None:
    amount = measures.dollars(item, name)
    return amount if amount is not None and amount >= 0 else None


def _objects(items: list[object]) -> list[dict[str, object]]:
    """The objects in a list; OpenTelemetry's `{"key", "value": {"stringValue": …}}` together as one."""
    objects = [item for item in items if isinstance(item, dict)]
    if not objects or "key" not in objects[0] or "value" not in objects[0]:
        return objects
    named: dict[str, object] = {}
    for item in objects:
        value = item.get("value")
        named[str(item.get("key"))] = next(iter(value.values()), None) if isinstance(value, dict) else value
    return [named]


class _Table(NamedTuple):
    """Where the columns of a CSV file are; -1 for one that is not there."""

    delimiter: str
    cost: int
    upstream: int

    def claims(self, line: bytes, named: set[str]) -> list[tuple[str, Claim]]:
        import csv

        try:
            row = next(csv.reader([line.decode("utf-8", "replace")], delimiter=self.delimiter), [])
        except csv.Error:
            return []
        owner = next((cell for cell in row if cell in named), None)
        cost = _cell(row, self.cost)
        if owner is None or cost is None:
            return []
        return [(owner, Claim(cost, _cell(row, self.upstream)))]


def _cell(row: list[str], column: int) -> float | None:
    try:
        amount = float(row[column]) if column >= 0 else -1.0
    except (ValueError, IndexError):
        return None
    return amount if 0 <= amount <= 10**9 else None


def _columns(first_line: bytes) -> _Table | None:
    """The columns that a header names, None where the first line is no header with a cost."""
    text = first_line.decode("utf-8-sig", "replace").strip()
    if text.startswith(("{", "[")) or "cost" not in text:
        return None
    for delimiter in (",", ";", "\t"):
        names = [name.strip().strip('"').lower() for name in text.split(delimiter)]
        cost = next((names.index(name) for name in _CHARGED if name in names), -1)
        if cost >= 0 and len(names) > 1:
            byok = ("byok_usage_inference", "upstream_inference_cost")
            return _Table(delimiter, cost, next((names.index(name) for name in byok if name in names), -1))
    return None


class Difference(NamedTuple):
    """What the log and the record say of one generation, like compared with like, US dollars."""

    id: str
    claimed: Decimal
    recorded: Decimal

    @property
    def amount(self) -> Decimal:
        """Positive where OpenRouter's record is above the log."""
        return self.recorded - self.claimed


class Comparison(NamedTuple):
    """`differing`: largest difference first."""

    compared: int
    claimed: Decimal
    recorded: Decimal
    differing: list[Difference]


def compare(claims: Mapping[str, Claim], rows: Iterable[Row]) -> Comparison | None:
    """The log's costs against the recorded ones; None where no generation has both."""
    with localcontext(Context(prec=100)):
        pairs = [_compared(claims[one.id], one) for one in rows if one.id in claims and one.cost is not None]
        if not pairs:
            return None
        differing = [pair for pair in pairs if not _agree(pair)]
        return Comparison(
            len(pairs),
            sum((pair.claimed for pair in pairs), Decimal(0)),
            sum((pair.recorded for pair in pairs), Decimal(0)),
            sorted(differing, key=lambda pair: -abs(pair.amount)),
        )


def _compared(claim: Claim, row: Row) -> Difference:
    """Under BYOK a log may name OpenRouter's fee, the fee and the provider's bill, or their sum."""
    cost, recorded = Decimal(repr(claim.cost)), row.cost or Decimal(0)
    charged = Difference(row.id, cost, recorded)
    if not row.is_byok or row.upstream is None:
        return charged
    together = Difference(row.id, cost, recorded + row.upstream)
    if claim.upstream is not None:
        both = together._replace(claimed=cost + Decimal(repr(claim.upstream)))
        return together if _agree(together) else both
    return together if claim.reckoned or (_agree(together) and not _agree(charged)) else charged


def _agree(pair: Difference) -> bool:
    """Equal but for the last digit of a float: to half of the eighth decimal, or to a millionth."""
    return abs(pair.amount) <= max(Decimal("5e-9"), pair.recorded / 1_000_000)
