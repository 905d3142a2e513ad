"""A terminal as tests need it: it builds any message, right or wrong, and reads answers."""

from __future__ import annotations

from typing import Any

from aircharge.pos.iso_door import IsoDoor
from aircharge.wire.iso8583.crypto import check_value, decrypt
from aircharge.wire.iso8583.message import Message
from aircharge.wire.iso8583.profile import PROFILES
from aircharge.wire.iso8583.terminal import (
    HEADER_OCTETS,
    Header,
    WorkingKeys,
    has_good_mac,
    open_message,
    seal_message,
)
from aircharge.wire.lri import Caller
from aircharge.wire.pos_link import Message as Frame
from tests.ledger.pos import TERMINAL
from tests.pos.shop import MASTER, MERCHANT, Shop, now

__all__ = ["Handset"]

HEADER = Header()


class Handset:
    """One terminal before the door; ``batch``, ``trace`` and keys are what it believes."""

    def __init__(self, shop: Shop, code: str = TERMINAL, master: bytes = MASTER) -> None:
        self.shop, self.code, self.master = shop, code, master
        self.profile = PROFILES[shop.settings.profile]
        self.door = IsoDoor(shop.serving())
        self.batch, self.trace = 1, 0
        self.pik = self.mak = b""
        self.header = HEADER
        self.caller: Caller | None = None

    # -- messages ---------------------------------------------------------------------------------------------

    def build(
        self, mti: str, fields: dict[int, Any] | None = None, network: str = "000", **more: Any
    ) -> Message:
        """A message with what every one bears; a field of None is left out."""
        trace = more.pop("trace", None)
        if trace is None:
            self.trace += 1
            trace = self.trace
        batch = more.pop("batch", self.batch)
        all_of_them = {
            11: f"{trace:06d}",
            41: self.code,
            42: more.pop("merchant", MERCHANT),
            60: f"22{batch:06d}{network}",
            **(fields or {}),
        }
        assert not more, more
        return Message(mti, {n: value for n, value in all_of_them.items() if value is not None})

    def sale(self, target: str = "13812345678", fen: int = 5000, **more: Any) -> Message:
        fields = {2: target, 3: "500000", 4: f"{fen:012d}", 22: "012", 25: "00", 49: "156"}
        return self.build("0200", {**fields, **more.pop("fields", {})}, **more)

    def void(self, trace: int, fen: int = 5000, batch: int = 1, **more: Any) -> Message:
        original = f"{batch:06d}{trace:06d}1123"
        fields = {3: "200000", 4: f"{fen:012d}", 22: "012", 25: "00", 49: "156", 61: original}
        return self.build("0200", {**fields, **more.pop("fields", {})}, **more)

    def cancel(self, sale: Message, code: str = "98", **more: Any) -> Message:
        kept = {n: value for n, value in sale.fields.items() if n in (2, 3, 4, 11, 22, 25, 41, 42, 49, 60)}
        return Message("0400", {**kept, 39: code, **more})

    def ask(self, kind: str, **fields: Any) -> Message:
        return self.build("0200", {3: kind, 49: "156", **{int(n[1:]): value for n, value in fields.items()}})

    def octets(self, message: Message, key: bytes | None = None) -> bytes:
        """Signed with the session's key; b"": without a MAC."""
        key = self.mak if key is None else key
        mac = self.shop.settings.mac if key else ""
        return seal_message(self.header, message, self.profile, mac, key)

    # -- exchanges --------------------------------------------------------------------------------------------

    def send(self, octets: bytes) -> bytes | None:
        answer: bytes | None = now(self.door.answer(Frame(octets, None, self.caller)))
        return answer

    def ask_for(self, message: Message, key: bytes | None = None) -> Message | None:
        """The answer, its MAC checked when it bears one."""
        octets = self.send(self.octets(message, key))
        return None if octets is None else self.read(octets)

    def read(self, octets: bytes) -> Message:
        self.header, answer = open_message(octets, self.profile)
        if 64 in answer.fields:
            assert has_good_mac(octets, self.profile, self.shop.settings.mac, self.mak)
        return answer

    def code_of(self, message: Message, key: bytes | None = None) -> str:
        """DE 39; "" for silence."""
        answer = self.ask_for(message, key)
        return "" if answer is None else answer.text(39)

    def sign_in(self, code: str = "003", more: str | None = None) -> Message | None:
        answer = self.ask_for(self.build("0800", {57: more}, code), b"")
        if answer is None or answer.text(39) != "00":
            return answer
        keys = WorkingKeys.decode(answer.octets(62))
        self.pik, self.mak = decrypt(self.master, keys.pik), decrypt(self.master, keys.mak)
        assert check_value(self.pik) == keys.pik_check
        assert check_value(self.mak) == keys.mak_check
        self.batch = int(answer.text(60)[2:8])
        return answer

    @property
    def is_asked(self) -> str:
        """The processing request digit of the last answer."""
        return self.header.demand

    @property
    def head(self) -> int:
        return HEADER_OCTETS
