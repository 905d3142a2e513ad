"""A SIM card with our menu: its keys, its durable counter, and the packets it seals."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aircharge.values import Pin
from aircharge.wire.ota import CardProfile, Command, KeySet, Spi, seal_command
from aircharge.wire.ota_crypto import CHECKS, CIPHERS, CRCS
from aircharge.wire.stk import FIELDS, StkMessage, StkOperation, encode

__all__ = ["CardBook", "SimCard", "sealed_recharges"]

TAR: Final = "a1c001"
"""Toolkit application reference of our menu where the card's file names none."""

_CODES: Final = {
    ("aes", 16): 2,
    ("aes", 24): 2,
    ("aes", 32): 2,
    ("3des", 16): 5,
    ("3des", 24): 9,
    ("des", 8): 1,
}


_ANY: Final = CardProfile(
    ciphers=tuple(CIPHERS.values()),
    checks=(*CHECKS.values(), *CRCS.values(), "none"),
    unciphered=True,
    single_des=True,
    counting=("absent", "unchecked", "higher", "next"),
)
"""A card may be as weak as its maker liked; to refuse that is the other side's business."""


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "target": str,
    "amount_fen": int,
    "repeat": int,
    "consent": str,
    "party": str,
    "new_pin": lambda text: Pin(str(text)),
    "reference": int,
    "date": int,
}
"""How the control line's values become those of a menu choice."""


@dataclass(slots=True)
class SimCard:
    """One card. ``last`` is the recharge it sent last: what 重复充值 (re-confirm) asks about."""

    iccid: str
    msisdn: str
    keys: KeySet
    kic_code: int
    kid_code: int
    tar: bytes
    spi: Spi = field(default_factory=Spi.of)
    counter: int = 0
    last: StkMessage | None = None

    @classmethod
    def from_file(cls, row: dict[str, Any]) -> SimCard:
        """A row of the personalisation file: iccid, msisdn, kic, kid (hex); family, key_index, tar, spi."""
        kic, kid = bytes.fromhex(row["kic"]), bytes.fromhex(row["kid"])
        family, index = row.get("family") or "aes", int(row.get("key_index", 1))
        return cls(
            iccid=str(row["iccid"]),
            msisdn=str(row["msisdn"]),
            keys=KeySet(kic, kid, index),
            kic_code=index << 4 | _CODES[family, len(kic)],
            kid_code=index << 4 | _CODES[family, len(kid)],
            tar=bytes.fromhex(row.get("tar") or TAR),
            spi=Spi(int(row["spi"], 16)) if row.get("spi") else Spi.of(),
        )

    def seal(self, message: StkMessage) -> bytes:
        """The next packet of this card: CPL to the last octet, without UDH."""
        data = encode(message)
        self.counter += 1
        if message.operation is StkOperation.RECHARGE:
            self.last = message
        command = Command(self.spi, self.kic_code, self.kid_code, self.tar, self.counter, data)
        return seal_command(command, self.keys, _ANY)

    def compose(self, request: dict[str, Any], serial: int, now_s: int) -> StkMessage:
        """The message of one menu choice. A re-confirmation repeats the last recharge, unless told other.

        Raises ValueError for an operation that the menu does not have.
        """
        try:
            operation = StkOperation[str(request["operation"]).upper()]
        except KeyError:
            raise ValueError(f"operations: {', '.join(one.name.lower() for one in StkOperation)}") from None
        head = (operation, int(request.get("serial", serial)), Pin(str(request.get("pin", ""))))
        sent_s = int(request.get("card_time_s", now_s))
        if operation not in (StkOperation.RECHARGE, StkOperation.RECONFIRM):
            given = {name: _READ[name](request[name]) for name in FIELDS[operation] if name in request}
            return StkMessage(*head, sent_s, **given)
        last = self.last if operation is StkOperation.RECONFIRM else None
        if operation is StkOperation.RECONFIRM and last is None and "earlier" not in request:
            raise ValueError("this card has sent no recharge that could be re-confirmed")
        return StkMessage(
            *head,
            sent_s,
            str(request.get("target", last.target if last else "")),
            int(request.get("amount_fen", last.amount_fen if last else 0)),
            int(request.get("repeat", last.repeat if last else 1)),
            int(request.get("earlier", last.serial if last else 0))
            if operation is StkOperation.RECONFIRM
            else None,
        )


class CardBook:
    """All cards, by number; counters and last recharges survive in ``state`` (no PIN is written there)."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._cards: dict[str, SimCard] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        if state.exists():
            self._kept = json.loads(state.read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self._cards)

    def load(self, file: Path) -> None:
        """Take in a personalisation file."""
        for row in json.loads(file.read_text(encoding="utf-8")):
            self.add(SimCard.from_file(row))

    def add(self, card: SimCard) -> None:
        kept = self._kept.get(card.iccid, {})
        card.counter = max(card.counter, int(kept.get("counter", 0)))
        if "last" in kept:
            serial, target, amount_fen, repeat = kept["last"]
            card.last = StkMessage(StkOperation.RECHARGE, serial, Pin(""), 0, target, amount_fen, repeat)
        self._cards[card.msisdn] = card

    def card(self, msisdn: str) -> SimCard:
        """Raises ValueError when the number has no card with our menu."""
        try:
            return self._cards[msisdn]
        except KeyError:
            raise ValueError("that handset has no SIM card of ours: handset.add with kic and kid") from None

    def keep(self, card: SimCard) -> None:
        """Make the card's counter durable; before its packet leaves."""
        kept: dict[str, Any] = {"counter": card.counter}
        if card.last is not None:
            kept["last"] = [card.last.serial, card.last.target, card.last.amount_fen, card.last.repeat]
        self._kept[card.iccid] = kept
        new = self._state.with_suffix(".new")
        with open(new, "w", encoding="utf-8") as file:
            json.dump(self._kept, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._state)


def sealed_recharges(
    cards: list[SimCard],
    targets: list[str],
    amount_fen: int,
    pin: str,
    now_s: int,
    token: Callable[[int], bytes],
) -> Iterator[tuple[str, str, bytes]]:
    """For load tests: (sender, target, packet) for each target, cards in turn, sealed ahead of time."""
    for place, target in enumerate(targets):
        card = cards[place % len(cards)]
        serial = int.from_bytes(token(8), "big")
        message = StkMessage(StkOperation.RECHARGE, serial, Pin(pin), now_s, target, amount_fen)
        yield card.msisdn, target, card.seal(message)
