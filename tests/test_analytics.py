"""The analytics client: times, windows, what is asked in parts, what is read from odd answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from openrouter_generations import analytics
from openrouter_generations.analytics import Account, Listing, Window
from openrouter_generations.client import Client
from openrouter_generations.errors import ApiError, BadAnswerError, ForbiddenError, ServerError, UsageError
from openrouter_server import (
    ANALYTICS_QUERY,
    KEY,
    MANAGEMENT_KEY,
    Answer,
    OpenRouterServer,
    RateLimit,
    make_metadata,
)
from schemas import operation_schema, validate

NOON = datetime(2026, 11, 12, 12, tzinfo=timezone.utc).timestamp()
HOUR, DAY = 3_600.0, 86_400.0


# Times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-12", "2026-11-12T00:00:00.000Z"),
        ("2026-11-12T09", "2026-11-12T09:00:00.000Z"),
        ("2026-11-12T09:30", "2026-11-12T09:30:00.000Z"),
        ("2026-11-12 09:30:15", "2026-11-12T09:30:15.000Z"),
        ("2026-11-12T09:30Z", "2026-11-12T09:30:00.000Z"),
        ("2026-11-12T09:30:15.5Z", "2026-11-12T09:30:15.500Z"),
        ("2026-11-12T09:30:15.433273+00:00", "2026-11-12T09:30:15.433Z"),
        ("2026-11-12T09:30+01:00", "2026-11-12T08:30:00.000Z"),
        ("2026-11-12T09:30-0730", "2026-11-12T17:00:00.000Z"),
        ("2026-11-12T09:30+02", "2026-11-12T07:30:00.000Z"),
        ("20m", "2026-11-12T11:40:00.000Z"),
        ("2h", "2026-11-12T10:00:00.000Z"),
        ("1.5h", "2026-11-12T10:30:00.000Z"),
        ("90s", "2026-11-12T11:58:30.000Z"),
        ("3d", "2026-11-09T12:00:00.000Z"),
        ("1w", "2026-11-05T12:00:00.000Z"),
    ],
)
def test_points_in_time(text: str, expected: str) -> None:
    assert analytics.utc(analytics.point(text, "--since", NOON)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2h ago",
        "-2h",
        "2",
        "2026-13-01",
        "2026-02-30",
        "2026-11-12T25:00",
        "12.11.2026",
        "٢h",
        "\x1b[2h",
    ],
)
def test_what_is_no_point_in_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--since") as refused:
        analytics.point(text, "--since", NOON)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "0h", "2026-11-12", "2", "h", "2y"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--window"):
        analytics.span(text, "--window")


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, (NOON - DAY, NOON)),
        ("2h", None, (NOON - 2 * HOUR, NOON)),
        ("2h", "1h", (NOON - 2 * HOUR, NOON - HOUR)),
        (None, "2026-11-12", (NOON - 1.5 * DAY, NOON - 0.5 * DAY)),
        ("31d", None, (NOON - 31 * DAY, NOON)),
        ("2026-10-01", "2026-11-01", (NOON - 42.5 * DAY, NOON - 11.5 * DAY)),
    ],
)
def test_windows(since: str | None, until: str | None, expected: tuple[float, float]) -> None:
    assert analytics.window(since, until, NOON) == expected


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("32d", None, "31 days at most"),
        ("99999999d", None, "31 days at most"),
        ("2026-09-01", "2026-10-03", "32.0 days"),
        ("1h", "2h", "not before"),
        ("2026-11-12", "2026-11-12", "not before"),
        ("2026-12-01", None, "not before"),
    ],
)
def test_windows_refused(since: str, until: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        analytics.window(since, until, NOON)


# Queries


@pytest.fixture
def account(server: OpenRouterServer) -> Iterator[Account]:
    with Client(MANAGEMENT_KEY, server.url, retries=0) as client:
        yield Account(client)


DAY_OF_TESTS = Window(NOON, NOON + DAY)


def add(server: OpenRouterServer, number: int, at: float, **fields: Any) -> str:
    generation_id = f"gen-{int(at)}-{number:020d}"
    created = datetime.fromtimestamp(at, timezone.utc).isoformat()
    given = {"created_at": created, "model": "a/b", "provider_name": "P", "is_byok": False, **fields}
    server.add(generation_id, make_metadata(generation_id, **given))
    return generation_id


def fill(server: OpenRouterServer, count: int, length: float = DAY) -> list[str]:
    """Generations spread over the window; the later, the dearer."""
    return [add(server, n, NOON + n * length / count, usage=0.01 * (n + 1)) for n in range(count)]


def listed(listing: Listing) -> list[str]:
    return [one.id for one in listing.generations]


def asked(server: OpenRouterServer) -> list[dict[str, Any]]:
    """Every query, held against the API's description."""
    bodies = [request.json() for request in server.requests if request.path == ANALYTICS_QUERY]
    for body in bodies:
        validate(body, operation_schema("/analytics/query", "post", None))
        assert len(body.get("dimensions", [])) <= 2
        assert len(body.get("filters", [])) <= 20
        assert {"start", "end"} == body["time_range"].keys()
    return bodies


