"""SMPP 3.4 §2: states, windows, timers. Two sessions wired together, and each end against hand-made bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from aircharge.errors import NotSent
from aircharge.wire.smpp.constants import Command, Status, Tag
from aircharge.wire.smpp.pdu import Pdu, decode, encode
from aircharge.wire.smpp.session import (
    Answered,
    BindAsked,
    Bound,
    Ended,
    Lost,
    Malformed,
    OutbindAsked,
    Received,
    Session,
)
from aircharge.wire.smpp.states import LEGAL, Side, State, legal_requests
from aircharge.wire.smpp.timers import SessionSettings

BIND = {"system_id": "smsc", "password": "secret"}
ALL_MESSAGES = frozenset((Command.SUBMIT_SM, Command.DELIVER_SM, Command.DATA_SM))
SETTINGS = SessionSettings(window_max=2, queue_max=3, window_in_max=2)
BIND_FOR = {
    State.BOUND_TX: Command.BIND_TRANSMITTER,
    State.BOUND_RX: Command.BIND_RECEIVER,
    State.BOUND_TRX: Command.BIND_TRANSCEIVER,
}


def frames(data: bytes) -> list[Pdu]:
    found = []
    while data:
        length = int.from_bytes(data[:4], "big")
        found.append(decode(data[:length]))
        data = data[length:]
    return found


def said(session: Session) -> list[Pdu]:
    return frames(session.data_to_send())


def bare(command: int, sequence: int = 5) -> bytes:
    return struct.pack(">IIII", 16, command, 0, sequence)


def submit(text: bytes = b"13812345678 50", sequence: int = 0) -> Pdu:
    fields = {"source_addr": "8613900000001", "destination_addr": "0353911", "short_message": text}
    return Pdu(Command.SUBMIT_SM, sequence, 0, fields)


def bound_mc(state: State = State.BOUND_TRX, settings: SessionSettings = SETTINGS, **more: Any) -> Session:
    """A session of ours as MC that a peer has just bound; what it said so far is thrown away."""
    session = Session(Side.MC, settings, 0.0)
    (asked,) = session.receive(encode(Pdu(BIND_FOR[state], 1, 0, {**BIND, "interface_version": 0x34})), 0.0)
    assert isinstance(asked, BindAsked)
    session.configure(settings, Side.MC, **more)
    session.accept_bind(asked.pdu, "aircharge", 0.0)
    session.data_to_send()
    assert session.state is state
    return session


def bound_esme(state: State = State.BOUND_TRX, settings: SessionSettings = SETTINGS) -> Session:
    session = Session(Side.ESME, settings, 0.0)
    session.bind(BIND_FOR[state], BIND, 0.0)
    (bind,) = said(session)
    (event,) = session.receive(encode(bind.response(0, system_id="mc")), 0.0)
    assert isinstance(event, Bound)
    assert session.state is state
    return session


def pair(state: State = State.BOUND_TRX, settings: SessionSettings = SETTINGS) -> tuple[Session, Session]:
    """An MC and an ESME bound to each other."""
    mc, esme = Session(Side.MC, settings, 0.0), Session(Side.ESME, settings, 0.0)
    esme.bind(BIND_FOR[state], BIND, 0.0)
    (asked,) = mc.receive(esme.data_to_send(), 0.0)
    mc.accept_bind(asked.pdu, "aircharge", 0.0)
    (event,) = esme.receive(mc.data_to_send(), 0.0)
    assert isinstance(event, Bound)
    assert mc.state is esme.state is state
    return mc, esme


@pytest.mark.parametrize("state", BIND_FOR)
def test_bind_of_every_kind_leaves_both_ends_in_the_same_state(state: State) -> None:
    pair(state)


def test_bind_byte_by_byte() -> None:
    session = Session(Side.MC, SETTINGS, 0.0)
    events = []
    for octet in encode(Pdu(Command.BIND_TRANSCEIVER, 7, 0, {**BIND, "interface_version": 0x34})):
        events += session.receive(bytes((octet,)), 0.0)
    assert [type(event) for event in events] == [BindAsked]
    assert session.accept_bind(events[0].pdu, "aircharge", 0.0) == [Bound(events[0].pdu)]
    (answer,) = said(session)
    assert (answer.command, answer.sequence, answer.status) == (Command.BIND_TRANSCEIVER_RESP, 7, 0)
    assert answer.tlv(Tag.SC_INTERFACE_VERSION) == 0x34


def test_refused_bind_ends_both() -> None:
    mc, esme = Session(Side.MC, SETTINGS, 0.0), Session(Side.ESME, SETTINGS, 0.0)
    esme.bind(Command.BIND_TRANSCEIVER, BIND, 0.0)
    (asked,) = mc.receive(esme.data_to_send(), 0.0)
    assert [type(e) for e in mc.refuse_bind(asked.pdu, Status.ESME_RBINDFAIL)] == [Ended]
    assert [type(e) for e in esme.receive(mc.data_to_send(), 0.0)] == [Ended]
    assert esme.state is State.CLOSED


def test_outbind_then_bind() -> None:
    mc, esme = Session(Side.MC, SETTINGS, 0.0), Session(None, SETTINGS, 0.0)
    mc.outbind("smsc", "secret")
    (asked,) = esme.receive(mc.data_to_send(), 0.0)
    assert isinstance(asked, OutbindAsked)
    assert esme.side is Side.ESME
    assert mc.state is esme.state is State.OUTBOUND
    esme.bind(Command.BIND_RECEIVER, BIND, 0.0)
    (bind,) = mc.receive(esme.data_to_send(), 0.0)
    mc.accept_bind(bind.pdu, "mc", 0.0)
    esme.receive(mc.data_to_send(), 0.0)
    assert mc.state is esme.state is State.BOUND_RX


def test_request_and_answer() -> None:
    mc, esme = pair()
    esme.request(submit(), "token", 1.0)
    (event,) = mc.receive(esme.data_to_send(), 1.0)
    assert isinstance(event, Received)
    assert mc.unanswered_in == 1
    mc.respond(event.pdu, 0, 1.0, message_id="1")
    (answered,) = esme.receive(mc.data_to_send(), 1.0)
    assert isinstance(answered, Answered)
    assert (answered.token, answered.pdu.status, answered.pdu.fields["message_id"]) == ("token", 0, "1")
    assert (mc.unanswered_in, esme.unanswered_out) == (0, 0)


def test_our_window_holds_back_and_the_queue_is_bounded() -> None:
    esme = bound_esme()
    for number in range(5):
        esme.request(submit(), number, 1.0)
    sent = said(esme)
    assert [pdu.sequence for pdu in sent] == [2, 3]
    assert esme.queued_out == 3
    with pytest.raises(NotSent):
        esme.request(submit(), 6, 1.0)
    esme.receive(encode(sent[1].response(0, message_id="x")), 1.0)  # any order
    assert [pdu.sequence for pdu in said(esme)] == [4]


def test_the_peers_window_is_bounded_too() -> None:
    mc = bound_mc()
    data = b"".join(encode(submit(sequence=number)) for number in range(2, 6))
    events = mc.receive(data, 1.0)
    assert [event.pdu.sequence for event in events] == [2, 3]
    assert [(p.sequence, p.status) for p in said(mc)] == [
        (4, Status.ESME_RTHROTTLED),
        (5, Status.ESME_RTHROTTLED),
    ]
    mc.respond(events[0].pdu, 0, 1.0, message_id="1")
    assert len(mc.receive(encode(submit(sequence=9)), 1.0)) == 1


def test_throttling_answers_58() -> None:
    mc = bound_mc()
    mc.is_throttling = True
    assert mc.receive(encode(submit(sequence=2)), 1.0) == []
    assert [p.status for p in said(mc)] == [Status.ESME_RTHROTTLED]


def test_what_the_gate_keeps_out_is_answered_58_undecoded() -> None:
    mc, seen = bound_mc(), []
    mc.gate = lambda frame: bool(seen.append(frame))  # type: ignore[func-returns-value]
    broken = encode(submit(sequence=3))[:-1] + b"\xff"  # what a decoder would object to is not looked at
    wanted = encode(Pdu(Command.ENQUIRE_LINK, 4, 0, {}))
    assert mc.receive(encode(submit(sequence=2)) + broken + wanted, 1.0) == []
    assert [(p.command, p.sequence, p.status) for p in said(mc)] == [
        (Command.SUBMIT_SM_RESP, 2, Status.ESME_RTHROTTLED),
        (Command.SUBMIT_SM_RESP, 3, Status.ESME_RTHROTTLED),
        (Command.ENQUIRE_LINK_RESP, 4, 0),
    ]
    assert len(seen) == 2
    mc.gate = lambda frame: True
    assert len(mc.receive(encode(submit(sequence=5)), 1.0)) == 1


def test_the_gate_is_not_asked_about_what_is_illegal_anyway() -> None:
    mc = Session(Side.MC, SETTINGS, 0.0)
    mc.gate = lambda frame: False
    mc.receive(encode(submit(sequence=2)), 1.0)
    assert [p.status for p in said(mc)] == [Status.ESME_RINVBNDSTS]


def test_response_time_out_is_unknown_and_queued_is_not_sent() -> None:
    esme = bound_esme()
    for number in range(3):
        esme.request(submit(), number, 1.0)
    assert esme.tick(15.9) == []
    lost = [event for event in esme.tick(16.1) if isinstance(event, Lost)]
    assert {(event.token, event.was_written) for event in lost} == {(0, True), (1, True), (2, False)}
    late = encode(Pdu(Command.SUBMIT_SM_RESP, 2, 0, {"message_id": "late"}))
    assert esme.receive(late, 17.0) == []
    assert esme.late_answers == 1


def test_connection_lost_tells_written_from_unwritten() -> None:
    esme = bound_esme()
    for number in range(3):
        esme.request(submit(), number, 1.0)
    lost = esme.connection_lost()
    assert [(event.token, event.was_written) for event in lost] == [(0, True), (1, True), (2, False)]
    assert esme.state is State.CLOSED


def test_answer_of_another_kind_leaves_the_request_in_doubt() -> None:
    esme = bound_esme()
    esme.request(submit(), "t", 1.0)
    (sent,) = said(esme)
    assert esme.receive(encode(Pdu(Command.DELIVER_SM_RESP, sent.sequence)), 1.0) == [Lost("t", True)]


def test_generic_nack_is_an_answer() -> None:
    esme = bound_esme()
    esme.request(submit(), "t", 1.0)
    (sent,) = said(esme)
    (event,) = esme.receive(encode(Pdu(Command.GENERIC_NACK, sent.sequence, 3)), 1.0)
    assert isinstance(event, Answered)
    assert event.pdu.status == 3


def test_half_open_peer_is_found_by_enquire_link() -> None:
    mc = bound_mc()
    assert mc.tick(29.0) == []
    assert mc.data_to_send() == b""
    mc.tick(30.0)
    (enquiry,) = said(mc)
    assert enquiry.command == Command.ENQUIRE_LINK
    assert mc.tick(44.0) == []
    assert [type(event) for event in mc.tick(45.1)] == [Ended]


def test_enquire_link_answered_keeps_the_session() -> None:
    mc, esme = pair()
    mc.tick(30.0)
    esme.receive(mc.data_to_send(), 30.0)
    mc.receive(esme.data_to_send(), 30.5)
    assert mc.tick(45.2) == []
    assert mc.data_to_send() == b""


def test_no_bind_in_time() -> None:
    session = Session(Side.MC, SETTINGS, 0.0)
    assert session.tick(9.9) == []
    assert [type(event) for event in session.tick(10.0)] == [Ended]


def test_a_trickled_pdu_has_a_deadline() -> None:
    mc = bound_mc()
    data = encode(submit(sequence=2))
    for second in range(30):
        mc.receive(data[second : second + 1], float(second))
        assert mc.tick(float(second)) == []
    assert [type(event) for event in mc.tick(30.0)] == [Ended]


def test_length_bomb_is_refused_at_the_header() -> None:
    mc = bound_mc()
    (event,) = mc.receive(b"\xff\xff\xff\xff", 1.0)
    assert isinstance(event, Ended)
    (answer,) = said(mc)
    assert (answer.command, answer.status) == (Command.GENERIC_NACK, Status.ESME_RINVCMDLEN)


def test_unknown_command_is_nacked_and_the_session_lives() -> None:
    mc = bound_mc()
    (told,) = mc.receive(bytes.fromhex("00000010000000770000000000000009"), 1.0)
    assert isinstance(told, Malformed)
    assert told.status == 3
    assert [(p.command, p.sequence, p.status) for p in said(mc)] == [(Command.GENERIC_NACK, 9, 3)]
    (told,) = mc.receive(bytes.fromhex("00000010800000770000000000000009"), 1.0)  # a response: never nacked
    assert isinstance(told, Malformed)
    assert said(mc) == []


def test_broken_body_gets_its_own_response() -> None:
    mc = bound_mc()
    frame = bytearray(encode(submit(sequence=4)))
    frame[frame.index(b"\x0e13812345678")] = 200  # sm_length beyond the PDU
    (told,) = mc.receive(bytes(frame), 1.0)
    assert isinstance(told, Malformed)
    assert (told.name, told.status) == ("submit_sm", Status.ESME_RINVMSGLEN)
    (answer,) = said(mc)
    assert (answer.command, answer.sequence, answer.status) == (
        Command.SUBMIT_SM_RESP,
        4,
        Status.ESME_RINVMSGLEN,
    )


def test_unbind_by_us_waits_for_answers() -> None:
    mc, esme = pair()
    esme.request(submit(), "t", 1.0)
    (received,) = mc.receive(esme.data_to_send(), 1.0)
    assert mc.unbind(2.0) == []
    assert mc.data_to_send() == b""
    mc.receive(encode(submit(sequence=77)), 2.0)
    assert [p.status for p in said(mc)] == [Status.ESME_RTHROTTLED]
    with pytest.raises(NotSent):
        mc.request(Pdu(Command.DELIVER_SM, 0), "x", 2.0)
    mc.respond(received.pdu, 0, 3.0, message_id="1")
    events = esme.receive(mc.data_to_send(), 3.0)
    assert [type(event) for event in events] == [Answered, Ended]
    assert [type(event) for event in mc.receive(esme.data_to_send(), 3.0)] == [Ended]
    assert mc.state is esme.state is State.CLOSED


def test_drain_and_unbind_are_bounded() -> None:
    mc = bound_mc()
    mc.receive(encode(submit(sequence=2)), 1.0)
    mc.unbind(2.0)
    assert mc.tick(6.9) == []
    mc.tick(7.0)
    assert [p.command for p in said(mc)] == [Command.UNBIND]
    assert [type(event) for event in mc.tick(12.1)] == [Ended]


def test_peers_unbind_waits_for_our_answers() -> None:
    mc = bound_mc()
    (received,) = mc.receive(encode(submit(sequence=2)), 1.0)
    assert mc.receive(encode(Pdu(Command.UNBIND, 3)), 1.0) == []
    assert mc.data_to_send() == b""
    events = mc.respond(received.pdu, 0, 2.0, message_id="1")
    assert [type(event) for event in events] == [Ended]
    assert [p.command for p in said(mc)] == [Command.SUBMIT_SM_RESP, Command.UNBIND_RESP]


def test_inactivity_unbinds() -> None:
    mc = bound_mc(settings=SessionSettings(inactivity_s=60.0, enquire_link_s=0.0))
    mc.tick(59.0)
    assert said(mc) == []
    mc.tick(60.0)
    assert [p.command for p in said(mc)] == [Command.UNBIND]


def test_already_bound() -> None:
    mc = bound_mc()
    assert mc.receive(encode(Pdu(Command.BIND_TRANSCEIVER, 5, 0, BIND)), 1.0) == []
    assert [p.status for p in said(mc)] == [Status.ESME_RALYBND]


@pytest.mark.parametrize("ours", list(Side))
@pytest.mark.parametrize("state", list(BIND_FOR))
@pytest.mark.parametrize("command", list(LEGAL))
def test_table_of_the_standard(ours: Side, state: State, command: Command) -> None:
    """Every request in every bound state, either end: taken where §2.3 says so, else its response, 0x04."""
    session = bound_mc(state) if ours is Side.MC else bound_esme(state)
    frame = encode(Pdu(command, 5, 0, _sample(command))) if command < 0x111 else bare(command)
    events = session.receive(frame, 1.0)
    answers = said(session)
    if command in legal_requests(ours.other, state) and command < 0x111:
        assert all(answer.status == 0 for answer in answers)
        assert events or answers
    else:
        assert all(isinstance(event, Malformed) for event in events)
        (answer,) = answers
        is_v5, is_bind = command >= 0x111, "BIND_" in command.name
        expected = 0x03 if is_v5 else 0x05 if is_bind else 0x04
        assert answer.status == expected


def test_messages_against_the_role_where_the_profile_says_so() -> None:
    deliver = encode(Pdu(Command.DELIVER_SM, 5, 0, submit().fields))
    assert bound_mc().receive(deliver, 1.0) == []
    assert len(bound_mc(accepts=ALL_MESSAGES).receive(deliver, 1.0)) == 1
    assert bound_mc(State.BOUND_RX, accepts=ALL_MESSAGES).receive(deliver, 1.0) == []
    assert not bound_mc().may_request(Command.SUBMIT_SM)
    assert bound_mc(issues=ALL_MESSAGES).may_request(Command.SUBMIT_SM)


def test_versions_meet_at_the_lower_one() -> None:
    settings = SessionSettings(interface_version=0x50)
    for asked, expected in ((0x50, 0x50), (0x34, 0x34), (0x33, 0x33), (0, 0x33)):
        session = Session(Side.MC, settings, 0.0)
        bind = encode(Pdu(Command.BIND_TRANSCEIVER, 1, 0, {**BIND, "interface_version": 0x34}))
        bind = bind.replace(b"secret\0\0\x34", b"secret\0\0" + bytes((asked,)))
        (event,) = session.receive(bind, 0.0)
        session.accept_bind(event.pdu, "x", 0.0)
        assert session.version == expected


def _sample(command: Command) -> dict[str, Any]:
    if command in (Command.SUBMIT_SM, Command.DELIVER_SM):
        return submit().fields
    if "BIND" in command.name and command is not Command.UNBIND:
        return dict(BIND)
    if command is Command.SUBMIT_MULTI:
        from aircharge.wire.smpp.fields import Destination

        return {"source_addr": "1", "dest_addresses": (Destination(1, 1, "13812345678"),)}
    return {}
