"""Any value in an error message, in few characters: what was wrong came from a user or a peer, and may be huge."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

_LENGTH: Final = 80
_BITS: Final = 128


def shown(value: object) -> str:
    """The value itself where it has a short form, else its kind; a number of thousands of digits has no text form."""
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, (str, int, float, Decimal)):
        return repr(value)[:_LENGTH]
    return f"a {type(value).__name__}"
