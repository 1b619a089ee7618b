"""The three nonce rules of protocol.md §4, at their edges and against a model that remembers everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.venue.nonces import KEPT, SignerNonces

NOW = 1_700_000_000_000
DAY = 86_400_000
LOWEST = NOW - 2 * DAY + 120_000
HIGHEST = NOW + DAY - 120_000


def test_window_is_open_at_both_ends_and_120_s_narrower_than_documented() -> None:
    assert SignerNonces().use(LOWEST + 1, NOW) is None
    assert SignerNonces().use(HIGHEST - 1, NOW) is None
    assert SignerNonces().use(LOWEST, NOW) == f"Invalid nonce: nonce too low {LOWEST} < {LOWEST}"
    assert SignerNonces().use(HIGHEST, NOW) == f"Invalid nonce: nonce too high {HIGHEST} > {HIGHEST}"


def test_a_nonce_is_used_once() -> None:
    nonces = SignerNonces()
    assert nonces.use(NOW, NOW) is None
    assert nonces.use(NOW, NOW) == f"Invalid nonce: duplicate nonce {NOW}"


def test_a_nonce_below_the_highest_is_taken_while_fewer_than_100_are_kept() -> None:
    nonces = SignerNonces()
    assert nonces.use(NOW, NOW) is None
    assert nonces.use(NOW - 1000, NOW) is None


def test_with_100_kept_the_smallest_of_them_is_the_bound() -> None:
    nonces = SignerNonces()
    for nonce in range(NOW, NOW + 2 * KEPT, 2):
        assert nonces.use(nonce, NOW) is None
    assert nonces.use(NOW - 1, NOW) == f"Invalid nonce: nonce too low {NOW - 1} < {NOW}"
    assert nonces.use(NOW, NOW) == f"Invalid nonce: duplicate nonce {NOW}"
    assert nonces.use(NOW + 1, NOW) is None
    assert nonces.use(NOW, NOW) == f"Invalid nonce: nonce too low {NOW} < {NOW + 1}"


def test_a_refused_nonce_can_be_used_later() -> None:
    nonces = SignerNonces()
    assert nonces.use(HIGHEST + 5, NOW) is not None
    assert nonces.use(HIGHEST + 5, NOW + 10) is None


@given(st.lists(st.integers(NOW - 60, NOW + 160), max_size=300))
def test_agrees_with_a_model_that_remembers_every_nonce(sequence: list[int]) -> None:
    nonces = SignerNonces()
    taken: list[int] = []
    for nonce in sequence:
        top = sorted(taken)[-KEPT:]
        legal = nonce not in taken and (len(top) < KEPT or nonce > top[0])
        assert (nonces.use(nonce, NOW) is None) == legal
        if legal:
            taken.append(nonce)
