"""A session of the command line: who has logged in and since when, sealed under the key-encryption key.

No row is kept: a token is void when 15 minutes pass without use or 8 hours after the login, and as soon as the
person is blocked or gets another password, role or scope (``Person.changed_ms`` is part of it).
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass, replace
from typing import Final

from sqlalchemy import Connection

from aircharge.errors import AirchargeError
from aircharge.outlets.cards import KeyRing, KeyRingError
from aircharge.outlets.rights import Person
from aircharge.outlets.staff import person_txn

__all__ = ["IDLE_MS", "TOTAL_MS", "Session", "SessionError", "begin", "resume", "token_of"]

IDLE_MS: Final = 900_000
TOTAL_MS: Final = 28_800_000
_AHEAD_MS: Final = 60_000  # a token from further in the future is from another clock
_BOUND: Final = b"staff session 1"


class SessionError(AirchargeError):
    """Nobody is logged in, or not any more: ``aircharge login``."""


@dataclass(frozen=True, slots=True)
class Session:
    """Times in ms UTC."""

    login: str
    since_ms: int
    last_ms: int
    changed_ms: int  # the person's, at the login


def begin(person: Person, now_ms: int) -> Session:
    return Session(person.login, now_ms, now_ms, person.changed_ms)


def token_of(session: Session, ring: KeyRing) -> str:
    """Sealed: nobody without the key reads or makes one."""
    return base64.urlsafe_b64encode(ring.seal(_BOUND, json.dumps(asdict(session)).encode())).decode()


def resume(txn: Connection, token: str, ring: KeyRing, now_ms: int) -> tuple[Person, Session]:
    """Who it is, and the session with its time of last use moved on. Raises SessionError."""
    try:
        session = Session(**json.loads(ring.open(_BOUND, base64.urlsafe_b64decode(token.strip()))))
    except (KeyRingError, binascii.Error, ValueError, TypeError) as error:
        raise SessionError("this session is not one of ours: aircharge login") from error
    is_over = now_ms - session.last_ms > IDLE_MS or now_ms - session.since_ms > TOTAL_MS
    if is_over or session.last_ms - now_ms > _AHEAD_MS:
        raise SessionError(f"the session of {session.login} is over: aircharge login")
    person = person_txn(txn, session.login)
    if person is None or person.changed_ms != session.changed_ms:
        raise SessionError(f"the session of {session.login} has ended: aircharge login")
    return person, replace(session, last_ms=max(now_ms, session.last_ms))
