"""Bugs planted in the daemon, one at a time: ``python -m tests.doors.planted NAME --config F`` is twistd with it."""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["PLANTS", "main"]


def _worlds(name: str) -> Callable[[], None]:
    def plant() -> None:
        from tests.world.mutants import MUTANTS

        MUTANTS[name].plant()

    return plant


def refused_transfer_asserts() -> None:
    """L1: taking back a transfer that was refused meets an assertion, and any exception ends the ledger."""
    from aircharge.ledger import batching, returning

    give_back = returning.take_back

    raise NotImplementedError(give_back, batching)


PLANTS: dict[str, Callable[[], None]] = {
    "a_minutes_memory": _worlds("a_minutes_memory"),
    "reversal_of_what_was_heard": _worlds("reversal_of_what_was_heard"),
    "limit_released_twice": _worlds("limit_released_twice"),
}


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
