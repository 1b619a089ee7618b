from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.venue.units import format_average, format_units, parse_units, significant_figures


@given(st.integers(0, 10**14), st.integers(0, 8))
def test_what_is_written_reads_back(value: int, decimals: int) -> None:
    text = format_units(value, decimals)
    assert Decimal(text) == Decimal(value).scaleb(-decimals)
    assert parse_units(text.removesuffix(".0"), decimals) == value


@given(st.integers(-(10**14), -1), st.integers(0, 8))
def test_negative_numbers_are_written_with_a_sign(value: int, decimals: int) -> None:
    assert Decimal(format_units(value, decimals)) == Decimal(value).scaleb(-decimals)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".5",
        "01",
        "1.50",
        "1.0",
        "-1",
        "+1",
        "1e3",
        " 1",
        "1 ",
        "1_0",
        "NaN",
        "²",
        "١",
        "1.1.1",
        "9" * 31,
    ],
)
def test_text_that_is_not_canonical_is_refused(text: str) -> None:
    assert parse_units(text, 4) is None


@given(st.text(max_size=40), st.integers(0, 8))
@example("1٣", 2)
def test_no_text_breaks_the_parser_and_what_it_takes_is_that_number(text: str, decimals: int) -> None:
    value = parse_units(text, decimals)
    if value is not None:
        assert value == Decimal(text).scaleb(decimals)


def test_more_decimals_than_allowed_are_refused() -> None:
    assert parse_units("0.123", 3) == 123
    assert parse_units("0.1234", 3) is None


@pytest.mark.parametrize(
    ("text", "figures"), [("123456", 0), ("1234.5", 5), ("0.0012345", 5), ("1234.56", 6), ("100.01", 5), ("0.1", 1)]
)
def test_significant_figures_of_prices_integers_always_pass(text: str, figures: int) -> None:
    assert significant_figures(text) == figures


@given(st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 10**6)), min_size=1, max_size=5))
def test_average_price_is_the_weighted_mean(fills: list[tuple[int, int]]) -> None:
    total, size = sum(px * lots for px, lots in fills), sum(lots for _, lots in fills)
    exact = (Decimal(total) / Decimal(size)).scaleb(-2)
    shown = Decimal(format_average(total, size, 2))
    assert abs(shown - exact) <= Decimal("0.0000005")
    assert min(px for px, _ in fills) <= shown.scaleb(2) <= max(px for px, _ in fills)


def test_average_is_rounded_half_up() -> None:
    assert Decimal(format_average(1, 3, 0)) == (Decimal(1) / 3).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    assert format_average(200, 2, 1) == "10.0"
