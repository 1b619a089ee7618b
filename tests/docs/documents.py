"""The documents as data: their fenced blocks, and the commands that they name.

The rule for all of them: what a reader may type stands in an `sh` block or in inline code. Blocks are run
(test_blocks.py), and what only stands in the text is held against the commands that there are (test_commands.py).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "spec/README.md", *(ROOT / "docs").rglob("*.md"))
)
PROGRAMS: Final = ("hip3", "make", "python")
_FENCE: Final = re.compile(
    r"^(?:<!-- file: (\S+) -->\n)?(?P<indent> *)```(\w*)\n(.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_COMMENT: Final = re.compile(r"(?:^|\s+)# (?P<text>.*)$")
_INLINE: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        file: The name of the file that it is, if the document gives it one.
        language: As the fence says; empty for none.
        text: What stands between the fences.
    """

    file: str
    language: str
    text: str


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found = []
    for file, indent, language, text in _FENCE.findall(text_of(document)):
        found.append(Block(file, language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)))
    return found


def without_comment(line: str) -> tuple[str, str]:
    """A line of a shell script, and the comment at its end."""
    comment = _COMMENT.search(line)
    return (line, "") if comment is None else (line[: comment.start()].rstrip(), comment["text"])


def commands(document: str) -> Iterator[list[str]]:
    """The words of each command of ours that a document names, wherever it stands."""
    text = text_of(document)
    named = [" ".join(code.split()) for code in _INLINE.findall(_FENCE.sub("", text))]
    for block in blocks(document):
        if block.language not in ("", "sh"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            command, comment = without_comment(line)
            named.append(command)
            if comment.startswith("or: "):
                named.append(comment.removeprefix("or: ").partition(", ")[0])
    for line in named:
        if line.startswith(PROGRAMS) or re.search(rf"[|;] (?:{'|'.join(PROGRAMS)}) ", line):
            yield from _simple_commands(line)


def _simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of ours in one line, cut at pipes, redirections and the like."""
    try:
        words = list(shlex.shlex(line, posix=True, punctuation_chars=True))
    except ValueError:  # the rest of a quotation stands in other lines
        return
    command: list[str] = []
    for word in (*words, ";"):
        if set(word) <= set("();<>|&"):
            if command and command[0] in PROGRAMS:
                yield command
            command = []
        else:
            command.append(word)
