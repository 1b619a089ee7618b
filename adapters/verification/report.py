"""The results of a verification as data and as a page.

The page needs nothing else: no network, no script. It follows the reader's light or dark setting, and is readable on a
telephone.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from adapters.verification.level import Check, LevelResult, Status

_WORDS: Final[dict[Status, str]] = {"passed": "passed", "failed": "failed", "not_run": "not run"}


def verdict(results: Sequence[LevelResult]) -> Status:
    """Failed if one level failed; passed if all did; else not run."""
    statuses = {result.status for result in results}
    if "failed" in statuses:
        return "failed"
    return "passed" if statuses == {"passed"} else "not_run"


def as_json(results: Sequence[LevelResult]) -> dict[str, Any]:
    """The results as plain data."""
    return {
        "verdict": verdict(results),
        "seconds": round(sum(result.seconds for result in results), 3),
        "levels": [
            {
                "name": result.level.name,
                "status": result.status,
                "seconds": round(result.seconds, 3),
                "shows": result.level.shows,
                "does_not_show": result.level.does_not_show,
                "checks": [
                    {
                        "name": check.name,
                        "status": check.status,
                        "seconds": round(check.seconds, 3),
                        "detail": check.detail,
                    }
                    for check in result.checks
                ],
            }
            for result in results
        ],
    }


def as_html(results: Sequence[LevelResult]) -> str:
    """The results as a page."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    seconds = sum(result.seconds for result in results)
    status = verdict(results)
    told = {
        "passed": "Every level that was asked for passed.",
        "failed": "A check failed.",
        "not_run": "Nothing failed, but not everything was run.",
    }[status]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>hip3 verify: {_WORDS[status]}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header>
<h1>hip3 verify</h1>
<p class="verdict">{_mark(status)} {told}</p>
<p class="facts">{now}, {seconds:.1f} s, Python {escape(platform.python_version())}</p>
</header>
{"".join(_section(result) for result in results)}
</main>
</body>
</html>
"""


def _section(result: LevelResult) -> str:
    level = result.level
    return f"""<section>
<h2>{escape(level.name)} {_mark(result.status)} <span class="facts">{result.seconds:.1f} s</span></h2>
<dl>
<dt>Shows</dt><dd>{escape(level.shows) if result.status == "passed" else "Nothing, because not all of it passed."}</dd>
<dt>Does not show</dt><dd>{escape(level.does_not_show)}</dd>
</dl>
<details{" open" if result.status != "passed" else ""}>
<summary>{len(result.checks)} checks</summary>
<ul>
{"".join(_item(check) for check in result.checks)}</ul>
</details>
</section>
"""


def _item(check: Check) -> str:
    return (
        f'<li>{_mark(check.status)} <b>{escape(check.name)}</b> <span class="facts">{check.seconds:.2f} s</span>'
        f"<p>{escape(check.detail)}</p></li>\n"
    )


def _mark(status: Status) -> str:
    return f'<span class="mark {status}">{_WORDS[status]}</span>'


_STYLE: Final = """
:root { color-scheme: light dark; --page: #fbfbf9; --text: #1c1e21; --soft: #5c636b; --line: #dfe1e4;
  --passed: #17683a; --failed: #a8201a; --not_run: #7a5600; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --text: #e6e7e9; --soft: #9aa1a9; --line: #31363c;
  --passed: #6fce95; --failed: #ff8a80; --not_run: #e5b94e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
section { border-top: 1px solid var(--line); padding: 1.25rem 0; }
.verdict { margin: 0; font-weight: 600; }
.facts { color: var(--soft); font-size: .85rem; font-weight: 400; margin: .25rem 0; }
.mark { border: 1px solid currentColor; border-radius: .25rem; padding: 0 .4rem; font-size: .78rem; font-weight: 600;
  white-space: nowrap; }
.passed { color: var(--passed); } .failed { color: var(--failed); } .not_run { color: var(--not_run); }
dl { margin: 0 0 .75rem; } dt { color: var(--soft); font-size: .85rem; } dd { margin: 0 0 .4rem; }
summary { cursor: pointer; color: var(--soft); }
ul { list-style: none; margin: .5rem 0 0; padding: 0; }
li { border-top: 1px solid var(--line); padding: .5rem 0; overflow-wrap: anywhere; }
li p { margin: .2rem 0 0; color: var(--soft); font-size: .9rem; }
"""
