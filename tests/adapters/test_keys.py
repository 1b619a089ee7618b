"""The signing key: every way in which it can't be used has its own error, and none of them shows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.hyperliquid.signing import Signer
from adapters.keys import KeyExposed, KeyMalformed, KeyMissing, KeyUnusable, key_from_env, key_from_file

KEY = "7f" * 32
ADDRESS = Signer(KEY).address
ORDER_OF_SECP256K1 = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "key.txt"
    file.touch(mode=0o600)
    return file


@pytest.mark.parametrize("text", [KEY, "0x" + KEY, KEY.upper(), f"  0x{KEY}\n"])
def test_a_key_in_the_environment_and_in_a_file(path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HIP3_KEY", text)
    path.write_text(text, encoding="ascii")
    assert key_from_env("HIP3_KEY").address == ADDRESS
    assert key_from_env("OTHER", {"OTHER": text}).address == ADDRESS
    assert key_from_file(path).address == ADDRESS


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_taken(path: Path, mode: int) -> None:
    path.write_text(KEY, encoding="ascii")
    path.chmod(mode)
    assert key_from_file(path).address == ADDRESS


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_file_that_others_can_reach_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    path.write_text(KEY, encoding="ascii")
    path.chmod(mode)
    with pytest.raises(KeyExposed) as caught:
        key_from_file(path)
    assert f"mode {mode:04o}" in str(caught.value)
    assert f"chmod 600 {path}" in str(caught.value)
    assert_hidden(caught.value)


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_no_key_in_the_environment(value: str | None) -> None:
    environment = {} if value is None else {"HIP3_KEY": value}
    with pytest.raises(KeyMissing, match="the environment variable HIP3_KEY is not set; put the private key"):
        key_from_env("HIP3_KEY", environment)


def test_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(KeyMissing, match=r"gone\.txt can't be read: No such file or directory"):
        key_from_file(tmp_path / "gone.txt")
    with pytest.raises(KeyMissing, match="can't be read: Is a directory"):
        key_from_file(tmp_path)


@pytest.mark.parametrize(
    "text", [KEY[:-1], KEY + "0", "0x" + KEY[:-2] + "zz", "twelve words of a wallet", f"{KEY} {KEY}", "\u0663" * 64]
)
def test_what_is_no_key_is_refused_and_not_repeated(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    expected = "expected 64 hex digits, with or without 0x"
    with pytest.raises(KeyMalformed, match=expected) as of_env:
        key_from_env("HIP3_KEY", {"HIP3_KEY": text})
    with pytest.raises(KeyMalformed, match=expected) as of_file:
        key_from_file(path)
    for error in (of_env.value, of_file.value):
        assert text not in str(error)
        assert_hidden(error)


@pytest.mark.parametrize("number", ["00" * 32, ORDER_OF_SECP256K1, "ff" * 32])
def test_numbers_off_the_curve_are_no_keys(path: Path, number: str) -> None:
    path.write_text(number, encoding="ascii")
    with pytest.raises(KeyMalformed, match="no private key of secp256k1") as caught:
        key_from_file(path)
    assert number not in str(caught.value)
    assert_hidden(caught.value)


def test_an_empty_file_holds_no_key(path: Path) -> None:
    with pytest.raises(KeyMalformed, match="the key file"):
        key_from_file(path)


def test_a_file_that_is_no_text(path: Path) -> None:
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(KeyMalformed):
        key_from_file(path)


def test_the_environment_is_the_process_environment_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIP3_NO_SUCH_KEY", raising=False)
    assert "HIP3_NO_SUCH_KEY" not in os.environ
    with pytest.raises(KeyMissing):
        key_from_env("HIP3_NO_SUCH_KEY")


def assert_hidden(error: KeyUnusable) -> None:
    """Neither the error nor what led to it shows the key."""
    shown: BaseException | None = error
    while shown is not None:
        assert KEY not in repr(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
