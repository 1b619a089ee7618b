"""Builds the site of the documents, as `make docs` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def build(repository: Path, folder: Path) -> str:
    """Build the site of a repository into a folder; what was wrong, and nothing if nothing was.

    Not with --quiet: that hides warnings from --strict too.
    """
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=repository,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""
