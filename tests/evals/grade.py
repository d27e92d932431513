#!/usr/bin/env python3
"""Grades final answers against the assertions of evals.json that code can check.

    python3 tests/evals/grade.py answers.json           {"cut-off": "The answer …", …}
    python3 tests/evals/grade.py run.jsonl              {"id", "answer", "commands": […], "characters_read": n} a line
    python3 tests/evals/grade.py folder                 cut-off.txt, cut-off.md …, or .json and .jsonl as above

An assertion is a sentence for a person to judge, or an object with a sentence
(`text`) and what code can check. All that stands in it must hold; a list inside
a list means: one of these.

    figures   8, {"usd": 0.016243}, {"ms": 30007}: the number occurs, in any usual spelling and precision
    words     occurs, whatever the case and markup
    none      does not occur
    not_run   occurs in none of the commands; for a person where the record has no commands

Exit code: 0 all passed, 1 not all, 2 unreadable.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

EVALS = Path(__file__).resolve().parent / "evals.json"
KINDS = ("figures", "words", "none", "not_run")

Record = dict[str, Any]


# Numbers in prose

_NUMBER = re.compile(
    r"(?<![\w.,])(?<![A-Za-z]-)(?P<figure>\d{1,3}(?:[,\u00a0\u202f\u2009' ]\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
    r"(?:e(?P<e>[+-]?\d+)|\s?[×x*]\s?10\^?(?P<ten>[-−⁻]?[\d⁰¹²³⁴⁵⁶⁷⁸⁹]+))?"
    r"\s?(?P<unit>k\b|thousand|m\b(?!s)|million|¢|cents?\b|ct\b|ms\b|milliseconds?|s\b|secs?\b|seconds?|min\b|minutes?)?",
    re.IGNORECASE,
)
_ID = re.compile(r"\b(?:gen|req)-[\w-]+")
_FACTORS = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6}
_UNITS = {"¢": "cent", "ct": "cent", "ms": "ms", "mil": "ms", "s": "s", "sec": "s", "min": "min", "cen": "cent"}
_SCALES = {("usd", "cent"): 0.01, ("ms", "s"): 1000.0, ("ms", "min"): 60_000.0}
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")
_NAMED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class Figure(NamedTuple):
    """A number as written: `step` is one of its last place, `digits` how many are significant."""

    value: float
    step: float
    digits: int
    unit: str  # usd cents as "cent", "ms", "s", "min", or ""

    def states(self, expected: float, kind: str) -> bool:
        """Whether this is `expected`, rounded or cut: to two digits at least, or to one that is near enough."""
        scale = _SCALES.get((kind, self.unit), 1.0)
        if kind == "ms" and not self.unit:
            scale = 1000.0 if self.value < 1000 and expected >= 1000 else 1.0
        off = abs(self.value * scale - expected)
        near = self.digits >= 2 or off <= 0.03 * expected
        return off <= 1e-9 * expected or (near and off < self.step * scale * 0.999999)


def figures(text: str) -> Iterator[Figure]:
    for match in _NUMBER.finditer(_ID.sub(" ", text)):
        unit = (match["unit"] or "").lower()
        power = int((match["e"] or match["ten"] or "0").translate(_SUPERSCRIPT))
        scale = 10.0**power * _FACTORS.get(unit, 1.0)
        for spelled in _spellings(match["figure"]):
            decimals = len(spelled.partition(".")[2])
            digits = len(spelled.replace(".", "").lstrip("0"))
            kind = _UNITS.get(unit, _UNITS.get(unit[:3], ""))
            yield Figure(float(spelled) * scale, 10.0**-decimals * scale, digits, kind)
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in _NAMED:
            yield Figure(float(_NAMED.index(word)), 1.0, 1, "")


def _spellings(figure: str) -> Iterable[str]:
    """1,234 may be one number, a list of two, or a decimal comma."""
    parts = re.split(r"[^\d.]", figure)
    return dict.fromkeys(["".join(parts), *parts, ".".join(parts)] if len(parts) == 2 else ["".join(parts), *parts])


# One assertion


def plain(text: str) -> str:
    """Without markup and typography, in lower case, on one line."""
    text = re.sub(r"[`*]", "", text).translate(str.maketrans("’‘“”‑–", "''\"\"--"))
    return " ".join(text.split()).casefold()


def _either(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _has_figure(wanted: Any, found: Sequence[Figure]) -> bool:
    kind, value = next(iter(wanted.items())) if isinstance(wanted, dict) else ("", wanted)
    return any(figure.states(value, kind) for figure in found)


def problems(assertion: Record, record: Record) -> list[str]:
    """What is wrong with an answer by one assertion; empty when it passes."""
    answer, found = plain(record["answer"]), list(figures(record["answer"]))
    commands = "\n".join(map(str, record.get("commands") or []))
    missing = [
        *(w for w in assertion.get("figures", []) if not any(_has_figure(each, found) for each in _either(w))),
        *(w for w in assertion.get("words", []) if not any(plain(each) in answer for each in _either(w))),
    ]
    return [
        *(f"lacks {' or '.join(map(_spelled, _either(wanted)))}" for wanted in missing),
        *(f"has {word!r}" for word in assertion.get("none", []) if plain(word) in answer),
        *(f"ran {part!r}" for part in assertion.get("not_run", []) if part in commands),
    ]


def _spelled(wanted: Any) -> str:
    return " ".join(f"{value} {kind}" for kind, value in wanted.items()) if isinstance(wanted, dict) else str(wanted)


def for_a_person(assertion: Any, record: Record) -> bool:
    return isinstance(assertion, str) or ("not_run" in assertion and not isinstance(record.get("commands"), list))


# A whole run


def grade(one: Record, record: Record) -> Record:
    """In the form of the Agent Skills documentation: assertion_results and summary; `judge` is left to a person."""
    results, judge = [], []
    for assertion in one["assertions"]:
        if for_a_person(assertion, record):
            judge.append(assertion if isinstance(assertion, str) else assertion["text"])
            continue
        wrong = problems(assertion, record)
        results.append({"text": assertion["text"], "passed": not wrong, "evidence": "; ".join(wrong) or "found"})
    passed = sum(result["passed"] for result in results)
    total = len(results)
    summary = {"passed": passed, "failed": total - passed, "total": total, "pass_rate": passed / total if total else 1}
    return {"assertion_results": results, "summary": summary, "judge": judge}


def _records_of(path: Path) -> Iterator[Record]:
    text = path.read_text(encoding="utf-8")
    if path.suffix not in {".json", ".jsonl"}:
        yield {"id": path.stem, "answer": text}
        return
    documents = (
        [json.loads(line) for line in text.splitlines() if line] if path.suffix == ".jsonl" else [json.loads(text)]
    )
    for document in documents:
        if isinstance(document, dict) and "answer" not in document:
            yield from ({"id": name, "answer": answer} for name, answer in document.items())
        else:
            yield from document if isinstance(document, list) else [document]


def read(path: Path) -> list[Record]:
    """The records of a run; ValueError names what is none."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    records = [record for file in files for record in _records_of(file)]
    known = {one["id"] for one in json.loads(EVALS.read_text(encoding="utf-8"))["evals"]}
    for record in records:
        if not isinstance(record, dict) or record.get("id") not in known or not isinstance(record.get("answer"), str):
            raise ValueError(f"not a record of a scenario: {str(record)[:100]}")
    return records


