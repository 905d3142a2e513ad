"""Keys on the shelf: what does not open is not there."""

from __future__ import annotations

from aircharge.outlets.cards import KeyRing
from aircharge.pos.shelf import TerminalShelf
from tests.pos.shop import Shop, now


def test_working_keys_of_a_kek_that_is_gone_are_none() -> None:
    """The terminal is asked to sign in, which needs its master key only; silence would end with a clerk's help."""
    shop = Shop()
    shop.sign_in()
    now_ms = shop.books.clock.now_ms()
    assert shop.terminal().is_signed_in(now_ms)
    ring = KeyRing({}, {2: bytes(15) + b"2"}, shop.chance)
    shelf = TerminalShelf(shop.ledger, ring, shop.board.clock)
    terminal = now(shelf.fetch("10000001"))
    assert (terminal.pik, terminal.mak, terminal.is_signed_in(now_ms)) == (b"", b"", False)
    assert now(shelf.fetch("99999999")) is None
    shop.close()
