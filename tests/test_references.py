"""references/ against the API description, the library and the scripts: documents that cannot drift."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from openrouter_generations import errors

ROOT = Path(__file__).resolve().parent.parent
REFERENCES = sorted((ROOT / "references").glob("*.md"))
SCHEMAS = json.loads((ROOT / "tests/data/openapi-generations.json").read_text("utf-8"))
LIMITS = {"metadata-fields.md": 9_000, "content-fields.md": 4_000, "errors.md": 5_000}  # bytes: read whole


def text_of(name: str) -> str:
    return (ROOT / "references" / name).read_text("utf-8")


def rows(name: str, header: str) -> dict[str, list[list[str]]]:
    """The rows of every table whose first column is called `header`, by section heading."""
    found: dict[str, list[list[str]]] = {}
    section, inside = "", False
    for line in text_of(name).splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif inside and not set(cells[0]) <= {"-", ""}:
            found.setdefault(section, []).append(cells)
        else:
            inside = inside or cells[0] == header
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return SCHEMAS["components"]["schemas"][reference.rsplit("/", 1)[1]] if reference else schema


def properties(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every property below an object as (`error.previous_errors[].code`, type with `?` for null)."""
    for part in [schema, *schema.get("anyOf", [])]:
        for name, value in resolved(part).get("properties", {}).items():
            inner = resolved(value)
            types = inner.get("type", "object")
            types = types if isinstance(types, list) else [types]
            kind = next(kind for kind in types if kind != "null")
            yield prefix + name, kind + ("?" if "null" in types else "")
            yield from properties(inner, f"{prefix}{name}.")
            if kind == "array":
                yield from properties(resolved(inner["items"]), f"{prefix}{name}[].")


def described(name: str) -> dict[str, str]:
    schema = SCHEMAS["components"]["schemas"][name]
    return dict(properties(schema["properties"]["data"] if name == "GenerationResponse" else schema))


def documented(name: str, wanted: str, unwanted: str = "") -> list[tuple[str, str]]:
    """(field, type) of the rows of the sections whose title begins with `wanted` and not `unwanted`."""
    return [
        (names(cells[0])[0], cells[1])
        for section, table in rows(name, "field").items()
        if section.startswith(wanted) and not (unwanted and section.startswith(unwanted))
        for cells in table
    ]


FIELDS = [
    (
        {k: v for k, v in described("GenerationResponse").items() if "[]" not in k},
        documented("metadata-fields.md", "", "Attempts"),
    ),
    (described("ProviderResponse"), documented("metadata-fields.md", "Attempts")),
    (described("GenerationContentData"), documented("content-fields.md", "")),
]


@pytest.mark.parametrize(("fields", "table"), FIELDS, ids=["metadata", "attempts", "content"])
def test_every_field_of_the_description_has_one_row_with_its_type(
    fields: dict[str, str], table: list[tuple[str, str]]
) -> None:
    assert len(fields) >= 8
    assert sorted(table) == sorted(fields.items())


def test_every_value_that_the_description_lists_is_named() -> None:
    data = SCHEMAS["components"]["schemas"]["GenerationResponse"]["properties"]["data"]["properties"]
    listed = {name: set(field["enum"]) - {None} for name, field in data.items() if "enum" in field}
    meanings = {
        names(cells[0])[0]: set(names(cells[3]))
        for table in rows("metadata-fields.md", "field").values()
        for cells in table
    }
    assert {name: meanings[name] for name in listed} == listed
    assert listed


UNDOCUMENTED = (
    *("response_cache_source_id", "routed_service_tier", "generation_id", "usage_upstream", "usage_cache"),
    *("usage_data", "usage_web", "usage_file", "byok_usage_inference"),
    *("cost_total", "cost_cache", "time_to_first_token_ms", "generation_time_ms"),
)
NATIVE_WORDS = (
    *("stop", "completed", "end_turn", "STOP", "max_tokens", "max_output_tokens", "tool_use"),
    *("SAFETY", "rate_limit", "error", "network_error"),
)


