"""Sessions of the operator line wired together in memory, and every input at every state."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aircharge.wire.machine import IllegalInput
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.codec import decode, encode, splitter
from aircharge.wire.operator.session import (
    Answered,
    Bound,
    Contradicted,
    Doubtful,
    Ended,
    Invoked,
    Late,
    Session,
    SessionSettings,
)
from aircharge.wire.operator.states import TABLES, Input, Role, State
from tests.wire.operator.samples import APDUS, REF, T

SECRET = b"s" * 32
SETTINGS = SessionSettings(
    window_max=4, window_in_max=3, response_timeout_s=5, heartbeat_s=10, bind_timeout_s=8
)


def agent(secret=SECRET, nonce=b"a" * 32, settings=SETTINGS):
    return Session(Role.AGENT, settings, {"A1": secret}, nonce, 0.0, lambda: T, agent_id="A1", link_id="L1")


def operator(secret=SECRET, nonce=b"o" * 32, settings=SETTINGS):
    return Session(Role.OPERATOR, settings, {"A1": secret}, nonce, 0.0, lambda: T)


def wire(one, other, now=0.0):
    """Carry octets both ways until nobody has any; the events of both."""
    events = ([], [])
    while True:
        there, back = one.data_to_send(), other.data_to_send()
        if not there and not back:
            return events
        events[1].extend(other.receive(there, now))
        events[0].extend(one.receive(back, now))


def bound(settings=SETTINGS):
    one, other = agent(settings=settings), operator(settings=settings)
    wire(one, other)
    assert (one.state, other.state) == (State.BOUND, State.BOUND)
    return one, other


def recharge(ref=REF, amount_fen=5000):
    return m.RechargeArgument(ref, "A1", "13800138000", amount_fen, 156, T)


def said(session):
    split = splitter()
    split.feed(session.data_to_send())
    found = []
    while (frame := split.next_frame()) is not None:
        found.append(decode(frame))
    return found


class TestBind:
    def test_both_prove_themselves(self):
        one, other = agent(), operator()
        ours, theirs = wire(one, other)
        assert ours == [Bound("A1", "L1", 4)]
        assert theirs == [Bound("A1", "L1", 4)]

    def test_the_smaller_window_holds(self):
        one = agent()
        wire(one, operator(settings=SessionSettings(window_max=2)))
        assert one.window_max == 2

    def test_a_wrong_secret_is_refused_and_nothing_of_the_operators_is_proved(self):
        one, other = agent(secret=b"x" * 32), operator()
        ours, theirs = wire(one, other)
        assert theirs == [Ended("the agent could not prove itself")]
        assert isinstance(ours[-1], Ended)
        assert "reason=1" in ours[-1].why

    def test_an_unknown_agent_learns_no_more_than_one_with_a_wrong_secret(self):
        one = agent(secret=b"x" * 32)
        stranger = Session(Role.OPERATOR, SETTINGS, {}, b"o" * 32, 0.0, lambda: T)
        ours, _ = wire(one, stranger)
        assert "reason=1" in ours[-1].why

    def test_an_agent_does_not_believe_a_false_operator(self):
        one, other = agent(), operator(secret=b"y" * 32)
        other._proof_received = lambda invoke_id, _argument, _now: other._send(
            m.ReturnResult(invoke_id, m.AuthenticateResult(b"\x00" * 32, 4))
        )
        ours, _ = wire(one, other)
        assert ours == [Ended("the operator could not prove itself")]

    def test_a_reflected_challenge_is_not_answered(self):
        one = agent()
        bind = said(one)[0]
        events = one.receive(encode(m.ReturnResult(bind.invoke_id, m.BindResult(1, b"a" * 32))), 0.0)
        assert events == [Ended("the operator's challenge is not one")]
        assert said(one) == []

    def test_a_silent_peer_is_left_after_the_bind_time(self):
        for session in (agent(), operator()):
            assert session.tick(7.9) == []
            assert session.tick(8.0) == [Ended("no bind in time")]

    def test_work_before_the_bind_is_rejected_and_ends(self):
        other = operator()
        events = other.receive(encode(m.Invoke(9, recharge())), 0.0)
        assert said(other) == [m.Reject(9, m.Problem.NOT_BOUND)]
        assert isinstance(events[0], Ended)
        with pytest.raises(IllegalInput):
            agent().request(recharge(), "t", 0.0)

    def test_nobody_unproven_makes_us_gather_much(self):
        other = operator()
        events = other.receive(b"\xa1\x82\x02\x00" + b"x" * 40, 0.0)
        assert isinstance(events[0], Ended)


class TestAnswers:
    def test_in_any_order(self):
        one, other = bound()
        for number in range(3):
            one.request(recharge(f"r{number}"), number, 1.0)
        _, theirs = wire(one, other)
        for event in reversed(theirs):
            other.respond(event.invoke_id, m.RechargeResult(event.argument.op_ref, "0000"))
        ours, _ = wire(one, other)
        assert [event.token for event in ours] == [2, 1, 0]
        assert all(type(event) is Answered for event in ours)
        assert one.outstanding == 0

    def test_window(self):
        one, _ = bound()
        for number in range(4):
            assert one.is_open
            one.request(recharge(f"r{number}"), number, 1.0)
        assert not one.is_open

    def test_more_than_the_operators_window_is_rejected_not_refused(self):
        """Not a code: "busy" would speak of the reference, which may have been executed before."""
        one, other = bound()
        for number in range(4):
            one.request(recharge(f"r{number}"), number, 1.0)
        ours, theirs = wire(one, other)
        assert len(theirs) == 3
        assert ours == [Answered(3, m.Reject(theirs[-1].invoke_id + 1, m.Problem.RESOURCE_LIMITATION))]

    def test_no_answer_in_time_is_a_doubt_and_the_answer_then_late(self):
        one, other = bound()
        one.request(recharge(), "t", 1.0)
        theirs = wire(one, other)[1]
        assert one.tick(5.9) == []
        assert one.tick(6.0) == [Doubtful("t", "no answer in time")]
        assert one.is_open
        other.respond(theirs[0].invoke_id, m.RechargeResult(REF, "0000"))
        assert wire(one, other, 7.0)[0] == [Late(m.RechargeResult(REF, "0000"))]

    def test_a_late_refusal_counts_where_we_know_what_was_asked(self):
        one, other = bound()
        one.request(recharge(), "money", 1.0)
        one.request(m.QueryArgument("q", "A1", T), "query", 1.0)
        theirs = wire(one, other)[1]
        one.tick(9.0)
        for event in theirs:
            other.refuse(event.invoke_id, m.Refused(event.argument.op_ref, "1001"))
        assert wire(one, other)[0] == [Late(m.Refused(REF, "1001"))]

    def test_an_answer_from_an_earlier_connection_is_late(self):
        one, _ = bound()
        assert one.receive(encode(m.ReturnResult(900, m.RechargeResult(REF, "0000"))), 1.0) == [
            Late(m.RechargeResult(REF, "0000"))
        ]
        assert one.receive(encode(m.ReturnError(901, m.Refused(REF, "1001"))), 1.0) == []
        assert one.receive(encode(m.ReturnResult(902, m.QueryResult(REF, 1))), 1.0) == []
        assert (one.counters.late, one.counters.strays) == (1, 2)

    def test_the_same_again_is_counted_and_another_word_contradicts(self):
        one, other = bound()
        one.request(recharge(), "t", 1.0)
        invoke_id = wire(one, other)[1][0].invoke_id
        for _ in range(3):
            other.respond(invoke_id, m.RechargeResult(REF, "0000"))
        other.refuse(invoke_id, m.Refused(REF, "1001"))
        ours = wire(one, other)[0]
        assert ours == [
            Answered("t", m.RechargeResult(REF, "0000")),
            Contradicted(m.Refused(REF, "1001"), "0000"),
        ]
        assert one.counters.duplicates == 2

    def test_a_refused_query_after_its_answer_is_no_contradiction(self):
        one, other = bound()
        one.request(m.QueryArgument(REF, "A1", T), "q", 1.0)
        invoke_id = wire(one, other)[1][0].invoke_id
        other.respond(invoke_id, m.QueryResult(REF, 0, "0000"))
        other.refuse(invoke_id, m.Refused(REF, "1001"))
        assert len(wire(one, other)[0]) == 1
        assert one.counters.strays == 1

    @pytest.mark.parametrize(
        "answer",
        [
            m.ReturnResult(3, m.RechargeResult("another", "0000")),
            m.ReturnResult(3, m.QueryResult(REF, 0, "0000")),
            m.ReturnResult(3, m.Heartbeat(T)),
            m.ReturnError(3, m.Refused("another", "1001")),
            m.ReturnError(3, m.BindRefused(1)),
        ],
        ids=repr,
    )
    def test_an_answer_to_something_else_leaves_a_doubt(self, answer):
        one, _ = bound()
        one.request(recharge(), "t", 1.0)
        assert said(one)[0].invoke_id == 3
        assert one.receive(encode(answer), 1.0) == [Doubtful("t", "the answer is not to this invoke")]
        assert one.receive(encode(m.ReturnResult(3, m.RechargeResult(REF, "0000"))), 1.0) == [
            Late(m.RechargeResult(REF, "0000"))
        ]

    def test_an_unreadable_answer_leaves_its_own_invoke_in_doubt_only(self):
        one, _ = bound()
        one.request(recharge("r1"), 1, 1.0)
        one.request(recharge("r2"), 2, 1.0)
        ids = [apdu.invoke_id for apdu in said(one)]
        broken = b"\xa2\x06\x02\x01" + bytes((ids[0],)) + b"\x02\x01\x05"
        events = one.receive(broken, 1.0)
        assert [(type(event), event.token) for event in events] == [(Doubtful, 1)]
        assert one.state is State.BOUND
        assert one.outstanding == 1

    def test_a_lost_connection_leaves_everything_sent_in_doubt(self):
        one, _ = bound()
        one.request(recharge("r1"), 1, 1.0)
        one.request(recharge("r2"), 2, 1.0)
        events = one.connection_lost()
        assert [type(event) for event in events] == [Doubtful, Doubtful, Ended]
        assert one.connection_lost() == []


class TestOperatorSide:
    def test_the_same_invoke_id_twice(self):
        one, other = bound()
        one.request(recharge(), "t", 1.0)
        data = one.data_to_send()
        assert [type(event) for event in other.receive(data + data, 1.0)] == [Invoked]
        assert said(other) == [m.Reject(3, m.Problem.DUPLICATE_INVOCATION)]

    def test_another_agents_name_is_rejected(self):
        _, other = bound()
        other.receive(encode(m.Invoke(9, m.QueryArgument(REF, "A2", T))), 1.0)
        assert said(other) == [m.Reject(9, m.Problem.MISTYPED_ARGUMENT)]

    def test_an_unreadable_invoke_is_rejected_and_the_line_stays(self):
        _, other = bound()
        other.receive(b"\xa1\x08\x02\x01\x09\x02\x01\x1e\xbe\x00", 1.0)
        assert said(other) == [m.Reject(9, m.Problem.UNRECOGNIZED_OPERATION)]
        assert other.state is State.BOUND

    def test_an_agent_executes_nothing(self):
        one, _ = bound()
        one.receive(encode(m.Invoke(9, recharge())), 1.0)
        assert said(one) == [m.Reject(9, m.Problem.UNRECOGNIZED_OPERATION)]


class TestHeartbeat:
    @pytest.mark.parametrize("which", [0, 1])
    def test_a_half_open_line_is_found(self, which):
        session = bound()[which]
        session.request(recharge(), "t", 39.0) if which == 0 else None
        ends = []
        for now in range(1, 60):
            events = session.tick(float(now))
            if any(type(event) is Ended for event in events):
                ends.append((now, events))
        assert [now for now, _ in ends] == [40]
        assert ends[0][1][-1].why == "3 heartbeats unanswered"
        if which == 0:
            assert type(ends[0][1][0]) is Doubtful

    def test_an_answer_keeps_it(self):
        one, other = bound()
        for now in range(1, 200):
            assert one.tick(float(now)) == []
            assert other.tick(float(now)) == []
            assert wire(one, other, float(now)) == ([], [])
        assert one.is_alive

    def test_octets_that_never_become_an_apdu_are_no_life(self):
        one, _ = bound()
        for now in range(1, 40):
            one.receive(b"\xa2\x82\xf0\x00" if now == 1 else b"\x00", float(now))
            one.tick(float(now))
        assert any(type(event) is Ended for event in one.tick(40.0))


class TestUnbind:
    @pytest.mark.parametrize("which", [0, 1])
    def test_what_is_outstanding_is_waited_for(self, which):
        pair = bound()
        one, other = pair
        one.request(recharge(), "t", 1.0)
        theirs = wire(one, other)[1]
        pair[which].unbind(2.0)
        wire(one, other)
        assert not one.has_ended
        assert not other.has_ended
        with pytest.raises(IllegalInput):
            one.request(recharge("r2"), "u", 2.0)
        other.respond(theirs[0].invoke_id, m.RechargeResult(REF, "0000"))
        ours, _ = wire(one, other)
        assert ours[0] == Answered("t", m.RechargeResult(REF, "0000"))
        assert one.has_ended
        assert other.has_ended

    def test_both_at_once(self):
        one, other = bound()
        one.unbind(1.0)
        other.unbind(1.0)
        wire(one, other)
        assert one.has_ended
        assert other.has_ended

    def test_a_request_that_crossed_the_operators_unbind_is_served(self):
        one, other = bound()
        other.unbind(1.0)
        one.request(recharge(), "t", 1.0)
        theirs = wire(one, other)[1]
        other.respond(theirs[0].invoke_id, m.RechargeResult(REF, "0000"))
        ours, _ = wire(one, other)
        assert Answered("t", m.RechargeResult(REF, "0000")) in ours
        assert one.has_ended

    def test_not_for_ever(self):
        one, _ = bound(SessionSettings(response_timeout_s=90))
        one.request(recharge(), "t", 1.0)
        one.unbind(2.0)
        assert one.tick(21.0) == []
        assert [type(event) for event in one.tick(22.0)] == [Doubtful, Ended]


def _in_state(role, state):
    """A session of that role in that state, or None where the role has none."""
    session = agent() if role is Role.AGENT else operator()
    peer = operator() if role is Role.AGENT else agent()
    if state is State.OPEN:
        return session if role is Role.OPERATOR else None
    if state is State.CHALLENGED:
        if role is Role.OPERATOR:
            session.receive(peer.data_to_send(), 0.0)
        return session
    if state is State.PROVING:
        if role is Role.OPERATOR:
            return None
        peer.receive(session.data_to_send(), 0.0)
        session.receive(peer.data_to_send(), 0.0)
        return session
    wire(session, peer)
    if role is Role.AGENT:
        session.request(recharge(), "t", 0.0)
    else:
        session.receive(encode(m.Invoke(50, recharge())), 0.0)
    if state is State.UNBINDING:
        session.unbind(0.0)
    elif state is State.DRAINING:
        session.receive(encode(m.Invoke(60, m.Unbind(T))), 0.0)
    elif state is State.CLOSED:
        session.connection_lost()
    return session


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(Role),
    st.sampled_from(State),
    st.lists(APDUS | st.binary(max_size=30), max_size=5),
    st.data(),
)
def test_every_input_at_every_state(role, state, inputs, data):
    session = _in_state(role, state)
    if session is None:
        return
    assert session.state is state
    waiting = session.outstanding
    ended = doubts = answers = 0
    for number, item in enumerate(inputs):
        if not isinstance(item, bytes) and data.draw(st.booleans()) and hasattr(item, "invoke_id"):
            item = type(item)(
                data.draw(st.integers(1, 6)), *(getattr(item, name) for name in item.__slots__[1:])
            )
        events = session.receive(item if isinstance(item, bytes) else encode(item), float(number))
        events += session.tick(float(number))
        for event in events:
            ended += type(event) is Ended
            doubts += type(event) is Doubtful
            answers += type(event) is Answered
        split = splitter()
        split.feed(session.data_to_send())
        while split.next_frame() is not None:
            pass
        assert split.held == 0
    events = session.connection_lost()
    ended += sum(type(event) is Ended for event in events)
    doubts += sum(type(event) is Doubtful for event in events)
    assert ended == (0 if state is State.CLOSED else 1)
    assert doubts + answers == waiting  # every invoke ends in exactly one of both
    assert session.receive(b"\xa1", 99.0) == []
    assert session.state is State.CLOSED


def test_the_tables_lead_from_everywhere_to_the_end():
    for table in TABLES.values():
        for state in State:
            assert table[state, Input.CLOSE] is State.CLOSED
        reached = {after for _, after in table.items()}
        assert State.BOUND in reached
        assert not [key for key in table if key[0] is State.CLOSED and key[1] is not Input.CLOSE]
