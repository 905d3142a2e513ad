"""Virtual time: one queue of what happens next, for all hosts of a world, in one order for one seed.

A ``Host`` is a process on a simulated machine with the face of Twisted's reactor (IReactorTime, IReactorTCP as far as
endpoints use them). It can die between any two calls, or sleep as after SIGSTOP: what was due meanwhile is then late.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTCP, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from aircharge.world.network import Network

__all__ = ["Host", "Timeline"]


@implementer(IDelayedCall)
class _Call:
    """Twisted's IDelayedCall."""

    __slots__ = ("_call", "_is_cancelled", "at_s", "host", "timeline")

    def __init__(self, timeline: Timeline, host: Host, at_s: float, call: Callable[[], Any]) -> None:
        self.timeline = timeline
        self.host = host
        self.at_s = at_s
        self._call: Callable[[], Any] | None = call
        self._is_cancelled = False

    def active(self) -> bool:
        return self._call is not None

    def getTime(self) -> float:
        return self.at_s

    def cancel(self) -> None:
        self._check()
        self._call = None
        self._is_cancelled = True

    def reset(self, secondsFromNow: float) -> None:
        self._move(self.timeline.now_s + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        self._move(self.at_s + secondsLater)

    def _move(self, at_s: float) -> None:
        self._check()
        assert self._call is not None
        self.at_s = at_s
        self.timeline.push(self)

    def _check(self) -> None:
        if self._is_cancelled:
            raise AlreadyCancelled
        if self._call is None:
            raise AlreadyCalled

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class Timeline:
    """What happens next. ``trace`` is a running hash of all that anybody could see from outside."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.events = 0
        self._order = 0
        self._queue: list[tuple[float, int, _Call]] = []
        self._trace = hashlib.sha256()
        self.failed: Callable[[Host, Failure], None] = lambda _host, failure: failure.raiseException()

    def at(self, host: Host, at_s: float, call: Callable[[], Any]) -> _Call:
        """Call it then, unless the host has died."""
        planned = _Call(self, host, max(at_s, self.now_s), call)
        self.push(planned)
        return planned

    def push(self, call: _Call) -> None:
        self._order += 1
        heapq.heappush(self._queue, (call.at_s, self._order, call))

    def note(self, *words: object) -> None:
        """Add to the trace: plain values only, nothing that has an address."""
        self._trace.update(repr((round(self.now_s, 9), *words)).encode())

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    def run(self, until_s: float, is_over: Callable[[], bool] | None = None) -> None:
        """Let time pass until then, or until ``is_over()`` (asked after each event)."""
        while self._queue and self._queue[0][0] <= until_s:
            at_s, _, call = heapq.heappop(self._queue)
            if not call.active() or call.host.is_dead or at_s < call.at_s:
                continue  # cancelled, nobody left to do it, or moved to a later time
            if call.host.wakes_s > at_s:
                call.at_s = call.host.wakes_s
                self.push(call)
                continue
            self.now_s = at_s
            self.events += 1
            self._fire(call)
            if is_over is not None and is_over():
                return
        self.now_s = max(self.now_s, until_s)

    def _fire(self, call: _Call) -> None:
        try:
            call.fire()
        except Exception:  # as in a reactor the event is lost and the process goes on; the world notes it
            self.failed(call.host, Failure())


@implementer(IReactorTime, IReactorTCP)
class Host:
    """One process, as its own code sees it: the reactor."""

    def __init__(self, name: str, timeline: Timeline, network: Network) -> None:
        self.name = name
        self.is_dead = False
        self.wakes_s = 0.0  # asleep until then
        self.running = True
        self.exit_code: int | None = None
        self.ended: Callable[[], Any] = lambda: None
        self._timeline = timeline
        self._network = network
        self._triggers: list[tuple[str, Callable[[], Any]]] = []

    # -- the reactor's face -------------------------------------------------------------------------------

    def seconds(self) -> float:
        return self._timeline.now_s

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> _Call:
        return self._timeline.at(self, self._timeline.now_s + delay, lambda: callable(*args, **kw))

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kw: object) -> None:
        self.callLater(0.0, callable, *args, **kw)

    def getDelayedCalls(self) -> list[_Call]:
        return []

    def addSystemEventTrigger(
        self, phase: str, _event: str, callable: Callable[..., Any], *args: object, **kw: object
    ) -> object:
        trigger = (phase, lambda: callable(*args, **kw))
        self._triggers.append(trigger)
        return trigger

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        return self._network.listen(self, port, factory)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: object = None
    ) -> Any:
        return self._network.connect(self, port, factory, timeout)

    def stop(self) -> None:
        """An orderly end: what was to be done before shutdown, then what after."""
        if not self.running:
            return
        self.running = False
        waiting = [maybeDeferred(call) for phase, call in self._triggers if phase == "before"]
        left = len(waiting)

        def one_down(_result: object) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                self._after()

        for one in waiting:
            one.addBoth(one_down)
        if not waiting:
            self._after()

    def _after(self) -> None:
        for phase, call in self._triggers:
            if phase == "after":
                call()
        self.leave(0)

    # -- the world's ------------------------------------------------------------------------------------------

    def leave(self, code: int) -> None:
        """The process has ended by itself."""
        if not self.is_dead:
            self.exit_code = code
            self.die()

    def die(self, *, silent: bool = False) -> None:
        """At once. ``silent``: as when the power fails, nobody's peer is told."""
        if self.is_dead:
            return
        self.is_dead = True
        self.running = False
        self._network.host_died(self, silent=silent)
        self.ended()

    def sleep(self, until_s: float) -> None:
        self.wakes_s = max(self.wakes_s, until_s)