@pytest.mark.parametrize("field", UNDOCUMENTED)
def test_undocumented_and_near_fields_have_a_row(field: str) -> None:
    lines = [line for line in text_of("metadata-fields.md").splitlines() if line.startswith("|")]
    assert any(f"`{field}`" in line.split("|")[1] for line in lines)


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter", "error", "null"])
def test_finish_reasons_have_a_row(reason: str) -> None:
    table = rows("metadata-fields.md", "`finish_reason`")["Outcome"]
    assert [cells[0].strip("`") for cells in table].count(reason) == 1


@pytest.mark.parametrize("word", NATIVE_WORDS)
def test_native_words_stand_in_the_table_of_finish_reasons(word: str) -> None:
    table = rows("metadata-fields.md", "`finish_reason`")["Outcome"]
    assert any(f"`{word}`" in " ".join(cells[1:]) for cells in table)


def test_exit_codes_of_the_library_and_of_the_document_are_the_same() -> None:
    (table,) = rows("errors.md", "exit").values()
    assert [int(cells[0]) for cells in table] == [int(code) for code in errors.ExitCode]


def test_every_status_of_the_description_has_a_row() -> None:
    (table,) = rows("errors.md", "status").values()
    listed = {int(status) for cells in table for status in re.findall(r"\d{3}", cells[0])}
    answered = {
        int(status)
        for path in ("/generation", "/generation/content", "/analytics/query")
        for operation in SCHEMAS["paths"][path].values()
        for status in operation["responses"]
    }
    assert answered - {200} <= listed
    assert {400, 408} <= listed


def test_each_status_row_says_what_the_script_says() -> None:
    (table,) = rows("errors.md", "status").values()
    for cells in table:
        for status in re.findall(r"\d{3}", cells[0]):
            headline = errors.from_status(int(status)).headline
            assert cells[1] == (headline or "the server's message")


def test_variables_of_the_library_and_of_the_document_are_the_same() -> None:
    pattern = r"\bOPENROUTER_[A-Z_]+\b"
    code = "".join(file.read_text("utf-8") for file in (ROOT / "scripts").rglob("*.py"))
    (table,) = rows("errors.md", "variable").values()
    listed = {name for cells in table for name in names(cells[0]) if name.startswith("OPENROUTER_")}
    assert listed == set(re.findall(pattern, code))


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_each_file_is_short_enough_to_be_read_whole(name: str, limit: int) -> None:
    assert len(text_of(name).encode()) <= limit


@pytest.mark.parametrize("file", REFERENCES, ids=lambda file: file.name)
def test_the_first_line_says_what_it_is_and_when_to_read_it(file: Path) -> None:
    first = file.read_text("utf-8").partition("\n")[0]
    assert first.startswith("# ")
    assert "read " in first.lower()
    assert " when " in first


@pytest.mark.parametrize("file", REFERENCES, ids=lambda file: file.name)
def test_every_row_of_a_table_has_as_many_cells_as_its_header(file: Path) -> None:
    width = 0
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("|"):
            cells = line.replace(r"\|", "").count("|")
            width = width or cells
            assert (cells, line) == (width, line)
        else:
            width = 0


@pytest.mark.parametrize("file", REFERENCES, ids=lambda file: file.name)
def test_every_path_named_exists(file: Path) -> None:
    named = set(re.findall(r"(?<![\w./])[\w-]+(?:/[\w.-]+)*\.(?:py|md|json|toml)\b", file.read_text("utf-8")))
    places = (ROOT, ROOT / "scripts", ROOT / "references")
    assert [path for path in sorted(named) if not any((place / path).exists() for place in places)] == []


@cache
def flags_of_the_scripts() -> frozenset[str]:
    helps = [
        subprocess.run(
            [sys.executable, str(script), "--help"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        for script in sorted((ROOT / "scripts").glob("*.py"))
    ]
    return frozenset(flags_in("\n".join(helps)))


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text))


@pytest.mark.parametrize("file", REFERENCES, ids=lambda file: file.name)
def test_every_flag_named_exists_in_a_script(file: Path) -> None:
    assert flags_in(file.read_text("utf-8")) - flags_of_the_scripts() == set()


def test_there_are_files_and_flags_to_check() -> None:
    assert {*LIMITS, "findings.md"} <= {file.name for file in REFERENCES}
    assert {"--wait", "--retries", "--timeout", "--max-chars"} <= flags_in(
        "".join(file.read_text("utf-8") for file in REFERENCES)
    )
