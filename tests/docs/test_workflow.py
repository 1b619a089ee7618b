"""The workflow that users copy: what it may do, and what its steps do in a small repository.

GitHub's own part, the events and expressions, is not run here; `gh` is a script that writes down what it is asked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.docs.documents import ROOT
from tests.docs.test_blocks import git, reviewed_repository

WORKFLOW: Final[dict[Any, Any]] = yaml.safe_load((ROOT / "docs/ci/diagram-diff.yml").read_text(encoding="utf-8"))
JOB: Final[dict[str, Any]] = WORKFLOW["jobs"]["diff"]
STEPS: Final[list[dict[str, Any]]] = JOB["steps"]
ON: Final = True
"""The key `on`, as YAML 1.1 reads it."""
GH: Final = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$ASKED"
case "$*" in *--paginate*) cat "$ASKED.comments" ;; esac
"""


def step(name: str) -> dict[str, Any]:
    return next(step for step in STEPS if step.get("name") == name)


class PullRequest:
    """A pull request against a repository: its steps run as a runner would run them.

    Attributes:
        asked: What `gh` was asked for.
    """

    def __init__(self, folder: Path, base: str, head: str) -> None:
        self.folder = folder
        programs = folder / "programs"
        programs.mkdir()
        (programs / "gh").write_text(GH, encoding="utf-8")
        (programs / "gh").chmod(0o700)
        self.asked = folder / "asked"
        self.asked.touch()
        self.comments("")
        self.output = folder / "output"
        self.output.touch()
        self._environment = {
            "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "BASE": git(folder, "rev-parse", base).strip(),
            "HEAD": git(folder, "rev-parse", head).strip(),
            "NUMBER": "7",
            "REPOSITORY": "someone/something",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "ASKED": str(self.asked),
        }

    def comments(self, ids: str) -> None:
        """Say which comments of the workflow's the pull request has."""
        Path(f"{self.asked}.comments").write_text(ids, encoding="utf-8")

    def run(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a step, with GitHub's own shell and options."""
        return subprocess.run(  # noqa: S603
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step(name)["run"]],  # noqa: S607
            cwd=self.folder,
            env={**os.environ, **self._environment, **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reviewed")
    reviewed_repository(folder)
    return folder


@pytest.fixture
def pull_request(repository: Path, tmp_path: Path) -> Callable[[str, str], PullRequest]:
    """A pull request of one branch against another, in a clone of its own."""

    def opened(base: str, head: str) -> PullRequest:
        git(tmp_path, "clone", "--quiet", str(repository), "clone")
        return PullRequest(tmp_path / "clone", f"origin/{base}", f"origin/{head}")

    return opened


def test_a_change_is_told_commented_and_held_back(pull_request: Callable[[str, str], PullRequest]) -> None:
    pull = pull_request("main", "proposal")
    compared = pull.run("Compare the machines")
    assert compared.returncode == 0, compared.stderr
    assert pull.output.read_text() == "changed=true\n"
    summary = (pull.folder / "summary.md").read_text()
    assert "hard_stop" in summary
    assert "only the operator, with a reason" in summary
    reviewed = pull.run("Write the page of the review")
    assert reviewed.returncode == 0, reviewed.stderr
    assert "only the operator, with a reason" in (pull.folder / "review.html").read_text()
    assert pull.run("Comment").returncode == 0
    assert pull.asked.read_text().splitlines()[-1] == (
        "api --silent --method POST repos/someone/something/issues/7/comments --field body=@comment.md"
    )
    assert (pull.folder / "comment.md").read_text() == f"<!-- hip3 diagram diff -->\n{summary}"
    assert pull.run("Demand the label", REVIEWED="false").returncode == 1
    assert pull.run("Demand the label", REVIEWED="true").returncode == 0


def test_the_second_comment_replaces_the_first(pull_request: Callable[[str, str], PullRequest]) -> None:
    pull = pull_request("main", "proposal")
    (pull.folder / "diff.md").write_text("It changed.\n", encoding="utf-8")
    pull.comments("41\n")
    assert pull.run("Comment").returncode == 0
    assert pull.asked.read_text().splitlines()[-1] == (
        "api --silent --method PATCH repos/someone/something/issues/comments/41 --field body=@comment.md"
    )


def test_a_diff_that_is_too_long_for_a_comment_is_pointed_to(pull_request: Callable[[str, str], PullRequest]) -> None:
    pull = pull_request("main", "proposal")
    (pull.folder / "diff.md").write_text("It changed.\n" * 6_000, encoding="utf-8")
    assert pull.run("Comment").returncode == 0
    assert "see the summary of the run" in (pull.folder / "comment.md").read_text()


def test_no_change_is_no_demand(pull_request: Callable[[str, str], PullRequest]) -> None:
    pull = pull_request("main", "main")
    assert pull.run("Compare the machines").returncode == 0
    assert pull.output.read_text() == "changed=false\n"
    assert step("Demand the label")["if"] == "steps.compare.outputs.changed == 'true'"


def test_a_comparison_that_fails_is_no_answer(pull_request: Callable[[str, str], PullRequest]) -> None:
    pull = pull_request("main", "main")
    assert pull.run("Compare the machines", HEAD="0" * 40).returncode > 1
    assert pull.output.read_text() == ""


def test_it_may_do_no_more_than_it_needs() -> None:
    assert WORKFLOW["permissions"] == {}
    assert JOB["permissions"] == {"contents": "read", "pull-requests": "write"}
    checkout = next(step["with"] for step in STEPS if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["persist-credentials"] is False
    tokens = [step["name"] for step in STEPS if "GH_TOKEN" in step.get("env", {})]
    assert [name for name in tokens if "hip3" in step(name)["run"] or "pip" in step(name)["run"]] == ["Comment"]


def test_nothing_of_the_pull_request_is_checked_out_or_put_into_a_script() -> None:
    assert set(WORKFLOW[ON]) == {"pull_request_target"}
    checkout = next(step["with"] for step in STEPS if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["ref"] == "${{ github.event.pull_request.base.sha }}"
    scripts = [step["run"] for step in STEPS if "run" in step]
    assert [script for script in scripts if "${{" in script or re.search(r"git (checkout|switch|merge)", script)] == []
    values = [*JOB["env"].values(), *(value for step in STEPS for value in step.get("env", {}).values())]
    assert [
        value for value in values if re.search(r"\.(title|body|ref|name|login)\b", value) and "labels" not in value
    ] == []


def test_its_actions_are_pinned_to_a_version() -> None:
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert actions
    assert [action for action in actions if not re.fullmatch(r"actions/[\w-]+@v\d+", action)] == []
