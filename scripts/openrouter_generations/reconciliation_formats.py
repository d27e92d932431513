"""A reconciliation as JSON and as CSV; references/reconcile.md describes both shapes. Pure functions."""

from __future__ import annotations

from openrouter_generations import text
from openrouter_generations.claims import Comparison
from openrouter_generations.reconciliation_report import Reconciliation, status_word
from openrouter_generations.summary import Row, Totals
from openrouter_generations.text import safe_line


def as_json(found: Reconciliation) -> dict[str, object]:
    """The shape that references/reconcile.md describes; every key is always there."""
    period = found.summary.period
    return {
        "counts": _counts(found),
        "interrupted": found.interrupted,
        "period": {"first": f"{period[0]}Z", "last": f"{period[1]}Z"} if period else None,
        "totals": _totals_object(found.summary.totals),
        "groups": {name: _group_objects(found, groups) for name, groups in found.summary.groups.items()},
        "dearest": [row.id for row in found.summary.dearest],
        "slowest": [row.id for row in found.summary.slowest],
        "findings": [
            {"code": code, "severity": severity, "count": len(named), "ids": named}
            for code, severity, named in found.summary.findings
        ],
        "claims": _claims_object(found.comparison),
        "missing": _failure_objects(found, "missing"),
        "refused": _failure_objects(found, "refused"),
        "failed": _failure_objects(found, "failed"),
        "not_asked": found.not_asked,
        "cut": [{"id": one, "mentions": number} for one, number in (found.log.cut if found.log else {}).items()],
        "problems": found.problems,
        "generations": [_row_object(found, row) for row in found.rows],
    }


def _counts(found: Reconciliation) -> dict[str, object]:
    log = found.log
    return {
        "generations": found.generations,
        "mentions": sum(log.mentions.values()) if log else None,
        "files": len(log.files) if log else None,
        "found": len(found.rows),
        "missing": len(found.failed("missing")),
        "refused": len(found.failed("refused")),
        "failed": len(found.failed("failed")),
        "not_asked": len(found.not_asked),
        "cut": len(log.cut) if log else 0,
    }


def _totals_object(totals: Totals) -> dict[str, object]:
    latency, time = totals.latency or (None, None), totals.generation_time or (None, None)
    return {
        "generations": totals.generations,
        "failed": totals.failed,
        "total_cost": float(totals.cost),
        "cost_unknown": totals.cost_unknown,
        "byok_generations": totals.byok,
        "upstream_inference_cost": float(totals.upstream),
        "upstream_unknown": totals.upstream_unknown,
        "tokens_prompt": totals.prompt,
        "tokens_cached": totals.cached,
        "tokens_completion": totals.completion,
        "tokens_reasoning": totals.reasoning,
        "latency_p50": latency[0],
        "latency_p95": latency[1],
        "generation_time_p50": time[0],
        "generation_time_p95": time[1],
    }


def _group_objects(found: Reconciliation, groups: list[tuple[str | None, Totals]]) -> list[dict[str, object]]:
    everything = found.summary.totals.cost + found.summary.totals.upstream
    return [
        {
            "value": value,
            **_totals_object(totals),
            "cost_share": float((totals.cost + totals.upstream) / everything) if everything else None,
            "cached_share": totals.cached / totals.cached_of if totals.cached_of else None,
        }
        for value, totals in groups
    ]


def _claims_object(comparison: Comparison | None) -> dict[str, object] | None:
    if comparison is None:
        return None
    return {
        "compared": comparison.compared,
        "agree": comparison.compared - len(comparison.differing),
        "claimed": float(comparison.claimed),
        "recorded": float(comparison.recorded),
        "difference": float(comparison.recorded - comparison.claimed),
        "differing": [
            {
                "id": one.id,
                "claimed": float(one.claimed),
                "recorded": float(one.recorded),
                "difference": float(one.amount),
            }
            for one in comparison.differing
        ],
    }


def _failure_objects(found: Reconciliation, status: str) -> list[dict[str, object]]:
    return [
        {
            "id": one,
            "mentions": found.mentions(one),
            "status": found.failures[one].status,
            "message": " ".join(str(found.failures[one]).split("\n")),
        }
        for one in found.failed(status)
    ]


def _row_object(found: Reconciliation, row: Row) -> dict[str, object]:
    claim = found.log.claims.get(row.id) if found.log else None
    return {
        "id": row.id,
        "mentions": found.mentions(row.id),
        "created_at": f"{row.created_at}Z" if row.created_at else None,
        "model": row.model,
        "provider_name": row.provider,
        "finish_reason": row.finish_reason,
        "session_id": row.session,
        "total_cost": None if row.cost is None else float(row.cost),
        "is_byok": row.is_byok,
        "upstream_inference_cost": None if row.upstream is None else float(row.upstream),
        "claimed_cost": claim.cost if claim else None,
        "tokens_prompt": row.prompt,
        "tokens_cached": row.cached,
        "tokens_completion": row.completion,
        "tokens_reasoning": row.reasoning,
        "latency": row.latency,
        "generation_time": row.generation_time,
        "failed": row.failed,
        "findings": [note._asdict() for note in row.notes],
    }


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(found: Reconciliation) -> str:
    """RFC 4180: a header, then a row per generation; those without a record have a status and empty cells."""
    import csv
    import io

    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    header = ["id", "status", *CSV_COLUMNS]
    writer.writerow(header)
    for row in found.rows:
        values: dict[str, object] = {**_row_object(found, row), "status": "found"}
        values["findings"] = " ".join(note.code for note in row.notes)
        writer.writerow([_cell(values[name]) for name in header])
    others = {one: status_word(error) for one, error in found.failures.items()}
    others.update(dict.fromkeys(found.not_asked, "not asked"))
    for one, status in others.items():
        values = {"id": one, "status": status, "mentions": found.mentions(one)}
        writer.writerow([_cell(values.get(name)) for name in header])
    return file.getvalue()


CSV_COLUMNS = (
    "created_at",
    "model",
    "provider_name",
    "finish_reason",
    "session_id",
    "total_cost",
    "is_byok",
    "upstream_inference_cost",
    "claimed_cost",
    "tokens_prompt",
    "tokens_cached",
    "tokens_completion",
    "tokens_reasoning",
    "latency",
    "generation_time",
    "failed",
    "findings",
    "mentions",
)


def _cell(value: object) -> str:
    """A cell that a spreadsheet does not take for a formula: an apostrophe goes before what could begin one."""
    if value is None:
        return ""
    shown = value if isinstance(value, str) else text.plain(value)
    shown = ("'" if shown.startswith(_FORMULA) else "") + shown
    return safe_line(shown)
