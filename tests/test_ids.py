"""Which texts are generation IDs, found anywhere; the time inside one."""

from __future__ import annotations

import random

import pytest

from openrouter_generations import ids

ID = "gen-1771967930-1gsys6ZhRaY0TPbuRsDR"
OLD = "gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG"
KINDS = ("emb", "stt", "tts", "vid", "batch", "rerank")


def found(text: str | bytes) -> list[tuple[str, bool]]:
    data = text.encode() if isinstance(text, str) else text
    return [(name, whole) for _, name, whole in ids.mentions(data)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ID, 1771967930),
        *((f"gen-{kind}-1771967930-1gsys6ZhRaY0TPbuRsDR", 1771967930) for kind in KINDS),
        (OLD, None),
        ("gen-1771967930", None),
        (ID[:-1], None),
        (ID + "x", None),
        (ID + "\n", None),
        ("gen-١٧٧١٩٦٧٩٣٠-1gsys6ZhRaY0TPbuRsDR", None),
        ("", None),
    ],
)
def test_the_time_inside_an_id(text: str, expected: int | None) -> None:
    assert ids.created(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        ID,
        OLD,
        *(f"gen-{kind}-1771967930-1gsys6ZhRaY0TPbuRsDR" for kind in KINDS),
        "gen-1234567890-abcdefghijklmnopqrst",
        "gen-0a1b2c3d4e5f60718293a4b5c6d7",
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "({}).",
        '{{"id":"{}"}}',
        "/generation?id={}&x=1",
        "{}-retry",
        "{}_copy",
        "time-21-18-50-123456_{}",
        "one\\n{}\\ntwo",  # as JSON writes a line end
        "\\\\n{}",
        'say \\"{}\\"',
        "\\u0022{}\\u0022",
        "id%3D{}%26x",
        "\x1b[1;32m{}\x1b[0m",
        "\\u001b[32m{}\\u001b[0m",
        "né{}",
        "gen-{}".replace("gen-", "gen: "),
    ],
)
def test_ids_are_found_in_any_text(text: str, around: str) -> None:
    assert found(around.format(text)) == [(text, True)]


@pytest.mark.parametrize(
    "text",
    [
        "req-1771967930-aBcDeFgHiJkLmNoPqRsT",
        "gen_01KJ8Z3T5V7X9B1D3F5H7K9M1P",
        "gen-eral",
        "gen-alpha",
        "gen-",
        "next-" + ID,
        "x" + ID,
        "7" + ID,
        "-" + ID,
        ID + "x",
        ID + "0",
        OLD + "x",
        OLD[:-1],
        "gen-177196793",
        "gen-17719679301",
        "gen-17719679301-1gsys6ZhRaY0TPbuRsDR",
        "gen-img-1771967930-1gsys6ZhRaY0TPbuRsDR",
        "gen-" + "e" * 28,
        "GEN-1771967930-1gsys6ZhRaY0TPbuRsDR",
        "gen-1771967930-1gsys6ZhRaY0TPbuRsDé",
    ],
)
def test_neighbours_are_not_taken_for_whole_ids(text: str) -> None:
    assert [name for name, whole in found(text) if whole] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gen-1771967930", "gen-1771967930"),
        ("gen-1771967930-", "gen-1771967930"),
        ("gen-1771967930-1gsys6…", "gen-1771967930-1gsys6"),
        (ID[:-1] + " ", ID[:-1]),
        ("gen-emb-1771967930-ab", "gen-emb-1771967930-ab"),
    ],
)
def test_cut_ids_are_reported_as_such(text: str, expected: str) -> None:
    assert found(text) == [(expected, False)]


def test_an_overlong_tail_is_neither_an_id_nor_a_cut_one() -> None:
    assert found(ID + "x") == []


@pytest.mark.parametrize("filler", [b"-", b"gen-", b"gen", b"x", b"\x00\xff", b"general-"])
def test_ids_are_found_among_many_near_misses(filler: bytes) -> None:
    data = filler * 3000 + b" " + ID.encode() + b" " + filler * 3000 + b"\n" + OLD.encode()
    assert [name for name, whole in found(data) if whole] == [ID, OLD]


def test_a_search_in_a_window_sees_what_stands_before_it() -> None:
    data = b"x" + ID.encode()
    assert list(ids.mentions(data, 1)) == []
    assert list(ids.mentions(b" " + ID.encode(), 1)) == [(1, ID, True)]


def test_random_bytes_do_no_harm() -> None:
    chance = random.Random(4)
    for _ in range(200):
        found(bytes(chance.choices(b"gen-0123456789abAB\n\\\xff\x00", k=400)))
