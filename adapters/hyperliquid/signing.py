"""Signing of L1 actions: what makes an order ours, and what the venue checks first (protocol.md §6).

An action is hashed together with its nonce, the vault it acts for and its expiry; the hash is the `connectionId` of
an EIP-712 `Agent` struct, and the signature over that struct travels with the action. Nothing but the hash changes
from one action to the next, so the domain separator and the beginning of the struct are hashed once, at import.

There is one signing path, `Signer.sign`; `sign_l1_action` is the same thing for a caller who holds an `eth_account`
account. `recover_l1_signer` is its inverse, for the side that verifies.

The key stays inside `Signer`: its text form shows the address, and it refuses to be copied or pickled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias, TypedDict

import msgspec
from coincurve import PrivateKey, PublicKey
from sha3 import keccak_256

from adapters.hyperliquid.shown import shown

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

Network: TypeAlias = Literal["mainnet", "testnet", "local"]
"""Where the action is meant for. The local venue signs like testnet."""


class Signature(TypedDict):
    """A signature as the venue takes it: `r` and `s` as hex numbers without leading zeros, `v` 27 or 28."""

    r: str
    s: str
    v: int


class SigningError(ValueError):
    """Base of the errors of this module."""


class MalformedKey(SigningError):
    """What was given is no private key; the message never repeats it."""


class KeyNotExportable(SigningError, TypeError):
    """An attempt to copy or pickle a `Signer`: the key stays in the process and object that it was given to."""


class UnhashableAction(SigningError):
    """The action, nonce, vault address or expiry can't be hashed; the message says which and why."""


class MalformedSignature(SigningError):
    """No signer can be recovered from what was given; the message says why."""


_CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_HALF_ORDER: Final = _CURVE_ORDER // 2
_U64_LIMIT: Final = 1 << 64
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_SCALAR: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")


def keccak(data: bytes) -> bytes:
    """The Keccak-256 hash that Ethereum uses, 32 bytes."""
    digest: bytes = keccak_256(data).digest()
    return digest


_DOMAIN_SEPARATOR: Final = keccak(
    keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    + keccak(b"Exchange")
    + keccak(b"1")
    + (1337).to_bytes(32, "big")
    + bytes(32)
)
_DIGEST_START: Final = b"\x19\x01" + _DOMAIN_SEPARATOR
_AGENT_TYPE: Final = keccak(b"Agent(string source,bytes32 connectionId)")
_AGENT_START: Final[dict[Network, bytes]] = {
    "mainnet": _AGENT_TYPE + keccak(b"a"),
    "testnet": _AGENT_TYPE + keccak(b"b"),
    "local": _AGENT_TYPE + keccak(b"b"),
}
# Writes the same bytes as the `msgpack` package that the official SDK hashes with; a test compares the two.
_PACK: Final = msgspec.msgpack.Encoder().encode


def action_hash(
    action: Mapping[str, Any], nonce: int, *, vault_address: str | None = None, expires_after: int | None = None
) -> bytes:
    """The hash of an action with everything that its signature covers (protocol.md §6).

    Args:
        action: The action; the order of its fields is part of the hash.
        nonce: Unix ms (protocol.md §4).
        vault_address: The vault or sub-account that the signer acts for, `0x` and 40 hex digits.
        expires_after: Unix ms after which the venue refuses the action (protocol.md §5).

    Returns:
        32 bytes, the `connectionId` that is signed.

    Raises:
        UnhashableAction: One of the arguments has no place in the hash.
    """
    try:
        packed = _PACK(action)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise UnhashableAction(f"the action has no msgpack form: {error}") from error
    data = packed + _u64("nonce", nonce)
    data += b"\x00" if vault_address is None else b"\x01" + _address_bytes("vault_address", vault_address)
    if expires_after is not None:
        data += b"\x00" + _u64("expires_after", expires_after)
    return keccak(data)


class Signer:
    """Signs L1 actions with one private key, fast enough for the moment before a frame is written.

    Args:
        private_key: 32 bytes, or 64 hex digits with or without `0x`.

    Attributes:
        address: The address that the key belongs to, lower-case with `0x`.

    Raises:
        MalformedKey: `private_key` is neither, or not a number that secp256k1 takes.
    """

    __slots__ = ("_key", "address")

    def __init__(self, private_key: bytes | str) -> None:
        self._key: Final = _private_key(private_key)
        self.address: Final = _address_of(self._key.public_key)

    def sign(
        self,
        action: Mapping[str, Any],
        nonce: int,
        *,
        network: Network,
        vault_address: str | None = None,
        expires_after: int | None = None,
    ) -> Signature:
        """Sign an action; arguments as in `action_hash`, `network` as in `Network`.

        Raises:
            UnhashableAction: One of the arguments has no place in the hash.
        """
        connection_id = action_hash(action, nonce, vault_address=vault_address, expires_after=expires_after)
        compact = self._key.sign_recoverable(_digest(connection_id, network), hasher=None)
        return {
            "r": hex(int.from_bytes(compact[:32], "big")),
            "s": hex(int.from_bytes(compact[32:64], "big")),
            "v": 27 + compact[64],
        }

    def __repr__(self) -> str:
        """The address; never the key."""
        return f"Signer({self.address})"

    def __reduce__(self) -> NoReturn:
        """Refuse: `copy` and `pickle` come here.

        Raises:
            KeyNotExportable: Always.
        """
        raise KeyNotExportable(f"{self!r} holds a private key and can be neither copied nor pickled")


