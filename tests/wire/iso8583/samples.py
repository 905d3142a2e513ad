"""One of every message that a terminal and the door exchange, without their MACs."""

from __future__ import annotations

from typing import Any, Final

from aircharge.wire.iso8583.crypto import pin_block
from aircharge.wire.iso8583.message import Message
from aircharge.wire.iso8583.requests import Desk, with_pin
from aircharge.wire.iso8583.terminal import Act, Line, Sums, WorkingKeys

__all__ = ["ANSWERS", "DESK", "MAK", "MASTER", "MESSAGES", "PIK", "REQUESTS", "SALE", "name_of", "with_mac"]

MASTER: Final = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
PIK: Final = bytes.fromhex("1F1F1F1F1F1F1F1F2F2F2F2F2F2F2F2F")
MAK: Final = bytes.fromhex("A1A1A1A1A1A1A1A12A2A2A2A2A2A2A2A")
NUMBER: Final = "13812345678"
DESK: Final = Desk("T0000001", "M00000000000001", 7)
SALE: Final = DESK.sale(12, NUMBER, 5000)
_ORIGINAL: Final = DESK.original(12, "1123")
_LINES: Final = [Line(12, 5000), Line(13, 5000, is_void=True)]

REQUESTS: Final[tuple[Message, ...]] = (
    DESK.request(Act.SIGN_IN, 1, {57: "KEY=2", 63: "01 "}),
    DESK.request(Act.SIGN_IN, 1, network="001"),
    DESK.request(Act.PARAMETERS, 2),
    DESK.request(Act.ECHO, 3),
    DESK.request(Act.SIGN_OUT, 4),
    SALE,
    with_pin(DESK.sale(14, NUMBER, 10000, repeat=2), pin_block("135246", NUMBER), bound=True),
    with_pin(SALE, pin_block("1352"), bound=False),
    DESK.void(15, 5000, _ORIGINAL),
    DESK.request(Act.BALANCE, 16),
    DESK.request(Act.LAST, 17),
    DESK.request(Act.CHECK, 18, {2: NUMBER}),
    DESK.request(Act.COPY, 19, {61: _ORIGINAL}),
    Desk.reversal(SALE),
    Desk.reversal(DESK.void(15, 5000, _ORIGINAL), "A0"),
    DESK.settle(20, Sums(5000, 1, 5000, 1)),
    DESK.upload(21, _LINES),
    DESK.upload(21, [Line(number, 123456) for number in range(15)]),
    DESK.upload_end(22, 2),
)


def answer(request: Message, code: str = "00", **more: Any) -> Message:
    """What the door gives back: the elements it repeats, the time, DE 39, and ``more`` as ``de62=…``."""
    echoed = {n: value for n, value in request.fields.items() if n in (2, 3, 4, 11, 41, 42, 49, 60)}
    own = {int(name.removeprefix("de")): value for name, value in more.items()}
    return Message(request.answer_mti, {**echoed, 12: "093015", 13: "1123", 39: code, **own})


ANSWERS: Final[tuple[Message, ...]] = (
    answer(REQUESTS[0], de62=WorkingKeys.wrapped(MASTER, PIK, MAK).encode()),
    answer(REQUESTS[0], de62=WorkingKeys.wrapped(MASTER, PIK, MAK, PIK).encode()),
    answer(REQUESTS[1], de62=WorkingKeys.wrapped(MASTER, PIK[:8], MAK[:8]).encode()),
    answer(REQUESTS[2], de62="VERSION=2\n菜单=充值".encode("gbk")),
    answer(REQUESTS[3]),
    answer(SALE, de37="000000123456", de63="充值成功\n号码 13812345678"),
    answer(SALE, "51"),
    answer(SALE, "A0"),
    answer(REQUESTS[9], de54="0202156D000000000100"),
    answer(REQUESTS[10], de2=NUMBER, de4="000000005000", de44="SETTLED"),
    answer(REQUESTS[13]),
    answer(REQUESTS[15], de48=Sums(5000, 1, 5000, 1, "2").encode()),
    answer(REQUESTS[18], "95"),
)
MESSAGES: Final = REQUESTS + ANSWERS


def with_mac(message: Message) -> Message:
    return Message(message.mti, {**message.fields, 64: bytes.fromhex("3841394539314238")})


def name_of(message: Message) -> str:
    code = message.text(39)
    return f"{message.mti} {message.text(3) or message.text(60)[8:]} {code}".rstrip()
