"""Values as people read them, and text of any origin made safe."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from openrouter_generations import fields, text

BIG = 10**400

NUMBERS = [  # as JavaScript's String() gives them
    (0, "0"), (-0.0, "0"), (7, "7"), (-7, "-7"), (457.5, "457.5"), (1.0, "1"), (0.1, "0.1"), (-0.25, "-0.25"),
    (1e20, "100000000000000000000"), (123456789012345680000.0, "123456789012345680000"),
    (1e21, "1e+21"), (1.5e21, "1.5e+21"), (-1e21, "-1e+21"), (1e300, "1e+300"),
    (0.000001, "0.000001"), (0.0000015, "0.0000015"), (1e-7, "1e-7"), (-1.25e-7, "-1.25e-7"), (5e-324, "5e-324"),
    (9007199254740991, "9007199254740991"), (9007199254740993, "9007199254740992"),
    (10**21, "1e+21"), (BIG, "Infinity"), (-BIG, "-Infinity"),
    (float("inf"), "Infinity"), (float("-inf"), "-Infinity"), (float("nan"), "NaN"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "shown"), NUMBERS)
def test_number(value: float, shown: str) -> None:
    assert text.number(value) == shown


DOLLARS = [
    (0, "$0.00"), (-0.0, "$0.00"), (1, "$1.00"), (12.5, "$12.50"), (0.1, "$0.10"), (-0.5, "-$0.50"),
    (0.0015, "$0.0015"), (0.00000602, "$0.00000602"), (0.123456789, "$0.12345679"), (1234567.891, "$1234567.891"),
    (0.000001, "$0.000001"), (0.00000099, "$9.9000e-7"), (1e-9, "$1.0000e-9"), (-1.23456e-8, "-$1.2346e-8"),
    (9.99999e-8, "$1.0000e-7"), (0.999999999, "$1.00"), (1e20, "$100000000000000000000.00"), (1e21, "$1e+21"),
    (-1e22, "-$1e+22"), (BIG, "$Infinity"), (Decimal("0.30"), "$0.30"), (Decimal("1e-12"), "$1.0000e-12"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "shown"), DOLLARS)
def test_usd(value: float, shown: str) -> None:
    assert text.usd(value) == shown


PLAIN: list[tuple[Any, str]] = [
    (True, "true"), (False, "false"), (1.0, "1"), ("a\nb\x1b", "a\\nb\\x1b"), ("", ""),
    ([1, "x"], '[1,"x"]'), ({"a": "\u202e"}, '{"a":"\\u202e"}'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "shown"), PLAIN)
def test_plain(value: object, shown: str) -> None:
    assert text.plain(value) == shown


WORDS = [
    (text.duration, 0, "0 ms"), (text.duration, 442, "442 ms"), (text.duration, 1016, "1.02 s"),
    (text.duration, 12_615, "12.6 s"), (text.duration, 59_960, "1 min 00 s"), (text.duration, 132_529, "2 min 13 s"),
    (text.duration, 11_100_000, "3 h 05 min"),
    (text.size, 0, "0 B"), (text.size, 999, "999 B"), (text.size, 1000, "1.0 kB"), (text.size, 1_300_000, "1.3 MB"),
    (text.size, 999_600, "1.0 MB"), (text.size, 150_000, "150 kB"), (text.size, 64 << 20, "67.1 MB"),
    (text.grouped, 12345, "12,345"), (text.grouped, 12345.5, "12,345.5"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "value", "shown"), WORDS)
def test_words(form: Any, value: float, shown: str) -> None:
    assert form(value) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"), [(0, 5, "0%"), (1, 1000, "<1%"), (1, 3, "33%"), (999, 1000, ">99%"), (5, 5, "100%")]
)
def test_percent(part: float, whole: float, shown: str) -> None:
    assert text.percent(part, whole) == shown


def test_plural() -> None:
    assert [text.plural(n, "attempt") for n in (0, 1, 1024)] == ["0 attempts", "1 attempt", "1,024 attempts"]


def test_table_aligns_and_leaves_no_blanks_at_the_end() -> None:
    assert text.table([["a", "1", ""], ["bbb", "22", "x"]], right=(1,)) == ["a     1", "bbb  22  x"]
    assert text.table([]) == []


C0_C1_DEL = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)]]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
STEERING = [*C0_C1_DEL, *BIDI, "\u2028", "\u2029"]


@pytest.mark.parametrize("character", STEERING, ids=lambda c: f"U+{ord(c):04X}")
def test_what_could_steer_a_terminal_is_escaped_everywhere(character: str) -> None:
    sample = f"a{character}b"
    assert text.safe_text(sample) == (sample if character in "\n\t" else f"a{_escape(character)}b")
    assert character not in text.safe_line(sample)
    for indent in (None, 2):
        dumped = text.json_text({sample: [sample]}, indent=indent)
        assert character not in dumped.replace("\n", "" if indent else "\n")
        assert json.loads(dumped) == {sample: [sample]}


def _escape(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\u{ord(character):04x}"


@pytest.mark.parametrize("kept", ["Zürich", "模型", "😀", "\u200d", "שלום", "a\\x1b", "\N{NO-BREAK SPACE}"])
def test_ordinary_text_stays(kept: str) -> None:
    assert text.safe_text(kept) == text.safe_line(kept) == kept


def test_lone_surrogates_can_be_printed_and_are_the_same_data() -> None:
    broken = json.loads('"\\ud83d"')
    assert text.safe_text(broken) == "\\ud83d"
    dumped = text.json_text([broken])
    dumped.encode("utf-8")
    assert json.loads(dumped) == [broken]


def test_json_is_that_of_javascript() -> None:
    value = {"b": 1, "a": {"x": [], "y": {}, "z": ["é", None, True]}}
    assert text.json_text(value, indent=2) == (
        '{\n  "b": 1,\n  "a": {\n    "x": [],\n    "y": {},\n    "z": [\n'
        '      "é",\n      null,\n      true\n    ]\n  }\n}'
    )
    assert text.json_text(value) == '{"b":1,"a":{"x":[],"y":{},"z":["é",null,true]}}'
    assert text.json_text("é", ascii_only=True) == '"\\u00e9"'


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Bearer sk-or-v1-0123abc.", "Bearer [key removed]."),
        ("sk-or-v1-a sk-or-v1-b", "[key removed] [key removed]"),
        ("asksk-or-_-x", "ask[key removed]"),
        ("my-own-secret!", "[key removed]!"),
        ("sk-original is no key", "sk-original is no key"),
    ],
)
def test_keys_are_scrubbed(dirty: str, clean: str) -> None:
    assert text.scrubbed(dirty, "my-own-secret", "") == clean


ODD: list[Any] = [None, True, "", "  ", "7", "x", [], [1], {}, {"a": 1}, -1, 0, 1.5, 1e300, BIG, -BIG]


@pytest.mark.parametrize("reader", [fields.number, fields.count, fields.text, fields.flag, fields.mapping])
@pytest.mark.parametrize("value", ODD, ids=lambda value: str(value)[:12])
def test_readers_give_what_they_are_named_for_or_none(reader: Any, value: object) -> None:
    wanted = {
        fields.number: lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e100,
        fields.count: lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1e100,
        fields.text: lambda v: isinstance(v, str) and v.strip() != "",
        fields.flag: lambda v: isinstance(v, bool),
        fields.mapping: lambda v: isinstance(v, dict),
    }[reader](value)
    assert reader({"field": value}, "field") == (value if wanted else None)
    assert reader({}, "field") is None


def test_objects_and_success() -> None:
    assert fields.objects({"a": [1, {"b": 2}, None]}, "a") == [{"b": 2}]
    assert fields.objects({"a": "x"}, "a") == []
