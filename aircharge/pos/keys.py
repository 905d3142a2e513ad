"""Sign-in: working keys are made, kept wrapped, and sent under the terminal's master key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aircharge.errors import Reason, Refusal
from aircharge.ledger.terminals import Session, SignIn
from aircharge.ports import Randomness
from aircharge.pos.settings import PosSettings
from aircharge.pos.shelf import MAK, PIK, Offered, Terminal, TerminalShelf
from aircharge.switch.board import Board
from aircharge.wire.iso8583.crypto import odd_parity
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


def _young(board: Board, settings: PosSettings, terminal: Terminal, version: int) -> Offered | None:
    """The keys offered under this master key, if they are good for at least half a session."""
    half_ms, octets = int(settings.session_s * 500), (settings.key_octets, settings.mak_octets)
    for offer in terminal.offered(board.clock.now_ms() + half_ms):
        if offer.key_version == version and (len(offer.pik), len(offer.mak)) == octets:
            return offer
    return None


async def sign_in(
    board: Board,
    shelf: TerminalShelf,
    settings: PosSettings,
    chance: Randomness,
    terminal: Terminal,
    version: int,
) -> SignedIn:
    """Keys of a new session, offered: the one before is good until a message proves that these have arrived.

    Anybody can ask for them, so keys that are offered and young are told again, not made anew: nobody can change them
    between a terminal's sign-in and its first message. Raises LedgerError as any commit; Refusal(BUSY) when other
    sign-ins of it are always quicker.
    """
    for _ in range(_TRIES):
        row, session = terminal.row, max(terminal.row.session, terminal.row.next_session) + 1
        master = shelf.master(row, version)
        young = _young(board, settings, terminal, version)
        if young is not None:
            return SignedIn(
                Session(young.session, row.batch), WorkingKeys.wrapped(master, young.pik, young.mak)
            )
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
            return SignedIn(made, WorkingKeys.wrapped(master, pik, mak))
        again = await shelf.fetch(terminal.code)
        if again is None:
            break
        terminal = again
    raise Refusal(Reason.BUSY, "another sign-in was quicker")
