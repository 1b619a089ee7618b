"""The signing key: read from an environment variable or from a file that only its owner can read.

It is never taken from the command line, where every user of the machine could see it, and never logged.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from adapters.hyperliquid.signing import Signer

_KEY: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")


class KeyUnusable(Exception):
    """The signing key can't be had; the message says why and what to do, and never shows the key."""


class KeyMissing(KeyUnusable):
    """No key where the configuration says that it is."""


class KeyMalformed(KeyUnusable):
    """What is there is no private key."""


class KeyExposed(KeyUnusable):
    """The key file can be read by others than its owner."""


def is_key(text: str) -> bool:
    """Whether this is a private key, or looks like one."""
    return _KEY.fullmatch(text.strip()) is not None


def key_from_env(name: str, environment: Mapping[str, str] | None = None) -> Signer:
    """The key in environment variable `name`.

    Raises:
        KeyMissing: The variable is not set, or empty.
        KeyMalformed: Its value is no private key.
    """
    value = (os.environ if environment is None else environment).get(name, "").strip()
    if not value:
        raise KeyMissing(f"the environment variable {name} is not set; put the private key of the API wallet into it")
    return _signer(value, f"the environment variable {name}")


def key_from_file(path: Path) -> Signer:
    """The key in the file `path`, which must have mode 0600 or stricter.

    Raises:
        KeyMissing: There is no such file, or it can't be read.
        KeyExposed: Others than the owner can read or write it.
        KeyMalformed: Its content is no private key.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyExposed(f"{path} has mode {mode:04o}: others can reach the key; run: chmod 600 {path}")
            value = file.read(200).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise KeyMissing(f"the key file {path} can't be read: {error.strerror}") from None
    return _signer(value, f"the key file {path}")


def _signer(value: str, where: str) -> Signer:
    if not is_key(value):
        raise KeyMalformed(f"{where} does not hold a private key: expected 64 hex digits, with or without 0x")
    try:
        return Signer(value)
    except ValueError:
        raise KeyMalformed(f"{where} holds 64 hex digits that are no private key of secp256k1") from None
