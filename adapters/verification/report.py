"""The results of a verification as data and as a page.

The page needs nothing else: no network, no script. It follows the reader's light or dark setting, and is readable on a
telephone. What did not pass stands open; the many checks that passed are folded away.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from adapters.verification.level import Check, LevelResult, Status

WORDS: Final[dict[Status, str]] = {"passed": "passed", "failed": "failed", "not_run": "not run"}
"""How a status is told."""
_SIGNS: Final[dict[Status, str]] = {"passed": "✓", "failed": "✗", "not_run": "–"}


def verdict(results: Sequence[LevelResult]) -> Status:
    """Failed if one level failed; passed if all did; else not run."""
    statuses = {result.status for result in results}
    if "failed" in statuses:
        return "failed"
    return "passed" if statuses == {"passed"} else "not_run"


def shown(result: LevelResult) -> str:
    """What the level showed in this run."""
    return result.level.shows if result.status == "passed" else "Nothing, because not all of it passed."


def counted(result: LevelResult) -> str:
    """How many checks there were, and how many of them passed if not all did."""
    passed = sum(check.status == "passed" for check in result.checks)
    total = len(result.checks)
    return str(total) if passed == total else f"{passed} of {total}"


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


def as_html(results: Sequence[LevelResult], sources: str) -> str:
    """The results as a page.

    Args:
        results: What ran.
        sources: The hash of the sources that were verified, as in the stamp.
    """
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
<title>hip3 verify: {WORDS[status]}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header>
<h1>hip3 verify</h1>
<p class="verdict">{_mark(status)} {told}</p>
<p class="facts">{now}, {seconds:.1f} s, sources {escape(sources[:12])}, Python {escape(platform.python_version())}</p>
</header>
<table class="summary">
<thead>
<tr><th scope="col">Level</th><th scope="col">Status</th><th scope="col" class="number">Checks</th>{_TIME}</tr>
</thead>
<tbody>
{"".join(_row(result) for result in results)}</tbody>
</table>
{"".join(_section(result) for result in results)}
</main>
</body>
</html>
"""


def _row(result: LevelResult) -> str:
    return (
        f'<tr><th scope="row">{escape(result.level.name)}</th><td>{_mark(result.status)}</td>'
        f'<td class="number">{counted(result)}</td><td class="number">{result.seconds:.1f} s</td></tr>\n'
    )


def _section(result: LevelResult) -> str:
    passed = [check for check in result.checks if check.status == "passed"]
    others = [check for check in result.checks if check.status != "passed"]
    return f"""<section>
<h2>{escape(result.level.name)} {_mark(result.status)}</h2>
<dl>
<dt>Shows</dt><dd>{escape(shown(result))}</dd>
<dt>Does not show</dt><dd>{escape(result.level.does_not_show)}</dd>
</dl>
{_open(others)}{_folded(passed)}</section>
"""


def _open(checks: Sequence[Check]) -> str:
    """Checks that the reader has to see: a counterexample keeps its lines."""
    return "".join(
        f"<h3>{_mark(check.status)} {_name(check)}</h3>\n<pre>{escape(check.detail)}</pre>\n" for check in checks
    )


def _folded(checks: Sequence[Check]) -> str:
    """Checks that passed, a row each."""
    if not checks:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_name(check)}</th><td>{escape(check.detail)}</td>'
        f'<td class="number">{check.seconds:.2f} s</td></tr>\n'
        for check in checks
    )
    return f"""<details>
<summary>{len(checks)} passed</summary>
<table class="checks">
<thead><tr><th scope="col">Check</th><th scope="col">What was seen</th>{_TIME}</tr></thead>
<tbody>
{rows}</tbody>
</table>
</details>
"""


def _name(check: Check) -> str:
    """Names of mutants are long: on a telephone they may break between their words."""
    return escape(check.name).replace("_", "_<wbr>")


def _mark(status: Status) -> str:
    """A status as sign, word and colour: it can be told without any two of them."""
    return f'<span class="mark {status}"><span aria-hidden="true">{_SIGNS[status]}</span> {WORDS[status]}</span>'


_TIME: Final = '<th scope="col" class="number">Time</th>'
_STYLE: Final = """
:root { color-scheme: light dark; --page: #fbfbf9; --text: #1c1e21; --soft: #5c636b; --line: #dfe1e4; --box: #f1f1ee;
  --passed: #17683a; --failed: #a8201a; --not_run: #7a5600; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --text: #e6e7e9; --soft: #9aa1a9; --line: #31363c;
  --box: #1d2024; --passed: #6fce95; --failed: #ff8a80; --not_run: #e5b94e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
h3 { font-size: 1rem; margin: 1rem 0 .35rem; }
section { border-top: 1px solid var(--line); padding: 1.25rem 0; }
.verdict { margin: 0; font-weight: 600; }
.facts { color: var(--soft); font-size: .85rem; margin: .25rem 0 1rem; }
.mark { border: 1px solid currentColor; border-radius: .25rem; padding: 0 .4rem; font-size: .78rem; font-weight: 600;
  white-space: nowrap; }
.passed { color: var(--passed); } .failed { color: var(--failed); } .not_run { color: var(--not_run); }
dl { margin: 0 0 .75rem; } dt { color: var(--soft); font-size: .85rem; } dd { margin: 0 0 .4rem; }
pre { background: var(--box); border-left: 3px solid var(--line); margin: 0 0 1rem; padding: .6rem .75rem;
  font: .85rem/1.45 ui-monospace, monospace; white-space: pre-wrap; }
summary { cursor: pointer; color: var(--soft); }
table { border-collapse: collapse; width: 100%; }
th, td { border-top: 1px solid var(--line); padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-top: 0; color: var(--soft); font-size: .85rem; font-weight: 400; }
tbody th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.summary { max-width: 28rem; margin-bottom: 1.5rem; }
.checks { margin-top: .5rem; font-size: .9rem; } .checks td { color: var(--soft); }
.checks th:first-child { width: 40%; }
@media (max-width: 40rem) {
  .checks thead { position: absolute; left: -99rem; }
  .checks tr { display: grid; grid-template-columns: 1fr auto; border-top: 1px solid var(--line); padding: .35rem 0; }
  .checks th, .checks td, .checks th:first-child { border: 0; padding: 0; width: auto; }
  .checks td:nth-child(2) { grid-area: 2 / 1 / 3 / 3; }
  .checks .number { padding-left: .75rem; }
}
"""
