"""One step again and again, never two at a time: the daemon's clockwork."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aircharge.errors import AirchargeError
from aircharge.ledger.singletons import Taken

__all__ = ["Rounds"]

log = Logger()


class Rounds:
    """``step()`` every ``every_s`` seconds; when it fails it is logged, and the next round tries again."""

    def __init__(
        self,
        what: str,
        step: Callable[[], Coroutine[Any, Any, Any]],
        every_s: float,
        reactor: IReactorTime,
    ) -> None:
        self._what = what
        self._step = step
        self._every_s = every_s
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._round()))
        self._loop.clock = reactor

    def start(self, *, now: bool = True) -> None:
        """0 seconds = never."""
        if self._every_s > 0 and not self._loop.running:
            self._loop.start(self._every_s, now=now).addErrback(
                lambda failure: log.failure("{what} stopped", failure=failure, what=self._what)
            )

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    async def _round(self) -> None:
        try:
            await self._step()
        except Taken:
            pass
        except AirchargeError as error:
            log.error("{what}: {why}; the next round tries again", what=self._what, why=str(error))
        except Exception:  # a bug or a sick disk: whatever one round meets, the clockwork goes on
            log.failure("{what}: a round failed; the next one tries again", what=self._what)
