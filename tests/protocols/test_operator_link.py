"""NotSent or InDoubt: for each way a request can end, whether an octet of it reached the transport."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from aircharge.errors import InDoubt, NotSent
from aircharge.ports import OperatorAnswer, OperatorRequest
from aircharge.protocols.operator_link import OperatorLink, OperatorLinkSettings
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.session import Invoked, Session, SessionSettings
from aircharge.wire.operator.states import Role

SECRET = b"0123456789abcdef"
T = 1_795_408_147_291


class _Clock:
    def now_ms(self):
        return T

    def monotonic_s(self):
        return 0.0


class _Chance:
    def __init__(self):
        self.count = 0

    def token(self, length):
        self.count += 1
        return bytes([self.count]) * length


class _Platform:
    """The operator's end of one line, in memory."""

    def __init__(self, world, line, window_max=1000):
        self.world = world
        self.line = line
        self.transport = StringTransport()
        self.transport.abortConnection = self.transport.loseConnection
        self.session = Session(
            Role.OPERATOR,
            SessionSettings(window_max=window_max, window_in_max=1000),
            {"aircharge": SECRET},
            b"o" * 32,
            0.0,
            lambda: T,
        )
        self.asked = []
        line.makeConnection(self.transport)

    def turn(self):
        """Carry octets both ways until nothing is left."""
        while True:
            data = self.transport.value()
            self.transport.clear()
            for event in self.session.receive(data, self.world.seconds()):
                if type(event) is Invoked:
                    self.asked.append(event)
            back = self.session.data_to_send()
            if not data and not back:
                return self
            if back:
                self.line.dataReceived(back)

    def answer(self, index=0, code="0000", **also):
        event = self.asked.pop(index)
        kind = m.ReverseResult if isinstance(event.argument, m.ReverseArgument) else m.RechargeResult
        self.session.respond(event.invoke_id, kind(event.argument.op_ref, code, "S1", T, **also))
        self.turn()

    def cut(self):
        self.line.connectionLost(Failure(ConnectionError("cut")))


class _World:
    def __init__(self, lines=1, window_max=1000, **settings):
        self.reactor = MemoryReactorClock()
        self.link = OperatorLink(
            OperatorLinkSettings(listen=("tcp:9000",), **settings), SECRET, self.reactor, _Clock(), _Chance()
        )
        started = self.link.start()
        with pytest.raises(StopIteration):
            started.send(None)
        self.factory = self.reactor.tcpServers[0][1]
        self.late = []
        self.link.on_late_answer(self.late.append)
        self.platforms = [self.dial(window_max).turn() for _ in range(lines)]

    def seconds(self):
        return self.reactor.seconds()

    def dial(self, window_max=1000, host="10.0.0.1"):
        line = self.factory.buildProtocol(IPv4Address("TCP", host, 4711))
        return None if line is None else _Platform(self, line, window_max)

    def recharge(self, ref="r1", amount_fen=5000):
        return self.link.recharge(OperatorRequest(ref, "13800138000", amount_fen, T))

    def pass_time(self, seconds):
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)


def outcome(deferred):
    """The answer, the error, or None while there is neither."""
    seen = []
    deferred.addBoth(seen.append)
    if not seen:
        return None
    return seen[0].value if isinstance(seen[0], Failure) else seen[0]


def test_an_answer():
    world = _World()
    asked = world.recharge()
    (platform,) = world.platforms
    platform.turn()
    assert platform.asked[0].argument == m.RechargeArgument("r1", "aircharge", "13800138000", 5000, 156, T)
    platform.answer()
    assert outcome(asked) == OperatorAnswer("r1", "0000", "S1", T)


