"""An outlet changes its PIN: which outlet it is and a fresh salt are found here, the rest is the book's."""

from __future__ import annotations

import dataclasses

from aircharge.ledger.commands import InquiryReceipt
from aircharge.ledger.lookups import outlet_of
from aircharge.ledger.pinning import ChangePin
from aircharge.ports import Randomness
from aircharge.switch.admission import HOUSE
from aircharge.switch.board import Board
from aircharge.switch.workload import CHANNELS

__all__ = ["SALT_OCTETS", "change_pin"]

SALT_OCTETS = 16


async def change_pin(board: Board, wish: ChangePin, chance: Randomness) -> InquiryReceipt:
    """Change it, or refuse; the reply is a notice in the same commit. ``wish`` comes without outlet and salt.

    Raises Refusal(BUSY) under load, before any PIN is looked at.
    """
    phone = wish.asker.phone
    async with board.admission.turn(HOUSE, phone, CHANNELS[wish.channel]):
        outlet_id = await board.ledger.read(lambda txn: outlet_of(txn, phone))
        salt = chance.token(SALT_OCTETS)
        receipt = await board.ledger.do(dataclasses.replace(wish, outlet_id=outlet_id, salt=salt))
    assert isinstance(receipt, InquiryReceipt)
    return receipt
