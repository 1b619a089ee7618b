"""What the documents show is run, and what they point to exists."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
CLEAN_UP = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
_BLOCK = re.compile(r"(?:<!-- file: (\S+) -->\n)?^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+?)(?:#[^)]*)?\)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def blocks(document: str) -> list[tuple[str, str, str]]:
    """File name if it has one, language and text of each code block; on a port of their own."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("8645", str(free_port()))
    return _BLOCK.findall(text)


def run_script(lines: list[str], folder: Path) -> str:
    """Run a shell script as a reader would, with the environment's programs first; its output."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603
        ["bash", "-euo", "pipefail", "-m", "-c", "\n".join([CLEAN_UP, *lines])],  # noqa: S607
        cwd=folder,
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tutorial_runs_as_it_is_written(tmp_path: Path) -> None:
    script = []
    for name, language, body in blocks("docs/tutorial.md"):
        if language == "python":
            (tmp_path / name).write_text(body, encoding="utf-8")
        else:
            script.append(body)
    output = run_script(script, tmp_path)
    assert "queued Resting(" in output
    assert "Canceled()" in output
    assert "bought 1.0 at " in output
    assert "flattened: Filled(" in output
    assert "the nearest legal ones are 50000 and 50001" in output
    assert '"ref":"entry","admission":"queued"' in output
    assert '"outcome":"filled"' in output
    assert '"error":"UnknownMarket"' in output
    assert '"halted":"operator: end of day"' in output


def test_the_program_of_the_readme_runs(tmp_path: Path) -> None:
    program = next(body for _, language, body in blocks("README.md") if language == "python")
    assert len(program.splitlines()) <= 22
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    preparations = [body for _, language, body in blocks("docs/tutorial.md") if language == "sh"][:3]
    output = run_script([*preparations, "python program.py"], tmp_path)
    assert output.startswith("Admission.QUEUED\nFilled(")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = _LINK.findall(document.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []
