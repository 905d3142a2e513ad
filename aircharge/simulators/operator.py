"""A simulated operator platform on the wire: ``python -m aircharge.simulators.operator --help``.

It takes recharges, reversals and queries over the real operator line, keeps a durable record of its own and
goes wrong on demand: from options, from a seed, or over its control line.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import FileLogObserver, Logger, formatEventAsClassicLogText, globalLogBeginner

from aircharge.protocols.guarded import Guarded
from aircharge.protocols.shell import Ticker, WireShell
from aircharge.simulators.control import ControlFactory
from aircharge.simulators.operator_faults import Fate, FaultPlan, Faults
from aircharge.simulators.operator_record import Job, Later, OperatorRecord, rows, totals
from aircharge.steady import steady
from aircharge.wire.operator import messages as m
from aircharge.wire.operator.session import Bound, Ended, Event, Invoked, Session, SessionSettings
from aircharge.wire.operator.states import Role

__all__ = ["OperatorPlatform", "main"]

log = Logger()

_SUCCESS = "0000"


class OperatorLine(WireShell):
    """One agent's connection."""

    session: Session

    def __init__(self, session: Session, ticker: Ticker, platform: OperatorPlatform) -> None:
        super().__init__(session, ticker)
        self._platform = platform
        self.is_frozen = False

    def connectionMade(self) -> None:
        self._platform.lines[self] = None
        super().connectionMade()

    def event_received(self, event: Event) -> None:
        if type(event) is Invoked:
            self._platform.invoked(self, event.invoke_id, event.argument)
        elif type(event) is Bound:
            self._platform.bound(self)
        elif type(event) is Ended:
            log.info("line {link} ended: {why}", link=self.session.link_id, why=event.why)

    def freeze(self) -> None:
        """Half-open: the socket stays, nothing is read or written any more."""
        self.is_frozen = True
        transport: Any = self.transport
        if transport is not None:
            transport.pauseProducing()

    def tick(self, now: float) -> None:
        if not self.is_frozen:
            super().tick(now)

    def flush(self) -> None:
        if self.is_frozen:
            self.session.data_to_send()
        else:
            super().flush()

    def cut(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def gone(self, why: str) -> None:
        self._platform.lines.pop(self, None)


class OperatorPlatform(Factory):
    """The operator: lines, faults, record."""

    noisy = False

    def __init__(
        self,
        reactor: Any,
        record_path: str,
        agents: dict[str, bytes],
        *,
        faults: Faults | None = None,
        dedup: bool = True,
        stock_fen: int = 100_000_000_00,
        amount_max_fen: int = 50_000,
        session: SessionSettings | None = None,
        now_ms: Callable[[], int] | None = None,
        token: Callable[[int], bytes] = secrets.token_bytes,
        later: Later | None = None,
    ) -> None:
        """``now_ms``, ``token``: its own clock and chance; ``later``: see ``OperatorRecord``."""
        self._reactor = reactor
        self._now_ms = now_ms or wall_ms
        self._token = token
        self._agents = agents
        self.faults = faults or Faults(FaultPlan(), 0)
        self.record = OperatorRecord(
            record_path, stock_fen, dedup=dedup, deliver=self._committed, later=later
        )
        self.lines: dict[OperatorLine, None] = {}  # in the order they came
        self._amount_max_fen = amount_max_fen
        self._session = session or SessionSettings(window_max=2000, window_in_max=4000)
        self._ticker = Ticker(reactor, 0.25)
        self._pending_late: dict[str, int] = {}
        self.received = 0

    def buildProtocol(self, addr: IAddress | None) -> OperatorLine:
        now = self._reactor.seconds()
        nonce = self._token(32)
        session = Session(Role.OPERATOR, self._session, self._agents, nonce, now, self._now_ms)
        return OperatorLine(session, self._ticker, self)

    def bound(self, line: OperatorLine) -> None:
        """A new bind of the same link throws out the old one."""
        mine = line.session
        for other in list(self.lines):
            theirs = other.session
            if other is not line and (theirs.agent_id, theirs.link_id) == (mine.agent_id, mine.link_id):
                other.cut()
        log.info("line {link} of {agent} bound", link=mine.link_id, agent=mine.agent_id)

    # -- requests ----------------------------------------------------------------------------------------

    def invoked(self, line: OperatorLine, invoke_id: int, argument: m.Argument) -> None:
        if isinstance(argument, m.RechargeArgument):
            self.received += 1
            self._take(line, invoke_id, "recharge", argument, "")
        elif isinstance(argument, m.ReverseArgument):
            self.received += 1
            self._take(line, invoke_id, "reverse", argument, argument.original_ref)
        elif isinstance(argument, m.QueryArgument):
            self._query(line, invoke_id, argument)
        elif isinstance(argument, m.StockArgument):
            line.session.respond(invoke_id, m.StockResult(self.record.stock_fen, self._now_ms()))

    def _take(self, line: OperatorLine, invoke_id: int, kind: str, argument: Any, original_ref: str) -> None:
        fate = self.faults.draw(argument.msisdn)
        name = fate.name
        code = fate.code if name == "refuse" else "4001" if name == "busy" else ""
        if kind == "reverse" and name == "refuse" and code == self.faults.plan.refuse_code:
            code = "6004"  # the codes of recharges are no answer to a reversal
        if not code and argument.amount_fen > self._amount_max_fen:
            code = "2001"
        job = Job(
            kind,
            argument.op_ref,
            argument.msisdn,
            argument.amount_fen,
            original_ref,
            self._now_ms(),
            name,
            code,
            name not in ("lose", "cut", "freeze", "reject"),
            lambda job: self._executed(line, invoke_id, fate, job),
        )
        if name == "late":
            plan = self.faults.plan
            self._pending_late[job.op_ref] = self._pending_late.get(job.op_ref, 0) + 1
            self._reactor.callLater(min(plan.late_s, plan.finality_s), self._put_late, job)
        else:
            self.record.put(job)

    def _put_late(self, job: Job) -> None:
        left = self._pending_late.pop(job.op_ref) - 1
        if left:
            self._pending_late[job.op_ref] = left
        job.at_ms = self._now_ms()
        self.record.put(job)

    def _query(self, line: OperatorLine, invoke_id: int, argument: m.QueryArgument) -> None:
        def found(job: Job) -> None:
            delay_s = self.faults.delay_s()
            status = m.QueryStatus.FOUND
            if job.outcome is None:
                told = self.faults.plan.pending_told and job.op_ref in self._pending_late
                status = m.QueryStatus.PENDING if told else m.QueryStatus.NOT_FOUND
                self._say(line, delay_s, invoke_id, m.QueryResult(job.op_ref, status))
                return
            outcome = job.outcome
            result = m.QueryResult(
                job.op_ref, status, outcome.code, outcome.serial, outcome.at_ms, outcome.amount_fen
            )
            self._say(line, delay_s, invoke_id, result)

        self.record.put(Job("query", argument.op_ref, "", 0, "", self._now_ms(), "ok", "", False, found))

    # -- answers -----------------------------------------------------------------------------------------

    def _committed(self, jobs: list[Job]) -> None:
        self._reactor.callFromThread(self._answer_all, jobs)

    def _answer_all(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.done(job)
        for line in list(self.lines):
            line.flush()

    def _executed(self, line: OperatorLine, invoke_id: int, fate: Fate, job: Job) -> None:
        """The record is committed: answer as the fate has it."""
        name = fate.name
        if name in ("disconnect", "cut"):
            line.cut()
        elif name == "freeze":
            line.freeze()
        elif name == "reject":
            line.session.reject(invoke_id, m.Problem.MISTYPED_ARGUMENT)
        elif name == "garbage":
            line.session.forget(invoke_id)
            self._write_garbage(line, invoke_id)
        elif name in ("lose", "swallow"):
            line.session.forget(invoke_id)
        else:
            self._answer(line, invoke_id, fate, job)

    def _answer(self, line: OperatorLine, invoke_id: int, fate: Fate, job: Job) -> None:
        code = fate.code if fate.name == "strange" else job.answer_code
        op_ref = "X" + job.op_ref[1:] if fate.name == "other_ref" else job.op_ref
        answer = _answer_of(job, op_ref, code)
        self._say(line, fate.delay_s, invoke_id, answer)
        if fate.name == "duplicate":
            self._say(line, fate.delay_s + 0.001, invoke_id, answer)
        elif fate.name == "contradict":
            other = _answer_of(job, op_ref, "1001" if code == _SUCCESS else _SUCCESS)
            self._say(line, fate.delay_s + 0.001, invoke_id, other)

    def _say(self, line: OperatorLine, delay_s: float, invoke_id: int, answer: Any) -> None:
        if delay_s > 0:
            self._reactor.callLater(delay_s, self._say_now, line, invoke_id, answer, True)
        else:
            self._say_now(line, invoke_id, answer, False)

    def _say_now(self, line: OperatorLine, invoke_id: int, answer: Any, flush: bool) -> None:
        if isinstance(answer, m.Refused):
            line.session.refuse(invoke_id, answer)
        else:
            line.session.respond(invoke_id, answer)
        if flush:
            line.flush()

    def _write_garbage(self, line: OperatorLine, invoke_id: int) -> None:
        transport: Any = line.transport
        if transport is not None:
            transport.write(bytes((0xA2, 9, 0x02, 4)) + invoke_id.to_bytes(4, "big") + bytes((0x02, 1, 5)))

    # -- control line ------------------------------------------------------------------------------------

    def verbs(self) -> dict[str, Any]:
        return {
            "record": self._do_record,
            "totals": self._do_totals,
            "faults": self._do_faults,
            "next": self._do_next,
            "drop_link": self._do_drop,
            "freeze": self._do_freeze,
            "unbind": self._do_unbind,
            "status": self._do_status,
        }

    async def _read(self, reader: Any) -> Any:
        deferred: Deferred[Any] = Deferred()

        def run(db: sqlite3.Connection) -> None:
            try:
                value = reader(db)
            except sqlite3.Error as error:
                self._reactor.callFromThread(deferred.errback, error)
            else:
                self._reactor.callFromThread(deferred.callback, value)

        self.record.read(run)
        return await deferred

    async def _do_record(self, request: dict[str, Any]) -> dict[str, Any]:
        op_ref, msisdn = str(request.get("op_ref", "")), str(request.get("msisdn", ""))
        limit = int(request.get("limit", 20))
        return {"rows": await self._read(lambda db: rows(db, op_ref, msisdn, limit))}

    async def _do_totals(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**await self._read(totals), "stock_fen": self.record.stock_fen, "received": self.received}

    async def _do_faults(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.pop("reset", False):
            self.faults.plan = FaultPlan()
        self.faults.plan = self.faults.plan.changed(request)
        return {"faults": plan_dict(self.faults.plan)}

    async def _do_next(self, request: dict[str, Any]) -> dict[str, Any]:
        self.faults.queue(str(request["fault"]), int(request.get("count", 1)), str(request.get("code", "")))
        return {}

    async def _do_drop(self, request: dict[str, Any]) -> dict[str, Any]:
        lines = list(self.lines)
        for line in lines:
            line.cut()
        return {"dropped": len(lines)}

    async def _do_freeze(self, request: dict[str, Any]) -> dict[str, Any]:
        for line in self.lines:
            line.freeze()
        return {"frozen": len(self.lines)}

    async def _do_unbind(self, request: dict[str, Any]) -> dict[str, Any]:
        for line in list(self.lines):
            line.session.unbind(self._reactor.seconds())
            line.pump()
        return {}

    async def _do_status(self, request: dict[str, Any]) -> dict[str, Any]:
        lines = [
            {"agent": line.session.agent_id, "link": line.session.link_id, "state": line.session.state.value}
            for line in self.lines
        ]
        return {"lines": lines, "received": self.received, "late": sum(self._pending_late.values())}


def _answer_of(job: Job, op_ref: str, code: str) -> m.RechargeResult | m.ReverseResult | m.Refused:
    """A result for what was executed (or is called so), an error for a refusal."""
    serial = job.outcome.serial if job.outcome else ""
    at_ms = job.outcome.at_ms if job.outcome else job.at_ms
    if code not in (_SUCCESS, "7777") and not serial:
        return m.Refused(op_ref, code, "", at_ms)
    kind = m.RechargeResult if job.kind == "recharge" else m.ReverseResult
    return kind(op_ref, code, serial, at_ms, job.amount_fen)


def plan_dict(plan: FaultPlan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in FaultPlan.__dataclass_fields__}


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="aircharge.simulators.operator", description=__doc__)
    parser.add_argument("--listen", action="append", default=[], help="endpoint where agents dial us")
    parser.add_argument("--connect", action="append", default=[], help="endpoint of an agent that we dial")
    parser.add_argument("--control", default="", help="endpoint of the control line, loopback only")
    parser.add_argument("--db", required=True, help="SQLite file of the record")
    parser.add_argument("--secret-file", required=True, help="file with the shared secret, 16 octets or more")
    parser.add_argument("--agent-id", default="aircharge")
    parser.add_argument("--stock-fen", type=int, default=100_000_000_00)
    parser.add_argument("--amount-max-fen", type=int, default=50_000)
    parser.add_argument("--window-max", type=int, default=2000)
    parser.add_argument("--heartbeat-s", type=float, default=10.0)
    parser.add_argument("--no-dedup", action="store_true", help="execute again what comes again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default="{}", help='JSON, e.g. {"lose": 0.06, "latency_ms": 20}')
    return parser.parse_args(argv)


async def _open(reactor: Any, options: argparse.Namespace, platform: OperatorPlatform) -> dict[str, Any]:
    """Open every place; returns the ports, by kind."""
    places: dict[str, Any] = {"listen": [], "control": 0}
    for place in options.listen:
        port = await serverFromString(reactor, place).listen(platform)
        places["listen"].append(getattr(port.getHost(), "port", 0))
    for place in options.connect:
        factory: Any = platform
        ClientService(
            clientFromString(reactor, place), factory, retryPolicy=lambda _: 0.5, clock=reactor
        ).startService()
    if options.control:
        port = await serverFromString(reactor, options.control).listen(
            Guarded(ControlFactory(platform.verbs()), "control", reactor, life_s=0.0)
        )
        places["control"] = getattr(port.getHost(), "port", 0)
    return places


def main(argv: list[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT. The first line on standard output tells the ports as JSON."""
    from twisted.internet import reactor as installed

    reactor: Any = steady(installed)
    options = _arguments(argv)
    observer: Any = FileLogObserver(sys.stderr, formatEventAsClassicLogText)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    secret = Path(options.secret_file).read_bytes().rstrip(b"\r\n")
    platform = OperatorPlatform(
        reactor,
        options.db,
        {options.agent_id: secret},
        faults=Faults(FaultPlan().changed(json.loads(options.faults)), options.seed),
        dedup=not options.no_dedup,
        stock_fen=options.stock_fen,
        amount_max_fen=options.amount_max_fen,
        session=SessionSettings(
            window_max=options.window_max, window_in_max=4000, heartbeat_s=options.heartbeat_s
        ),
    )

    failed: list[Exception] = []

    async def begin() -> None:
        try:
            places = await _open(reactor, options, platform)
        except Exception as error:  # the command's outermost shell: a busy port is said plainly
            sys.stderr.write(f"operator simulator: {error}\n")
            failed.append(error)
            reactor.stop()
            return
        sys.stdout.write(json.dumps(places) + "\n")
        sys.stdout.flush()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(begin()))
    reactor.addSystemEventTrigger("after", "shutdown", platform.record.close)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reactor.callFromThread(reactor.stop))
    reactor.run(installSignalHandlers=False)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
