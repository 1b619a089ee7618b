"""What is made of the runs: ratios within rounds, medians over them, goals, tables and the plot."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from adapters.bench import plot, report
from adapters.bench.facts import file_system_of, gathered
from adapters.bench.goals import GOALS, Verdict, verdicts
from adapters.bench.messages import Percentiles
from adapters.bench.results import Results, results
from adapters.bench.runner import Run
from adapters.bench.scenarios import SCENARIOS
from adapters.bench.summary import Spread, ratios, rows, spread
from tests.adapters.bench.figures import FACTS, course, run, whole_benchmark


def verdict_on(name: str, runs: list[Run]) -> Verdict:
    (verdict,) = [verdict for verdict in verdicts(runs) if verdict.goal == name]
    return verdict


def latency(p50: float, p99: float) -> Percentiles:
    return Percentiles(p50, p99, p99)


def test_a_ratio_is_taken_within_a_round_and_the_median_over_the_rounds() -> None:
    runs = [
        run("flight", entry, number, orders_per_s=rate)
        for number, (floor, executor) in enumerate([(1_000, 700), (2_000, 800), (4_000, 2_400)], 1)
        for entry, rate in (("floor", floor), ("executor", executor))
    ]
    assert ratios(runs, "executor", "floor", lambda each: each.orders_per_s) == [0.7, 0.4, 0.6]
    floor, executor = rows(SCENARIOS["flight"], runs)
    assert (floor.entry, floor.rate_ratio, executor.rate_ratio) == ("floor", None, Spread(0.6, 0.4, 0.7))
    assert executor.orders_per_s == Spread(800, 700, 2_400)


def test_a_round_without_its_base_gives_no_ratio() -> None:
    runs = [run("flight", "executor", 1), run("flight", "floor", 2), run("flight", "executor", 3)]
    assert ratios(runs, "executor", "floor", lambda each: each.cpu_us) == []


def test_latencies_are_medians_too_and_the_longest_pause_is_the_longest() -> None:
    runs = [run("one", "floor", number, to_wire=latency(number, 10 * number)) for number in (1, 2, 9)]
    (row,) = rows(SCENARIOS["one"], runs)
    assert row.to_wire == latency(2, 20)
    assert (row.rounds, row.longest_pause_us, row.pauses) == (3, 200.0, 2)


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


REACHED: dict[str, Callable[[bool], list[Run]]] = {
    "1a": lambda good: [run("flight", "floor"), run("flight", "executor", orders_per_s=601 if good else 599)],
    "1b": lambda good: [
        run("flight", "official SDK", orders_per_s=100),
        run("flight", "executor", orders_per_s=601 if good else 599),
    ],
    "2": lambda good: [
        run("one", "floor", to_outcome=latency(100, 1_000)),
        run("one", "executor", to_outcome=latency(149 if good else 151, 1_000)),
    ],
    "3a": lambda good: [run("posts", "floor"), run("posts", "executor", orders_per_s=501 if good else 499)],
    "3b": lambda good: [run("posts", "official SDK"), run("posts", "executor", orders_per_s=1_501 if good else 1_499)],
    "4a": lambda good: [run("idle", "executor", to_wire=latency(299 if good else 301, 500))],
    "4b": lambda good: [run("idle", "executor", to_wire=latency(200, 999 if good else 1_001))],
    "5a": lambda good: [run("queue", "10 wait", cpu_us=100), run("queue", "10,000 wait", cpu_us=109 if good else 111)],
    "5b": lambda good: [run("million", "executor", course=course(100.0, 150.0, 109.0 if good else 111.0))],
    "6a": lambda good: [run("cancels", "executor", posts_ahead=0 if good else 1)],
    "6b": lambda good: [run("cancel", "executor", posts_ahead=0 if good else 1)],
}
"""Runs that just reach a goal, or just do not."""


def test_every_goal_is_tried() -> None:
    assert set(REACHED) == {goal.name for goal in GOALS}


@pytest.mark.parametrize("name", REACHED)
def test_a_goal_is_reached_or_not_by_the_figures_alone(name: str) -> None:
    assert verdict_on(name, REACHED[name](True)).met is True
    assert verdict_on(name, REACHED[name](False)).met is False
    assert verdict_on(name, []) == verdict_on(name, [run("late", "executor")])
    assert verdict_on(name, []).met is None


@pytest.mark.parametrize(("name", "median_counts"), [("4a", True), ("6a", False)])
def test_a_count_has_to_hold_in_every_round_and_a_time_in_the_middle_one(name: str, median_counts: bool) -> None:
    good, bad = REACHED[name](True), REACHED[name](False)
    numbered = [
        msgspec.structs.replace(each, round=number) for number, runs in enumerate((good, bad, good), 1) for each in runs
    ]
    assert verdict_on(name, numbered).met is median_counts


def test_the_executor_with_a_part_off_reaches_no_goal_for_the_executor() -> None:
    assert verdict_on("6a", [run("cancels", "floor", posts_ahead=18)]).met is None


def printed(found: Results) -> str:
    console = Console(file=StringIO(), width=200)
    for compared in found.scenarios:
        console.print(report.table(compared.title, compared.rows))
    console.print(report.course_table(found.scenarios[-1].runs[0].measures.course))
    console.print(report.goals_table(found.goals))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_tables_show_every_entry_and_every_goal_in_plain_text() -> None:
    text = printed(results(FACTS, whole_benchmark(), quick=False))
    for scenario in SCENARIOS.values():
        assert scenario.title in text
        for entry in scenario.entries:
            assert entry.name in text
    for goal in GOALS:
        assert goal.says in text
    assert "NOT MET" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (1_234.5, "1,234")]
)
def test_figures_have_the_digits_that_count(value: float, text: str) -> None:
    assert report.figure(value) == text


def test_a_spread_is_shown_where_there_is_one() -> None:
    assert report.with_spread(Spread(0.5, 0.4, 0.6)) == "0.500 (0.400–0.600)"
    assert report.with_spread(Spread(2.0, 2.0, 2.0)) == "2.00"
    assert report.with_spread(None) == ""


def test_the_plot_is_one_file_that_needs_nothing_else() -> None:
    drawn = plot.drawn(results(FACTS, whole_benchmark(), quick=True))
    elements = ET.fromstring(drawn).iter()  # noqa: S314 - it was written two lines above
    texts = [element.text or "" for element in elements if element.tag.endswith("}text")]
    for title in ("one at a time", "50 in flight: what each part costs", "orders waiting", "a long run: memory"):
        assert title in texts
    assert any("A <fast> & cheap one" in text and "and changes" in text for text in texts)
    assert any("in a hurry" in text for text in texts)
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_a_plot_of_one_scenario_has_its_charts_alone() -> None:
    drawn = plot.drawn(results(FACTS, [each for each in whole_benchmark() if each.scenario == "idle"], quick=False))
    assert drawn.count('class="head"') == 2  # the title of the file, and of the chart
    assert "floor, p99" in drawn


def test_the_price_of_a_part_that_noise_made_negative_is_drawn_and_told() -> None:
    runs = [
        run("one", entry, cpu_us=cpu)
        for entry, cpu in (
            ("floor", 100),
            ("executor", 300),
            ("executor, no journal", 320),
            ("executor, no monitor", 290),
        )
    ]
    drawn = plot.drawn(results(FACTS, runs, quick=False))
    assert ">-20.0<" in drawn
    assert 'width="-' not in drawn


def test_results_survive_their_json() -> None:
    found = results(FACTS, whole_benchmark(), quick=False)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Results) == found


def test_the_facts_name_the_machine_and_the_versions() -> None:
    facts = gathered()
    assert facts.cores >= 1
    assert facts.packages["picows"][0].isdigit()
    assert facts.journal_on in facts.in_words()


def test_the_innermost_mount_says_what_a_folder_is_on(tmp_path: Path) -> None:
    mounts = ["a / ext4 rw 0 0", f"b {tmp_path.parent} tmpfs rw 0 0", "c /nowhere/else xfs rw 0 0"]
    assert file_system_of(tmp_path, mounts) == "tmpfs"
    assert file_system_of(Path("/"), mounts) == "ext4"
    assert file_system_of(tmp_path, []) == "unknown"
