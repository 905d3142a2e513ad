"""Bugs planted in the daemon, one at a time: ``python -m tests.doors.planted NAME --config F`` is twistd with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

__all__ = ["MODE_OF", "PLANTS", "main"]


def _worlds(name: str) -> Callable[[], None]:
    def plant() -> None:
        from tests.world.mutants import MUTANTS

        MUTANTS[name].plant()

    return plant


def a_seconds_memory() -> None:
    """L0 in the time of a round: the same words are known for a second, and then only where the first is live."""
    from aircharge.sms.door import SmsDoor

    said = SmsDoor._said

    def saying(self: SmsDoor, *what: Any) -> Any:
        return replace(said(self, *what), window_ms=1_000)

    SmsDoor._said = saying  # type: ignore[method-assign]


def refused_transfer_asserts() -> None:
    """L1: taking back a transfer that was refused meets an assertion."""
    from aircharge.ledger import returning

    is_reversible = returning._is_reversible

    def asserting(page: Any, original: Any) -> bool:
        assert original.counter_acct is not None
        return is_reversible(page, original)

    returning._is_reversible = asserting


def anothers_answer() -> None:
    """A1: the stored answer to an order is the first notice about it, whoever it was for."""
    from aircharge.ledger.postgres import PostgresDialect
    from aircharge.ledger.sqlite import SqliteDialect

    for dialect in (SqliteDialect, PostgresDialect):
        anyones = dialect.queries.answers.replace(" AND t.asker = n.recipient", "")
        dialect.queries = replace(dialect.queries, answers=anyones)


def parts_forgotten() -> None:
    """B1: a finished message is forgotten, so its parts are joined with the next one's."""
    from aircharge.wire.gsm_reassembly import Reassembler

    Reassembler._remember = lambda self, place, digests: None  # type: ignore[method-assign]


def limit_not_given_back() -> None:
    """L10: what was refused by the operator, or taken back, still counts on its limits."""
    from aircharge.ledger import limits

    limits.release = lambda page, row, outlet: None


def void_on_not_found() -> None:
    """L7: "not found" is final at once, whatever the two clocks say."""
    from tests.system import mutants

    mutants.query_notfound_void()


PLANTS: dict[str, Callable[[], None]] = {
    "a_seconds_memory": a_seconds_memory,
    "reversal_of_what_was_heard": _worlds("reversal_of_what_was_heard"),
    "refused_transfer_asserts": refused_transfer_asserts,
    "anothers_answer": anothers_answer,
    "parts_forgotten": parts_forgotten,
    "limit_not_given_back": limit_not_given_back,
    "limit_released_twice": _worlds("limit_released_twice"),
    "void_on_not_found": void_on_not_found,
}
MODE_OF = {"void_on_not_found": "query"}
"""Where a bug shows in one mode of doubt only."""


def main() -> None:
    """twistd in the foreground, as ``Instance`` starts it, with the bug in it."""
    from twisted.scripts.twistd import run

    PLANTS[sys.argv[1]]()
    rest = sys.argv[2:]
    sys.argv[1:] = ["--nodaemon", "--pidfile", "daemon.pid", "--logger"]
    sys.argv += ["aircharge.observe.logs.standard_output", "aircharge", *rest]
    run()


if __name__ == "__main__":
    main()
