"""`--from`: what --json, curl, a shell or a dashboard left in files, and what else people name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import SCRIPTS, Runner
from openrouter_generations import documents
from openrouter_generations.errors import OpenRouterError
from openrouter_server import SAMPLES, OpenRouterServer, made_ids, make_content, make_metadata

METADATA, CONTENT = "get_generation.py", "get_generation_content.py"
ONE, TWO, THREE = made_ids(3)

FLAT = {  # the dashboard's copy of a record
    "id": 0,
    "generation_id": ONE,
    "model": "openai/gpt-4o",
    "provider_name": "OpenAI",
    "usage": 0.0125,
    "usage_upstream": 0.0125,
    "usage_cache": -0.000216,
    "usage_data": None,
    "usage_web": None,
    "usage_file": 0,
    "byok_usage_inference": 0,
    "is_byok": False,
    "finish_reason": "stop",
    "app": {"id": 1, "title": "x"},
}


@pytest.fixture(scope="module")
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as running:
        yield running


@pytest.fixture
def run(run: Runner, server: OpenRouterServer) -> Iterator[Runner]:
    """Without a key, and with proof that nobody was asked."""
    run._variables.pop("OPENROUTER_API_KEY")
    yield run
    assert server.requests == []


def write(path: Path, *documents: Any, end: str = "\n", indent: int | None = None) -> Path:
    path.write_text(end.join(json.dumps(one, indent=indent) for one in documents) + end, "utf-8")
    return path


def shown(stdout: str) -> list[str]:
    return [line.removeprefix("Generation: ") for line in stdout.splitlines() if line.startswith("Generation: ")]


def data(generation_id: str) -> dict[str, Any]:
    return {"data": make_metadata(generation_id)}


def line(generation_id: str) -> dict[str, Any]:
    return {"id": generation_id, **data(generation_id)}


# Files


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", ["\n", "\r\n", "", " \t\n\n"])
def test_several_documents_in_a_file(indent: int | None, end: str, tmp_path: Path) -> None:
    file = write(tmp_path / "saved", data(ONE), data(TWO), end=end, indent=indent)
    assert [item.generation_id for item in documents.read(str(file))] == [ONE, TWO]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
def test_encodings(encoding: str, tmp_path: Path, run: Runner) -> None:
    text = json.dumps({"data": {"id": ONE, "model": "Zürich/模型 😀"}}, ensure_ascii=False)
    marked = text if not encoding.endswith("-bom") else "\ufeff" + text
    file = tmp_path / "saved.json"
    file.write_bytes(marked.encode(encoding.removesuffix("-bom")))
    done = run(METADATA, "--from", file)
    assert done.returncode == 0, done.stderr
    assert "Model: Zürich/模型 😀" in done.stdout


def test_text_json_and_several_files_together(tmp_path: Path, run: Runner) -> None:
    first = write(tmp_path / "a.json", data(ONE), indent=2)
    second = write(tmp_path / "b.jsonl", line(TWO), line(THREE))
    done = run(METADATA, "--from", first, "--from", second)
    assert (done.returncode, shown(done.stdout)) == (0, [ONE, TWO, THREE])
    done = run(METADATA, "--from", first, "--from", second, "--json")
    assert [json.loads(one) for one in done.stdout.splitlines()] == [line(ONE), line(TWO), line(THREE)]


def test_json_of_one_document_is_that_document(tmp_path: Path, run: Runner) -> None:
    document = {"zeta": 1, "data": {"id": ONE, "new": [1e-7]}, "alpha": None}
    done = run(METADATA, "--from", write(tmp_path / "a", document), "--json")
    assert done.stdout == json.dumps(document, indent=2) + "\n"


def test_what_json_printed_reads_back_the_same(tmp_path: Path, run: Runner) -> None:
    first = run(METADATA, "--json", "--from", write(tmp_path / "a", line(ONE), line(TWO)))
    (tmp_path / "b").write_text(first.stdout)
    assert run(METADATA, "--json", "--from", tmp_path / "b").stdout == first.stdout


def test_standard_input(run: Runner) -> None:
    done = run(METADATA, "--from", "-", stdin=json.dumps(data(ONE)))
    assert (done.returncode, shown(done.stdout)) == (0, [ONE])


def test_a_list_of_documents(tmp_path: Path, run: Runner) -> None:
    done = run(METADATA, "--from", write(tmp_path / "a", [data(ONE), line(TWO)]))
    assert shown(done.stdout) == [ONE, TWO]


def test_null_data_is_an_answer(tmp_path: Path, run: Runner) -> None:
    file = write(tmp_path / "a", {"data": None})
    done = run(METADATA, ONE, "--from", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Generation: {ONE}\n\nNo metadata available for this generation.\n"


# Which


def test_ids_choose_among_the_saved(tmp_path: Path, run: Runner) -> None:
    file = write(tmp_path / "a", line(ONE), line(TWO))
    done = run(METADATA, TWO, THREE, "--from", file)
    assert (done.returncode, shown(done.stdout)) == (4, [TWO])
    assert f"({THREE})" in done.stderr
    assert "not in the files" in done.stderr


def test_metadata_and_content_are_told_apart(tmp_path: Path, run: Runner) -> None:
    file = write(tmp_path / "a", data(ONE), {"id": TWO, "data": make_content(TWO)}, make_content(THREE))
    assert shown(run(METADATA, "--from", file).stdout) == [ONE]
    assert shown(run(CONTENT, "--from", file).stdout) == [TWO, "not named in the document"]


@pytest.mark.parametrize(("script", "other"), [(METADATA, CONTENT), (CONTENT, METADATA)])
def test_a_file_of_the_other_kind_names_the_other_script(script: str, other: str, tmp_path: Path, run: Runner) -> None:
    document = {"data": make_content(ONE)} if script == METADATA else data(ONE)
    done = run(script, "--from", write(tmp_path / "a", document))
    assert (done.returncode, done.stdout) == (2, "")
    assert other in done.stderr


def test_content_without_an_id_is_that_of_the_id_given(tmp_path: Path, run: Runner) -> None:
    file = write(tmp_path / "a", {"data": make_content(ONE)})
    assert shown(run(CONTENT, TWO, "--from", file).stdout) == [TWO]


# Shapes


def test_the_dashboards_flat_copy(tmp_path: Path, run: Runner) -> None:
    done = run(METADATA, "--from", write(tmp_path / "a", FLAT))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"Generation: {ONE}"
    assert {"Total cost: $0.0125", "Usage: $0.0125", "Finish reason: stop"} <= set(lines)
    assert "Cache discount: 0.000216 (saved; already in the total)" in lines
    assert not [one for one in lines if one.startswith("Upstream")]


def test_the_flat_copy_under_byok_and_inside_data(tmp_path: Path, run: Runner) -> None:
    record = {**FLAT, "is_byok": True, "usage": 0, "byok_usage_inference": 0.3}
    done = run(METADATA, "--from", write(tmp_path / "a", {"data": record}))
    assert "Upstream cost: $0.30 (the provider's own bill, on top of the total)" in done.stdout


def test_json_of_the_flat_copy_is_the_flat_copy(tmp_path: Path, run: Runner) -> None:
    assert json.loads(run(METADATA, "--json", "--from", write(tmp_path / "a", FLAT)).stdout) == FLAT


def test_a_bare_record(tmp_path: Path, run: Runner) -> None:
    assert shown(run(METADATA, "--from", write(tmp_path / "a", make_metadata(ONE))).stdout) == [ONE]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ({"status": 404, "message": "gone"}, 4, "Error 404"),
        ({"code": 429, "message": "slow"}, 6, "Error 429"),
        ({"status": 403, "message": "no"}, 3, "Error 403"),
        ({"status": None, "message": "Network error: no answer"}, 2, "Network error: no answer"),
        ({"status": True}, 2, "a saved failure"),
        ("text", 2, "text"),
        (None, 2, "a saved failure"),
    ],
)
def test_saved_failures(error: object, code: int, said: str, tmp_path: Path, run: Runner) -> None:
    done = run(METADATA, "--from", write(tmp_path / "a", line(ONE), {"id": TWO, "error": error}, line(THREE)))
    assert (done.returncode, shown(done.stdout)) == (code, [ONE, THREE])
    assert said in done.stderr


def test_an_error_body_as_curl_saves_it(tmp_path: Path, run: Runner) -> None:
    done = run(METADATA, "--from", write(tmp_path / "a", {"error": {"code": 402, "message": "Insufficient credits"}}))
    assert (done.returncode, done.stdout) == (5, "")
    assert "Insufficient credits" in done.stderr


# Damage


def test_a_torn_line_loses_itself_only(tmp_path: Path, run: Runner) -> None:
    whole = [json.dumps(line(one)) for one in (ONE, TWO, THREE)]
    file = tmp_path / "a.jsonl"
    file.write_text(f"{whole[0]}\n{whole[1][:200]}\n{whole[2]}\n")
    done = run(METADATA, "--from", file)
    assert (done.returncode, shown(done.stdout)) == (2, [ONE, THREE])
    assert f"{file}, line 2: not JSON" in done.stderr
    done = run(METADATA, "--from", file, "--json")
    assert [set(json.loads(one)) - {"id"} for one in done.stdout.splitlines()] == [{"data"}, {"error"}, {"data"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"hello", "not JSON"),
        (b"\xff\xff\xfe{}", "not text"),
        (b"\x00\x01\x02", "not JSON"),
        (b'{"data": {"total_cost": NaN}}', "NaN"),
        (b'{"data": 5}', "not a saved answer"),
        (b'{"data": [1]}', "not a saved answer"),
        (b"{}", "not a saved answer"),
        (b"[]", ""),
        (b"7 8 9", "not a saved answer"),
        (b'"text"', "not a saved answer"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"data": {"a": ' + b"[" * 400 + b"]" * 400 + b"}}", "not a saved answer"),
        (b'{"data": {"n": ' + b"7" * 5000 + b"}}", "not JSON"),
        (b"<html>\x1b[31m", "\\x1b[31m"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_unusable_files(content: bytes, said: str, tmp_path: Path, run: Runner) -> None:
    file = tmp_path / "a"
    file.write_bytes(content)
    done = run(METADATA, "--from", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 2000


def test_files_that_cannot_be_read(tmp_path: Path, run: Runner) -> None:
    for path in (tmp_path / "absent", tmp_path, "/proc/self/mem", ""):
        done = run(METADATA, "--from", path)
        assert (done.returncode, done.stdout) == (2, ""), path
        assert "cannot be read" in done.stderr


def test_standard_input_that_is_closed(run: Runner) -> None:
    with run.start(METADATA, "--from", "-", preexec_fn=lambda: os.close(0)) as process:
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (2, "")
    assert "standard input cannot be read" in stderr


def test_a_name_that_could_steer_a_terminal(run: Runner) -> None:
    done = run(METADATA, "--from", "\x1b[31mred\u202e")
    assert done.returncode == 2
    assert "\\x1b[31mred\\u202e cannot be read" in done.stderr


def test_a_file_without_end_is_refused(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_FILE", 1 << 20)
    with pytest.raises(OpenRouterError, match=r"larger than 1 MiB"):
        list(documents.read("/dev/zero"))


def test_a_long_file_is_read_and_its_lines_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text((json.dumps(line(ONE)) + "\n") * 20_000 + '\n{"data": {\n' + json.dumps(line(TWO)))
    *_, torn, last = items = list(documents.read(str(file)))
    assert len(items) == 20_002
    assert f"{file}, line 20002: " in str(torn.error)
    assert last.generation_id == TWO


# Samples


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_samples_read_back(sample: Path, tmp_path: Path) -> None:
    both = json.loads(sample.read_text("utf-8"))
    for kind in ("metadata", "content"):
        (item,) = documents.read(str(write(tmp_path / kind, both[kind]["body"])))
        assert (item.error is None) == (both[kind]["status"] == 200)
        if item.error is None:
            assert (item.kind, item.document) == (kind, both[kind]["body"])


def test_the_sample_for_the_readme(run: Runner) -> None:
    done = run(METADATA, "--from", SCRIPTS.parent / "tests" / "data" / "sample.json")
    assert (done.returncode, done.stderr) == (0, "")
