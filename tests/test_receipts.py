"""The store of fetched records: torn lines, locks, other people's files."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from pathlib import Path

import pytest

from openrouter_generations import receipts
from openrouter_generations.errors import OutputError, UsageError

ONE, TWO = "gen-1771967930-1gsys6ZhRaY0TPbuRsDR", "gen-1771967973-8Hk2mQvX4nLpZt7WcYbA"


def saved(path: Path, *pairs: tuple[str, dict[str, object]]) -> Path:
    store = receipts.Store(str(path))
    for one, data in pairs:
        store.add(one, data)
    store.close()
    return path


def records(path: Path) -> list[tuple[str, dict[str, object]]]:
    return [(item[0], item[1]) for item in receipts.read(str(path)) if not isinstance(item, bytes)]


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    data: dict[str, object] = {
        "z": 1, "a": [None, {"deep": "\u202e\x1b[31m\n\ud800 é"}], "cost": 1e-09, "big": 10**30, "nothing": None,
    }  # fmt: skip
    path = saved(tmp_path / "r.jsonl", (ONE, data), (TWO, {"id": "another"}))
    assert records(path) == [(ONE, data), (TWO, {"id": "another"})]
    assert path.read_bytes().count(b"\n") == 2
    assert not any(octet < 0x20 and octet != 0x0A for octet in path.read_bytes())


def test_a_line_has_id_time_and_record(tmp_path: Path) -> None:
    line = json.loads(saved(tmp_path / "r.jsonl", (ONE, {"x": 1})).read_text())
    assert list(line) == ["id", "fetched_at", "data"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["fetched_at"])


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.jsonl", (ONE, {}))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_cut_anywhere_goes_on_whole(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.jsonl", (ONE, {"x": 1}), (TWO, {"y": "é"})).read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole[:length])
        saved(path, (TWO, {"y": 2}))
        kept = [one for one, _ in records(path)]
        before = (length >= first - 1) + (length >= len(whole) - 1)
        assert kept == [*[ONE, TWO][:before], TWO], length
        for line in path.read_bytes().splitlines():
            json.loads(line)


@pytest.mark.parametrize(
    "torn",
    [
        b"\n\n",
        b'{"id": "gen-x", "da\n',
        b"\xff\xfe\n",
        b"[1]\n",
        b"null\n",
        b'{"id":"gen-x","data":{"input":{},"output":{}}}\n',
        b"[" * 100_000 + b"\n",
        b'{"id":1,"data":{}}\n',
    ],
    ids=lambda line: repr(line[:12]),
)
def test_lines_that_are_no_receipts_are_told_apart(tmp_path: Path, torn: bytes) -> None:
    path = saved(tmp_path / "r.jsonl", (ONE, {}))
    path.write_bytes(path.read_bytes() + torn)
    saved(path, (TWO, {}))
    assert [one for one, _ in records(path)] == [ONE, TWO]
    assert [item for item in receipts.read(str(path)) if isinstance(item, bytes)] == ([torn] if torn.strip() else [])


def test_a_second_run_on_the_same_file_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="file locks are POSIX")
    first = receipts.Store(str(tmp_path / "r.jsonl"))
    with pytest.raises(UsageError, match="being written by another run"):
        receipts.Store(str(tmp_path / "r.jsonl"))
    first.close()
    receipts.Store(str(tmp_path / "r.jsonl")).close()


@pytest.mark.parametrize("content", [b"hello\nworld\n", b'{"type":"user"}\n', b'{"type":"us', b"\n\n\n\n\n\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="something else than receipts"):
        receipts.Store(str(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["no/such/folder/r.jsonl", "", "with\0null"])
def test_a_path_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises((OutputError, UsageError)):
        receipts.Store(str(tmp_path / name))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_devices_are_refused() -> None:
    with pytest.raises(UsageError, match="regular file"):
        receipts.Store("/dev/full")


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(receipts.read(str(tmp_path / "none.jsonl")))


def test_receipts_are_one_table_for_duckdb(tmp_path: Path) -> None:
    """The README's query over the parts that several machines wrote."""
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: python3 -m pip install duckdb")
    saved(tmp_path / "part-1.jsonl", (ONE, {"model": "a/b", "total_cost": 0.5, "native_tokens_prompt": 10}))
    time.sleep(0.01)
    saved(
        tmp_path / "part-2.jsonl", (TWO, {"model": "a/b", "total_cost": 0.25}), (ONE, {"model": "c/d", "total_cost": 1})
    )
    (tmp_path / "part-2.jsonl").open("ab").write(b'{"id":"gen-1771967980-tor')
    rows = duckdb.sql(query().replace("part-*", f"{tmp_path}/part-*")).fetchall()
    assert [(model, count, float(cost)) for model, count, cost, *_ in rows] == [("c/d", 1, 1.0), ("a/b", 1, 0.25)]


def query() -> str:
    """The query in references/reconcile.md, so that what is printed there is what is tested."""
    text = (Path(__file__).resolve().parent.parent / "references" / "reconcile.md").read_text("utf-8")
    return text.split("```sql\n", 1)[1].split("```", 1)[0]