def test_the_dearest_come_from_one_query(server: OpenRouterServer, account: Account) -> None:
    ids = fill(server, 12)
    listing = account.ranked(DAY_OF_TESTS, [], "cost", 3)
    assert listed(listing) == ids[:-4:-1]
    assert (listing.complete, listing.more, account.notes) == (True, True, [])
    (body,) = asked(server)
    assert body["limit"] == 3
    assert body["order_by"] == {"field": "total_usage", "direction": "desc"}


@pytest.mark.parametrize("most", [None, 20])
@pytest.mark.parametrize("rows", [1, 4, 11])
def test_cut_answers_are_asked_in_halves(
    server: OpenRouterServer, account: Account, rows: int, most: int | None
) -> None:
    ids = fill(server, 12)
    server.analytics_rows = rows
    listing = account.ranked(DAY_OF_TESTS, [], "cost", most)
    assert listed(listing) == ids[::-1]
    assert (listing.complete, listing.more) == (True, False)
    assert f"{rows} row" in account.notes[0]
    assert len(asked(server)) < 60


def test_what_cannot_be_complete_is_said(server: OpenRouterServer, account: Account) -> None:
    same = [add(server, n, NOON + 5_000.25) for n in range(6)]
    early = add(server, 99, NOON + 60)
    server.analytics_rows = 4
    listing = account.ids(DAY_OF_TESTS, [])
    assert not listing.complete
    assert set(listed(listing)) < {*same, early}
    assert early in listed(listing)
    assert len(listing.generations) == 5
    assert "more rows than one answer holds, 2026-11-12T13:23:1" in account.gaps[0]
    assert len(asked(server)) < 60


def test_a_server_that_always_cuts_does_not_go_on_for_ever(server: OpenRouterServer, account: Account) -> None:
    row = {"generation_id": "gen-1", "model": "a/b", "total_usage": 1}
    metadata = {"query_time_ms": 1, "row_count": 1, "truncated": True}
    server.script(None, Answer.data({"data": [row], "metadata": metadata}), path=ANALYTICS_QUERY)
    listing = account.ids(Window(NOON, NOON + 31 * DAY), [])
    assert listed(listing) == ["gen-1"]
    assert not listing.complete
    assert len(server.requests) < 60


def test_a_full_answer_that_does_not_say_is_taken_for_cut(
    server: OpenRouterServer, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics, "MOST_ROWS", 2)
    rows = [{"generation_id": f"gen-{n}"} for n in range(2)]
    full, rest = ({"data": some, "metadata": {}} for some in (rows, [{"generation_id": "gen-9"}]))
    server.script(None, *map(Answer.data, (full, rest)), path=ANALYTICS_QUERY)
    assert listed(account.ids(DAY_OF_TESTS, [])) == ["gen-0", "gen-1", "gen-9"]
    assert len(server.requests) == 3


