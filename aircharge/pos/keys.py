"""Sign-in: working keys are made, kept wrapped, and sent under the terminal's master key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.errors import Reason, Refusal
from aircharge.ledger.terminals import Session, SignIn
from aircharge.ports import Randomness
from aircharge.pos.settings import PosSettings
from aircharge.pos.shelf import MAK, PIK, Terminal, TerminalShelf
from aircharge.switch.board import Board
from aircharge.wire.iso8583.crypto import check_value, encrypt, odd_parity
from aircharge.wire.iso8583.terminal import WorkingKeys

__all__ = ["SignedIn", "master_version", "sign_in"]

_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session, and its keys as they are sent."""

    session: Session
    keys: WorkingKeys


def master_version(terminal: Terminal, asked: int = 0) -> int:
    """The master key to sign in with: the one asked for, else the one in use, else the only pending one; 0 = none."""
    masters = terminal.row.masters
    if asked:
        return asked if asked in masters else 0
    if terminal.row.key_version in masters:
        return terminal.row.key_version
    return max(masters, default=0)


async def sign_in(
    board: Board,
    shelf: TerminalShelf,
    settings: PosSettings,
    chance: Randomness,
    terminal: Terminal,
    version: int,
) -> SignedIn:
    """A new session. Raises LedgerError as any commit; Refusal(BUSY) when other sign-ins of it are always quicker."""
    for _ in range(_TRIES):
        row, session = terminal.row, terminal.row.session + 1
        master = shelf.master(row, version)
        pik, mak = (odd_parity(chance.token(size)) for size in (settings.key_octets, settings.mak_octets))
        command = SignIn(
            row.id,
            row.code,
            version,
            session,
            shelf.seal(row.id, session, PIK, pik),
            shelf.seal(row.id, session, MAK, mak),
            board.clock.now_ms() + int(settings.session_s * 1000),
        )
        made = await board.ledger.do(command)
        shelf.forget(terminal)
        if isinstance(made, Session):
            keys = WorkingKeys(encrypt(master, pik), check_value(pik), encrypt(master, mak), check_value(mak))
            return SignedIn(made, keys)
        again = await shelf.fetch(terminal.code)
        if again is None:
            break
        terminal = again
    raise Refusal(Reason.BUSY, "another sign-in was quicker")
