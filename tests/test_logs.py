"""Reading users' files: every ID once, with its mentions and the costs that the log names."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openrouter_generations import claims, logs
from openrouter_generations.claims import Claim
from openrouter_generations.errors import UsageError

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "data" / "logs"
A = "gen-1771967930-1gsys6ZhRaY0TPbuRsDR"
B = "gen-1771967973-8Hk2mQvX4nLpZt7WcYbA"
C = "gen-1771968015-Jd93kfLs0QmXz71VbNtE"


def read(folder: Path, content: str | bytes, name: str = "log.txt") -> logs.Log:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return logs.read([str(path)])


@pytest.mark.parametrize(
    ("name", "mentions", "costs"),
    [
        ("claude-code.jsonl", {A: 3, C: 1, B: 1}, {A: Claim(0.0104), B: Claim(0.0031)}),
        ("pi.jsonl", {A: 1, B: 1}, {A: Claim(0.0104, reckoned=True), B: Claim(0.0031, reckoned=True)}),
        ("opentelemetry.jsonl", {A: 1, B: 1}, {A: Claim(0.0104), B: Claim(0.0031)}),
        ("langfuse.jsonl", {A: 1, B: 1}, {}),
        ("logs-export.csv", {A: 1, B: 1}, {A: Claim(0.0104, 0.0), B: Claim(0.0031, 0.0)}),
        (
            "plain.log",
            {A: 1, B: 1, "gen-emb-1771968056-Qw3rTy8uIoP1aSdFgH5j": 1, "gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG": 1},
            {},
        ),
    ],
)
def test_each_kind_of_log(name: str, mentions: dict[str, int], costs: dict[str, Claim]) -> None:
    log = logs.read([str(SAMPLES / name)])
    assert log.mentions == mentions
    assert log.claims == costs
    assert log.problems == []


def test_cut_ids_are_kept_apart_with_their_mentions(tmp_path: Path) -> None:
    log = read(tmp_path, f"gen-1771967930 {A} gen-1771967930\n")
    assert (log.mentions, log.cut) == ({A: 1}, {"gen-1771967930": 2})


# Seams


@pytest.mark.parametrize("line_end", ["\n", " "], ids=["lines", "one-endless-line"])
def test_no_id_is_lost_at_a_seam(tmp_path: Path, line_end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PIECE", 64)
    monkeypatch.setattr(logs, "_LONGEST_LINE", 256)
    expected: dict[str, int] = {}
    text = ""
    for n in range(300):
        one = f"gen-{1771967930 + n}-1gsys6ZhRaY0TPbuRsDR"
        text += "." * (n % 71) + " " + one + line_end
        expected[one] = 1
    log = read(tmp_path, text)
    assert (log.mentions, log.cut) == (expected, {})


@pytest.mark.parametrize("shift", range(-40, 3))
def test_a_seam_in_the_middle_of_an_id(tmp_path: Path, shift: int) -> None:
    log = read(tmp_path, "." * (logs._PIECE + shift) + f" {A}")
    assert (log.mentions, log.cut) == ({A: 1}, {})


def test_what_stands_before_a_seam_still_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PIECE", 100)
    monkeypatch.setattr(logs, "_LONGEST_LINE", 150)
    for before in range(60, 420):
        assert read(tmp_path, "a" * before + A).mentions == {}
        assert read(tmp_path, "a" * before + "\\n" + A + "\\n").mentions == {A: 1}


# What files may be


def test_binary_junk_does_no_harm(tmp_path: Path) -> None:
    junk = bytes(range(256)) * 500
    assert read(tmp_path, junk + A.encode() + junk + b"\n" + junk).mentions == {A: 1}


def test_gzip_by_content_also_joined_and_by_any_name(tmp_path: Path) -> None:
    content = gzip.compress(f"{A}\n".encode()) + gzip.compress(f"{B} {A}\n".encode())
    assert read(tmp_path, content, "old.log.gz").mentions == {A: 2, B: 1}
    assert read(tmp_path, content, "no-suffix").mentions == {A: 2, B: 1}


def test_a_damaged_gzip_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    content = gzip.compress(f"{A}\n".encode() + bytes(str(list(range(60_000))), "ascii"))
    log = read(tmp_path, content[:-5000], "torn.gz")
    assert log.mentions == {A: 1}
    assert len(log.problems) == 1
    assert "torn.gz: damaged gzip" in log.problems[0]
    log = read(tmp_path, gzip.compress(f"{A}\n".encode()) + b"rubbish", "tail.gz")
    assert log.mentions == {A: 1}
    assert "damaged gzip" in log.problems[0]


def test_utf_16_as_windows_shells_write_it(tmp_path: Path) -> None:
    assert read(tmp_path, f"{A}\r\n{B}".encode("utf-16")).mentions == {A: 1, B: 1}


def test_folders_are_read_with_all_below_them(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "x.jsonl").write_text(A)
    (tmp_path / "a.log").write_text(B)
    (tmp_path / "own.jsonl").write_text(C)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    log = logs.read([str(tmp_path)], skip=[str(tmp_path / "own.jsonl"), None])
    assert log.mentions == {B: 1, A: 1}
    assert len(log.files) == 2


@pytest.mark.parametrize("name", ["missing.log", "with\0null"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        logs.read([str(tmp_path / name)])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.log"
    block = (("x" * 997 + "\n") * 500 + "y" * 500_000 + f" {A} ").encode()
    with path.open("wb") as file:
        for _ in range(100):
            file.write(block)
    program = (
        "import sys\n"
        "from openrouter_generations import logs\n"
        "print(logs.read(sys.argv[1:]).mentions)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent / "scripts", check=True)
    mentions, kilobytes = ran.stdout.splitlines()
    assert mentions == str({A: 100})
    assert int(kilobytes) < 64_000


# What the log says it cost


def claimed(folder: Path, *lines: object) -> dict[str, Claim]:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return read(folder, text).claims


ANSWER = {"id": A, "choices": [], "usage": {"cost": 0.5, "cost_details": {"upstream_inference_cost": 0.7}}}


@pytest.mark.parametrize(
    "line",
    [
        ANSWER,
        {"event": "response.completed", "response": {**ANSWER, "object": "response"}},
        {"request": {"a": [[1, [2]]]}, "answers": [{"x": None}, ANSWER]},
        f"data: {json.dumps(ANSWER)}",
        f"2026-02-24 21:18:52 INFO answer={json.dumps(ANSWER)} in 3 s",
        f"[1, {json.dumps(ANSWER)}]",
        f"[2026-02-02 10:00:00] INFO {json.dumps(ANSWER)}",
        f"[INFO] [1234] worker {{3}} {json.dumps(ANSWER)} [ok]",
        f'2026-02-24 ["POST /api/v1/chat/completions HTTP/1.1" 200 and more] {json.dumps(ANSWER)}',
        f"[a] [b] [c] [d] [e] [f] [g] [h] [i] {json.dumps(ANSWER)}",
        {"generation_id": A, "result": {**ANSWER, "id": "chatcmpl-1"}},
        {"generation_id": A, "span": {"id": "s1", "total_cost": 0.5, "upstream_inference_cost": 0.7}},
        {"generation": {"id": A}, "usage": ANSWER["usage"]},
    ],
)
def test_the_cost_in_an_answer(tmp_path: Path, line: object) -> None:
    assert claimed(tmp_path, line) == {A: Claim(0.5, 0.7)}


def test_of_several_lines_for_one_id_the_largest_counts(tmp_path: Path) -> None:
    lines = [{"id": A, "usage": {"cost": cost}} for cost in (0.1, 0.4, 0.4, 0.2)]
    assert claimed(tmp_path, *lines) == {A: Claim(0.4)}


def test_openrouters_figure_counts_before_a_clients_reckoning(tmp_path: Path) -> None:
    reckoned = {"responseId": A, "usage": {"cost": {"total": 0.9}}}
    charged = {"id": A, "usage": {"cost": 0.4}}
    assert claimed(tmp_path, reckoned, charged) == claimed(tmp_path, charged, reckoned) == {A: Claim(0.4)}


def test_each_of_several_ids_on_a_line_has_its_own_cost(tmp_path: Path) -> None:
    line = {"id": A, "usage": {"cost": 0.1}, "then": {"id": B, "usage": {"cost": 0.2}}}
    assert claimed(tmp_path, line) == {A: Claim(0.1), B: Claim(0.2)}


@pytest.mark.parametrize(
    "line",
    [
        {"text": f"see {A}", "usage": {"cost": 0.5}},  # only spoken of
        {"id": A, "usage": {"cost": "0.5"}},
        {"id": A, "usage": {"cost": -0.5}},
        {"id": A, "usage": {"cost": True}},
        {"id": A, "usage": {"cost": None}},
        {"id": A, "cost": [0.5]},
        f'{{"id": "{A}", "usage": {{"cost": NaN}}}}',
        f'{{"id": "{A}", "usage": {{"cost": 1e999}}}}',
        f'{{"id": "{A}", "usage": {{"cost": 0.5',
        f'{"[" * 100_000}{A} cost":',
        f'{{"id": "{A}", "cost": {"[" * 900}{"]" * 900}}}',
        f'{{"id": "{A}", "usage": {{"cost": {"9" * 5000}}}}}',
        f'"cost": 0.5 {A}',
        f'[a] {{"id": "{A}", "model": "some/model-with-a-name", "session": {{"cost": 12.5}}, "torn',
    ],
)
def test_what_is_no_claim(tmp_path: Path, line: object) -> None:
    assert claimed(tmp_path, line) == {}


def test_a_line_of_absurd_length_is_searched_but_not_read_for_costs(tmp_path: Path) -> None:
    long = {"id": A, "usage": {"cost": 0.5}, "image": "A" * (logs._LONGEST_LINE + 200_000)}
    short = {"id": B, "usage": {"cost": 0.25}}
    log = read(tmp_path, json.dumps(long) + "\n" + json.dumps(short) + "\n")
    assert log.mentions == {A: 1, B: 1}
    assert log.claims == {B: Claim(0.25)}


@pytest.mark.parametrize("size", [200, 700, 3000])
def test_costs_are_found_whatever_the_pieces(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PIECE", size)
    expected = {f"gen-{1771967930 + n}-1gsys6ZhRaY0TPbuRsDR": Claim(n / 1000) for n in range(60)}
    lines = [{"id": one, "usage": {"cost": claim.cost}, "pad": "x" * (n % 97)} for n, (one, claim) in
             enumerate(expected.items())]  # fmt: skip
    assert claimed(tmp_path, *lines) == expected


@pytest.mark.parametrize(
    "header",
    ["generation_id,cost_total,note", '"generation_id","cost_total","note"', "\ufeffgeneration_id,cost_total,note"],
)
def test_the_logs_export(tmp_path: Path, header: str) -> None:
    rows = [header, f'{A},0.5,"a, b"', f'"{B}","1e-05",', f"{C},,x", f"{A},0.25,again"]
    assert claimed(tmp_path, *rows) == {A: Claim(0.5), B: Claim(1e-05)}


def test_a_stray_quotation_mark_spoils_no_other_row(tmp_path: Path) -> None:
    rows = ["generation_id,cost_total,title", f'{A},0.5,5" pipe', f"{B},0.25,x", f'{C},0.75,"say \\"hi"']
    assert claimed(tmp_path, *rows) == {A: Claim(0.5), B: Claim(0.25), C: Claim(0.75)}


@pytest.mark.parametrize("size", [50, 130, 4000])
def test_cells_over_several_lines_whatever_the_pieces(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_PIECE", size)
    made = [f"gen-{1771967930 + n}-1gsys6ZhRaY0TPbuRsDR" for n in range(30)]
    rows = [f'{one},{n / 100},"said:\nhello,99,x\nend"' for n, one in enumerate(made)]
    expected = {one: Claim(n / 100) for n, one in enumerate(made)}
    assert claimed(tmp_path, "generation_id,cost_total,prompt", *rows) == expected


def test_the_cost_beside_the_id_counts_before_one_further_off(tmp_path: Path) -> None:
    line = {"id": A, "usage": {"cost": 0.1}, "session": {"cost": 12.5}}
    assert claimed(tmp_path, line) == {A: Claim(0.1)}
    line = {"id": A, "usage": {"cost": 0.1}, "session": {"id": "s", "cost": 12.5}}
    assert claimed(tmp_path, line) == {A: Claim(0.1)}


def test_a_hostile_line_takes_no_longer_than_a_plain_one(tmp_path: Path) -> None:
    """As a ratio: with a quadratic search it would be more than a hundred."""
    times = []
    for word in ("cosy", "cost"):
        began = time.perf_counter()
        assert claimed(tmp_path, f"{A} " + word * 120_000) == {}
        times.append(time.perf_counter() - began)
    assert times[1] < 25 * times[0] + 0.1


def test_other_separators(tmp_path: Path) -> None:
    assert claimed(tmp_path, "generation_id;cost_total;byok_usage_inference", f"{A};0.5;0.75") == {A: Claim(0.5, 0.75)}


@pytest.mark.parametrize("cell", ["nan", "inf", "-1", "x", '"', ""])
def test_a_table_cell_that_is_no_amount(tmp_path: Path, cell: str) -> None:
    assert claimed(tmp_path, "generation_id,cost_total", f"{A},{cell}") == {}


def test_a_table_without_a_cost_column_claims_nothing(tmp_path: Path) -> None:
    assert claimed(tmp_path, "generation_id,model", f"{A},0.5") == {}


def test_the_reader_takes_the_largest_over_all_files(tmp_path: Path) -> None:
    found: dict[str, Claim] = {}
    for cost in (0.2, 0.3, 0.1):
        claims.Reader(b"", found).line(json.dumps({"id": A, "usage": {"cost": cost}}).encode(), {A})
    assert found == {A: Claim(0.3)}
