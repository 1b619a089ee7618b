"""The configuration of a live executor: one TOML file, checked whole before anything starts.

Every key is listed below with its meaning and unit; an unknown key, a wrong type or an impossible value is refused
with its place in the file and what was expected. The file holds no secret: it says where the key is.
"""

from __future__ import annotations

import os
import re
import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from adapters.hyperliquid.signing import Network, Signer
from adapters.journal import Durability, JournalMisused, Retention
from adapters.keys import is_key, key_from_env, key_from_file
from machines.batch import QueueLimits
from machines.inflight import HIGH_WATERMARK, VENUE_LIMIT
from machines.post import QUARANTINE_MS, TIMEOUT_MS, TIMEOUT_RANGE_MS
from machines.rate_limit import MESSAGES_PER_MINUTE
from machines.settings import SCHEDULE_CANCEL_LEAST_MS, SETTLEMENT_ALARM_MS, CoreSettings

_ENDPOINTS: Final[dict[Network, tuple[str, str]]] = {
    "mainnet": ("wss://api.hyperliquid.xyz/ws", "https://api.hyperliquid.xyz"),
    "testnet": ("wss://api.hyperliquid-testnet.xyz/ws", "https://api.hyperliquid-testnet.xyz"),
}
"""The venue's own addresses (protocol.md §1)."""
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")

Positive = Annotated[int, Meta(ge=1)]


class ConfigError(Exception):
    """The configuration can't be used; the message names the file, the key, and what was expected."""


class KeySource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the signing key is; exactly one of the two.

    Attributes:
        env: Name of an environment variable.
        file: Path of a file with mode 0600.
    """

    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise ConfigError("key: expected exactly one of `env` (a variable's name) and `file` (a path)")
        if is_key(self.env or self.file or ""):
            raise ConfigError("key: expected the place of the key, not the key itself; take it out of this file")

    def load(self) -> Signer:
        """Read the key.

        Raises:
            KeyUnusable: It is missing, malformed, or readable by others.
        """
        return key_from_env(self.env) if self.env is not None else key_from_file(Path(self.file or "").expanduser())


class Queues(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sizes of the queues, and of a batch, in items (finding B3)."""

    cancel: Positive = 200
    reduce_only: Positive = 500
    new_order: Positive = 1_000
    batch: Positive = 50


class JournalTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the journal is and how it is kept (docs/journal.md).

    Attributes:
        file: Its path; by default one for each network and signer, in the user's folder for state.
        durability: `normal` survives the end of the process, `full` the end of the operating system too.
        keep: How much history is kept.
    """

    file: str | None = None
    durability: Durability = "normal"
    keep: Retention = Retention()

    def path(self, network: Network, signer: str) -> Path:
        """The file; the default's folder is made when it is missing."""
        if self.file is not None:
            return Path(self.file).expanduser()
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        folder = Path(state).expanduser() / "hip3"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f"{network}-{signer}.journal"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set.

    Attributes:
        network: Which signatures the venue expects: `mainnet`, `testnet`, or `local` for the local venue.
        account: The account that trades (master, sub-account or vault); queries ask for it, never for the API wallet.
        key: Where the key of the signer, usually an API wallet, is.
        ws_url: WebSocket address; the network's own by default.
        http_url: HTTP address, without path; the network's own by default.
        vault_address: The vault or sub-account on whose behalf the signer acts, then the same as `account`; none by
            default.
        tick_ms: Least time between two posts, ms; 0 sends as fast as posts are answered.
        post_timeout_ms: How long a post may wait for its reply, 3 000 to 5 000 ms.
        expires_after_ms: How long after it was sent the venue may still take an order, ms; 0 for ever. By default a
            second longer than its reply is waited for. An order that the venue refuses for its age costs 5 actions of
            the address budget (protocol.md §3).
        quarantine_ms: How long an unanswered post is assumed to count at the venue, ms.
        settlement_alarm_ms: How long the fate of an order may stay unknown before it is an alarm, ms.
        schedule_cancel_ms: The dead-man's switch, at least 20 000 ms; none by default. The venue cancels all orders of
            the account unless the executor puts that off, which it does every half of this time while it is ready and
            not halted. Each time costs an action of the address budget; the venue wants 1 M USD traded before it
            takes it (protocol.md §6). A shutdown does not take it back.
        inflight_limit: The most posts in flight; the venue allows 100 an IP address.
        high_watermark: Posts in flight from which new orders wait.
        messages_per_minute: The most messages in any 60 s; the venue allows 2 000 an IP address.
        rejections_to_halt: Posts rejected in a row, for reasons that are not benign, that trip the hard stop.
        queues: Sizes of queues and batches.
        slippage: The most that a flattening order may give up against the mid price, as a fraction of it.
        silence_ms: A connection on which nothing arrives for this long is replaced; asked for life at half of it.
        journal: Where everything is written down before it takes effect, and how long it is kept.
        control_socket: Path of a Unix socket to take commands on; none by default: standard input is read.
        drain_ms: How long a shutdown waits for queued cancels and reduce-only orders and for open posts.
    """

    network: Literal["mainnet", "testnet", "local"]
    account: str
    key: KeySource
    ws_url: str | None = None
    http_url: str | None = None
    vault_address: str | None = None
    tick_ms: Annotated[int, Meta(ge=0, le=10_000)] = 100
    post_timeout_ms: Annotated[int, Meta(ge=TIMEOUT_RANGE_MS[0], le=TIMEOUT_RANGE_MS[1])] = TIMEOUT_MS
    expires_after_ms: Annotated[int, Meta(ge=0)] | None = None
    quarantine_ms: Annotated[int, Meta(ge=0)] = QUARANTINE_MS
    settlement_alarm_ms: Positive = SETTLEMENT_ALARM_MS
    schedule_cancel_ms: Annotated[int, Meta(ge=SCHEDULE_CANCEL_LEAST_MS)] | None = None
    inflight_limit: Positive = VENUE_LIMIT
    high_watermark: Positive = HIGH_WATERMARK
    messages_per_minute: Positive = MESSAGES_PER_MINUTE
    rejections_to_halt: Positive = 5
    queues: Queues = Queues()
    slippage: str = "0.05"
    silence_ms: Annotated[int, Meta(ge=1_000, le=60_000)] = 30_000
    journal: JournalTerms = JournalTerms()
    control_socket: str | None = None
    drain_ms: Annotated[int, Meta(ge=0)] = 10_000

    def __post_init__(self) -> None:
        # The venue wants addresses in lower case (protocol.md §2); wallets show them in mixed case.
        msgspec.structs.force_setattr(self, "account", _address("account", self.account))
        if self.vault_address is not None:
            msgspec.structs.force_setattr(self, "vault_address", _address("vault_address", self.vault_address))
            if self.vault_address != self.account:
                raise ConfigError(
                    f"account: expected {self.vault_address}, the vault_address, because that is what trades; got "
                    f"{self.account}"
                )
        if self.network == "local" and (self.ws_url is None or self.http_url is None):
            raise ConfigError('network = "local" needs `ws_url` and `http_url`; `hip3 venue` prints both')
        _check_url("ws_url", self.ws_url, ("ws", "wss"))
        _check_url("http_url", self.http_url, ("http", "https"))
        if self.high_watermark > self.inflight_limit:
            raise ConfigError(
                f"high_watermark: expected at most inflight_limit, {self.inflight_limit}; got {self.high_watermark}"
            )
        _check_slippage(self.slippage)

    def core_settings(self) -> CoreSettings:
        """The part that the core wants."""
        life = self.post_timeout_ms + 1_000 if self.expires_after_ms is None else self.expires_after_ms
        return CoreSettings(
            inflight_limit=self.inflight_limit,
            high_watermark=self.high_watermark,
            post_timeout_ms=self.post_timeout_ms,
            expires_after_ms=life or None,
            quarantine_ms=self.quarantine_ms,
            settlement_alarm_ms=self.settlement_alarm_ms,
            schedule_cancel_ms=self.schedule_cancel_ms,
            messages_per_minute=self.messages_per_minute,
            rejections_to_halt=self.rejections_to_halt,
            queues=QueueLimits(**msgspec.structs.asdict(self.queues)),
        )

    @property
    def endpoints(self) -> tuple[str, str]:
        """The WebSocket and the HTTP address."""
        ws_url, http_url = _ENDPOINTS.get(self.network, ("", ""))
        return self.ws_url or ws_url, self.http_url or http_url


def load_config(path: Path) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: It can't be read, is no TOML, or holds a wrong key or value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from None
    try:
        return msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_readable(str(error))}") from None
    except (ConfigError, JournalMisused) as error:
        raise ConfigError(f"{path}: {error}") from None


def _address(key: str, text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ConfigError(f"{key}: expected an address, 0x and 40 hex digits")  # not repeated: it may be the key
    return text.lower()


def _check_url(key: str, url: str | None, schemes: tuple[str, str]) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no port
        usable = False
    if not usable:
        raise ConfigError(f"{key}: expected an address such as {schemes[0]}://127.0.0.1:8645, got {url!r}")


def _check_slippage(text: str) -> None:
    try:
        usable = 0 <= Decimal(text) < 1
    except InvalidOperation:
        usable = False
    if not usable:
        raise ConfigError(f'slippage: expected a fraction from 0 to below 1, such as "0.05"; got {text!r}')


def _readable(message: str) -> str:
    """msgspec's sentence with the key's path first: `queues.cancel: expected …`."""
    text, _, place = message.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    return f"{key}: {text}" if key else text
