"""Records reckoned up: sums, groups, percentiles, odd data."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from openrouter_generations import claims, summary
from openrouter_generations.claims import Claim
from openrouter_generations.summary import Row

ID = "gen-1771967930-1gsys6ZhRaY0TPbuRsDR"


def row(generation_id: str = ID, **record: Any) -> Row:
    return summary.row(generation_id, record)


def rows(*records: dict[str, Any]) -> list[Row]:
    return [row(f"gen-{n}", **record) for n, record in enumerate(records)]


def test_sums_do_not_drift_over_100_000_records() -> None:
    one = row(total_cost=0.1)
    fine = row(total_cost=1e-12, is_byok=True, upstream_inference_cost=0.3)
    totals = summary.totals([one, fine] * 50_000)
    assert totals.cost == Decimal("5000.00000005")
    assert totals.upstream == Decimal("15000.0")


def test_sums_are_those_of_the_written_numbers_in_any_order() -> None:
    chance = random.Random(1)
    amounts = [round(chance.random() * 10 ** chance.randint(-9, 3), 12) for _ in range(2000)]
    expected = sum(Decimal(repr(amount)) for amount in amounts)
    assert summary.totals([row(total_cost=amount) for amount in amounts]).cost == expected
    assert summary.totals([row(total_cost=amount) for amount in sorted(amounts)]).cost == expected


def test_what_is_not_recorded_is_counted_and_not_taken_for_zero() -> None:
    totals = summary.totals(
        rows(
            {"total_cost": 1, "native_tokens_prompt": 100, "native_tokens_cached": 50},
            {"total_cost": "1", "native_tokens_prompt": 300, "native_tokens_cached": None},
            {"total_cost": 0, "is_byok": True},
            {"total_cost": 0, "is_byok": True, "response_cache_source_id": "gen-1"},
            {},
        )
    )
    assert (totals.cost_unknown, totals.byok, totals.upstream_unknown) == (2, 2, 1)
    assert (totals.prompt, totals.cached, totals.cached_of) == (400, 50, 100)


def test_the_providers_bill_counts_only_under_byok() -> None:
    totals = summary.totals(
        rows(
            {"total_cost": 1, "upstream_inference_cost": 1, "is_byok": False},
            {"total_cost": 0, "upstream_inference_cost": 2.5, "is_byok": True},
            {"total_cost": 0.5, "upstream_inference_cost": None, "is_byok": True},
        )
    )
    assert (totals.cost, totals.byok, totals.upstream) == (Decimal("1.5"), 2, Decimal("2.5"))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], None),
        ([7], (7, 7)),
        ([1, 2], (1, 2)),
        ([3, 1, 2], (2, 3)),
        (list(range(1, 101)), (50, 95)),
        (list(range(1, 21)), (10, 19)),
        ([None, 5, "6", -1], (5, 5)),
    ],
)
def test_percentiles_are_values_that_occur(times: list[Any], expected: tuple[float, float] | None) -> None:
    totals = summary.totals(rows(*({"latency": value, "generation_time": 1} for value in times)))
    assert totals.latency == expected


def test_groups_are_sorted_by_cost_and_days_by_date() -> None:
    found = rows(
        {"model": "b", "total_cost": 1, "created_at": "2026-02-25T00:10:00Z"},
        {"model": "a", "total_cost": 5, "created_at": "2026-02-24T23:59:59.9Z"},
        {"model": "b", "total_cost": 2, "created_at": "2026-02-25T01:59:00+02:00"},
        {"total_cost": 0},
    )
    assert [(name, one.generations, one.cost) for name, one in summary.grouped(found, "model")] == [
        ("a", 1, 5), ("b", 2, 3), (None, 1, 0),
    ]  # fmt: skip
    assert [(name, one.generations) for name, one in summary.grouped(found, "day")] == [
        (None, 1), ("2026-02-24", 2), ("2026-02-25", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("by", summary.GROUPINGS)
def test_every_grouping_covers_every_record(by: str) -> None:
    found = rows({}, {"model": "m", "provider_name": "p", "session_id": "s", "finish_reason": "stop"}, {"model": 7})
    assert sum(one.generations for _, one in summary.grouped(found, by)) == 3


@pytest.mark.parametrize(
    ("created_at", "expected"),
    [
        ("2026-02-24T21:18:50.123Z", "2026-02-24T21:18:50"),
        ("2026-02-24T21:18:50.123456+00:00", "2026-02-24T21:18:50"),
        ("2026-02-24 21:18:50", "2026-02-24T21:18:50"),
        ("2026-02-24T21:18", "2026-02-24T21:18:00"),  # without a zone it is UTC wherever this runs
        ("2026-02-24T23:18:50+02:00", "2026-02-24T21:18:50"),
        (None, "2026-02-24T21:18:50"),
        ("soon", "2026-02-24T21:18:50"),
        (1771967930, "2026-02-24T21:18:50"),
        ("0001-01-01T00:00:00+14:00", "2026-02-24T21:18:50"),
    ],
)
def test_the_time_is_the_records_own_or_the_ids(created_at: object, expected: str) -> None:
    assert row(created_at=created_at).created_at == expected


def test_no_time_at_all() -> None:
    assert row("gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG").created_at is None
    assert summary.summarise([row("x")]).period is None


def test_the_dearest_count_both_bills_and_free_ones_are_none() -> None:
    found = summary.summarise(
        rows(
            {"total_cost": 3},
            {"total_cost": 1, "is_byok": True, "upstream_inference_cost": 4},
            *({"total_cost": n / 100} for n in range(7)),
        )
    )
    assert [one.id for one in found.dearest] == ["gen-1", "gen-0", "gen-8", "gen-7", "gen-6"]
    assert summary.summarise(rows({"total_cost": 0}, {})).dearest == []


def test_the_slowest_are_told_by_either_time() -> None:
    found = summary.summarise(rows({"latency": 9}, {"generation_time": 10, "latency": 1}, {"latency": 0}, {}))
    assert [one.id for one in found.slowest] == ["gen-1", "gen-0"]


def test_findings_are_counted_with_their_ids_worst_first() -> None:
    found = summary.summarise(
        [
            row("a", finish_reason="length", native_tokens_completion=10),
            row("b", finish_reason="error", id="b"),
            row("c", finish_reason="length", native_tokens_completion=10),
        ]
    )
    counted = {code: named for code, _, named in found.findings}
    assert counted["truncated"] == ["a", "c"]
    assert counted["provider-error"] == ["b"]
    assert found.findings[0][1] == "error"
    assert found.totals.failed == 1


ODD = (None, "", "text", "7", True, False, -1, 0, 10**400, 1e308, float("nan"), float("inf"), [], [1], {}, {"a": None})
FIELDS = [
    *("created_at", "model", "provider_name", "finish_reason", "session_id", "is_byok", "provider_responses"),
    *("total_cost", "usage", "upstream_inference_cost", "cache_discount", "latency", "generation_time"),
    *("native_tokens_prompt", "native_tokens_completion", "native_tokens_cached", "native_tokens_reasoning"),
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:12])
def test_odd_data_raises_nothing_and_spoils_no_sum(field: str, value: object) -> None:
    sound = {"model": "m", "total_cost": 0.5, "is_byok": True, "upstream_inference_cost": 0.25}
    found = summary.summarise(rows(sound, {**sound, field: value}), summary.GROUPINGS)
    assert found.totals.generations == 2
    assert found.totals.cost >= Decimal("0.5")
    assert found.totals.cost.is_finite()
    assert found.totals.upstream.is_finite()


# What the log claims


def compared(claim: Claim, **record: Any) -> tuple[int, Decimal, Decimal, int]:
    found = claims.compare({ID: claim}, [row(**record)])
    assert found is not None
    return found.compared, found.claimed, found.recorded, len(found.differing)


BYOK = {"is_byok": True, "total_cost": 0.05, "upstream_inference_cost": 1.0}


@pytest.mark.parametrize(
    ("claim", "record", "claimed", "recorded", "differing"),
    [
        (Claim(0.5), {"total_cost": 0.5}, "0.5", "0.5", 0),
        (Claim(0.5), {"total_cost": 0.75}, "0.5", "0.75", 1),
        (Claim(0.1 + 0.2), {"total_cost": 0.3}, "0.30000000000000004", "0.3", 0),
        (Claim(0.5), {"usage": 0.5}, "0.5", "0.5", 0),
        # An answer names the provider's cost for every request; only under BYOK is it a second bill.
        (Claim(0.5, 0.5), {"total_cost": 0.5, "upstream_inference_cost": 0.5, "is_byok": False}, "0.5", "0.5", 0),
        (Claim(0.05, 1.0), BYOK, "1.05", "1.05", 0),
        (Claim(0.05, 0.9), BYOK, "0.95", "1.05", 1),
        (Claim(0.05), BYOK, "0.05", "0.05", 0),
        (Claim(1.05), BYOK, "1.05", "1.05", 0),
        (Claim(0.07), BYOK, "0.07", "0.05", 1),
        (Claim(1.0, reckoned=True), BYOK, "1.0", "1.05", 1),
        (Claim(0.0), {"total_cost": 0}, "0.0", "0", 0),
    ],
)
def test_like_is_compared_with_like(
    claim: Claim, record: dict[str, Any], claimed: str, recorded: str, differing: int
) -> None:
    assert compared(claim, **record) == (1, Decimal(claimed), Decimal(recorded), differing)


def test_the_largest_difference_comes_first() -> None:
    found = claims.compare(
        {"a": Claim(1.0), "b": Claim(5.0), "c": Claim(1.0), "elsewhere": Claim(9.0)},
        [row("a", total_cost=1.5), row("b", total_cost=1.0), row("c", total_cost=1.0), row("d", total_cost=7)],
    )
    assert found is not None
    assert [(one.id, one.amount) for one in found.differing] == [("b", Decimal(-4)), ("a", Decimal("0.5"))]
    assert (found.compared, found.claimed, found.recorded) == (3, Decimal(7), Decimal("3.5"))


def test_without_a_cost_on_both_sides_there_is_nothing_to_compare() -> None:
    assert claims.compare({}, [row(total_cost=1)]) is None
    assert claims.compare({ID: Claim(1.0)}, [row(total_cost=None)]) is None
