"""What terminals ask for, and that silence is all they hear of what is not known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from aircharge.errors import InDoubt, LedgerError, NotSent, Reason
from aircharge.ledger.cancelling import CancelSale
from aircharge.ledger.commands import CloseRecharge, Inquire, OpenRecharge
from aircharge.ledger.terminals import CloseBatch, Totals
from aircharge.ports import OperatorAnswer
from aircharge.pos.codes import CODES
from aircharge.pos.settings import PosSettings
from aircharge.pos.till import Said, Sale
from aircharge.values import Operation, Pin, State, Verdict
from tests.ledger.desk import PIN, WRONG
from tests.pos.shop import Shop, now


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


def sell(
    shop: Shop, trace: int = 1, target: str = "13812345678", fen: int = 5000, **more: Any
) -> Said | None:
    said: Said | None = now(shop.till.sell(shop.terminal(), Sale(1, trace, target, fen, **more)))
    return said


def cancel(shop: Shop, trace: int = 1, fen: int = 5000, batch: int = 1) -> Said | None:
    said: Said | None = now(shop.till.cancel(shop.terminal(), batch, trace, fen, "98"))
    return said


def code(said: Said | None) -> str:
    return "" if said is None else said.code


def test_every_reason_has_a_code() -> None:
    assert CODES.keys() == set(Reason)
    assert all(len(value) == 2 and value.isalnum() for value in CODES.values())
    assert [reason for reason, value in CODES.items() if value == "00"] == [Reason.OK]


@pytest.mark.parametrize(
    "wrong",
    [
        {"key_octets": 24},
        {"key_octets": 8, "mak_octets": 8, "profile": "cup-aes"},
        {"mak_octets": 8, "mac": "x9.19"},
        {"profile": "ebcdic"},
        {"answer_s": 0},
        {"session_s": -1},
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PosSettings(**wrong)


def test_a_sale_and_the_same_again(shop: Shop) -> None:
    first = sell(shop)
    assert first is not None
    assert (first.code, first.is_approved, first.facts["amount_fen"]) == ("00", True, 5000)
    assert sell(shop) == first
    assert code(sell(shop, fen=6000)) == "94"
    assert (shop.asked, shop.books.money("A")) == (["recharge"], (95_000, 0))


# target, fen, PIN → code
REFUSED = [
    ("13812345678", 5001, None, "13"),
    ("23812345678", 5000, None, "14"),
    ("1", 5000, None, "14"),
    ("19912345678", 5000, None, "14"),
    ("13812345678", 5000, WRONG, "55"),
    ("13812345678", 50_000, PIN, "00"),
]


@pytest.mark.parametrize(("target", "fen", "pin", "said"), REFUSED)
def test_codes(shop: Shop, target: str, fen: int, pin: str | None, said: str) -> None:
    assert code(sell(shop, 1, target, fen, pin=Pin(pin) if pin else None)) == said
    assert code(sell(shop, 1, target, fen, pin=Pin(pin) if pin else None)) == said


def test_meant_again_is_said_with_a_repeat_count(shop: Shop) -> None:
    assert [code(sell(shop, 1)), code(sell(shop, 2)), code(sell(shop, 3, repeat=2))] == ["00", "26", "00"]


def test_the_operators_no_and_a_line_that_is_down(shop: Shop) -> None:
    shop.world.line.answers = ["1001", NotSent("cut")]
    assert [code(sell(shop, 1)), code(sell(shop, 2, "13812345679"))] == ["14", "91"]
    shop.world.line.up = False
    assert code(sell(shop, 3, "13812345670")) == "91"


def test_a_doubt_is_silence_and_so_is_its_repetition(shop: Shop) -> None:
    shop.world.line.answers = [InDoubt("no answer")]
    assert [sell(shop), sell(shop)] == [None, None]
    number = shop.books.value("SELECT id FROM txn WHERE kind = 1")
    shop.books.do(shop.books.close(number, Verdict.YES))
    assert code(sell(shop)) == "00"


def test_what_takes_too_long_goes_on_by_itself(shop: Shop) -> None:
    answer: Deferred[Any] = Deferred()
    shop.world.line.answers = [answer]
    sale = Sale(1, 1, "13812345678", 5000)
    waiting = Deferred.fromCoroutine(shop.till.sell(shop.terminal(), sale))
    assert sell(shop) is None  # a copy while the first is under way
    shop.clock.advance(25)
    assert now(waiting) is None
    answer.callback(OperatorAnswer("", "0000", "OP1", 0))
    assert shop.books.value("SELECT state FROM txn WHERE kind = 1") == State.SETTLED
    assert code(sell(shop)) == "00"


@pytest.mark.parametrize("command", [OpenRecharge, CloseRecharge])
def test_a_commit_of_unknown_fate_is_silence(shop: Shop, command: type) -> None:
    shop.ledger.lose = command
    assert sell(shop) is None


def test_not_now_is_said_only_of_what_is_nowhere(shop: Shop) -> None:
    shop.board.in_flight_max = 0
    assert code(sell(shop)) == "91"
    shop.board.in_flight_max = 10
    assert code(sell(shop)) == "00"
    shop.board.in_flight_max = 0
    assert sell(shop) is None  # an earlier copy was executed: "not now" would be a lie
    shop.board.is_ours = lambda: False
    assert sell(shop, 2, "13812345679") is None
    shop.board.in_flight_max = 10
    assert cancel(shop) is None


def test_what_a_rule_would_park_is_refused_at_the_counter(shop: Shop) -> None:
    shop.books.add("rule_set", version=1, state=1, body='{"rules": [{"then": "hold"}]}', made_ms=0)
    assert code(sell(shop)) == "57"
    assert shop.books.value("SELECT state FROM txn WHERE kind = 1") == State.VOIDED
    shop.ledger.lose = CancelSale
    assert sell(shop, 2, "13812345679") is None
    assert shop.asked == []


# -- taking back ---------------------------------------------------------------------------------------------


def test_a_lost_answer_is_taken_back(shop: Shop) -> None:
    sell(shop)
    said = cancel(shop)
    assert said is not None
    assert (said.code, cancel(shop)) == ("00", said)
    now(shop.cancels.round())
    assert shop.books.money("A") == (100_000, 0)
    assert code(cancel(shop)) == "00"
    assert code(sell(shop)) == "12"


def test_taken_back_before_it_came(shop: Shop) -> None:
    assert [code(cancel(shop)), code(sell(shop)), code(cancel(shop))] == ["00", "12", "00"]
    assert shop.asked == []


def test_taken_back_by_another_amount(shop: Shop) -> None:
    sell(shop)
    assert code(cancel(shop, fen=6000)) == "94"


def test_taken_back_by_another_number(shop: Shop) -> None:
    """The same trace again after a reset: it is not the sale that its terminal means."""
    sell(shop)
    for number, said in (("13812345679", "94"), ("+86 13812345678", "00"), ("", "00")):
        assert code(now(shop.till.cancel(shop.terminal(), 1, 1, 5000, "98", number))) == said


def test_what_is_being_taken_back_is_no_success_any_more(shop: Shop) -> None:
    sell(shop)
    cancel(shop)
    assert sell(shop) is None
    assert code(now(shop.till.copy(shop.terminal(), 1, 1))) == "25"


def test_taken_back_while_it_is_under_way_it_is_not_answered(shop: Shop) -> None:
    answer: Deferred[Any] = Deferred()
    shop.world.line.answers = [answer]
    sale = Sale(1, 1, "13812345678", 5000)
    waiting = Deferred.fromCoroutine(shop.till.sell(shop.terminal(), sale))
    assert code(cancel(shop)) == "00"
    answer.callback(OperatorAnswer("", "0000", "OP1", 0))
    assert now(waiting) is None
    assert not shop.till._taken_back


@pytest.mark.parametrize(
    ("answer", "said"), [("0000", ""), (InDoubt("no answer"), ""), (NotSent("cut"), "94")]
)
def test_too_late_is_only_said_of_what_was_not_executed(shop: Shop, answer: Any, said: str) -> None:
    """To a terminal it is a no."""
    shop.world.line.answers = [answer]
    sell(shop)
    shop.books.wait(600_001)
    assert code(sell(shop)) == said


@pytest.mark.parametrize("lost", [False, True])
def test_a_reversal_whose_fate_is_unknown_is_silence(shop: Shop, lost: bool) -> None:
    shop.ledger.lose = CancelSale if lost else None
    assert code(cancel(shop)) == ("" if lost else "00")


def void(shop: Shop, trace: int = 2, orig: int = 1, fen: int = 5000, pin: str | None = PIN) -> Said | None:
    sale = Sale(1, trace, "", fen, Pin(pin) if pin else None)
    said: Said | None = now(shop.till.void(shop.terminal(), sale, 1, orig))
    return said


def test_voids(shop: Shop) -> None:
    sell(shop)
    assert [code(void(shop, 2, 9)), code(void(shop, 2, fen=6000)), code(void(shop, 2, pin=None))] == [
        "25",
        "25",
        "55",
    ]
    assert [code(void(shop, 3)), code(void(shop, 3)), code(void(shop, 4))] == ["00", "00", "40"]
    assert shop.books.money("A") == (100_000, 0)


@pytest.mark.parametrize(("answer", "said"), [("0000", "40"), ("6004", "00"), (None, "40")])
def test_a_void_is_never_taken_back(shop: Shop, answer: str | None, said: str) -> None:
    sell(shop)
    shop.world.line.answers = [answer or InDoubt("no answer")]
    void(shop)
    assert code(cancel(shop, 2)) == said


def test_a_void_taken_back_before_it_came_is_refused(shop: Shop) -> None:
    sell(shop)
    assert [code(cancel(shop, 2)), code(void(shop, 2))] == ["00", "12"]
    assert shop.books.money("A") == (95_000, 0)


# -- questions -----------------------------------------------------------------------------------------------


def ask(shop: Shop, operation: Operation) -> Said | None:
    said: Said | None = now(shop.till.ask(shop.terminal(), operation, None, 9))
    return said


def test_balance_last_and_number(shop: Shop) -> None:
    sell(shop)
    balance, last = ask(shop, Operation.BALANCE), ask(shop, Operation.LAST)
    assert balance is not None
    assert last is not None
    assert (balance.facts["available_fen"], last.facts["target"]) == (95_000, "13812345678")
    assert shop.till.check_number("13812345678") == Said("00", {"operator": "op"})
    assert [shop.till.check_number(text).code for text in ("19912345678", "1x")] == ["14", "14"]


def test_questions_that_cannot_be_answered(shop: Shop) -> None:
    with shop.books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE terminal SET rights = 1")
    assert code(ask(shop, Operation.BALANCE)) == "58"
    shop.ledger.lose = Inquire
    assert ask(shop, Operation.BALANCE) is None


def test_copies(shop: Shop) -> None:
    sell(shop)
    said = [now(shop.till.copy(shop.terminal(), 1, trace)) for trace in (1, 1, 1, 9)]
    assert [(each.code, each.facts.get("copy")) for each in said] == [
        ("00", 1),
        ("00", 2),
        ("40", None),
        ("25", None),
    ]


def test_a_void_has_no_slip_of_a_recharge(shop: Shop) -> None:
    sell(shop)
    void(shop)
    assert [code(now(shop.till.copy(shop.terminal(), 1, trace))) for trace in (1, 2)] == ["25", "25"]


# -- batches -------------------------------------------------------------------------------------------------


def settle(shop: Shop, totals: Totals, batch: int = 1) -> Said | None:
    said: Said | None = now(shop.till.settle(shop.terminal(), batch, totals))
    return said


def compare(shop: Shop, theirs: dict[int, int], batch: int = 1) -> Said | None:
    said: Said | None = now(shop.till.compare(shop.terminal(), batch, theirs))
    return said


def test_settlement(shop: Shop) -> None:
    shop.sign_in()
    sell(shop)
    assert code(settle(shop, Totals(1, 5000), 7)) == "95"
    assert code(compare(shop, {})) == "95"
    assert settle(shop, Totals(2, 10_000)) == Said("00", {"equal": False})
    assert code(compare(shop, {1: 1 << 40})) == "30"
    assert compare(shop, {1: 5000, 2: 5000}) == Said("00", {"wrong": 1})
    assert compare(shop, {1: 5000, 2: 5000}) == Said("00", {"wrong": 1})
    assert settle(shop, Totals(), 2) == Said("00", {"equal": True})


def test_voids_are_compared_with_their_sign(shop: Shop) -> None:
    shop.sign_in()
    sell(shop)
    void(shop)
    settle(shop, Totals())
    assert compare(shop, {1: 5000, 2: -5000}) == Said("00", {"wrong": 0})


def test_a_settlement_of_unknown_fate_is_silence(shop: Shop) -> None:
    shop.sign_in()
    shop.ledger.lose = CloseBatch
    assert settle(shop, Totals()) is None


def test_a_lost_read_is_no_answer(shop: Shop) -> None:
    shop.terminal()

    def broken(reader: Any) -> Any:
        raise LedgerError("away")

    shop.ledger.read = broken  # type: ignore[method-assign]
    assert now(shop.till.cancel(shop.shelf.kept("10000001"), 1, 1, 5000, "98")) is None  # type: ignore[arg-type]