class TestNotSent:
    """No octet was handed to the transport."""

    def test_no_line_was_ever_bound(self):
        world = _World(lines=0)
        assert not world.link.ready()
        assert type(outcome(world.recharge())) is NotSent

    def test_connected_but_not_bound(self):
        world = _World(lines=0)
        platform = world.dial()
        platform.transport.clear()
        assert not world.link.ready()
        assert type(outcome(world.recharge())) is NotSent
        assert platform.transport.value() == b""

    def test_the_line_is_gone(self):
        world = _World()
        world.platforms[0].cut()
        assert type(outcome(world.recharge())) is NotSent

    def test_the_queue_is_full(self):
        world = _World(window_max=1, queue_max=1)
        first, second = world.recharge("r1"), world.recharge("r2")
        assert not world.link.ready()
        assert type(outcome(world.recharge("r3"))) is NotSent
        world.platforms[0].turn().answer()
        world.platforms[0].answer()
        assert outcome(first).op_ref == "r1"
        assert outcome(second).op_ref == "r2"

    def test_the_deadline_passed_in_the_queue(self):
        world = _World(window_max=1, queue_timeout_s=2.0)
        world.recharge("r1")
        waiting = world.recharge("r2")
        world.pass_time(1.75)
        assert not waiting.called
        world.pass_time(0.25)
        assert type(outcome(waiting)) is NotSent
        world.platforms[0].turn()
        assert [event.argument.op_ref for event in world.platforms[0].asked] == ["r1"]

    def test_the_window_opens_after_the_deadline_but_before_the_timer(self):
        world = _World(window_max=1, queue_timeout_s=2.0)
        world.recharge("r1")
        waiting = world.recharge("r2")
        world.platforms[0].turn()
        world.reactor.rightNow += 2.5  # a busy reactor: time went by, its timers have not run
        world.platforms[0].answer()
        assert type(outcome(waiting)) is NotSent
        assert world.platforms[0].asked == []

    def test_queued_when_the_last_line_is_lost(self):
        world = _World(window_max=1)
        sent, queued = world.recharge("r1"), world.recharge("r2")
        world.platforms[0].cut()
        assert type(outcome(sent)) is InDoubt
        assert type(outcome(queued)) is NotSent

    def test_queued_when_we_stop(self):
        world = _World(window_max=1)
        world.recharge("r1")
        queued = world.recharge("r2")
        world.link.stop().send(None)
        assert type(outcome(queued)) is NotSent
        assert type(outcome(world.recharge("r3"))) is NotSent

    def test_given_up_while_queued(self):
        world = _World(window_max=1)
        first, queued = world.recharge("r1"), world.recharge("r2")
        queued.cancel()
        assert type(outcome(queued)) is NotSent
        world.platforms[0].turn().answer()
        assert outcome(first).code == "0000"
        assert world.platforms[0].asked == []

    @pytest.mark.parametrize(
        "request_",
        [
            OperatorRequest("r" * 33, "13800138000", 5000, T),
            OperatorRequest("", "13800138000", 5000, T),
            OperatorRequest("r", "no digits", 5000, T),
            OperatorRequest("r", "13800138000", 0, T),
        ],
    )
    def test_it_cannot_be_said_in_the_protocol(self, request_):
        world = _World()
        world.platforms[0].transport.clear()
        assert type(outcome(world.link.recharge(request_))) is NotSent
        assert world.platforms[0].transport.value() == b""
        assert outcome(world.recharge("fine")) is None


class TestInDoubt:
    """Octets were handed to the transport and no answer to them came."""

    def test_no_answer_in_time_and_then_late(self):
        world = _World(response_timeout_s=5.0)
        asked = world.recharge()
        world.platforms[0].turn()
        world.pass_time(4.75)
        assert not asked.called
        world.pass_time(0.5)
        assert type(outcome(asked)) is InDoubt
        world.platforms[0].answer()
        assert world.late == [OperatorAnswer("r1", "0000", "S1", T)]

    def test_the_line_is_lost(self):
        world = _World()
        asked = world.recharge()
        world.platforms[0].cut()
        assert type(outcome(asked)) is InDoubt

    def test_a_half_open_line(self):
        world = _World(heartbeat_s=2.0, response_timeout_s=100.0)
        asked = world.recharge()
        assert world.link.ready()
        world.pass_time(4)
        assert not world.link.ready()  # a heartbeat was missed
        world.pass_time(4.5)
        assert type(outcome(asked)) is InDoubt
        assert world.link.lines_bound == 0

    def test_the_peer_breaks_the_protocol(self):
        world = _World()
        asked = world.recharge()
        world.platforms[0].line.dataReceived(b"HTTP/1.1 400 Bad Request\r\n")
        assert type(outcome(asked)) is InDoubt
        assert type(outcome(world.recharge())) is NotSent

    def test_stopping_waits_then_leaves_a_doubt(self):
        world = _World(unbind_timeout_s=3.0)
        asked = world.recharge()
        world.link.stop().send(None)
        world.pass_time(2)
        assert not asked.called
        world.pass_time(2)
        assert type(outcome(asked)) is InDoubt

    def test_given_up_by_the_asker_and_answered_after(self):
        world = _World()
        asked = world.recharge()
        world.platforms[0].turn()
        asked.cancel()
        assert type(outcome(asked)) is InDoubt
        world.platforms[0].answer()
        assert world.late == [OperatorAnswer("r1", "0000", "S1", T)]

    def test_late_news_tells_the_amount(self):
        world = _World(response_timeout_s=5.0)
        asked = world.recharge()
        world.platforms[0].turn()
        world.pass_time(5.25)
        assert type(outcome(asked)) is InDoubt
        world.platforms[0].answer(amount_fen=500)
        assert world.late == [OperatorAnswer("r1", "0000", "S1", T, 500)]

    def test_another_amount_was_executed(self):
        world = _World()
        asked = world.recharge()
        world.platforms[0].turn().answer(amount_fen=500)
        assert type(outcome(asked)) is InDoubt

    def test_a_query_that_is_refused_says_nothing_about_the_recharge(self):
        world = _World()
        asked = world.link.query(OperatorRequest("r1", "13800138000", 5000, T))
        (platform,) = world.platforms
        platform.turn()
        platform.session.refuse(platform.asked[0].invoke_id, m.Refused("r1", "4001"))
        platform.turn()
        assert type(outcome(asked)) is InDoubt


