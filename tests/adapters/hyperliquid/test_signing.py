"""Signing against the official SDK: its recorded results, and itself on generated actions."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pathlib import Path
from typing import Any, get_args

import pytest
from eth_account import Account
from hyperliquid.utils import signing as sdk
from hypothesis import given
from hypothesis import strategies as st

from adapters.hyperliquid.signing import (
    KeyNotExportable,
    MalformedKey,
    MalformedSignature,
    Network,
    Signer,
    UnhashableAction,
    action_hash,
    recover_l1_signer,
    sign_l1_action,
)
from tests.adapters.hyperliquid.samples import ACTIONS, ADDRESSES, JSON_VALUES, NONCES, PRIVATE_KEYS, U64

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "l1_signing.json").read_text(encoding="utf-8")
)["vectors"]
KEY = bytes(range(1, 33))
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
NOOP = {"type": "noop"}
NONCE = 1_700_000_000_000

networks = st.sampled_from(get_args(Network))
optional_vaults = st.none() | ADDRESSES
optional_expiries = st.none() | U64


# --- the recorded results -----------------------------------------------------------------------------------------


def test_the_recorded_results_cover_what_the_signature_depends_on() -> None:
    assert len(VECTORS) == 48
    kinds = {vector["action"]["type"] for vector in VECTORS}
    assert kinds >= {"order", "cancel", "cancelByCloid", "modify", "batchModify", "scheduleCancel", "noop"}
    for field in ("vault_address", "expires_after"):
        assert len({vector[field] is None for vector in VECTORS}) == 2
    assert {vector["network"] for vector in VECTORS} == {"mainnet", "testnet"}
    # Some r or s begins with a zero digit, which the venue's form leaves out.
    assert any(len(vector["signature"][part]) < 66 for vector in VECTORS for part in "rs")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['action']['type']}-{vector['nonce']}")
def test_recorded_result(vector: dict[str, Any]) -> None:
    action, nonce, network = vector["action"], vector["nonce"], vector["network"]
    covered = {"vault_address": vector["vault_address"], "expires_after": vector["expires_after"]}
    signer = Signer(vector["private_key"])

    assert "0x" + action_hash(action, nonce, **covered).hex() == vector["action_hash"]
    assert signer.sign(action, nonce, network=network, **covered) == vector["signature"]
    account = Account.from_key(vector["private_key"])
    assert sign_l1_action(account, action, nonce, network=network, **covered) == vector["signature"]
    assert signer.address == vector["signer"]
    assert recover_l1_signer(action, nonce, vector["signature"], network=network, **covered) == vector["signer"]


# --- generated actions --------------------------------------------------------------------------------------------


@given(PRIVATE_KEYS, ACTIONS, NONCES, networks, optional_vaults, optional_expiries)
def test_signs_like_the_official_sdk(
    key: bytes, action: dict[str, Any], nonce: int, network: Network, vault: str | None, expiry: int | None
) -> None:
    account = Account.from_key(key)
    assert action_hash(action, nonce, vault_address=vault, expires_after=expiry) == sdk.action_hash(
        action, vault, nonce, expiry
    )
    ours = Signer(key).sign(action, nonce, network=network, vault_address=vault, expires_after=expiry)
    assert ours == sdk.sign_l1_action(account, action, vault, nonce, expiry, network == "mainnet")
    assert ours == sign_l1_action(account, action, nonce, network=network, vault_address=vault, expires_after=expiry)


@given(PRIVATE_KEYS, ACTIONS, NONCES, networks, optional_vaults, optional_expiries)
def test_recovers_who_signed(
    key: bytes, action: dict[str, Any], nonce: int, network: Network, vault: str | None, expiry: int | None
) -> None:
    signer = Signer(key)
    signature = signer.sign(action, nonce, network=network, vault_address=vault, expires_after=expiry)
    # The action as the venue sees it: it went through JSON.
    received = json.loads(json.dumps(action))
    found = recover_l1_signer(received, nonce, signature, network=network, vault_address=vault, expires_after=expiry)
    assert found == signer.address == Account.from_key(key).address.lower()


@given(ACTIONS, NONCES, ADDRESSES, U64)
def test_the_signature_covers_everything(action: dict[str, Any], nonce: int, vault: str, expiry: int) -> None:
    signer = Signer(KEY)
    signature = signer.sign(action, nonce, network="mainnet", vault_address=vault, expires_after=expiry)
    other_vault = "0x" + ("1" if vault[2] == "0" else "0") + vault[3:]
    changes: list[dict[str, Any]] = [
        {"action": {**action, "extra": 1}},
        {"nonce": nonce ^ 1},
        {"network": "testnet"},
        {"vault_address": None},
        {"vault_address": other_vault},
        {"expires_after": None},
        {"expires_after": expiry ^ 1},
    ]
    for change in changes:
        arguments: dict[str, Any] = {
            "action": action,
            "nonce": nonce,
            "network": "mainnet",
            "vault_address": vault,
            "expires_after": expiry,
        } | change
        try:
            found = recover_l1_signer(signature=signature, **arguments)
        except MalformedSignature:  # another digest may leave no key at all
            continue
        assert found != signer.address, change


def test_field_order_is_part_of_the_hash() -> None:
    assert action_hash({"a": 1, "b": 2}, NONCE) != action_hash({"b": 2, "a": 1}, NONCE)


def test_the_local_venue_signs_like_testnet() -> None:
    signer = Signer(KEY)
    testnet = signer.sign(NOOP, NONCE, network="testnet")
    assert signer.sign(NOOP, NONCE, network="local") == testnet
    assert signer.sign(NOOP, NONCE, network="mainnet") != testnet


# --- what can't be hashed or recovered ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"nonce": -1}, "nonce"),
        ({"nonce": 2**64}, "nonce"),
        ({"nonce": 10**5000}, "nonce"),
        ({"nonce": True}, "nonce"),
        ({"nonce": 1.0}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"expires_after": -1}, "expires_after"),
        ({"expires_after": "1"}, "expires_after"),
        ({"vault_address": ""}, "vault_address"),
        ({"vault_address": "0x12"}, "vault_address"),
        ({"vault_address": "0x" + "g" * 40}, "vault_address"),
        ({"vault_address": "0x" + "1" * 40 + "\n"}, "vault_address"),
        ({"vault_address": {}}, "vault_address"),
        ({"action": {"type": "cancel", "cancels": [{"a": 2**64, "o": 1}]}}, "action"),
        ({"action": {"type": object()}}, "action"),
        ({"action": {"type": "\ud800"}}, "action"),
    ],
)
def test_what_has_no_place_in_the_hash_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    arguments: dict[str, Any] = {"action": NOOP, "nonce": NONCE, "vault_address": None, "expires_after": None} | change
    signature = Signer(KEY).sign(NOOP, NONCE, network="local")
    with pytest.raises(UnhashableAction, match=named) as refused:
        action_hash(**arguments)
    assert len(str(refused.value)) < 300
    with pytest.raises(UnhashableAction, match=named):
        Signer(KEY).sign(network="local", **arguments)
    with pytest.raises(MalformedSignature, match=named):
        recover_l1_signer(signature=signature, network="local", **arguments)


GOOD = dict(Signer(KEY).sign(NOOP, NONCE, network="local"))
UPPER_S = hex(CURVE_ORDER - int(str(GOOD["s"]), 16))


NO_SCALARS: list[Any] = [
    "",
    "0x",
    "0x0",
    "12",
    "0xg",
    "0x_1",
    " 0x1",
    "0x1\n",
    "0x" + "0" * 65,
    None,
    1,
    b"0x1",
    ["0x1"],
]


NO_RECOVERY_IDS: list[Any] = [26, 29, 0, 1, -1, 27.0, True, "27", None, [], 10**5000]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        *(({part: value}, part) for part in "rs" for value in NO_SCALARS),
        *(({part: hex(CURVE_ORDER)}, part) for part in "rs"),
        *(({part: "0x" + "f" * 64}, part) for part in "rs"),
        ({"s": UPPER_S, "v": 55 - int(str(GOOD["v"]))}, "s"),  # the same signature, mirrored
        *(({"v": value}, "v must") for value in NO_RECOVERY_IDS),
        ({"r": "0x5"}, "no public key"),  # no point of secp256k1 has x = 5
    ],
)
def test_malformed_signature(change: dict[str, Any], named: str) -> None:
    assert recover_l1_signer(NOOP, NONCE, GOOD, network="local") == Signer(KEY).address
    with pytest.raises(MalformedSignature, match=named) as refused:
        recover_l1_signer(NOOP, NONCE, GOOD | change, network="local")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("part", ["r", "s", "v"])
def test_missing_part_of_a_signature(part: str) -> None:
    with pytest.raises(MalformedSignature, match=part):
        recover_l1_signer(NOOP, NONCE, {k: v for k, v in GOOD.items() if k != part}, network="local")


@given(JSON_VALUES, JSON_VALUES, JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_recovery_of_anything_ends_in_an_address_or_a_named_error(
    action: Any, nonce: Any, signature: Any, vault: Any, expiry: Any
) -> None:
    for given_nonce, given_signature, given_vault, given_expiry in (
        (nonce, signature, vault, expiry),
        (NONCE, signature, None, None),
        (NONCE, GOOD, None, expiry),
        (NONCE, GOOD, None, None),
    ):
        try:
            address = recover_l1_signer(
                action,
                given_nonce,
                given_signature,
                network="local",
                vault_address=given_vault,
                expires_after=given_expiry,
            )
        except MalformedSignature:
            continue
        assert address.startswith("0x")
        assert len(address) == 42


def test_recovery_survives_bottomless_nesting() -> None:
    nested: Any = {}
    for _ in range(100_000):
        nested = {"a": nested}
    with pytest.raises(MalformedSignature, match="msgpack"):
        recover_l1_signer(nested, NONCE, GOOD, network="local")
    while nested:  # taken apart level by level: freeing it at once would recurse as well
        nested = nested["a"]


# --- the key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [KEY, KEY.hex(), "0x" + KEY.hex(), "0x" + KEY.hex().upper()])
def test_forms_of_a_key(form: bytes | str) -> None:
    assert Signer(form).address == Account.from_key(KEY).address.lower()


SECRET_TEXTS = (
    "0x" + "5e" * 31,
    "0x" + "5e" * 33,
    "5e" * 31 + "zz",
    "0x" + (CURVE_ORDER).to_bytes(32, "big").hex(),
    "0x" + "00" * 32,
    "correct horse battery staple",
    "",
)


@pytest.mark.parametrize("text", [*SECRET_TEXTS, b"", b"\x00" * 32, b"\x11" * 31, b"\x11" * 33, None, 5, ["5e" * 32]])
def test_malformed_key_is_refused_without_repeating_it(text: Any) -> None:
    with pytest.raises(MalformedKey) as refused:
        Signer(text)
    told = "".join(traceback.format_exception(refused.value)) + repr(refused.value)
    if isinstance(text, str) and text:
        assert text not in told
        assert text.removeprefix("0x") not in told
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_a_signer_never_shows_its_key() -> None:
    signer = Signer(KEY)
    shown = f"{signer} {signer!r} {signer!s} {[signer]} {signer!a}"
    assert signer.address in shown
    for form in (KEY.hex(), str(KEY), str(int.from_bytes(KEY, "big"))):
        assert form not in shown
    assert not hasattr(signer, "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_signer_is_not_pickled(protocol: int) -> None:
    with pytest.raises(KeyNotExportable, match="neither copied nor pickled"):
        pickle.dumps(Signer(KEY), protocol)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_signer_is_not_copied(duplicate: Any) -> None:
    with pytest.raises(KeyNotExportable):
        duplicate(Signer(KEY))


def test_no_error_of_signing_shows_the_key() -> None:
    with pytest.raises(UnhashableAction) as refused:
        Signer(KEY).sign({"type": object()}, NONCE, network="local")
    assert KEY.hex() not in "".join(traceback.format_exception(refused.value))
