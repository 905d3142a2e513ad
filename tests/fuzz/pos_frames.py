"""Payment terminals: caller block, envelope, and the frames of the FSK and HDLC lines."""

from __future__ import annotations

from typing import Final

from aircharge.wire.fsk import FskFrame, FskType
from aircharge.wire.hdlc import HdlcFrame, HdlcReceiver, Kind, crc_x25, to_bits
from aircharge.wire.lri import LRI_OCTETS, Caller
from aircharge.wire.pos_link import CallerBlock, Envelope, Message, Tpdu
from tests.fuzz.target import Target

__all__ = ["ADDRESS", "CALLER", "RANDOM", "SAID", "TARGETS"]

ADDRESS: Final = Tpdu(b"\x00\x03", b"\x12\x34")
CALLER: Final = Caller("13812345678", "4008")
RANDOM: Final = b"\x01\x02\x03\x04"
SAID: Final = b"\x02\x00some message"


def _caller_again(caller: Caller, data: bytes) -> None:
    assert caller.encode() == data
    assert Caller.decode(caller.encode()) == caller


def _envelope(data: bytes) -> Message:
    wanted = tuple(CallerBlock)[data[0] % 3 if data else 0]
    return Envelope(bool(data[:1] > b"\x7f"), wanted).open(data[1:])


def _envelope_again(message: Message, data: bytes) -> None:
    envelope = Envelope(message.tpdu is not None, CallerBlock.IF_PRESENT)
    assert envelope.close(message) == data[1:]


def _fsk_frame(data: bytes) -> FskFrame:
    """As it came, or with its checksum put right where the first octet says so."""
    octets = data[1:]
    if data[:1] < b"\x80":
        octets += bytes([-sum(octets) & 0xFF])
    return FskFrame.decode(octets)


def _fsk_again(frame: FskFrame, data: bytes) -> None:
    assert FskFrame.decode(frame.encode()) == frame
    assert data[1:].startswith(frame.encode()[:-1])


def _hdlc_frame(data: bytes) -> HdlcFrame:
    return HdlcFrame.decode(
        data[1:] if data[:1] > b"\x7f" else data[1:] + crc_x25(data[1:]).to_bytes(2, "little")
    )


def _hdlc_again(frame: HdlcFrame, data: bytes) -> None:
    octets = frame.encode()
    assert HdlcFrame.decode(octets) == frame
    assert HdlcReceiver().feed(to_bits(octets)) == [octets]


TARGETS: Final = {
    "caller-block": Target(
        Caller.decode,
        _caller_again,
        seeds=lambda: (CALLER.encode(), Caller("", "").encode(), bytes(LRI_OCTETS)),
    ),
    "pos-envelope": Target(
        _envelope,
        _envelope_again,
        seeds=lambda: (
            b"\x80" + ADDRESS.encode() + SAID,
            b"\x81" + ADDRESS.encode() + CALLER.encode() + SAID,
        ),
    ),
    "fsk-frame": Target(
        _fsk_frame,
        _fsk_again,
        tame=b"\xff\x87\x04\x08" + bytes(20),
        bombs=(b"\xff\x87\xff\xff" + bytes(20), b"\xff\x84\x00\x08\x01\x02\x03\x04\x01\xff\xff\x00"),
        seeds=lambda: (b"\x00" + FskFrame(kind, RANDOM, 1, b"").encode()[:-1] for kind in FskType),
    ),
    "hdlc-frame": Target(
        _hdlc_frame,
        _hdlc_again,
        seeds=lambda: (b"\x00" + HdlcFrame(kind, True).encode()[:-2] for kind in Kind),
    ),
}