class TestAnswers:
    @pytest.mark.parametrize(
        ("result", "code"),
        [
            (m.QueryResult("r1", m.QueryStatus.FOUND, "0000", "S1", T, 5000), "0000"),
            (m.QueryResult("r1", m.QueryStatus.FOUND, "1001"), "1001"),
            (m.QueryResult("r1", m.QueryStatus.NOT_FOUND), "1404"),
            (m.QueryResult("r1", m.QueryStatus.NOT_FOUND, "0000"), "1404"),
            (m.QueryResult("r1", m.QueryStatus.PENDING), "9001"),
            (m.QueryResult("r1", m.QueryStatus.PENDING, "0000"), "9001"),
        ],
    )
    def test_query(self, result, code):
        world = _World()
        asked = world.link.query(OperatorRequest("r1", "13800138000", 5000, T))
        (platform,) = world.platforms
        platform.turn()
        platform.session.respond(platform.asked[0].invoke_id, result)
        platform.turn()
        answer = outcome(asked)
        assert (answer.code, answer.amount_fen) == (code, result.amount_fen)

    def test_a_refusal_and_a_reject_are_codes(self):
        world = _World()
        first, second = world.recharge("r1"), world.recharge("r2")
        (platform,) = world.platforms
        platform.turn()
        platform.session.refuse(platform.asked[0].invoke_id, m.Refused("r1", "1001"))
        platform.session.reject(platform.asked[1].invoke_id, m.Problem.RESOURCE_LIMITATION)
        platform.turn()
        assert outcome(first) == OperatorAnswer("r1", "1001")
        assert outcome(second) == OperatorAnswer("r2", "REJ13")

    def test_reverse_and_stock(self):
        world = _World()
        reversal = world.link.reverse(OperatorRequest("v1", "13800138000", 5000, T, "r1"))
        stock = world.link.stock()
        (platform,) = world.platforms
        platform.turn()
        assert platform.asked[0].argument.original_ref == "r1"
        platform.session.respond(platform.asked[1].invoke_id, m.StockResult(123, T))
        platform.answer()
        assert outcome(stock) == 123
        assert outcome(reversal) == OperatorAnswer("v1", "0000", "S1", T)

    def test_a_contradiction_is_heard(self):
        world = _World()
        asked = world.recharge()
        (platform,) = world.platforms
        platform.turn()
        invoke_id = platform.asked[0].invoke_id
        platform.answer()
        platform.session.respond(invoke_id, m.RechargeResult("r1", "0000", "S1", T))
        platform.session.refuse(invoke_id, m.Refused("r1", "1001"))
        platform.turn()
        assert outcome(asked).code == "0000"
        assert world.late == [OperatorAnswer("r1", "1001")]


class TestLines:
    def test_in_turn(self):
        world = _World(lines=2)
        for number in range(6):
            world.recharge(f"r{number}")
        assert [len(platform.turn().asked) for platform in world.platforms] == [3, 3]

    def test_the_operators_window_is_kept_and_the_other_line_used(self):
        world = _World(lines=0)
        small, large = world.dial(window_max=1).turn(), world.dial(window_max=5).turn()
        for number in range(5):
            world.recharge(f"r{number}")
        assert (len(small.turn().asked), len(large.turn().asked)) == (1, 4)

    def test_the_other_line_goes_on_when_one_is_lost(self):
        world = _World(lines=2)
        world.platforms[0].cut()
        assert world.link.ready()
        asked = world.recharge()
        world.platforms[1].turn().answer()
        assert outcome(asked).code == "0000"

    def test_strangers_and_too_many_are_refused(self):
        world = _World(lines=0, allow=("10.0.0.0/8",), links_max=2)
        assert world.dial(host="192.0.2.1") is None
        first, second = world.dial().turn(), world.dial().turn()
        assert second is not None
        assert world.dial() is None
        first.cut()
        assert world.dial() is not None

    def test_a_false_operator_is_given_nothing(self):
        world = _World(lines=0)
        platform = world.dial()
        platform.session._secrets = {"aircharge": b"f" * 16}
        platform.turn()
        assert not world.link.ready()
        assert platform.transport.disconnecting

    def test_stop_parts_in_peace(self):
        world = _World(lines=2)
        stopping = world.link.stop()
        stopping.send(None)
        for platform in world.platforms:
            platform.turn()
            assert platform.session.has_ended
            assert platform.transport.disconnecting

    def test_a_short_secret_is_no_secret(self):
        with pytest.raises(ValueError, match="16 octets"):
            OperatorLink(OperatorLinkSettings(), b"short", MemoryReactorClock(), _Clock(), _Chance())
