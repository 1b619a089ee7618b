"""The configuration: what is good is taken as it is meant, what is not names its key and what was expected."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.config import Config, ConfigError, JournalTerms, KeySource, load_config
from adapters.keys import KeyMissing
from machines.settings import CoreSettings

ACCOUNT = "0x" + "Ab" * 20
VAULT = "0x" + "cD" * 20
LINES: dict[str, str] = {
    "network": '"local"',
    "account": f'"{ACCOUNT}"',
    "ws_url": '"ws://127.0.0.1:8645/ws"',
    "http_url": '"http://127.0.0.1:8645"',
    "key": '{ env = "HIP3_KEY" }',
}


def written(path: Path, lines: dict[str, str | None]) -> Path:
    """A file of `key = value` lines; None leaves one out."""
    text = "\n".join(f"{key} = {value}" for key, value in lines.items() if value is not None)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "executor.toml"


def refusal(file: Path, changes: dict[str, str | None]) -> str:
    """What is said of the good file with these changes."""
    with pytest.raises(ConfigError) as caught:
        load_config(written(file, {**LINES, **changes}))
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def test_a_local_file_with_defaults(file: Path) -> None:
    config = load_config(written(file, {**LINES}))
    assert config.endpoints == ("ws://127.0.0.1:8645/ws", "http://127.0.0.1:8645")
    assert config.account == ACCOUNT.lower()
    assert config.key == KeySource(env="HIP3_KEY")
    assert config.core_settings() == CoreSettings()
    assert (config.tick_ms, config.post_timeout_ms, config.silence_ms) == (100, 5_000, 30_000)
    assert Decimal(config.slippage) == Decimal("0.05")
    assert config.vault_address is None
    assert config.control_socket is None
    assert config.journal == JournalTerms()
    assert config.journal.durability == "normal"


@pytest.mark.parametrize(
    ("network", "endpoints"),
    [
        ("mainnet", ("wss://api.hyperliquid.xyz/ws", "https://api.hyperliquid.xyz")),
        ("testnet", ("wss://api.hyperliquid-testnet.xyz/ws", "https://api.hyperliquid-testnet.xyz")),
    ],
)
def test_the_networks_of_the_venue_need_no_addresses(file: Path, network: str, endpoints: tuple[str, str]) -> None:
    config = load_config(written(file, {**LINES, "network": f'"{network}"', "ws_url": None, "http_url": None}))
    assert config.endpoints == endpoints


def test_one_address_can_be_replaced(file: Path) -> None:
    config = load_config(written(file, {**LINES, "network": '"testnet"', "http_url": None}))
    assert config.endpoints == ("ws://127.0.0.1:8645/ws", "https://api.hyperliquid-testnet.xyz")


def test_everything_set(file: Path) -> None:
    lines = {
        **LINES,
        "account": f'"{VAULT}"',
        "vault_address": f'"{VAULT}"',
        "key": '{ file = "~/key.txt" }',
        "tick_ms": "0",
        "post_timeout_ms": "3000",
        "expires_after_ms": "2500",
        "quarantine_ms": "7000",
        "settlement_alarm_ms": "9000",
        "schedule_cancel_ms": "20000",
        "journal": '{ file = "~/the.journal", durability = "full", keep = { runs = 3, days = 2 } }',
        "inflight_limit": "50",
        "high_watermark": "50",
        "messages_per_minute": "600",
        "rejections_to_halt": "2",
        "queues": "{ cancel = 1, reduce_only = 2, new_order = 3, batch = 4 }",
        "slippage": '".015"',
        "silence_ms": "1000",
        "control_socket": '"/run/hip3.sock"',
        "drain_ms": "0",
    }
    config = load_config(written(file, {**lines}))
    settings = config.core_settings()
    assert config.vault_address == config.account == VAULT.lower()  # on the wire in lower case (protocol.md §2)
    assert (settings.inflight_limit, settings.high_watermark, settings.post_timeout_ms) == (50, 50, 3_000)
    assert (settings.messages_per_minute, settings.rejections_to_halt) == (600, 2)
    assert (settings.expires_after_ms, settings.quarantine_ms, settings.settlement_alarm_ms) == (2_500, 7_000, 9_000)
    assert settings.schedule_cancel_ms == 20_000
    assert config.journal.durability == "full"
    assert (config.journal.keep.runs, config.journal.keep.days) == (3, 2)
    queues = settings.queues
    assert (queues.cancel, queues.reduce_only, queues.new_order, queues.batch) == (1, 2, 3, 4)
    assert config.control_socket == "/run/hip3.sock"


@pytest.mark.parametrize(
    ("lines", "expires"),
    [
        ({}, 6_000),
        ({"post_timeout_ms": "3000"}, 4_000),
        ({"post_timeout_ms": "3000", "expires_after_ms": "900"}, 900),
        ({"expires_after_ms": "0"}, None),
    ],
)
def test_an_order_outlives_the_wait_for_its_reply_by_a_second_unless_set(
    file: Path, lines: dict[str, str | None], expires: int | None
) -> None:
    assert load_config(written(file, {**LINES, **lines})).core_settings().expires_after_ms == expires


def test_where_the_journal_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each network and signer, in a folder of the user's own; the folder is made when it is missing."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert JournalTerms(file="~/my.journal").path("local", ACCOUNT) == tmp_path / "home" / "my.journal"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = JournalTerms().path("testnet", ACCOUNT)
    assert path == tmp_path / "state" / "hip3" / f"testnet-{ACCOUNT}.journal"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()
    monkeypatch.delenv("XDG_STATE_HOME")
    others = {JournalTerms().path(network, signer) for network in ("local", "mainnet") for signer in (ACCOUNT, VAULT)}
    assert len(others) == 4
    assert {other.parent for other in others} == {tmp_path / "home" / ".local" / "state" / "hip3"}


@pytest.mark.parametrize("key", ["network", "account", "key"])
def test_a_missing_key_is_named(file: Path, key: str) -> None:
    assert f"missing required field `{key}`" in refusal(file, {key: None})


@pytest.mark.parametrize("key", ["ws_url", "http_url"])
def test_local_needs_both_addresses(file: Path, key: str) -> None:
    message = refusal(file, {key: None})
    assert "`ws_url` and `http_url`" in message
    assert "hip3 venue" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"acount": '"0x"'}, "unknown field `acount`"),
        ({"queues": "{ cancels = 5 }"}, "queues: Object contains unknown field `cancels`"),
        ({"key": '{ env = "A", path = "b" }'}, "key: Object contains unknown field `path`"),
        ({"network": '"devnet"'}, "network: Invalid enum value 'devnet'"),
        ({"network": "3"}, "network: Expected `str`, got `int`"),
        ({"account": "12"}, "account: Expected `str`, got `int`"),
        ({"account": '"0x12"'}, "account: expected an address, 0x and 40 hex digits"),
        ({"account": f'"{ACCOUNT}\\n"'}, "account: expected an address, 0x and 40 hex digits"),
        ({"vault_address": '"none"'}, "vault_address: expected an address, 0x and 40 hex digits"),
        ({"key": '"0xabc"'}, "key: Expected `object`, got `str`"),
        ({"key": "{ env = 5 }"}, "key.env: Expected `str | null`, got `int`"),
        ({"tick_ms": '"100"'}, "tick_ms: Expected `int`, got `str`"),
        ({"tick_ms": "0.5"}, "tick_ms: Expected `int`, got `float`"),
        ({"tick_ms": "true"}, "tick_ms: Expected `int`, got `bool`"),
        ({"tick_ms": "-1"}, "tick_ms: Expected `int` >= 0"),
        ({"tick_ms": "10001"}, "tick_ms: Expected `int` <= 10000"),
        ({"post_timeout_ms": "2999"}, "post_timeout_ms: Expected `int` >= 3000"),
        ({"post_timeout_ms": "5001"}, "post_timeout_ms: Expected `int` <= 5000"),
        ({"inflight_limit": "0"}, "inflight_limit: Expected `int` >= 1"),
        ({"high_watermark": "0"}, "high_watermark: Expected `int` >= 1"),
        ({"high_watermark": "101"}, "high_watermark: expected at most inflight_limit, 100; got 101"),
        ({"inflight_limit": "50"}, "high_watermark: expected at most inflight_limit, 50; got 80"),
        ({"messages_per_minute": "0"}, "messages_per_minute: Expected `int` >= 1"),
        ({"rejections_to_halt": "0"}, "rejections_to_halt: Expected `int` >= 1"),
        ({"queues": "{ new_order = 0 }"}, "queues.new_order: Expected `int` >= 1"),
        ({"slippage": "0.05"}, "slippage: Expected `str`, got `float`"),
        ({"slippage": '"5%"'}, "slippage: expected a fraction from 0 to below 1"),
        ({"slippage": '"1"'}, "slippage: expected a fraction from 0 to below 1"),
        ({"slippage": '"-0.01"'}, "slippage: expected a fraction from 0 to below 1"),
        ({"slippage": '"nan"'}, "slippage: expected a fraction from 0 to below 1"),
        ({"silence_ms": "999"}, "silence_ms: Expected `int` >= 1000"),
        ({"silence_ms": "60001"}, "silence_ms: Expected `int` <= 60000"),
        ({"drain_ms": "-1"}, "drain_ms: Expected `int` >= 0"),
        ({"expires_after_ms": "-1"}, "expires_after_ms: Expected `int` >= 0"),
        ({"quarantine_ms": "-1"}, "quarantine_ms: Expected `int` >= 0"),
        ({"settlement_alarm_ms": "0"}, "settlement_alarm_ms: Expected `int` >= 1"),
        ({"schedule_cancel_ms": "19999"}, "schedule_cancel_ms: Expected `int` >= 20000"),
        ({"journal": '"here.journal"'}, "journal: Expected `object`, got `str`"),
        ({"journal": '{ path = "here.journal" }'}, "journal: Object contains unknown field `path`"),
        ({"journal": '{ durability = "strong" }'}, "journal.durability: Invalid enum value 'strong'"),
        ({"journal": "{ keep = { weeks = 2 } }"}, "journal.keep: Object contains unknown field `weeks`"),
        ({"journal": '{ keep = { runs = "3" } }'}, "journal.keep.runs: Expected `int`, got `str`"),
        ({"journal": "{ keep = { runs = 0 } }"}, "retention: runs must be at least 1, got 0"),
        ({"ws_url": '"http://127.0.0.1:8645/ws"'}, "ws_url: expected an address such as ws://"),
        ({"ws_url": '"ws://"'}, "ws_url: expected an address such as ws://"),
        ({"ws_url": '"ws://127.0.0.1:99999/ws"'}, "ws_url: expected an address such as ws://"),
        ({"ws_url": '"ws://127.0.0.1:0/ws"'}, "ws_url: expected an address such as ws://"),
        ({"http_url": '"127.0.0.1:8645"'}, "http_url: expected an address such as http://"),
        ({"http_url": '"ws://127.0.0.1:8645"'}, "http_url: expected an address such as http://"),
    ],
    ids=str,
)
def test_a_wrong_key_or_value_is_refused_with_its_place(
    file: Path, changes: dict[str, str | None], expected: str
) -> None:
    assert expected in refusal(file, changes)


@pytest.mark.parametrize("source", ['{ env = "A", file = "b" }', "{}"])
def test_exactly_one_source_of_the_key(file: Path, source: str) -> None:
    message = refusal(file, {"key": source})
    assert message == "key: expected exactly one of `env` (a variable's name) and `file` (a path)"


@pytest.mark.parametrize("place", ["account", "vault_address", "env", "file"])
def test_a_key_that_was_put_into_the_file_is_not_repeated(file: Path, place: str) -> None:
    secret = "7f" * 32
    changes: dict[str, str | None] = {place: f'"0x{secret}"'}
    if place in ("env", "file"):
        changes = {"key": f'{{ {place} = "0x{secret}" }}'}
    message = refusal(file, changes)
    assert message.startswith("key: expected the place of the key" if "key" in changes else f"{place}: expected")
    assert secret not in message


def test_what_trades_for_a_vault_is_the_vault(file: Path) -> None:
    """Positions are asked of `account`; were it another one, flatten would close the wrong positions."""
    message = refusal(file, {"vault_address": f'"{VAULT}"'})
    assert message.startswith(f"account: expected {VAULT.lower()}, the vault_address")


def test_no_toml(file: Path) -> None:
    file.write_text("network: local\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"executor\.toml: is no TOML: .*line 1"):
        load_config(file)


def test_no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"executor\.toml: is no TOML"):
        load_config(file)


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: can't be read: No such file"):
        load_config(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load_config(tmp_path)


def test_a_configuration_made_in_code_is_checked_too() -> None:
    good: dict[str, Any] = {"network": "testnet", "account": ACCOUNT, "key": KeySource(env="HIP3_KEY")}
    assert Config(**good).account == ACCOUNT.lower()
    with pytest.raises(ConfigError, match="high_watermark"):
        Config(**good, high_watermark=200)
    with pytest.raises(ConfigError, match="slippage"):
        Config(**good, slippage="abc")


def test_the_key_is_read_from_where_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HIP3_KEY", "11" * 32)
    path = tmp_path / "key.txt"
    path.write_text("0x" + "11" * 32 + "\n", encoding="ascii")
    path.chmod(0o600)
    by_env, by_file = KeySource(env="HIP3_KEY").load(), KeySource(file="~/key.txt").load()
    assert by_env.address == by_file.address
    with pytest.raises(KeyMissing, match=r"key file .*other\.txt"):
        KeySource(file="~/other.txt").load()