def test_heavy_windows_are_narrowed(server: OpenRouterServer, account: Account) -> None:
    ids = fill(server, 12)
    server.analytics_span = 6 * HOUR
    listing = account.ranked(DAY_OF_TESTS, [], "tokens", 50)
    assert set(listed(listing)) == set(ids)
    assert listing.complete
    assert [note for note in account.notes if "408" in note and "6 h" in note]
    assert [request.status for request in server.requests].count(408) == 2
    # Once it is known what is too heavy, no such window is asked again.
    before = len(server.requests)
    assert account.providers(DAY_OF_TESTS, ids) == {}
    assert len(server.requests) == before
    assert "--details" in account.notes[-1]


def test_too_heavy_however_short(server: OpenRouterServer, account: Account) -> None:
    fill(server, 3)
    server.analytics_span = 1.0
    with pytest.raises(ServerError, match="shorter --since") as failure:
        account.ids(DAY_OF_TESTS, [])
    assert failure.value.exit_code == 7
    assert len(server.requests) < 20


def test_the_budget_of_queries(server: OpenRouterServer, account: Account) -> None:
    fill(server, 12)
    server.analytics_rows, account.left = 1, 5
    listing = account.ids(DAY_OF_TESTS, [])
    assert len(server.requests) == 5
    assert not listing.complete
    assert "too many queries" in account.gaps[0]
    assert listing.generations


def test_one_on_the_seam_counts_once(server: OpenRouterServer, account: Account) -> None:
    server.script(
        None,
        *(
            Answer.data({"data": [{"generation_id": f"gen-{n}"} for n in some], "metadata": {"truncated": cut}})
            for some, cut in (([1], True), ([2, 1], False), ([3, 2], False))
        ),
        path=ANALYTICS_QUERY,
    )
    assert listed(account.ids(DAY_OF_TESTS, [])) == ["gen-1", "gen-2", "gen-3"]


@pytest.mark.parametrize(
    ("sort", "expected"), [("cost", "bca"), ("tokens", "acb"), ("latency", "cab"), ("time", "cba")]
)
def test_orders(server: OpenRouterServer, account: Account, sort: str, expected: str) -> None:
    figures = {"a": (0.1, 900, 500), "b": (0.9, 100, 100), "c": (0.5, 500, 900)}
    names = {}
    for n, (letter, (cost, tokens, latency)) in enumerate(figures.items()):
        counts = {"native_tokens_prompt": tokens, "native_tokens_completion": 0}
        names[add(server, n, NOON + n * HOUR, usage=cost, latency=latency, **counts)] = letter
    for most in (None, 2):
        listing = account.ranked(DAY_OF_TESTS, [], sort, most)
        assert "".join(names[one] for one in listed(listing)) == expected[:most]


def test_figures_of_a_row(server: OpenRouterServer, account: Account) -> None:
    row = {
        "generation_id": "gen-1",
        "model": "a/b",
        "total_usage": "0.5",
        "byok_usage": None,
        "tokens_total": "1523",
        "tokens_prompt": 1500,
        "tokens_completion": "many",
        "reasoning_tokens": True,
        "cached_tokens": "-5",
        "avg_latency": float("1e300"),
    }
    odd: list[Any] = [None, 7, {}, {"generation_id": None}, {"generation_id": "  "}, {"generation_id": ["gen-2"]}]
    server.script(None, Answer.data({"data": [row, *odd], "metadata": None}), path=ANALYTICS_QUERY)
    (one,) = account.ranked(DAY_OF_TESTS, [], "cost", 50).generations
    assert one == analytics.Generation("gen-1", "a/b", None, 0.5, None, 1523, 1500, None, None, None, None)
    assert account.notes == ["Left out: 4 rows without a generation ID."]


@pytest.mark.parametrize("data", [[], "x", 5, {}, {"data": None}, {"data": {}}, {"rows": []}])
def test_answers_that_are_none(server: OpenRouterServer, account: Account, data: Any) -> None:
    server.script(None, Answer.data(data), path=ANALYTICS_QUERY)
    with pytest.raises(BadAnswerError) as failure:
        account.ids(DAY_OF_TESTS, [])
    assert failure.value.exit_code == 9


