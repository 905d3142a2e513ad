"""Every operation of the business in any order: floats, commission, limits and reversals stay right (Hypothesis).

A count of our own runs beside the ledger: for each outlet what it owns (float and commission together) and what is
held. ``verify`` looks at the whole book after every step.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aircharge.ledger.chart import (
    COMMISSION_DISCOUNT,
    COMMISSION_INSTANT,
    HOUSE,
    PERIOD_DAY,
    PERIOD_TRANSACTION,
    SUBJECT_OUTLET,
    SUBJECT_TARGET,
    UNDO_DONE,
    UNDO_REFUSED,
)
from aircharge.ledger.days import CutDay
from aircharge.ledger.entries import Enter
from aircharge.ledger.funding import EntryForm, FundingError, propose_credit_txn, propose_entry_txn
from aircharge.ledger.returning import ReverseTransfer
from aircharge.ledger.reversing import OpenReversal, Undo
from aircharge.ledger.transferring import MoveCommission, Transfer
from aircharge.values import Asker, Channel, Key, Operation, Pin, Receipt, State, Verdict
from tests.ledger import engines
from tests.ledger.desk import MINUTE, PHONES, PIN, SERVICE, Books

OUTLETS = st.sampled_from(["A", "B"])
TARGETS = st.sampled_from(["13800000001", "13800000002", "13800000003"])
AMOUNTS = st.sampled_from([1_000, 1_010, 3_000, 5_000])
SUMS = st.sampled_from([1, 500, 2_000, 20_000])
WHICH = st.integers(0, 30)
PER_DAY, VALUE_PER_DAY, PER_TARGET = 8, 26_000, 4
DAY_MS = 86_400_000


class Business(RuleBasedStateMachine):
    """A is B's parent. A pays less (discount), B earns at once (instant commission); both have daily limits."""

    def __init__(self) -> None:
        super().__init__()
        self.books = books = Books().setup({"A": 60_000, "B": 30_000})
        self.owned = {"A": 60_000, "B": 30_000}
        self.held = {"A": 0, "B": 0}
        self.orders: dict[int, dict[str, Any]] = {}
        self.transfers: dict[int, dict[str, Any]] = {}
        self.reversals: dict[int, int] = {}  # reversal → recharge
        self.marks = 0
        with books.store.writing() as txn:
            txn.exec_driver_sql("UPDATE outlet SET level = 3, group_code = 'gold' WHERE code = 'A'")
            parent = txn.exec_driver_sql("SELECT id FROM outlet WHERE code = 'A'").scalar_one()
            txn.exec_driver_sql(f"UPDATE outlet SET parent_id = {parent} WHERE code = 'B'")
        since = {"from_date": 20260101}
        books.add("price", id=1, group_code="gold", mode=COMMISSION_DISCOUNT, rate_ppm=15_500, **since)
        books.add("price", id=2, group_code="standard", mode=COMMISSION_INSTANT, rate_ppm=20_500, **since)
        limit = {"operation": int(Operation.RECHARGE), "value": "", "group_code": ""}
        books.add(
            "limit_rule",
            id=1,
            subject=SUBJECT_OUTLET,
            period=PERIOD_DAY,
            count_max=PER_DAY,
            value_max_fen=VALUE_PER_DAY,
            **limit,
        )
        books.add(
            "limit_rule", id=2, subject=SUBJECT_TARGET, period=PERIOD_DAY, count_max=PER_TARGET, **limit
        )
        books.add(
            "limit_rule",
            id=3,
            subject=SUBJECT_OUTLET,
            period=PERIOD_TRANSACTION,
            value_max_fen=4_000,
            **limit,
        )

    def teardown(self) -> None:
        assert self.books.problems() == []
        self.books.engine.dispose()

    def head(self, outlet: str) -> tuple[Channel, Key, Asker]:
        self.marks += 1
        asker = Asker(PHONES[outlet], SERVICE, None, Pin(PIN))
        return Channel.SMS, Key(f"sms:{asker.phone}", f"every{self.marks}"), asker

    @staticmethod
    def pick(things: dict[int, Any], which: int) -> int | None:
        return sorted(things)[which % len(things)] if things else None

    # -- recharges ----------------------------------------------------------------------------------------

    @rule(outlet=OUTLETS, number=TARGETS, amount=AMOUNTS, repeat=st.integers(1, 9))
    def recharge(self, outlet: str, number: str, amount: int, repeat: int) -> None:
        receipt = self.books.do(self.books.plain(number, amount, outlet=outlet, repeat=repeat))
        if receipt.state is not State.HELD:
            return
        earned = {"A": 0, "B": round(amount * 20_500 / 10**6)}[outlet]
        self.orders[receipt.order_id] = {
            "outlet": outlet,
            "target": number,
            "amount": amount,
            "cost": receipt.cost_fen,
            "earned": earned,
            "state": State.HELD,
            "at_ms": self.books.clock.ms,
            "undo": False,
        }
        self.held[outlet] += receipt.cost_fen

    @rule(outlet=OUTLETS, number=TARGETS, amount=AMOUNTS, back=st.sampled_from(["", "asked", "answered"]))
    def sell(self, outlet: str, number: str, amount: int, back: str) -> None:
        """A recharge that is settled at once, and perhaps taken back: what happens most."""
        self.books.wait(6 * MINUTE)
        before = set(self.orders)
        self.recharge(outlet, number, amount, 1)
        for order_id in set(self.orders) - before:
            receipt = self.books.do(self.books.close(order_id, Verdict.YES))
            self.ended(self.orders[order_id], receipt.state)
            if back:
                self.ask_back(sorted(self.orders).index(order_id))
            if back == "answered" and self.reversals:
                self.answer_back(len(self.reversals) - 1, Verdict.YES)

    @rule(which=WHICH, verdict=st.sampled_from([Verdict.YES, Verdict.YES, Verdict.NO, Verdict.UNKNOWN]))
    def close(self, which: int, verdict: Verdict) -> None:
        number = self.pick(self.orders, which)
        if number is None or self.orders[number]["undo"]:
            return
        receipt = self.books.do(self.books.close(number, verdict))
        if receipt.fresh:
            self.ended(self.orders[number], receipt.state)

    def ended(self, order: dict[str, Any], state: State) -> None:
        assert order["state"].is_open, f"{order['state']} is final"
        order["state"] = state
        if state in (State.SETTLED, State.VOIDED):
            self.held[order["outlet"]] -= order["cost"]
        if state is State.SETTLED:
            self.owned[order["outlet"]] += order["earned"] - order["cost"]

    @rule(which=WHICH, executed=st.booleans())
    def undo(self, which: int, executed: bool) -> None:
        """A protective reversal; until its answer the recharge's own yes settles nothing."""
        number = self.pick(self.orders, which)
        if number is None or self.orders[number]["state"] is not State.IN_DOUBT:
            return
        order = self.orders[number]
        order["undo"] = True
        self.books.do(Undo(number))
        assert self.books.do(self.books.close(number, Verdict.YES)).state is not State.SETTLED
        verdict, undo = (Verdict.YES, UNDO_REFUSED) if executed else (Verdict.NO, UNDO_DONE)
        receipt = self.books.do(self.books.close(number, verdict, undo=undo))
        if receipt.fresh:
            self.ended(order, receipt.state)

    # -- reversals ----------------------------------------------------------------------------------------

    @rule(which=WHICH)
    def ask_back(self, which: int) -> None:
        number = self.pick(self.orders, which)
        if number is None:
            return
        order = self.orders[number]
        command = OpenReversal(
            *self.head(order["outlet"]),
            number,
            self.books.clock.ms,
            target=order["target"],
            amount_fen=order["amount"],
        )
        receipt = self.books.do(command)
        if receipt.state is State.HELD and receipt.fresh:
            assert order["state"] is State.SETTLED
            assert number not in self.reversals.values(), "two live reversals"
            self.reversals[receipt.order_id] = number

    @rule(which=WHICH, verdict=st.sampled_from([Verdict.YES, Verdict.NO, Verdict.UNKNOWN]))
    def answer_back(self, which: int, verdict: Verdict) -> None:
        number = self.pick(self.reversals, which)
        if number is None:
            return
        receipt = self.books.do(self.books.close(number, verdict))
        if not receipt.fresh or receipt.state is State.IN_DOUBT:
            return
        order = self.orders[self.reversals.pop(number)]
        if receipt.state is State.SETTLED:
            order["state"] = State.REVERSED
            self.owned[order["outlet"]] += order["cost"] - order["earned"]

    # -- between outlets and by hand ----------------------------------------------------------------------

    @rule(outlet=OUTLETS, amount=SUMS, repeat=st.integers(1, 3))
    def transfer(self, outlet: str, amount: int, repeat: int) -> None:
        other = "B" if outlet == "A" else "A"
        command = Transfer(*self.head(outlet), other, amount, self.books.clock.ms, repeat=repeat)
        receipt = self.books.do(command)
        if receipt.state is State.SETTLED and receipt.fresh:
            self.owned[outlet] -= amount
            self.owned[other] += amount
            self.transfers[receipt.order_id] = {"outlet": outlet, "other": other, "amount": amount}

    @rule(which=WHICH)
    def take_back(self, which: int) -> None:
        number = self.pick(self.transfers, which)
        if number is None:
            return
        sent = self.transfers[number]
        command = ReverseTransfer(*self.head(sent["outlet"]), number, self.books.clock.ms)
        receipt = self.books.do(command)
        if receipt.state is State.SETTLED and receipt.fresh:
            del self.transfers[number]  # a second reversal would be found by the sums
            self.owned[sent["outlet"]] += sent["amount"]
            self.owned[sent["other"]] -= sent["amount"]

    @rule(outlet=OUTLETS, amount=st.sampled_from([0, 1, 50]))
    def commission_to_float(self, outlet: str, amount: int) -> None:
        self.books.do(MoveCommission(*self.head(outlet), amount, self.books.clock.ms))

    @rule(
        outlet=OUTLETS,
        what=st.sampled_from([("adjust-up", 1), ("adjust-down", -1), ("funding", 1)]),
        amount=SUMS,
        checker=st.sampled_from(["checker", "checker", "maker"]),
    )
    def enter(self, outlet: str, what: tuple[str, int], amount: int, checker: str) -> None:
        self.marks += 1
        form = EntryForm(what[0], amount, f"ref-{self.marks}", outlet, reason="counted")
        with self.books.store.writing() as txn:
            number = propose_entry_txn(txn, form, maker="maker", now_ms=self.books.clock.ms)
        result = self.books.do(Enter(number, checker))
        assert checker != "maker" or isinstance(result, str)
        if isinstance(result, Receipt) and result.state is State.SETTLED:
            self.owned[outlet] += what[1] * amount

    @rule(outlet=OUTLETS, limit=st.sampled_from([0, 5_000]))
    def credit(self, outlet: str, limit: int) -> None:
        try:
            with self.books.store.writing() as txn:
                until_ms = self.books.clock.ms + 10 * DAY_MS
                number = propose_credit_txn(
                    txn, outlet, limit, until_ms, maker="maker", now_ms=self.books.clock.ms
                )
        except FundingError:
            return
        self.books.do(Enter(number, "checker"))

    # -- time ---------------------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([6, 31, 60 * 9]))
    def wait(self, minutes: int) -> None:
        self.books.wait(minutes * MINUTE)

    @rule(operator_id=st.sampled_from([HOUSE, 1]))
    def cut(self, operator_id: int) -> None:
        today = self.books.value(
            "SELECT biz_date FROM day WHERE operator_id = :o AND state = 0", o=operator_id
        )
        self.books.do(CutDay(operator_id, (today or 20261123) + 1, "finance"))

    # -- what must always be so ---------------------------------------------------------------------------

    @invariant()
    def nothing_lost_or_made(self) -> None:
        for outlet, owned in self.owned.items():
            posted, held = self.books.money(outlet)
            earned = self.books.value(
                "SELECT b.posted FROM balance b JOIN account a ON a.id = b.account_id AND a.kind = 3"
                " JOIN outlet o ON o.id = a.owner_id WHERE o.code = :code",
                code=outlet,
            )
            assert (posted + earned, held) == (owned, self.held[outlet])

    @invariant()
    def limits_hold(self) -> None:
        """Counted afresh over the local day of Asia/Shanghai."""
        today = (self.books.clock.ms + 8 * 3_600_000) // DAY_MS
        alive = [
            order
            for order in self.orders.values()
            if (order["at_ms"] + 8 * 3_600_000) // DAY_MS == today
            and order["state"] not in (State.VOIDED, State.REVERSED)
        ]
        for outlet in self.owned:
            mine = [order["amount"] for order in alive if order["outlet"] == outlet]
            assert len(mine) <= PER_DAY
            assert sum(mine) <= VALUE_PER_DAY
            assert max(mine, default=0) <= 4_000
        targets = [order["target"] for order in alive]
        assert all(targets.count(target) <= PER_TARGET for target in targets)

    @invariant()
    def the_book_says_the_same(self) -> None:
        assert self.books.problems() == []


Business.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestBusiness = Business.TestCase


class PostgresBusiness(Business):
    """The same with PostgreSQL."""

    def __init__(self) -> None:
        self.place = engines.kept_in("postgresql")
        self.place.__enter__()
        super().__init__()

    def teardown(self) -> None:
        super().teardown()
        self.place.__exit__(None, None, None)


PostgresBusiness.TestCase.settings = settings(Business.TestCase.settings, max_examples=5)
TestPostgresBusiness = PostgresBusiness.TestCase
