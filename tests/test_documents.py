"""SKILL.md and README.md against the code: every flag, path, exit code and output that they name is real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from conftest import SCRIPTS
from evals import serve
from openrouter_generations import __version__
from openrouter_generations.errors import ExitCode
from openrouter_server import OpenRouterServer

ROOT = SCRIPTS.parent
SKILL = (ROOT / "SKILL.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    "SKILL.md": SKILL,
    "README.md": README,
    **{f"references/{page.name}": page.read_text(encoding="utf-8") for page in (ROOT / "references").glob("*.md")},
}
ENTRY_POINTS = sorted(path.name for path in SCRIPTS.glob("*.py"))
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
OTHERS_FLAGS = {"--quiet", "--with", "--quick"}  # of pip, uv and the benchmark


@cache
def help_of(script: str) -> str:
    done = subprocess.run([sys.executable, str(SCRIPTS / script), "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def flags_of(script: str) -> set[str]:
    return set(FLAG.findall(help_of(script).split("examples:")[0]))


def frontmatter() -> dict[str, object]:
    loaded = yaml.safe_load(SKILL.split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def test_frontmatter_is_valid_by_the_specification() -> None:
    fields = frontmatter()
    assert set(fields) == {"name", "description", "license", "compatibility", "metadata"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(fields["name"]))
    assert 1 <= len(str(fields["description"])) <= 1024
    assert 1 <= len(str(fields["compatibility"])) <= 500
    assert fields["metadata"] == {"version": __version__}


@pytest.mark.parametrize(
    "words",
    ["why did this request cost so much", "my completion was cut off", "which provider answered", "gen-", "log"],
)
def test_description_says_when_to_load_it(words: str) -> None:
    assert words in " ".join(str(frontmatter()["description"]).split())


@pytest.mark.parametrize("words", ["dashboards", "choosing"])
def test_description_says_when_not(words: str) -> None:
    assert words in str(frontmatter()["description"]).split("Not for")[1]


def test_skill_stays_small() -> None:
    assert SKILL.count("\n") <= 150
    assert len(SKILL.encode()) <= 7_000


def test_version_stands_the_same_everywhere() -> None:
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_path_named_exists(page: str) -> None:
    named = re.findall(r"\b(?:scripts|references|tests|\.ci)/[\w./-]*\w", PAGES[page])
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_script_named_exists(page: str) -> None:
    named = set(re.findall(r"\b\w+_generations?(?:_\w+)?\.py\b", PAGES[page]))
    assert named <= set(ENTRY_POINTS)


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_named_exists(page: str) -> None:
    known = set().union(*map(flags_of, ENTRY_POINTS)) | OTHERS_FLAGS
    assert set(FLAG.findall(PAGES[page])) <= known


@pytest.mark.parametrize("page", PAGES)
def test_flags_stand_with_scripts_that_have_them(page: str) -> None:
    for line in PAGES[page].splitlines():
        for command in re.findall(r"\b\w+_generations?(?:_\w+)?\.py[^`|]*", line):
            script = command.split(".py")[0] + ".py"
            given = set(FLAG.findall(re.split(r"\s#\s|[;,]", command)[0]))
            assert given <= flags_of(script), line


@pytest.mark.parametrize("script", ENTRY_POINTS)
def test_every_flag_there_is_stands_in_the_readme(script: str) -> None:
    assert flags_of(script) <= set(FLAG.findall(README))


@pytest.mark.parametrize("script", ENTRY_POINTS)
def test_every_script_is_introduced(script: str) -> None:
    assert script in SKILL
    assert script in README


@pytest.mark.parametrize("page", ["README.md", "SKILL.md"])
def test_exit_codes_are_all_there(page: str) -> None:
    section = PAGES[page].split("## Exit codes")[1].split("\n## ")[0]
    named = {int(code) for code in re.findall(r"(?:^|\| |· ?\n?)(\d{1,3}) (?=[|a-z])", section, re.MULTILINE)}
    assert named == {int(code) for code in ExitCode}


def test_every_reference_is_pointed_to_with_when_to_read_it() -> None:
    for page in (ROOT / "references").glob("*.md"):
        assert re.search(rf"`references/{page.name}`: when ", SKILL), page.name


def test_environment_variables_are_all_named() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS.rglob("*.py"))
    assert set(re.findall(r"OPENROUTER_[A-Z_]+", code)) == set(re.findall(r"OPENROUTER_[A-Z_]+", README))


OUTPUTS = re.findall(r"<!-- output of: (\S+\.py) (.*?) -->\n```text\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("script", "args", "shown"), OUTPUTS, ids=[f"{script} {args}" for script, args, _ in OUTPUTS])
def test_outputs_shown_are_what_is_printed(script: str, args: str, shown: str) -> None:
    command = [sys.executable, str(SCRIPTS / script), *args.split()]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT, check=True)
    assert shown == done.stdout


SCENARIOS = re.findall(r"<!-- scenario ([a-z-]+): (\S+\.py) (.*?) -->\n```text\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("name", "script", "args", "shown"), SCENARIOS, ids=[each[0] for each in SCENARIOS])
def test_outputs_of_a_scenario_are_what_is_printed(
    name: str, script: str, args: str, shown: str, tmp_path: Path
) -> None:
    """Scenarios of tests/evals: records on a server, files in the folder."""
    scenario = next(one for one in serve.evals() if one["id"] == name)
    with OpenRouterServer(keys=(), management_keys=()) as server:
        task = serve.prepare(scenario, 1, server, tmp_path, 0)
        command = [sys.executable, str(SCRIPTS / script), *args.split()]
        environment = {**os.environ, **task.environment}
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", cwd=task.folder, env=environment, check=False
        )
    assert shown == done.stdout


def test_the_readme_shows_output() -> None:
    assert README.count("<!-- output of:") == len(OUTPUTS) >= 3
    assert README.count("<!-- scenario ") == len(SCENARIOS) >= 2


def test_the_two_commands_are_what_ci_runs() -> None:
    commands = re.findall(r"^python3 -m pip install --quiet uv && .*$", README, re.MULTILINE)
    assert len(commands) == 2
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert all(command in ci for command in commands)


def test_commands_of_the_skill_run_from_another_folder(tmp_path: Path) -> None:
    commands = re.findall(r'^uv run "(\$\{CLAUDE_SKILL_DIR\}/scripts/\w+\.py)"', SKILL, re.MULTILINE)
    assert commands
    for path in commands:
        script = path.replace("${CLAUDE_SKILL_DIR}", str(ROOT))
        done = subprocess.run(
            [sys.executable, script, "--version"], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        assert done.stdout.strip().endswith(__version__)


def test_the_query_over_receipts_is_the_one_that_is_tested() -> None:
    queries = [re.findall(r"```sql\n(.*?)```", page, re.DOTALL) for page in (README, PAGES["references/reconcile.md"])]
    assert queries[0] == queries[1] != []