def test_warnings_and_age_are_kept_once(server: OpenRouterServer, account: Account) -> None:
    data = {"data": [], "metadata": {}, "warnings": ["w\x1b[0m", 5, "w\x1b[0m"], "cachedAt": 0}
    data["cachedAt"] = (datetime.now(timezone.utc).timestamp() - 600) * 1000
    server.script(None, Answer.data(data), path=ANALYTICS_QUERY)
    for _ in range(2):
        account.ids(DAY_OF_TESTS, [])
    assert account.warnings == ["w\x1b[0m"]
    assert account.notes == ["Analytics answered from its cache, 10 min 00 s old: what came later is missing."]


def test_providers_and_totals(server: OpenRouterServer, account: Account) -> None:
    ids = fill(server, 3)
    assert account.providers(DAY_OF_TESTS, [*ids, "gen-\ud800", "$(reboot)"]) == dict.fromkeys(ids, "P")
    assert account.totals(DAY_OF_TESTS, []) == (3, pytest.approx(0.06), account.totals(DAY_OF_TESTS, []).tokens)
    assert asked(server)[0]["filters"] == [{"field": "generation_id", "operator": "in", "value": ids}]
    server.script(None, Answer.error(500, "Internal\x1b Server Error"), path=ANALYTICS_QUERY)
    assert account.providers(DAY_OF_TESTS, ids) == {}
    assert account.totals(DAY_OF_TESTS, []) == (None, None, None)
    assert all("status 500" in note and "\x1b" not in note for note in account.notes)


def test_a_regular_key_is_told_which_one_is_needed(server: OpenRouterServer) -> None:
    with Client(KEY, server.url) as client, pytest.raises(ForbiddenError) as refused:
        Account(client).ids(DAY_OF_TESTS, [])
    assert "management key" in str(refused.value)
    assert "https://openrouter.ai/settings/management-keys" in str(refused.value)
    assert refused.value.exit_code == 3


def test_a_refused_filter_is_explained(server: OpenRouterServer, account: Account) -> None:
    with pytest.raises(ApiError, match="permaslug") as refused:
        account.ids(DAY_OF_TESTS, [analytics.condition("galaxy", ["x"])])
    assert "Unknown filter field: galaxy" in str(refused.value)
    assert refused.value.exit_code == 9


def test_the_rate_limit_is_waited_out(server: OpenRouterServer) -> None:
    ids = fill(server, 6)
    server.analytics_rows = 2
    server.analytics_limit = RateLimit(4, 1.0, retry_after="1")
    with Client(MANAGEMENT_KEY, server.url) as client:
        listing = Account(client).ids(DAY_OF_TESTS, [])
    assert set(listed(listing)) == set(ids)
    assert 429 in [request.status for request in server.requests]


def test_no_more_than_the_minute_allows(
    server: OpenRouterServer, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is set forward instead of waiting for it."""
    clock = [1_000.0]
    pauses: list[float] = []
    told: list[str] = []
    monkeypatch.setattr(account, "_tell", told.append)

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(analytics, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    for _ in range(analytics.PER_MINUTE + 2):
        clock[0] += 0.1
        account.totals(DAY_OF_TESTS, [])
    assert sum(pauses) == pytest.approx(54.0)
    assert "64 queries a minute" in told[0]
    assert [request.status for request in server.requests] == [200] * (analytics.PER_MINUTE + 2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a"], {"field": "model", "operator": "eq", "value": "a"}),
        (["a", "b"], {"field": "model", "operator": "in", "value": ["a", "b"]}),
    ],
)
def test_conditions(values: list[str], expected: dict[str, object]) -> None:
    assert analytics.condition("model", values) == expected


def test_keys_are_filtered_by_number_or_hash() -> None:
    assert [analytics.as_id(one) for one in ("77", "f" * 64, "٧٧")] == [77, "f" * 64, "٧٧"]
