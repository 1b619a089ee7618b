"""From a signed action to its effects and its reply.

The gates, in this order (protocol.md §4, §5, §9):

1. The signer is recovered from the signature; an unknown one is refused, and a vault that is not registered to it.
   Neither uses the nonce up. So is an account without a deposit (whether that uses the nonce up is not established).
2. The signer's nonce is used up, before anything else is decided and before any answer: a business rejection, an
   expiry and an exhausted budget do not give it back.
3. An action past its `expiresAfter` is refused, and costs 5 of the account's budget.
4. The account's budget is charged: a batch of n items counts n.
5. The batch is pre-validated as a whole; then every item has its own fate.

Every action that came through here leaves one `ActionRecord`. Replies are plain data in the venue's form (§2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from adapters.venue import rejections
from adapters.venue.accounts import Account, Accounts
from adapters.venue.actions import (
    Action,
    BatchModifyAction,
    CancelAction,
    CancelByCloidAction,
    Draft,
    ModifyAction,
    ModifyWire,
    NoopAction,
    OrderAction,
    ScheduleCancelAction,
    SignedAction,
    UpdateLeverageAction,
    draft,
)
from adapters.venue.limits import AddressBudget, Limits
from adapters.venue.markets import Universe
from adapters.venue.nonces import SignerNonces
from adapters.venue.orders import Order
from adapters.venue.trading import SCHEDULED_CANCELS_PER_DAY, Placement, Trading
from adapters.venue.truth import ActionRecord, TruthItem, TruthLog
from adapters.venue.units import USD, format_average, format_units
from adapters.venue.verifying import Claim, Verdict

Reply: TypeAlias = dict[str, Any]
Status: TypeAlias = dict[str, Any] | str

_EXPIRED_COST: Final = 5
_SCHEDULE_AHEAD_MS: Final = 5_000
_SCHEDULE_VOLUME: Final = 1_000_000 * USD
_DEFAULT: Final[Reply] = {"status": "ok", "response": {"type": "default"}}


class Refused(Exception):
    """The whole action is refused, with the venue's text."""