def _count(value: Any) -> str:
    return "-" if value is None else f"{len(value) if isinstance(value, list) else value:,}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def report(graded: Sequence[tuple[Record, Record, Record]], missing: Sequence[str]) -> str:
    """(scenario, record, its grades) each, as a table and what is behind it."""
    rows = [["scenario", "passed", "failed", "commands", "aim", "characters"]]
    details, judge = [], []
    for one, record, result in graded:
        counts = result["summary"]
        spent = [_count(record.get("commands")), str(one["commands"]), _count(record.get("characters_read"))]
        rows.append([one["id"], str(counts["passed"]), str(counts["failed"]), *spent])
        wrong = [each for each in result["assertion_results"] if not each["passed"]]
        details += [f"{one['id']}: {each['text']}: {each['evidence']}" for each in wrong]
        judge += [f"{one['id']}: {text}" for text in result["judge"]]
    blocks = ["\n".join(_table(rows))]
    blocks += [
        f"{title}\n" + "\n".join(f"- {line}" for line in lines)
        for title, lines in (("Failed", details), ("For a person to judge", judge), ("No answer", missing))
        if lines
    ]
    return "\n\n".join(blocks)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Grade final answers against evals.json; see the top of this file for the forms accepted."
    )
    parser.add_argument("answers", type=Path, metavar="ANSWERS.json-or-folder")
    parser.add_argument("--json", action="store_true", help="grades by scenario as JSON")
    options = parser.parse_args(argv)
    scenarios = {one["id"]: one for one in json.loads(EVALS.read_text(encoding="utf-8"))["evals"]}
    try:
        records = read(options.answers)
    except (OSError, ValueError) as problem:
        print(f"{options.answers}: {problem}", file=sys.stderr)
        return 2
    graded = [(scenarios[record["id"]], record, grade(scenarios[record["id"]], record)) for record in records]
    missing = [name for name in scenarios if name not in {record["id"] for record in records}]
    if options.json:
        print(json.dumps({one["id"]: result for one, _, result in graded}, indent=2, ensure_ascii=False))
    else:
        print(report(graded, missing))
    return 0 if all(result["summary"]["failed"] == 0 for _, _, result in graded) else 1


if __name__ == "__main__":
    sys.exit(main())
