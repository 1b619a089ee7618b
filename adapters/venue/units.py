"""Exact numbers: prices, sizes and money as scaled integers, decimal text on the wire.

A price is an integer count of its market's smallest price step, a size one of its smallest lot, and money one of
`USD` units. With the decimals of protocol.md §7, price step x lot is a whole number of money units, so that nothing
the venue computes is ever rounded.
"""

from __future__ import annotations

from typing import Final

USD: Final = 10**8
"""Money units in one USDC."""

USD_DECIMALS: Final = 8

# Longer numbers than any market can have; bounds the work that a peer's text can cause.
_MAX_DIGITS: Final = 30

POWERS: Final[tuple[int, ...]] = tuple(10**exponent for exponent in range(_MAX_DIGITS + 1))
"""Powers of ten."""


def parse_units(text: str, decimals: int) -> int | None:
    """The scaled integer of a decimal text, or None if the text is not in canonical form or does not fit.

    Canonical means: digits, at most one point with digits on both sides, no sign, no exponent, no leading zero
    before another digit, no trailing zero after the point (protocol.md §7); at most `decimals` digits after it.
    """
    if len(text) > _MAX_DIGITS or not text.isascii():
        return None
    whole, point, fraction = text.partition(".")
    if not whole.isdigit() or (whole[0] == "0" and len(whole) > 1):
        return None
    if not point:
        return int(whole) * POWERS[decimals]
    if not fraction.isdigit() or fraction[-1] == "0" or len(fraction) > decimals:
        return None
    return int(whole + fraction) * POWERS[decimals - len(fraction)]


def significant_figures(text: str) -> int:
    """Significant figures of a canonical decimal text; integers count as none, as they are always legal (§7)."""
    whole, point, fraction = text.partition(".")
    return len((whole + fraction).lstrip("0")) if point else 0


def format_units(value: int, decimals: int) -> str:
    """The decimal text of a scaled integer in the form that the venue sends: always with a point (`"30000.0"`)."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    if not decimals:
        return f"{sign}{value}.0"
    whole, rest = divmod(value, POWERS[decimals])
    fraction = f"{rest:0{decimals}d}".rstrip("0") or "0"
    return f"{sign}{whole}.{fraction}"


def format_average(total: int, size: int, decimals: int) -> str:
    """The text of `total / size`, rounded half up to four more decimals than the `decimals` of a price."""
    scaled = (total * 20_000 + size) // (2 * size)
    return format_units(scaled, decimals + 4)
