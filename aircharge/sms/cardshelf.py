"""Cards within reach of the SMS door: who sends from which card, and its keys ready to open packets.

A shelf entry may only *refuse* early: whether the card is still active and its key still the right one is decided
by the ledger in the command's own commit.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from aircharge.ledger.reading import CardRow, card_by_msisdn
from aircharge.outlets.cards import CardKeyBytes, KeyRing
from aircharge.switch.board import LedgerPort
from aircharge.wire.ota import CardProfile, KeySet

__all__ = ["Card", "CardShelf", "card_keys"]


@dataclass(frozen=True, slots=True)
class Card:
    """A card with its keys unwrapped."""

    card_id: int
    key_version: int
    profile: CardProfile
    keys: KeySet


class CardShelf:
    """Finds a card by the number that sends; keeps the last ``size_max`` ready."""

    def __init__(
        self, ledger: LedgerPort, ring: KeyRing, profiles: dict[str, CardProfile], size_max: int = 50_000
    ) -> None:
        self._ledger = ledger
        self._ring = ring
        self._profiles = profiles
        self._size_max = size_max
        self._cards: OrderedDict[str, Card] = OrderedDict()

    def kept(self, msisdn: str) -> Card | None:
        """The card if it is on the shelf."""
        card = self._cards.get(msisdn)
        if card is not None:
            self._cards.move_to_end(msisdn)
        return card

    async def fetch(self, msisdn: str) -> Card | None:
        """The card as the ledger has it now; None when that number has none."""
        row = await self._ledger.read(lambda txn: card_by_msisdn(txn, msisdn))
        if row is None:
            self._cards.pop(msisdn, None)
            return None
        card = self._open(row)
        self._cards[msisdn] = card
        self._cards.move_to_end(msisdn)
        while len(self._cards) > self._size_max:
            self._cards.popitem(last=False)
        return card

    def _open(self, row: CardRow) -> Card:
        profile = self._profiles[row.profile]
        keys = card_keys(self._ring, row, profile)
        return Card(row.card_id, row.key_version, profile, KeySet(keys.kic, keys.kid, profile.key_index))


def card_keys(ring: KeyRing, row: CardRow, profile: CardProfile) -> CardKeyBytes:
    """A card's keys in clear: unwrapped, or derived from the master key. Raises KeyRingError."""
    if row.kic_wrapped is not None and row.kid_wrapped is not None:
        return ring.unwrap(row.card_id, row.key_version, row.kic_wrapped, row.kid_wrapped)
    return ring.derive(row.iccid, row.key_version, row.master_version, profile.key_family, profile.key_octets)
