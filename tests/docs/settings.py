"""The table of settings in docs/operators.md, from the configuration's own classes.

`python -m tests.docs.settings` writes it; a test compares.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.config import Config

DOCUMENT: Final = Path(__file__).parents[2] / "docs/operators.md"
_BEGIN: Final = "<!-- settings: written by python -m tests.docs.settings -->\n"
_END: Final = "<!-- end of settings -->"
_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", re.MULTILINE | re.DOTALL)


def rows(kind: type[Any], prefix: str = "", meaning: str = "") -> Iterator[str]:
    """One table row a setting, those of a nested table after it."""
    told, _, attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    meanings = {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(attributes)}
    for field in msgspec.structs.fields(kind):
        text = meanings.get(field.name) or meaning or told.strip()
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from rows(field.type, f"{prefix}{field.name}.", text)
        else:
            yield f"| `{prefix}{field.name}` | {_default(field)} | {text} |"


def written(document: str) -> str:
    """The document with the table as it has to be."""
    before, _, rest = document.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    table = "\n".join(["| key | default | meaning |", "|---|---|---|", *rows(Config)])
    return f"{before}{_BEGIN}{table}\n\n{_END}{after}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is msgspec.NODEFAULT:
        return "required"
    return "" if field.default is None else f"`{msgspec.json.encode(field.default).decode()}`"


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
