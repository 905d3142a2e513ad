"""Any commands in any order and any batches: the money is always right (Hypothesis, book and store together)."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aircharge.errors import Reason
from aircharge.values import Operation, State, Verdict
from tests.ledger import engines
from tests.ledger.desk import MINUTE, PIN, WRONG, Books

TARGETS = st.sampled_from(["13800000001", "13800000002"])
AMOUNTS = st.sampled_from([1000, 3000])
OUTLETS = st.sampled_from(["A", "B"])


class Trade(RuleBasedStateMachine):
    """Settled orders by our own simple count beside the ledger's."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books().setup({"A": 20_000, "B": 4_000})
        self.funded = {"A": 20_000, "B": 4_000}
        self.waiting: list[Any] = []
        self.asked: list[Any] = []
        self.orders: dict[int, tuple[str, int]] = {}
        self.states: dict[int, State] = {}

    def teardown(self) -> None:
        self.flush()
        assert self.books.problems() == []
        self.books.engine.dispose()

    # -- commands gather, then go as one batch ------------------------------------------------------------

    @rule(
        outlet=OUTLETS,
        number=TARGETS,
        amount=AMOUNTS,
        repeat=st.integers(1, 3),
        refuse=st.sampled_from([Reason.OK, Reason.OK, Reason.OK, Reason.OPERATOR_DOWN]),
    )
    def plain(self, outlet: str, number: str, amount: int, repeat: int, refuse: Reason) -> None:
        self.add(self.books.plain(number, amount, outlet=outlet, repeat=repeat, refuse=refuse))

    @rule(
        outlet=OUTLETS,
        number=TARGETS,
        amount=AMOUNTS,
        pin=st.sampled_from([PIN, PIN, WRONG]),
        earlier=st.none() | st.integers(0, 3),
    )
    def stk(self, outlet: str, number: str, amount: int, pin: str, earlier: int | None) -> None:
        use = self.books.card(outlet)
        self.add(self.books.stk(number, amount, outlet=outlet, use=use, pin=pin, earlier=earlier))

    @rule(which=st.integers(0, 50))
    def again(self, which: int) -> None:
        if self.asked:
            self.waiting.append(self.asked[which % len(self.asked)])

    @rule(which=st.integers(0, 50), verdict=st.sampled_from(list(Verdict)), manual=st.booleans())
    def close(self, which: int, verdict: Verdict, manual: bool) -> None:
        if self.orders:
            order_id = list(self.orders)[which % len(self.orders)]
            self.waiting.append(self.books.close(order_id, verdict, manual=manual))

    @rule(outlet=OUTLETS, operation=st.sampled_from([Operation.BALANCE, Operation.LAST]))
    def ask(self, outlet: str, operation: Operation) -> None:
        self.waiting.append(self.books.ask(operation, outlet))

    @rule(minutes=st.sampled_from([1, 4, 11, 31]))
    def wait(self, minutes: int) -> None:
        self.flush()
        self.books.wait(minutes * MINUTE)

    @rule()
    def flush(self) -> None:
        commands, self.waiting = self.waiting, []
        for command, result in zip(commands, self.books.batch(*commands) if commands else [], strict=True):
            if getattr(result, "order_id", 0):
                self.note(command, result)

    def add(self, command: Any) -> None:
        self.asked.append(command)
        self.waiting.append(command)

    def note(self, command: Any, receipt: Any) -> None:
        if hasattr(command, "order") and receipt.fresh and receipt.state is State.HELD:
            assert receipt.order_id not in self.orders, "executed twice"
            outlet = "A" if receipt.outlet_id == 1000 else "B"
            self.orders[receipt.order_id] = (outlet, receipt.cost_fen)
            self.states[receipt.order_id] = State.HELD
        elif receipt.order_id in self.orders and receipt.fresh:
            before = self.states[receipt.order_id]
            assert before.is_open, f"{before} is final"
            self.states[receipt.order_id] = receipt.state

    # -- what must always be so ---------------------------------------------------------------------------

    @invariant()
    def money_is_right(self) -> None:
        for code, funded in self.funded.items():
            mine = [(number, fen) for number, (outlet, fen) in self.orders.items() if outlet == code]
            settled = sum(fen for number, fen in mine if self.states[number] is State.SETTLED)
            held = sum(fen for number, fen in mine if self.states[number].is_open)
            assert self.books.money(code) == (funded - settled, held)
            assert funded - settled - held >= 0


Trade.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestTrade = Trade.TestCase


class PostgresTrade(Trade):
    """The same with PostgreSQL."""

    def __init__(self) -> None:
        self.place = engines.kept_in("postgresql")
        self.place.__enter__()
        super().__init__()

    def teardown(self) -> None:
        super().teardown()
        self.place.__exit__(None, None, None)


PostgresTrade.TestCase.settings = settings(Trade.TestCase.settings, max_examples=10)
TestPostgresTrade = PostgresTrade.TestCase
