"""The operator line: BER elements, APDU codec, splitter and session on either side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any, Final

from aircharge.errors import WireError
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.ber import (
    ApduSplitter,
    Node,
    decode_integer,
    encode_integer,
    read_tlv,
    tlv,
    tree,
)
from aircharge.wire.operator.codec import ApduError, decode, encode, splitter
from aircharge.wire.operator.session import (
    Answered,
    Doubtful,
    Ended,
    Event,
    Invoked,
    Session,
    SessionSettings,
)
from aircharge.wire.operator.states import Role
from tests.fuzz.target import Target, must, same_however_cut
from tests.wire.operator.samples import REF, SAMPLES, T

__all__ = ["TARGETS"]

_BOMBS: Final = (
    b"\xa1\x84\x7f\xff\xff\xff\x02\x01\x01",
    b"\xa1\x84\xff\xff\xff\xff\x02\x01\x01",
    b"\xa2\x88\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xa1\x80\x30\x80\x30\x80",
)
_TAME: Final = b"\xa1\x83\x01\x00\x01\x02\x01\x01"
_INNER: Final = b"\xa1\x09\x02\x84\x7f\xff\xff\xff\x05\x05"
_DEEP: Final = b"\x30\x80" * 40, b"\x30\x7e\x30\x7c\x30\x7a\x30\x78\x30\x76\x30\x74\x30\x72\x30\x70\x30\x6e"

# -- BER ---------------------------------------------------------------------------------------------------


def _written(node: Node) -> bytes:
    return tlv(node.tag, b"".join(map(_written, node.parts)) if node.tag & 0x20 else node.content)


def _bare(node: Node) -> Any:
    return node.tag, tuple(map(_bare, node.parts)) if node.tag & 0x20 else node.content


def _ber_again(node: Node, data: bytes) -> None:
    written = _written(node)
    assert len(written) <= len(data)
    assert _bare(tree(written)) == _bare(node)
    try:
        number = decode_integer(node.content)
    except WireError:
        return
    assert encode_integer(number) == node.content


# -- splitter ----------------------------------------------------------------------------------------------


def _frames(pieces: Iterable[bytes]) -> tuple[list[bytes], int, str]:
    """Frames, octets that wait, and why the stream ended."""
    splits = splitter()
    frames = []
    for piece in pieces:
        splits.feed(piece)
        try:
            while (frame := splits.next_frame()) is not None:
                assert frame, "a frame of nothing: it would come for ever"
                frames.append(frame)
        except WireError as error:
            return frames, 0, error.why
    return frames, splits.held, ""


def _frames_again(found: tuple[list[bytes], int, str], data: bytes) -> None:
    frames, held, why = found
    joined = b"".join(frames)
    assert data.startswith(joined)
    assert why or len(joined) + held == len(data)
    for frame in frames:
        assert read_tlv(frame, 0, len(frame))[2] == len(frame)
    same_however_cut(_frames, found, data)


# -- codec -------------------------------------------------------------------------------------------------


def _apdu(data: bytes) -> m.Apdu:
    try:
        return decode(data)
    except ApduError as error:
        must(0 <= error.hint <= 255 and 0 <= error.invoke_id < 2**31, str(error))
        raise


def _apdu_again(apdu: m.Apdu, data: bytes) -> None:
    assert "1380013800" not in repr(apdu)
    octets = encode(apdu)
    assert len(octets) <= len(data)
    assert decode(octets) == apdu


# -- session -----------------------------------------------------------------------------------------------

_SETTINGS: Final = SessionSettings(window_max=3, window_in_max=3, response_timeout_s=4.0)
_SECRETS: Final = {"A00123": b"secret of the line"}


def _session_of(role: Role) -> Session:
    nonce = bytes(16) if role is Role.AGENT else bytes(range(16))
    who = {"agent_id": "A00123", "link_id": "1"} if role is Role.AGENT else {}
    return Session(role, _SETTINGS, _SECRETS, nonce, 0.0, lambda: T, **who)


def _recharge(number: int) -> m.RechargeArgument:
    return m.RechargeArgument(f"{REF[:-1]}{number}", "A00123", "13800138000", 5000, 156, T)


def _bound(role: Role, *, asked: int = 0, leaving: bool = False) -> Session:
    """A session bound to a peer that is left behind, with so many recharges under way."""
    agent, operator = _session_of(Role.AGENT), _session_of(Role.OPERATOR)
    for _ in range(3):
        operator.receive(agent.data_to_send(), 0.0)
        agent.receive(operator.data_to_send(), 0.0)
    for number in range(asked):
        agent.request(_recharge(number), number, 0.0)
    operator.receive(agent.data_to_send(), 0.0)
    session = agent if role is Role.AGENT else operator
    if leaving:
        session.unbind(0.0)
    return session


def _challenged() -> Session:
    agent, operator = _session_of(Role.AGENT), _session_of(Role.OPERATOR)
    operator.receive(agent.data_to_send(), 0.0)
    return operator


_BEGINNINGS: Final[tuple[Callable[[], Session], ...]] = (
    partial(_session_of, Role.AGENT),
    partial(_session_of, Role.OPERATOR),
    _challenged,
    partial(_bound, Role.AGENT, asked=3),
    partial(_bound, Role.OPERATOR, asked=2),
    partial(_bound, Role.AGENT, asked=2, leaving=True),
    partial(_bound, Role.OPERATOR, asked=1, leaving=True),
)


def _stream(data: bytes) -> bytes:
    """The peer's octets. With the first octet's high bit they are wrapped here: kind, octets that follow."""
    if not data or data[0] < 0x80:
        return data[1:]
    frames = []
    at = 1
    while at + 2 <= len(data):
        kind, octets = data[at : at + 2]
        frames.append(tlv(0xA1 + (kind & 3), data[at + 2 : at + 2 + octets]))
        at += 2 + octets
    return b"".join(frames)


def _begin(data: bytes) -> Session:
    session = _BEGINNINGS[(data[0] & 0x7F if data else 0) % len(_BEGINNINGS)]()
    session.data_to_send()
    return session


def _hear(data: bytes, pieces: Iterable[bytes]) -> tuple[list[Event], bytes, Session, int]:
    session = _begin(data)
    waiting = session.outstanding
    events: list[Event] = []
    for piece in pieces:
        events += session.receive(piece, 1.0)
    return events, session.data_to_send(), session, waiting


def _session(data: bytes) -> tuple[list[Event], bytes, Session, int]:
    return _hear(data, (_stream(data),))


def _session_lives(heard: tuple[list[Event], bytes, Session, int], data: bytes) -> None:
    events, said, session, waiting = heard
    same_however_cut(lambda pieces: _hear(data, pieces)[:2], (events, said), _stream(data))
    for event in events:
        if isinstance(event, Invoked):
            session.reject(event.invoke_id, m.Problem.RESOURCE_LIMITATION)
    said += session.data_to_send()
    if not session.has_ended:
        _check_answers(_stream(data), said)
    for now in (2.0, 8.0, 20.0, 31.0, 42.0, 60.0):
        events += session.tick(now)
    events += session.connection_lost()
    assert isinstance(events[-1], Ended)
    assert sum(isinstance(event, Ended) for event in events) == 1
    tokens = [event.token for event in events if isinstance(event, Answered | Doubtful)]
    assert len(set(tokens)) == len(tokens) == waiting
    frames, held, why = _frames([said + session.data_to_send()])
    assert not held
    assert not why
    for frame in frames:
        decode(frame)


def _apdus(octets: bytes) -> Iterator[m.Apdu]:
    for frame in _frames((octets,))[0]:
        with suppress(ApduError):
            yield decode(frame)


def _check_answers(heard: bytes, said: bytes) -> None:
    """Each invoke of the peer is answered once, under its own number, before anybody parts."""
    asked = [apdu for apdu in _apdus(heard) if isinstance(apdu, m.Invoke)]
    if any(isinstance(apdu.argument, m.Unbind) for apdu in asked):
        return
    answers = Counter(apdu.invoke_id for apdu in _apdus(said) if not isinstance(apdu, m.Invoke))
    assert not Counter(apdu.invoke_id for apdu in asked) - answers


def _session_seeds() -> Iterator[bytes]:
    written = list(map(encode, SAMPLES))
    for number in range(len(_BEGINNINGS)):
        yield bytes((number,)) + b"".join(written[:4])
        for frame in written:
            body = read_tlv(frame, 0, len(frame))[1]
            yield bytes((0x80 | number, frame[0] - 0xA1, len(frame) - body)) + frame[body:]


def _opened_session() -> Callable[[bytes], Any]:
    session = _begin(b"\x03")
    return lambda data: session.receive(data, 1.0)


def _opened_splitter() -> Callable[[bytes], Any]:
    splits = ApduSplitter(frozenset((0xA1, 0xA2)))

    def take(data: bytes) -> None:
        splits.feed(data)
        splits.next_frame()

    return take


TARGETS: Final = {
    "ber": Target(
        tree, _ber_again, tame=_TAME, bombs=(*_BOMBS, _INNER, *_DEEP), seeds=lambda: map(encode, SAMPLES)
    ),
    "ber-splitter": Target(
        lambda data: _frames((data,)),
        _frames_again,
        tame=_TAME,
        bombs=_BOMBS,
        opened=_opened_splitter,
        seeds=lambda: (encode(one) + encode(two) for one, two in pairwise(SAMPLES)),
    ),
    "operator-apdu": Target(
        _apdu,
        _apdu_again,
        (ApduError,),
        tame=_TAME,
        bombs=(*_BOMBS, _INNER),
        seeds=lambda: map(encode, SAMPLES),
    ),
    "operator-session": Target(
        _session, _session_lives, (), tame=_TAME, bombs=_BOMBS, opened=_opened_session, seeds=_session_seeds
    ),
}
