"""Fitting long stored text into a limit, what matters most kept best (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_LEAST = 400
"""Characters below which an excerpt of a message says too little: whole messages are left out instead."""


class Passage(NamedTuple):
    """A stretch of text. `weight`: how much of it to keep against the others; 0 < weight.

    `optional` passages (messages in the middle) may be left out whole.
    `shown_by` are the flags that show all of it, `overhead` the characters that
    an optional one needs besides its text.
    """

    text: str
    weight: int
    shown_by: str
    optional: bool = False
    overhead: int = 0

    @property
    def size(self) -> int:
        return len(self.text) + (self.overhead if self.optional else 0)


def fitted(passages: Sequence[Passage], limit: int) -> list[str | None]:
    """The passages within about `limit` characters in all, in order; None for one left out whole.

    0 is no limit. Cuts are made in the middle of the longest passages.
    """
    if limit == 0 or sum(passage.size for passage in passages) <= limit:
        return [passage.text for passage in passages]
    kept = _kept(passages, limit)
    share = _share([passages[i] for i in kept], limit)
    result: list[str | None] = [None] * len(passages)
    for i in kept:
        result[i] = cut(passages[i].text, int(share * passages[i].weight), passages[i].shown_by)
    return result


def cut(text: str, room: int, shown_by: str) -> str:
    """Head and tail of a text that is longer than `room` characters, with a note of what lies between."""
    if len(text) <= room:
        return text
    note = f" [… {len(text):,} characters left out; {shown_by} shows them …] "
    around = max(room - len(note), 0)
    head, tail = around - around * 2 // 5, around * 2 // 5
    note = f" [… {len(text) - head - tail:,} characters left out; {shown_by} shows them …] "
    excerpt = text[:head] + note + (text[-tail:] if tail else "")
    return excerpt if len(excerpt) < len(text) else text


def _kept(passages: Sequence[Passage], limit: int) -> list[int]:
    """Indexes of the passages to show: optional ones only while each still gets a useful share."""
    needed = [i for i, passage in enumerate(passages) if not passage.optional]
    optional = [i for i, passage in enumerate(passages) if passage.optional]
    fewest, most = 0, len(optional)
    while fewest < most:
        middle = (fewest + most + 1) // 2
        chosen = sorted(needed + _outermost(optional, middle))
        if _share([passages[i] for i in chosen], limit) >= _LEAST:
            fewest = middle
        else:
            most = middle - 1
    return sorted(needed + _outermost(optional, fewest))


def _outermost(indexes: list[int], quantity: int) -> list[int]:
    """Two from the end for each one from the beginning: what came last explains most."""
    early = quantity // 3
    return indexes[:early] + (indexes[len(indexes) - (quantity - early) :] if quantity > early else [])


def _share(passages: Sequence[Passage], limit: int) -> float:
    """Characters a unit of weight, so that short passages stay whole and the long ones share the rest."""
    room = float(limit - sum(passage.size - len(passage.text) for passage in passages))
    weight = sum(passage.weight for passage in passages)
    for passage in sorted(passages, key=lambda passage: len(passage.text) / passage.weight):
        if weight <= 0 or len(passage.text) / passage.weight > room / weight:
            break
        room -= len(passage.text)
        weight -= passage.weight
    else:
        return float(limit)
    return max(room, 0.0) / weight
