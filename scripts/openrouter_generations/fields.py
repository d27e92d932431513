"""Lenient readers over a generation record.

Every field of an answer may be missing, null or of another type; each reader
gives the value when it is what its name says and None otherwise. None raises.
"""

from __future__ import annotations

from collections.abc import Mapping

Record = Mapping[str, object]
"""One parsed JSON object from the API, as received."""

_ABSURD = 1e100
"""From here on products and quotients overflow."""


def number(record: Record, name: str) -> int | float | None:
    """A number; booleans, strings that look like numbers and what is no quantity of anything are none."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < _ABSURD else None  # NaN is not less either


def count(record: Record, name: str) -> int | None:
    """A number of things (tokens, images, results): whole and not negative."""
    value = number(record, name)
    if value is None or value < 0 or value != int(value):
        return None
    return int(value)


def text(record: Record, name: str) -> str | None:
    """A string with something in it besides white space."""
    value = record.get(name)
    return value if isinstance(value, str) and value.strip() else None


def flag(record: Record, name: str) -> bool | None:
    value = record.get(name)
    return value if isinstance(value, bool) else None


def mapping(record: Record, name: str) -> dict[str, object] | None:
    value = record.get(name)
    return value if isinstance(value, dict) else None


def objects(record: Record, name: str) -> list[dict[str, object]]:
    """The objects in a list field; anything else in the list is left out."""
    value = record.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
