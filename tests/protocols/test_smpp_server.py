"""The SMPP server: who may bind, what becomes of messages, drain and bounds."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from aircharge.errors import ConfigError, LinkError
from aircharge.protocols.gate import GateSettings
from aircharge.protocols.smpp import SmppGateway, SmppServer
from aircharge.protocols.smpp_connection import REFUSALS
from aircharge.wire.smpp.constants import Command, Status
from aircharge.wire.smpp.pdu import Pdu, encode
from aircharge.wire.smpp.states import State
from tests.protocols.smpp_world import PASSWORD, PEER, TEXT, World, peer


def test_bind_message_answer() -> None:
    world = World()
    line = world.bound()
    assert line.wire.options == {"nodelay": True, "keepalive": True}
    waiting: Deferred[int] = Deferred()
    world.verdict = lambda: waiting
    number = line.say(Command.SUBMIT_SM, **TEXT)
    assert line.said() == []
    waiting.callback(0)
    (answer,) = line.said()
    assert (answer.command, answer.sequence, answer.status) == (Command.SUBMIT_SM_RESP, number, 0)
    assert answer.fields["message_id"]
    ((message, info),) = world.messages
    assert (message.source, message.destination, message.text) == (
        "8613900000001",
        "0353911",
        "13812345678 50",
    )
    assert (info.name, message.sent_ms) == ("smsc", None)


@pytest.mark.parametrize(
    "command", [Command.SUBMIT_SM, Command.DELIVER_SM], ids=lambda command: command.name.lower()
)
def test_answers_in_kind(command: Command) -> None:
    world = World()
    line = world.bound()
    number = line.say(command, **TEXT)
    (answer,) = line.said()
    assert (answer.command, answer.sequence, answer.status) == (command | 0x80000000, number, 0)
    assert bool(answer.fields["message_id"]) is (command != Command.DELIVER_SM)


def test_a_pdu_the_profile_does_not_take() -> None:
    world = World(peer(mo_pdu=("deliver_sm",)))
    line = world.bound()
    line.say(Command.SUBMIT_SM, **TEXT)
    assert [answer.status for answer in line.said()] == [Status.ESME_RINVCMDID]
    assert world.messages == []


@pytest.mark.parametrize("command", [Command.QUERY_SM, Command.CANCEL_SM, Command.REPLACE_SM])
def test_operations_we_do_not_offer(command: Command) -> None:
    line = World().bound()
    line.say(command)
    assert [answer.status for answer in line.said()] == [REFUSALS[command]]


@pytest.mark.parametrize(
    ("error", "status"), [(LinkError("x"), Status.ESME_RX_T_APPN), (ValueError("bug"), Status.ESME_RSYSERR)]
)
def test_an_answerer_that_raises(error: Exception, status: int) -> None:
    world = World()
    line = world.bound()

    def fail() -> int:
        raise error

    world.verdict = fail
    line.say(Command.SUBMIT_SM, **TEXT)
    assert [answer.status for answer in line.said()] == [status]


@pytest.mark.parametrize(
    "credentials",
    [
        {"system_id": "nobody"},
        {"password": "wrong"},
        {"system_id": "nobody", "password": "wrong"},
        {"system_id": "", "password": ""},
    ],
)
def test_strangers_all_get_the_same_answer(credentials: dict[str, str]) -> None:
    world = World()
    line = world.connect()
    answer = line.bind(**credentials)
    assert (answer.status, answer.fields) == (Status.ESME_RBINDFAIL, {"system_id": ""})
    assert line.is_closing
    line.lose()
    assert world.gateway.connections == 0


def test_from_the_wrong_place_and_too_many() -> None:
    world = World(peer(allow=("10.0.0.0/24",), sessions_max=1), peer(name="other", system_id="other"))
    assert world.connect("10.0.1.1").bind().status == Status.ESME_RBINDFAIL
    first = world.connect("10.0.0.7")
    assert first.bind().status == 0
    assert world.connect("10.0.0.8").bind().status == Status.ESME_RBINDFAIL
    first.lose()
    assert world.connect("10.0.0.8").bind().status == 0


def test_gate_counts_and_lets_go() -> None:
    world = World(gate=GateSettings(allow=("10.0.0.0/8",), connections_max=3, connections_per_ip_max=2))
    lines = [world.bound(), world.bound()]
    assert world.server.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1)) is None
    assert world.connect("10.0.0.2").bind().status == 0
    assert world.server.buildProtocol(IPv4Address("TCP", "10.0.0.3", 1)) is None
    assert world.server.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)) is None
    lines[0].lose()
    world.connect("10.0.0.3")
    assert (world.server.gate.connections, world.server.gate.refused) == (3, 3)


def test_silent_connection_is_closed_after_session_init() -> None:
    world = World()
    line = world.connect()
    world.pass_time(4)
    line.connection.dataReceived(b"\0")
    world.pass_time(5)
    assert not line.is_closing
    world.pass_time(2)
    assert line.is_closing
    line.lose()
    assert world.clock.getDelayedCalls() == []


def test_half_open_peer_is_found() -> None:
    world = World(peer(enquire_link_s=30.0, response_s=10.0))
    line = world.bound()
    world.pass_time(31)
    assert [pdu.command for pdu in line.said()] == [Command.ENQUIRE_LINK]
    world.pass_time(11)
    assert line.is_closing


def test_throttle_refuses_the_new_and_still_answers_the_old() -> None:
    world = World()
    line = world.bound()
    waiting: Deferred[int] = Deferred()
    world.verdict = lambda: waiting
    line.say(Command.SUBMIT_SM, **TEXT)
    world.gateway.throttle(True)
    line.say(Command.SUBMIT_SM, **TEXT)
    late = world.bound()
    late.say(Command.SUBMIT_SM, **TEXT)
    assert [pdu.status for pdu in line.said() + late.said()] == [Status.ESME_RTHROTTLED] * 2
    waiting.callback(0)
    assert [pdu.status for pdu in line.said()] == [0]


def test_unbind_all_drains_unbinds_and_closes() -> None:
    world = World()
    line, stranger = world.bound(), world.connect()
    waiting: Deferred[int] = Deferred()
    world.verdict = lambda: waiting
    line.say(Command.SUBMIT_SM, **TEXT)
    done: list[object] = []
    world.gateway.unbind_all().addCallback(done.append)
    assert stranger.is_closing
    assert not world.gateway.ready()
    stranger.lose()
    assert line.said() == []
    waiting.callback(0)
    answer, unbind = line.said()
    assert (answer.command, unbind.command) == (Command.SUBMIT_SM_RESP, Command.UNBIND)
    line.say(Command.UNBIND_RESP, sequence=unbind.sequence)
    assert line.is_closing
    assert done == []
    line.lose()
    assert done == [None]
    assert line.connection.session.state is State.CLOSED


def test_peer_unbinds() -> None:
    world = World()
    line = world.bound()
    assert world.gateway.bound_peers() == ("smsc",)
    line.say(Command.UNBIND)
    assert [pdu.command for pdu in line.said()] == [Command.UNBIND_RESP]
    assert line.is_closing
    line.lose()
    assert world.gateway.bound_peers() == ()


def test_an_answer_after_the_peer_has_gone_is_dropped() -> None:
    world = World()
    line = world.bound()
    waiting: Deferred[int] = Deferred()
    world.verdict = lambda: waiting
    line.say(Command.SUBMIT_SM, **TEXT)
    line.lose()
    waiting.callback(0)
    assert line.said() == []


def test_a_peer_that_does_not_read_is_not_read_and_then_cut_off() -> None:
    world = World()
    line = world.bound()
    line.connection.pauseProducing()
    assert line.wire.producerState == "paused"
    world.pass_time(20)
    line.connection.resumeProducing()
    assert line.wire.producerState == "producing"
    line.connection.pauseProducing()
    world.pass_time(29)
    assert not line.wire.was_aborted
    world.pass_time(2)
    assert line.wire.was_aborted


def test_a_close_that_does_not_end_is_aborted() -> None:
    world = World()
    line = world.connect()
    line.bind(password="wrong")
    assert line.is_closing
    assert not line.wire.was_aborted
    world.pass_time(6)
    assert line.wire.was_aborted


def test_configuration_is_checked() -> None:
    world = World()
    with pytest.raises(ConfigError):
        SmppServer(world.gateway, [PEER], {})
    with pytest.raises(ConfigError):
        SmppServer(world.gateway, [], {})
    for wrong in (peer(role="both"), peer(mt_pdu="data_sm"), peer(mo_pdu=("x",)), peer(interface_version=1)):
        with pytest.raises(ConfigError):
            SmppServer(_fresh(world), [wrong], {"smsc": PASSWORD})


def _fresh(world: World) -> SmppGateway:
    async def answer(*_: object) -> int:
        return 0

    return SmppGateway(world.clock, lambda: 0, answer)


def test_parts_are_acknowledged_and_answered_as_one() -> None:
    world = World()
    line = world.bound()
    heads = [b"\x05\x00\x03\x07\x02\x02", b"\x05\x00\x03\x07\x02\x01"]  # the second part first
    for head, text in zip(heads, (b"678 50", b"13812345"), strict=True):
        line.say(Command.DELIVER_SM, **{**TEXT, "esm_class": 0x40, "short_message": head + text})
    assert [pdu.status for pdu in line.said()] == [0, 0]
    assert [message.text for message, _ in world.messages] == ["13812345678 50"]


def test_receipts_go_their_own_way() -> None:
    world = World()
    line = world.bound()
    text = b"id:4711 sub:001 dlvrd:001 submit date:2611230400 done date:2611230401 stat:DELIVRD err:000 text:"
    line.say(Command.DELIVER_SM, **{**TEXT, "esm_class": 0x04, "short_message": text})
    assert [pdu.status for pdu in line.said()] == [0]
    assert world.messages == []
    assert [receipt.message_id for receipt in world.receipts] == ["4711"]


def test_data_sm_and_the_senders_own_time() -> None:
    world = World(peer(sent_time_tlv=0x1500))
    line = world.bound()
    fields = {name: value for name, value in TEXT.items() if name != "short_message"}
    tlvs = ((0x0424, TEXT["short_message"]), (0x1500, (1_790_000_000).to_bytes(4, "big")))
    line.say(Command.DATA_SM, tlvs=tlvs, **fields)
    assert [(pdu.command, pdu.status) for pdu in line.said()] == [(Command.DATA_SM_RESP, 0)]
    ((message, _),) = world.messages
    assert (message.text, message.sent_ms) == ("13812345678 50", 1_790_000_000_000)


def test_a_broken_message_gets_its_code() -> None:
    world = World()
    line = world.bound()
    line.say(Command.DELIVER_SM, **{**TEXT, "esm_class": 0x40, "short_message": b"\x50\x00"})
    frame = encode(Pdu(Command.DELIVER_SM, 9, 0, TEXT)) + bytes.fromhex("042400057477696365")
    line.connection.dataReceived(len(frame).to_bytes(4, "big") + frame[4:])
    assert [pdu.status for pdu in line.said()] == [Status.ESME_RX_P_APPN, Status.ESME_RTLVNOTALLWD]
    assert world.messages == []