class Engine:
    """Judges and carries out signed actions.

    Args:
        universe: The markets.
        accounts: Who there is.
        trading: Books and orders.
        truth: Where every action is recorded.
        limits: Budgets of accounts.
        now_ms: The venue's time, unix ms.
    """

    def __init__(
        self,
        *,
        universe: Universe,
        accounts: Accounts,
        trading: Trading,
        truth: TruthLog,
        limits: Limits,
        now_ms: Callable[[], int],
    ) -> None:
        self._universe: Final = universe
        self._accounts: Final = accounts
        self._trading: Final = trading
        self._truth: Final = truth
        self._limits: Final = limits
        self._now_ms: Final = now_ms
        self._nonces: Final[dict[str, SignerNonces]] = {}
        self._budgets: Final[dict[str, AddressBudget]] = {}
        self._handlers: Final[dict[type[Action], Callable[[Account, Any, list[TruthItem]], Reply]]] = {
            OrderAction: self._order,
            CancelAction: self._cancel,
            CancelByCloidAction: self._cancel_by_cloid,
            ModifyAction: self._modify,
            BatchModifyAction: self._batch_modify,
            NoopAction: self._noop,
            ScheduleCancelAction: self._schedule_cancel,
            UpdateLeverageAction: self._update_leverage,
        }

    def submit(self, signed: SignedAction, verdict: Verdict, client: str) -> Reply:
        """Judge an action and carry it out.

        Args:
            signed: The action with what was signed along with it.
            verdict: Who signed it.
            client: The client address that it came from; recorded, never judged.

        Returns:
            `{"status": "ok" | "err", "response": …}` (§2).
        """
        record = ActionRecord(
            seq=self._truth.next_seq(),
            time=self._now_ms(),
            client=client,
            signer=verdict.signer,
            user=None,
            action=str(signed.action.__struct_config__.tag),
            nonce=signed.claim.nonce,
            items=[],
        )
        self._truth.append(record)
        try:
            account = self._authorize(signed.claim, verdict, record)
            self._spend(signed, account, record)
            return self._handlers[type(signed.action)](account, signed.action, record.items)
        except Refused as refusal:
            record.error = str(refusal)
            return {"status": "err", "response": record.error}

    def budget(self, account: Account) -> AddressBudget:
        """The action budget of an account."""
        budget = self._budgets.get(account.address)
        if budget is None:
            budget = self._budgets[account.address] = AddressBudget(self._limits.address_budget)
        return budget

    # --- gates ----------------------------------------------------------------------------------------------

    def _authorize(self, claim: Claim, verdict: Verdict, record: ActionRecord) -> Account:
        """The account that an action applies to.

        Raises:
            Refused: Its signer may not do that.
        """
        signer = verdict.signer
        if signer is None:
            raise Refused(f"Unable to recover signer: {verdict.fault}")
        account = self._accounts.principal(signer)
        if account is None:
            raise Refused(f"User or API Wallet {signer} does not exist.")
        if claim.vault_address is not None:
            account = self._accounts.vault(claim.vault_address.lower(), account)
            if account is None:
                raise Refused(f"Vault not registered: {claim.vault_address}")
        if not account.funded:
            raise Refused(f"Must deposit before performing actions. User: {account.address}")
        record.user = account.address
        return account

    def _spend(self, signed: SignedAction, account: Account, record: ActionRecord) -> None:
        """Use the nonce and the budget up.

        Raises:
            Refused: The nonce may not be used, the action has expired, or the budget is exhausted.
        """
        signer, now = record.signer or "", record.time
        nonces = self._nonces.get(signer)
        if nonces is None:
            nonces = self._nonces[signer] = SignerNonces()
        fault = nonces.use(signed.claim.nonce, now)
        if fault is not None:
            raise Refused(fault)
        record.spent = True
        budget, traded = self.budget(account), account.traded // USD
        expires_after = signed.claim.expires_after
        if expires_after is not None and now > expires_after:
            budget.charge(_EXPIRED_COST, traded_usdc=traded, is_cancel=False, now_ms=now)
            raise Refused("Action already expired")
        items = signed.items
        is_cancel = isinstance(signed.action, CancelAction | CancelByCloidAction)
        if not budget.charge(items, traded_usdc=traded, is_cancel=is_cancel, now_ms=now):
            volume = format_units(account.traded // (USD // 100), 2).removesuffix(".0")
            raise Refused(
                f"Too many cumulative requests sent ({budget.used + items} > {budget.cap(traded)}) for cumulative "
                f"volume traded ${volume}. Place taker orders to free up 1 request per USDC traded."
            )

    # --- actions --------------------------------------------------------------------------------------------

    def _order(self, account: Account, action: OrderAction, items: list[TruthItem]) -> Reply:
        if action.grouping != "na":
            return _statuses("order", [_refuse_batch(items, rejections.UNSUPPORTED_GROUPING)])
        drafts: list[Draft] = []
        for wire in action.orders:
            drafted = draft(wire, account, self._universe)
            if isinstance(drafted, str):
                return _statuses("order", [_refuse_batch(items, drafted)])
            drafts.append(drafted)
        if not drafts:
            return _statuses("order", [_refuse_batch(items, rejections.EMPTY_BATCH)])
        return _statuses("order", [self._place(one, items) for one in drafts])

    def _place(self, drafted: Draft, items: list[TruthItem], *, replaced: int | None = None) -> Status:
        """Place one order; its status, and its item of the record."""
        order = drafted.order
        asset, cloid = order.market.asset, order.cloid
        prefix = "" if replaced is None else rejections.MODIFY_FAILED
        if cloid is not None and cloid in order.account.open_cloids:
            error = f"{prefix}{rejections.CLOID_IN_USE} asset={asset}"
            items.append(TruthItem(status="error", asset=asset, cloid=cloid, replaced=replaced, error=error))
            return {"error": error}
        placement = self._trading.place(order, on_tick=drafted.on_tick)
        item = TruthItem(status="error", asset=asset, oid=order.oid, cloid=cloid, replaced=replaced)
        items.append(item)
        if placement.rejection is not None:
            item.error = f"{prefix}{placement.rejection.text} asset={asset}"
            return {"error": item.error}
        if placement.kind != "rejected":
            item.status = placement.kind
        return _placed_status(order, placement)

    def _cancel(self, account: Account, action: CancelAction, items: list[TruthItem]) -> Reply:
        if not all(wire.a in self._universe.by_asset for wire in action.cancels):
            return _statuses("cancel", [_refuse_batch(items, rejections.INVALID_ASSET)])
        targets = [(wire.a, account.open_orders.get(wire.o)) for wire in action.cancels]
        if not targets:
            return _statuses("cancel", [_refuse_batch(items, rejections.EMPTY_BATCH)])
        return _statuses(
            "cancel",
            [
                self._cancel_one(asset, order, TruthItem(status="error", asset=asset, oid=wire.o), items)
                for (asset, order), wire in zip(targets, action.cancels, strict=True)
            ],
        )

    def _cancel_by_cloid(self, account: Account, action: CancelByCloidAction, items: list[TruthItem]) -> Reply:
        if not all(wire.asset in self._universe.by_asset for wire in action.cancels):
            return _statuses("cancel", [_refuse_batch(items, rejections.INVALID_ASSET)])
        if not action.cancels:
            return _statuses("cancel", [_refuse_batch(items, rejections.EMPTY_BATCH)])
        statuses = []
        for wire in action.cancels:
            cloid = wire.cloid.lower()
            item = TruthItem(status="error", asset=wire.asset, cloid=cloid)
            statuses.append(self._cancel_one(wire.asset, account.open_cloids.get(cloid), item, items))
        return _statuses("cancel", statuses)

    def _cancel_one(self, asset: int, order: Order | None, item: TruthItem, items: list[TruthItem]) -> Status:
        items.append(item)
        # The same order may be named twice in a batch: the first cancel ended it.
        if order is None or order.status != "open" or order.market.asset != asset:
            item.error = f"{rejections.MISSING_ORDER} asset={asset}"
            return {"error": item.error}
        self._trading.cancel(order)
        item.status, item.oid, item.cloid = "success", order.oid, order.cloid
        return "success"

    def _modify(self, account: Account, action: ModifyAction, items: list[TruthItem]) -> Reply:
        """A single modify answers like an action without items, and its error refuses the whole action."""
        drafted = draft(action.order, account, self._universe)
        if isinstance(drafted, str):
            raise Refused(drafted)
        status = self._replace(account, action.oid, drafted, items)
        if isinstance(status, dict) and "error" in status:
            raise Refused(status["error"])
        return _DEFAULT

    def _batch_modify(self, account: Account, action: BatchModifyAction, items: list[TruthItem]) -> Reply:
        drafts: list[tuple[ModifyWire, Draft]] = []
        for wire in action.modifies:
            drafted = draft(wire.order, account, self._universe)
            if isinstance(drafted, str):
                return _statuses("order", [_refuse_batch(items, drafted)])
            drafts.append((wire, drafted))
        if not drafts:
            return _statuses("order", [_refuse_batch(items, rejections.EMPTY_BATCH)])
        return _statuses("order", [self._replace(account, wire.oid, one, items) for wire, one in drafts])

    def _replace(self, account: Account, target: int | str, drafted: Draft, items: list[TruthItem]) -> Status:
        """Withdraw an order and place another one; if that is refused, the first stays withdrawn."""
        new = drafted.order
        old = account.open_cloids.get(target.lower()) if isinstance(target, str) else account.open_orders.get(target)
        if old is None or old.market is not new.market:
            error = f"{rejections.CANNOT_MODIFY} asset={new.market.asset}"
            items.append(TruthItem(status="error", asset=new.market.asset, cloid=new.cloid, error=error))
            return {"error": error}
        new.cloid = old.cloid if new.cloid is None else new.cloid
        self._trading.cancel(old)
        return self._place(drafted, items, replaced=old.oid)

    def _noop(self, _account: Account, _action: NoopAction, _items: list[TruthItem]) -> Reply:
        return _DEFAULT

    def _schedule_cancel(self, account: Account, action: ScheduleCancelAction, _items: list[TruthItem]) -> Reply:
        if account.traded < _SCHEDULE_VOLUME:
            traded = format_units(account.traded, 8).removesuffix(".0")
            raise Refused(
                "Cannot set scheduled cancel time until enough volume traded. "
                f"Required: ${_SCHEDULE_VOLUME // USD}. Traded: ${traded}."
            )
        if action.time is not None:
            if action.time < self._now_ms() + _SCHEDULE_AHEAD_MS:
                raise Refused("Scheduled cancel time too early, must be at least 5 seconds from now.")
            if self._trading.struck_today(account) >= SCHEDULED_CANCELS_PER_DAY:
                raise Refused(f"Scheduled cancel was triggered {SCHEDULED_CANCELS_PER_DAY} times today.")
        self._trading.schedule_cancel(account, action.time)
        return _DEFAULT

    def _update_leverage(self, account: Account, action: UpdateLeverageAction, _items: list[TruthItem]) -> Reply:
        """Isolated margin is recorded and shown, but drawn from the same balance as cross margin."""
        market = self._universe.by_asset.get(action.asset)
        if market is None or market.is_spot:
            raise Refused("Invalid asset for leverage update.")
        clearinghouse = account.clearinghouses[market.dex]
        _, is_cross = clearinghouse.leverage(market)
        if not 1 <= action.leverage <= market.max_leverage:
            raise Refused("Invalid leverage value")
        if clearinghouse.size(market) and is_cross != action.is_cross:
            raise Refused("Cannot switch leverage type with open position.")
        clearinghouse.set_leverage(market, action.leverage, is_cross=action.is_cross)
        return _DEFAULT


def _refuse_batch(items: list[TruthItem], error: str) -> Status:
    """The one status that stands for a whole batch; nothing of it happened (§5)."""
    items.append(TruthItem(status="error", error=error))
    return {"error": error}


def _statuses(kind: str, statuses: list[Status]) -> Reply:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}


def _placed_status(order: Order, placement: Placement) -> Status:
    """What the reply says of an order that was taken; one that waits for its trigger counts as resting."""
    told: dict[str, Any] = {"oid": order.oid}
    if order.cloid is not None:
        told["cloid"] = order.cloid
    if placement.kind != "filled":
        return {"resting": told}
    market = order.market
    told["totalSz"] = format_units(placement.lots, market.sz_decimals)
    told["avgPx"] = format_average(placement.value, placement.lots, market.px_decimals)
    return {"filled": told}
