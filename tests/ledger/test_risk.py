"""The agent's rules and the wrong-number guard: the closed vocabulary, who decides, what is held, refused or asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.ledger.policy import RiskRule
from aircharge.ledger.reading import last_asked_back
from aircharge.ledger.risk import CONDITIONS, RuleError, Situation, judge, rule_set_of
from aircharge.ledger.screening import neighbours, unusual
from aircharge.sms.phrases import CheckCode, Phrases
from aircharge.values import Channel, Operation, State, Verdict
from tests.ledger.desk import MINUTE, PHONES, PIN, WRONG, Books

DAY = 24 * 60 * MINUTE
PHRASES = Phrases(CheckCode(bytes(32)))
SITUATION = Situation(
    channel=int(Channel.SMS),
    operation=int(Operation.RECHARGE),
    operator_id=1,
    amount_fen=30_000,
    target="13812345678",
    outlet="A",
    group="standard",
    hour=23,
    outlet_days=10,
    phone_days=3,
    repeated=False,
    listed=False,
    pin_given=False,
    first_time=lambda: True,
    used=lambda subject, period: (5, 9000) if (subject, period) == (4, 1) else (0, 0),
)


def rules(books: Books, *found: dict[str, Any], guard: Any = "off") -> None:
    """These rules, in force from the next command on."""
    body = json.dumps({"rules": list(found), "guard": guard})
    rule_set_of(json.loads(body))
    version = books.value("SELECT coalesce(max(version), 0) + 1 FROM rule_set")
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE rule_set SET state = 2")
    books.add("rule_set", version=version, state=1, body=body, made_ms=0)


# -- the vocabulary -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "value", "holds"),
    [
        ("channel", ["sms", "web"], True),
        ("channel", ["stk"], False),
        ("operation", ["recharge"], True),
        ("operation", ["transfer", "reversal"], False),
        ("operator", [1, 2], True),
        ("operator", [2], False),
        ("amount_from_fen", 30_000, True),
        ("amount_from_fen", 30_001, False),
        ("amount_to_fen", 30_000, True),
        ("amount_to_fen", 29_999, False),
        ("hours", [22, 6], True),  # over midnight
        ("hours", [8, 23], False),  # the end does not belong to it
        ("hours", [23, 24], True),
        ("outlet", ["A", "B"], True),
        ("outlet", ["B"], False),
        ("group", ["gold", "standard"], True),
        ("group", ["gold"], False),
        ("outlet_days_below", 11, True),
        ("outlet_days_below", 10, False),
        ("phone_days_below", 4, True),
        ("phone_days_below", 3, False),
        ("segment", ["170", "138"], True),
        ("segment", ["170"], False),
        ("first_time", True, True),
        ("first_time", False, False),
        ("repeated", False, True),
        ("repeated", True, False),
        ("listed", False, True),
        ("counted", {"subject": "target", "period": "day", "orders": 5}, True),
        ("counted", {"subject": "target", "period": "day", "orders": 6}, False),
        ("counted", {"subject": "target", "period": "day", "fen": 9000}, True),
        ("counted", {"subject": "target", "period": "day", "orders": 5, "fen": 9001}, False),
        ("counted", {"subject": "outlet", "period": "month", "orders": 1}, False),
    ],
)
def test_each_word_of_the_vocabulary(word: str, value: Any, holds: bool) -> None:
    found = rule_set_of({"rules": [{"name": "one", "when": {word: value}, "then": "deny"}]})
    assert judge(found.rules, SITUATION).then == ("deny" if holds else "allow")


def test_no_word_is_untested() -> None:
    [parameters] = [mark.args[1] for mark in test_each_word_of_the_vocabulary.pytestmark]
    assert {word for word, *_ in parameters} == set(CONDITIONS)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "guard"),
        ({"rulez": []}, "and nothing else"),
        ({"rules": {}}, "a list"),
        ({"rules": [{}] * 101}, "at most 100"),
        ({"rules": ["deny"]}, "rule 1: an object"),
        ({"rules": [{"name": "night"}]}, "rule night: then None"),
        ({"rules": [{"name": "night", "then": "forbid"}]}, "rule night: then 'forbid': one of allow, deny"),
        ({"rules": [{"name": "night", "then": "deny", "if": {}}]}, "rule night: unknown field 'if'"),
        ({"rules": [{"name": "夜", "then": "deny"}]}, "rule 1: name"),
        ({"rules": [{"name": "x" * 17, "then": "deny"}]}, "rule 1: name"),
        ({"rules": [{"name": "a", "then": "deny"}, {"name": "a", "then": "hold"}]}, "used twice"),
        (
            {"rules": [{"name": "night", "then": "deny", "when": {"hour": 3}}]},
            "rule night: unknown field 'hour'",
        ),
        ({"rules": [{"name": "r", "then": "deny", "when": []}]}, "when: an object"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"hours": 3}}]}, r"rule r: hours: \[from, until\]"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"hours": [3, 25]}}]}, "0 to 24"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"amount_from_fen": 0}}]}, "from 1 to"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"amount_from_fen": -1}}]}, "from 1 to"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"amount_from_fen": 10**19}}]}, "from 1 to"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"amount_from_fen": 1.5}}]}, "whole number"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"amount_from_fen": True}}]}, "whole number"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"channel": "sms"}}]}, "a list of at least one"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"channel": []}}]}, "a list of at least one"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"channel": ["fax"]}}]}, "'fax': one of sms"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"operation": [1]}}]}, "1: one of recharge"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"first_time": "yes"}}]}, "true or false"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"segment": ["13x"]}}]}, "beginning of a number"),
        ({"rules": [{"name": "r", "then": "deny", "when": {"group": [7]}}]}, "no code"),
        (
            {"rules": [{"name": "r", "then": "deny", "when": {"counted": {"subject": "target"}}}]},
            "subject, period",
        ),
        (
            {
                "rules": [
                    {"name": "r", "then": "deny", "when": {"counted": {"subject": "target", "period": "day"}}}
                ]
            },
            "more than nothing",
        ),
        ({"guard": "on"}, "guard"),
        ({"guard": ["a b"]}, "guard"),
        ({"guard": True}, "guard"),
    ],
)
def test_what_a_rule_set_may_not_say(body: Any, says: str) -> None:
    with pytest.raises(RuleError, match=says):
        rule_set_of(body)


def test_what_must_run_for_a_rule_set() -> None:
    counted = {"counted": {"subject": "target", "period": "day", "orders": 3}}
    found = rule_set_of(
        {
            "guard": ["new"],
            "rules": [
                {"then": "hold", "when": counted},
                {"then": "deny", "when": {"operation": ["transfer"], **counted}},
                {"then": "alert", "when": {"first_time": True}},
            ],
        }
    )
    assert found.tallies == {(4, 1, 1), (4, 4, 1), (1, 1, 3)}
    assert found.asks_first_time
    assert found.guard == {"new"}
    assert rule_set_of({}).tallies == frozenset()


# -- who decides ----------------------------------------------------------------------------------------------


def one(name: str, then: str, **when: Any) -> RiskRule:
    [rule] = rule_set_of({"rules": [{"name": name, "then": then, "when": when}]}).rules
    return rule


def test_the_first_that_decides_wins_and_alerts_go_on() -> None:
    night = one("night", "hold", hours=[22, 6])
    large = one("large", "deny", amount_from_fen=20_000)
    seen = one("seen", "alert")
    known = one("known", "allow", outlet=["A"])
    said = judge((seen, night, large), SITUATION)
    assert (said.then, said.rule, said.alerts) == ("hold", "night", ("seen",))
    assert judge((large, night), SITUATION).rule == "large"
    assert judge((known, large, night, seen), SITUATION) == judge((known,), SITUATION)
    assert judge((), SITUATION).then == "allow"
    assert judge((night, seen), replace(SITUATION, hour=12)).alerts == ("seen",)


def test_a_pin_that_was_given_decides_nothing() -> None:
    ask, large = one("pin", "ask_pin"), one("large", "deny", amount_from_fen=20_000)
    assert judge((ask, large), SITUATION).then == "ask_pin"
    assert judge((ask, large), replace(SITUATION, pin_given=True)).rule == "large"
    assert judge((ask,), replace(SITUATION, pin_given=True)).then == "allow"


def test_who_is_on_a_white_list_is_seen_only_by_rules_that_name_it() -> None:
    white = replace(SITUATION, listed=True)
    assert judge((one("all", "deny"),), white).then == "allow"
    assert judge((one("all", "deny"), one("white", "alert", listed=True)), white).alerts == ("white",)


# -- in the books ---------------------------------------------------------------------------------------------


def test_denied_with_the_rules_name_and_kept_under_its_key(books: Books) -> None:
    rules(books, {"name": "big", "then": "deny", "when": {"amount_from_fen": 5000}})
    asked = books.plain(amount_fen=5000)
    receipt = books.do(asked)
    assert (receipt.state, receipt.reason) == (State.REFUSED, Reason.RULE)
    [notice] = books.notices
    assert (
        PHRASES.phrase(notice.topic, notice.facts, "zh")
        == "未受理(57):规则big不允许13812345678充50.00元,未扣款。请联系客户经理。"
    )
    assert books.do(asked).order_id == receipt.order_id
    assert books.do(books.plain(amount_fen=4999)).reason is Reason.OK
    assert books.money("A") == (100_000, 4999)


def test_a_pin_is_asked_for_and_must_be_right(books: Books) -> None:
    rules(books, {"name": "pin", "then": "ask_pin", "when": {"amount_from_fen": 5000}})
    assert books.do(books.plain()).reason is Reason.PIN_NEEDED
    assert books.do(books.plain(pin=WRONG)).reason is Reason.PIN_WRONG
    assert books.do(books.plain(pin=PIN)).reason is Reason.OK
    assert books.do(books.stk("13800000001")).reason is Reason.OK


def test_an_alert_is_in_the_audit_and_the_order_goes_on(books: Books) -> None:
    rules(
        books,
        {"name": "look", "then": "alert"},
        {"name": "big", "then": "deny", "when": {"amount_from_fen": 9000}},
    )
    assert books.do(books.plain()).reason is Reason.OK
    assert books.do(books.plain(amount_fen=9000)).reason is Reason.RULE
    audited = books.rows("SELECT object, detail FROM audit WHERE action = 'alarm.rule' ORDER BY seq")
    assert [row[0] for row in audited] == ["A", "A"]
    assert json.loads(audited[0][1]) == {"rule": "look", "target": "138****5678", "amount_fen": 5000}


def test_held_for_a_clerk_only_when_nothing_else_is_wrong(books: Books) -> None:
    rules(books, {"name": "look", "then": "hold"})
    books.add("limit_rule", id=1, subject=4, operation=1, period=1, count_max=1)
    assert books.do(books.plain(refuse=Reason.OPERATOR_DOWN)).reason is Reason.OPERATOR_DOWN
    assert books.do(books.plain(amount_fen=10**7)).reason is Reason.FLOAT
    assert books.do(books.plain()).state is State.PARKED
    assert books.do(books.plain(repeat=2)).reason is Reason.LIMIT_COUNT
    assert books.do(books.stk("13800000001")).state is State.PARKED


def test_a_reconfirmed_request_is_parked_under_its_own_key(books: Books) -> None:
    rules(books, {"name": "look", "then": "hold"})
    earlier = books.card()
    question = books.stk(use=books.card(), earlier=earlier.serial)
    first = books.do(question)
    assert first.state is State.PARKED
    late = books.stk(use=earlier)
    assert (books.do(late).order_id, books.do(late).fresh) == (first.order_id, False)
    assert books.money("A") == (100_000, 5000)


def test_counts_run_for_a_rule_that_asks_for_them(books: Books) -> None:
    """The third recharge of a number in a day, over all outlets; a void does not count."""
    often = {"counted": {"subject": "target", "period": "day", "orders": 2}}
    rules(books, {"name": "often", "then": "deny", "when": often})
    void = books.do(books.plain(amount_fen=1000))
    books.do(books.close(void, Verdict.NO))
    for outlet in ("A", "B"):
        assert books.do(books.plain(amount_fen=1000, outlet=outlet)).reason is Reason.OK
    assert books.do(books.plain(amount_fen=2000)).reason is Reason.RULE
    books.wait(DAY)
    assert books.do(books.plain(amount_fen=2000)).reason is Reason.OK


def test_the_first_time_of_a_number_at_an_outlet(books: Books) -> None:
    rules(books, {"name": "new", "then": "deny", "when": {"first_time": True, "amount_from_fen": 3000}})
    assert books.do(books.plain(amount_fen=3000)).reason is Reason.RULE
    known = books.do(books.plain(amount_fen=1000))
    assert books.do(books.plain(amount_fen=3000)).reason is Reason.RULE, "not settled yet"
    books.do(books.close(known, Verdict.YES))
    assert books.do(books.plain(amount_fen=3000)).reason is Reason.OK
    assert books.do(books.plain(amount_fen=3000, outlet="B")).reason is Reason.RULE
    books.wait(91 * DAY)
    assert books.do(books.plain(amount_fen=4000)).reason is Reason.RULE, "it was too long ago"


def test_new_outlets_and_new_phones(books: Books) -> None:
    rules(books, {"name": "young", "then": "deny", "when": {"outlet_days_below": 7, "phone_days_below": 7}})
    assert books.do(books.plain()).reason is Reason.RULE
    books.wait(7 * DAY)
    assert books.do(books.plain()).reason is Reason.OK


def test_rules_change_with_the_next_command(books: Books) -> None:
    rules(books, {"name": "all", "then": "deny"})
    assert books.do(books.plain()).reason is Reason.RULE
    rules(books)
    assert books.do(books.plain()).reason is Reason.OK


# -- the wrong-number guard -----------------------------------------------------------------------------------

KNOWN, SLIP = "13812345678", "13812345698"


def serve(
    books: Books, number: str = KNOWN, times: int = 3, amount_fen: int = 1000, outlet: str = "A"
) -> None:
    for n in range(1, times + 1):
        receipt = books.do(books.plain(number, amount_fen, outlet=outlet, repeat=n))
        books.do(books.close(receipt, Verdict.YES))
    books.told()


def test_every_mobile_number_one_digit_away() -> None:
    near = list(neighbours(KNOWN))
    assert len(near) == len(set(near)) == 6 + 9 * 9
    assert SLIP in near
    assert all(sum(a != b for a, b in zip(one, KNOWN, strict=True)) == 1 for one in near)
    assert all(one[0] == "1" and one[1] in "3456789" for one in near)
    assert list(neighbours("")) == []


@pytest.mark.parametrize(
    ("served", "target", "outlet", "asks"),
    [
        ([(KNOWN, 3)], SLIP, "A", True),
        ([(KNOWN, 2)], SLIP, "A", False),  # not often enough
        ([(KNOWN, 3)], "13812345699", "A", False),  # two digits away
        ([(KNOWN, 3)], SLIP, "B", False),  # another outlet's customer
        ([(KNOWN, 3), (SLIP, 1)], SLIP, "A", False),  # this outlet has served it
        ([(KNOWN, 3)], KNOWN, "A", False),
        ([], SLIP, "A", False),
    ],
)
def test_a_new_number_next_to_one_often_served_is_asked_about(
    books: Books, served: list[tuple[str, int]], target: str, outlet: str, asks: bool
) -> None:
    for number, times in served:
        serve(books, number, times)
    rules(books, guard="all")
    receipt = books.do(books.plain(target, 1000, outlet=outlet, repeat=9))
    assert receipt.reason is (Reason.CONFIRM if asks else Reason.OK)
    if asks:
        facts = books.notices[-1].facts
        assert facts["near"] == KNOWN
        assert (
            PHRASES.phrase("outlet.refused", facts, "zh")
            == f"未扣款(26):{SLIP}与常充的{KNOWN}只差一位,充10.00元无误请5分钟内回复Y办理。"
        )


def test_long_ago_is_not_often(books: Books) -> None:
    serve(books)
    rules(books, guard="all")
    books.wait(91 * DAY)
    assert books.do(books.plain(SLIP, 1000)).reason is Reason.OK


@pytest.mark.parametrize(
    ("guard", "asks"), [("off", False), ("all", True), (["standard"], True), (["gold"], False)]
)
def test_the_guard_is_off_or_on_by_group(books: Books, guard: Any, asks: bool) -> None:
    serve(books)
    rules(books, guard=guard)
    assert books.do(books.plain(SLIP, 1000)).reason is (Reason.CONFIRM if asks else Reason.OK)


@pytest.mark.parametrize(
    ("n", "amount_fen", "asks"),
    [(9, 5000, False), (10, 4999, False), (10, 5000, True), (10, 50_000, True)],
)
def test_five_times_the_usual_amount_is_asked_about(
    books: Books, n: int, amount_fen: int, asks: bool
) -> None:
    rules(books, guard="all")
    serve(books, times=n)
    receipt = books.do(books.plain(KNOWN, amount_fen, repeat=99))
    assert receipt.reason is (Reason.CONFIRM if asks else Reason.OK)
    assert unusual(amount_fen, n, n * 1000) is asks
    if asks:
        facts = books.notices[-1].facts
        assert facts["usual_fen"] == 1000
        assert "平常每笔约10.00元" in PHRASES.phrase("outlet.refused", facts, "zh")


def test_asked_back_nothing_is_held_and_a_yes_goes_on(books: Books) -> None:
    serve(books)
    rules(books, guard="all")
    asked = books.do(books.plain(SLIP, 1000))
    assert (asked.state, asked.reason) == (State.REFUSED, Reason.CONFIRM)
    assert books.money("A") == (97_000, 0)
    with books.engine.connect() as txn:
        row = last_asked_back(txn, PHONES["A"], books.clock.ms - 5 * MINUTE)
        assert row is not None
        assert (row["id"], row["msisdn"], row["amount"]) == (asked.order_id, SLIP, 1000)
        assert last_asked_back(txn, PHONES["B"], 0) is None
        assert last_asked_back(txn, PHONES["A"], books.clock.ms + 1) is None
    assert books.do(books.plain(SLIP, 1000, confirmed=True)).reason is Reason.OK
    assert books.money("A") == (97_000, 1000)


def test_a_yes_does_not_pass_by_rules_and_limits(books: Books) -> None:
    rules(books, {"name": "no", "then": "deny"}, guard="all")
    assert books.do(books.plain(confirmed=True)).reason is Reason.RULE


def test_the_newest_question_is_the_one_that_is_answered(books: Books) -> None:
    serve(books)
    rules(books, guard="all")
    for target in (SLIP, "13812345688"):
        books.do(books.plain(target, 1000))
        books.wait(1000)
    with books.engine.connect() as txn:
        row = last_asked_back(txn, PHONES["A"], 0)
    assert row is not None
    assert row["msisdn"] == "13812345688"


def test_what_the_guard_costs(books: Books) -> None:
    """Nothing when it is off; on, one question for known numbers and two for new ones."""
    serve(books)
    asked = books.store._loader._ask
    statements = []
    rows = books.store._dialect.rows

    def counting(txn: Any, statement: str, *more: Any) -> Any:
        statements.append(statement)
        return rows(txn, statement, *more)

    books.store._loader._dialect = type("Counting", (), {"rows": staticmethod(counting), "queries": asked})()
    cost: list[int] = []
    for guard, target in (("off", SLIP), ("all", KNOWN), ("all", "13800000000")):
        rules(books, guard=guard)
        statements.clear()
        books.do(books.plain(target, 1000, repeat=50 + len(cost)))
        cost.append(sum(statement == asked.served for statement in statements))
    assert cost == [0, 1, 2]