def sign_l1_action(
    account: LocalAccount,
    action: Mapping[str, Any],
    nonce: int,
    *,
    network: Network,
    vault_address: str | None = None,
    expires_after: int | None = None,
) -> Signature:
    """Sign one action with an `eth_account` account; whoever signs many keeps a `Signer`.

    Raises:
        UnhashableAction: One of the arguments has no place in the hash.
    """
    return Signer(bytes(account.key)).sign(
        action, nonce, network=network, vault_address=vault_address, expires_after=expires_after
    )


def recover_l1_signer(
    action: Mapping[str, Any],
    nonce: int,
    signature: Mapping[str, Any],
    *,
    network: Network,
    vault_address: str | None = None,
    expires_after: int | None = None,
) -> str:
    """The address that signed an action, lower-case with `0x`.

    Any well-formed signature leads to *some* address: one made for another action, nonce or network leads to an
    address that nobody knows, which is how the venue tells (protocol.md §9, `User or API Wallet … does not exist`).
    The upper half of `s` is refused (every library signs with the lower one), so that a signature has one form only;
    what the venue does with the upper half is not established.

    Raises:
        MalformedSignature: The arguments come from a peer and anything in them may be wrong: types, ranges, an
            action that can't be hashed, a point that is not on the curve.
    """
    try:
        connection_id = action_hash(action, nonce, vault_address=vault_address, expires_after=expires_after)
    except UnhashableAction as error:
        raise MalformedSignature(str(error)) from error
    if not isinstance(signature, Mapping):
        raise MalformedSignature(f"a signature is an object with r, s and v, not {shown(signature)}")
    r = _scalar(signature, "r", _CURVE_ORDER - 1)
    s = _scalar(signature, "s", _HALF_ORDER)
    v = signature.get("v")
    if type(v) is not int or v not in (27, 28):
        raise MalformedSignature(f"v must be the number 27 or 28, not {shown(v)}")
    compact = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((v - 27,))
    try:
        key = PublicKey.from_signature_and_message(compact, _digest(connection_id, network), hasher=None)
    except ValueError as error:
        raise MalformedSignature("no public key belongs to this r and s") from error
    return _address_of(key)


def _digest(connection_id: bytes, network: Network) -> bytes:
    """The EIP-712 hash that is signed."""
    return keccak(_DIGEST_START + keccak(_AGENT_START[network] + connection_id))


def _private_key(text: bytes | str) -> PrivateKey:
    """The key object. The error is raised outside `except`, as no chained one may show the rejected text."""
    try:
        secret = bytes.fromhex(text.removeprefix("0x")) if isinstance(text, str) else text
        if len(secret) == 32:  # coincurve would pad a shorter one
            return PrivateKey(secret)
    except (TypeError, ValueError):
        pass
    raise MalformedKey("a private key is 32 bytes or 64 hex digits, from 1 to the order of secp256k1")


def _address_of(key: PublicKey) -> str:
    return "0x" + keccak(key.format(compressed=False)[1:])[-20:].hex()


def _address_bytes(name: str, value: object) -> bytes:
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise UnhashableAction(f"{name} must be 0x and 40 hex digits, not {shown(value)}")
    return bytes.fromhex(value[2:])


def _u64(name: str, value: int) -> bytes:
    if type(value) is not int or not 0 <= value < _U64_LIMIT:
        raise UnhashableAction(f"{name} must be an integer from 0 to 2**64 - 1, not {shown(value)}")
    return value.to_bytes(8, "big")


def _scalar(signature: Mapping[str, Any], name: str, highest: int) -> int:
    text = signature.get(name)
    if not isinstance(text, str) or not _SCALAR.fullmatch(text):
        raise MalformedSignature(f"{name} must be 0x and 1 to 64 hex digits, not {shown(text)}")
    value = int(text, 16)
    if not 1 <= value <= highest:
        raise MalformedSignature(f"{name} must be from 1 to {highest:#x}, not {text}")
    return value
