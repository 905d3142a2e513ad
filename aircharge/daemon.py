"""The bridge: builds everything, and reads aloud as the product.

Nothing that holds a file, socket, lock or thread is made before ``startService``: twistd forks between the two, and a
lock of SQLite's (POSIX) does not pass to the child. Start: build; take the lease, prove the lock, take up open orders;
then open the doors. Stop (SIGTERM): throttle and unbind the SMS centres, let open recharges end, leave the rest to
recovery.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from aircharge.config import Config, OperatorSection, SmppPlace
from aircharge.descriptors import DescriptorWatch, descriptors_open, needs_of, share_out
from aircharge.errors import LinkError, Reason
from aircharge.events.relay import NoticeRelay
from aircharge.ledger.clocks import check_clock
from aircharge.ledger.leases import Occupied, line_key
from aircharge.ledger.lock_proof import NotLocked
from aircharge.ledger.roles import may_edit_history
from aircharge.ledger.standing import check_standing
from aircharge.ledger.store import check_schema
from aircharge.ledger.tenure import Fenced
from aircharge.ledger.writer import Ledger
from aircharge.machine import Machine
from aircharge.observe.aside import lines_lost
from aircharge.observe.health import health_site
from aircharge.observe.logs import standard_output
from aircharge.observe.metrics import Registry
from aircharge.outlets.consent import ConsentCode
from aircharge.ports import Notice, Operator
from aircharge.pos.door import PosDoor
from aircharge.protocols.gate import GateSettings
from aircharge.protocols.guarded import Guarded, watch_gate
from aircharge.protocols.operator_link import OperatorLink
from aircharge.protocols.smpp import PeerInfo, SmppClient, SmppGateway, SmppServer
from aircharge.sms.cardshelf import CardShelf
from aircharge.sms.door import SmsDoor
from aircharge.sms.gate import SmsGate
from aircharge.sms.unjoined import UnjoinedParts
from aircharge.switch.admission import Admission
from aircharge.switch.batch import BatchRunner
from aircharge.switch.board import Board, CodeTable, OperatorPlan
from aircharge.switch.day import DayKeeper
from aircharge.switch.doubt import DoubtResolver
from aircharge.switch.funding import Expiry
from aircharge.switch.lease import LeasedLine, LeaseKeeper, Stopping
from aircharge.switch.parking import ParkedOrders
from aircharge.switch.proof import Prover
from aircharge.switch.workload import Work
from aircharge.wire.gsm import Element
from aircharge.wire.gsm_udh import RESPONSE_PACKET
from aircharge.wire.smpp.receipt import DeliveryReceipt

__all__ = ["AirchargeService"]

log = Logger()

_LAST_WORDS_S: Final = 5.0
"""How long a stop waits for what operators and SMS centres said last to be written."""


class SmsSink:
    """Notices as texts through the SMPP gateway (``ports.Sink``); those of no service come from ``service``."""

    def __init__(self, gateway: SmppGateway, service: str) -> None:
        self._gateway = gateway
        self._service = service

    def ready(self) -> bool:
        return self._gateway.ready()

    def centres(self) -> tuple[str, ...]:
        return self._gateway.takers()

    async def send(self, notice: Notice) -> None:
        # The same for the same notice; the ids' low bits are mostly alike, so not those.
        reference = 1 + notice.notice_id % 65_521
        await self._gateway.text(
            notice.sender or self._service,
            notice.recipient,
            notice.text,
            reference,
            centre=notice.centre,
            waits=notice.waits,
        )


class AirchargeService(Service):
    """The whole daemon as one Twisted service."""

    def __init__(self, config: Config, reactor: Any, machine: Machine | None = None) -> None:
        self.name = "aircharge"
        self._config = config
        self._reactor = reactor
        self._machine = machine = machine or Machine()
        self._clock = machine.clock
        self._chance = machine.chance
        self._tasks: set[Deferred[Any]] = set()
        self._ports: list[Any] = []
        self._clients: list[SmppClient] = []
        self._is_up = False
        self._is_failing = False
        self._doubtful: list[str] = []  # what is wrong with the books
        self._is_built = False
        self._is_stopping = False
        config.check_secrets()
        standard_output().set_level(config.daemon.log_level)

    # -- what there is ------------------------------------------------------------------------------------

    def _build(self) -> None:
        config, clock, reactor = self._config, self._clock, self._reactor
        self.ledger = self._open_ledger()
        self.links = [self._link(section) for section in config.operator]
        self.lease = self._lease()
        plans = [
            _plan(section, LeasedLine(link, partial(self._is_ours, section)))
            for section, link in zip(config.operator, self.links, strict=True)
        ]
        self.board = Board(
            self.ledger, plans, clock, config.daemon.in_flight_max, config.ledger.book.utc_offset_min
        )
        self.board.admission = self._admission()
        self.board.consent = ConsentCode(config.checkcode())
        self.board.is_ours = self.lease.is_fresh
        self.doubts = DoubtResolver(self.board, reactor, owner=config.daemon.node)
        self.batches = BatchRunner(self.board, reactor, self._spawn)
        self.expiry = Expiry(self.board, reactor, config.ledger.book.ticket_grace_ms)
        self.parking = ParkedOrders(self.board, reactor, self._spawn)
        shelf = CardShelf(self.ledger, config.key_ring(), config.card_profiles())
        unread = self.board.meters.registry.counter("unread_total", "messages told to come later, undecoded")
        gate = SmsGate(clock, config.sms.refused_per_s, self.board.admission.is_roomy, unread)
        self.door = SmsDoor(
            self.board,
            shelf,
            config.sms,
            self._spawn,
            self._chance,
            config.pin_hash().mark,
            self._send_packet,
            gate.refused,
        )
        places = share_out(config, self._machine.raise_limit(needs_of(config).total))
        self.pos = PosDoor(
            self.board, config.key_ring(self._chance), places, self._spawn, self._chance, reactor
        )
        self.descriptors = DescriptorWatch(reactor)
        self.parts = UnjoinedParts(self.board, config.daemon.node, self._spawn)
        self.gateway = SmppGateway(
            reactor, clock.now_ms, self.door.answer, self._receipt_received, self.parts
        )
        self.gateway.gate = gate.admits
        self.gateway.routes.has_others = self._is_shared
        sink = SmsSink(self.gateway, config.sms.query_number)
        self.relay = NoticeRelay(
            self.ledger,
            sink,
            config.phrases().word,
            clock,
            reactor,
            config.notices,
            node=config.daemon.node if self._is_shared else None,
            orphans=self.lease.orphans if self._is_shared else None,
        )
        self.relay.is_busy = partial(self.board.admission.sheds, Work.NOTICE)
        self.ledger.on_notices(self.relay.take)
        self.ledger.on_broken(self._broken)
        self.days = self._days()
        heads = config.resolve(config.seal.head_file) if config.seal.head_file else None
        self.prover = Prover(
            self.ledger,
            config.proof,
            config.seal,
            heads,
            clock,
            reactor,
            self._unsound,
            utc_offset_min=config.ledger.book.utc_offset_min,
        )
        self._watch(self.board.meters.registry)

    def _days(self) -> DayKeeper:
        config, operators = self._config, [section.id for section in self._config.operator]
        return DayKeeper(
            self.ledger, operators, config.ledger.book, config.days, self._clock, self._reactor, self._unsound
        )

    def _admission(self) -> Admission:
        sections = self._config.operator
        return Admission(
            self._clock,
            self._config.admission,
            windows={
                section.id: partial(getattr, link, "window")
                for section, link in zip(sections, self.links, strict=True)
            },
            ledger_waiting=lambda: self.ledger.waiting,
            registry=self.board.meters.registry,
            call_later=self._reactor.callLater,
        )

    def _watch(self, registry: Registry) -> None:
        """What is read whenever somebody asks /metrics."""
        registry.gauge(
            "in_flight", "recharges being carried to an operator", lambda: len(self.board.in_flight)
        )
        registry.gauge("ledger_waiting", "commands that wait for the writer", lambda: self.ledger.waiting)
        registry.gauge(
            "ledger_slow_commits", "commits that were reported as slow", lambda: self.ledger.slow_commits
        )
        admission = self.board.admission
        registry.gauge("admission_level", "classes of new work that are refused", lambda: admission.level)
        registry.gauge("admission_waiting", "new work that waits its turn", lambda: admission.waiting)
        registry.gauge("admission_holding", "new work being written down", lambda: admission.holding)
        registry.gauge("notices_waiting", "notices queued or under way", lambda: self.relay.waiting)
        registry.gauge("smpp_connections", "connections to SMS centres", lambda: self.gateway.connections)
        registry.gauge("notices_delivered", "notices an SMS centre has taken", lambda: self.relay.delivered)
        registry.gauge("notices_given_up", "notices refused for good", lambda: self.relay.given_up)
        for kind in ("bind refused", "unreachable", "malformed", "refused", "unsendable"):
            total = partial(self.gateway.troubles.total, kind)
            registry.gauge("smpp_troubles", "troubles with SMS centres since the start", total, kind=kind)
        registry.gauge("log_lines_lost", "lines of the log that nobody took in time", lines_lost)
        registry.gauge("descriptors", "files and connections open", lambda: descriptors_open() or -1)
        registry.gauge("lease_seconds", "how long we may surely write and send", self.lease.left_s)
        registry.gauge("adopted", "open orders of dead daemons taken over", lambda: self.lease.adopted)
        registry.gauge("days_to_close", "accounting days cut and not closed", lambda: self.days.waiting)
        registry.gauge("sealed_rows", "journal rows sealed by this daemon", lambda: self.prover.sealed)
        registry.gauge(
            "verify_problems", "problems the last verification found", lambda: self.prover.problems
        )
        registry.gauge("verify_seconds", "how long the last verification took", lambda: self.prover.took_s)
        registry.gauge(
            "verify_age_seconds", "time since the last verification, -1 = none yet", self.prover.age_s
        )
        for link in self.links:
            watch_gate(registry, link.gate)
            lines = partial(getattr, link, "lines_bound")
            registry.gauge("operator_lines_bound", "bound lines to an operator", lines, operator=link.name)

    def _not_ready(self) -> list[str]:
        """Why nobody should send us anything, a sentence each."""
        reasons = [] if self._is_up else ["the doors are not open"]
        reasons += self._doubtful
        if self.board.closing:
            reasons.append("closing")
        if trouble := self.ledger.trouble or self.lease.trouble:
            reasons.append(f"the ledger's database: {trouble}")
        if not self.lease.is_fresh():
            reasons.append("our lease may have ended")
        if trouble := self.descriptors.trouble():
            reasons.append(trouble)
        if not any(link.ready() for link in self.links):
            reasons.append("no operator can be asked")
        if not self.gateway.bound_peers():
            reasons.append("no SMS centre is bound")
        for name, words in self.gateway.troubles.refusing.items():
            reasons.append(f"SMS centre {name} does not take our messages: {words}")
        return reasons

    def _status(self) -> dict[str, Any]:
        return {
            "peers": self.gateway.bound_peers(),
            "operators": {
                link.name: {"lines": link.lines_bound, "ready": link.ready()} for link in self.links
            },
            "terminals": self.pos.status(),
            "in_flight": len(self.board.in_flight),
            "notices_waiting": self.relay.waiting,
            "notices_given_up": self.relay.given_up,
            "smpp_troubles": {
                f"{peer}: {kind}": count for (peer, kind), count in self.gateway.troubles.counts.items()
            },
        }

    def _open_ledger(self) -> Ledger:
        config = self._config
        self._store = store = self._machine.open_store(config, self._clock, config.daemon.node)
        check_schema(store.engine)
        check_standing(store.engine, config.key_checks(), self._clock.now_ms())
        store.guard.believe(check_clock(store.engine, self._clock, config.ledger.leap_ms))
        if may_edit_history(store.engine):
            log.warn("the database lets this role change the journal: see `aircharge db grant`")
        store.ensure_operators({section.id: section.link.name for section in config.operator})
        return self._machine.open_ledger(store, self._reactor, config.ledger.writer)

    @property
    def _is_shared(self) -> bool:
        """Whether other daemons may write to the same ledger."""
        return self._store.engine.dialect.name != "sqlite"

    def _lease(self) -> LeaseKeeper:
        config = self._config
        lease = LeaseKeeper(
            self._store.engine,
            config.daemon.node,
            self._machine.name,
            self._machine.is_running,
            {_line(section): section.id for section in config.operator},
            config.lease,
            self._clock,
            self._reactor,
            self._machine.worker("lease", self._reactor),
        )
        lease.on_lost = self._broken
        lease.on_line = lambda line: self._spawn(self._start_line(line))
        lease.on_adopted = lambda adopted: self._spawn(self.doubts.adopt(adopted.orders))
        return lease

    def _is_ours(self, section: OperatorSection) -> bool:
        """Whether an operator may be spoken to: nobody can have taken over our lease, or the line's."""
        return self.lease.is_fresh() and _line(section) in self.lease.held

    async def _start_line(self, line: str) -> None:
        for section, link in zip(self._config.operator, self.links, strict=True):
            if _line(section) == line:
                log.info("the line {line} is ours", line=line)
                await link.start()

    def _link(self, section: OperatorSection) -> OperatorLink:
        secret = self._config.operator_secret(section)
        return OperatorLink(section.link, secret, self._reactor, self._clock, self._chance)

    def _receipt_received(self, receipt: DeliveryReceipt, peer: PeerInfo) -> None:
        """A delivery receipt is counted by what it says: news of an SMS, it moves nothing."""
        self.board.meters.receipt(peer.name, receipt.state.name.lower())

    async def _send_packet(self, service: str, phone: str, packet: bytes, centre: str) -> None:
        """A response packet to a card, once: a card that misses it asks again."""
        elements = (Element(RESPONSE_PACKET, b""),)
        try:
            await self.gateway.send_binary(
                service,
                phone,
                packet,
                elements=elements,
                data_coding=0xF6,
                protocol_id=0x7F,
                centre=centre,
            )
        except LinkError as error:
            log.warn("a proof of receipt was not sent: {why}", why=str(error))

    # -- start --------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Build and begin, in the process that will serve. Raises LedgerError when the ledger cannot be opened."""
        Service.startService(self)
        os.umask(0o077)  # whatever is made from now on is for this user alone
        self._machine.listen_to_signals(self._reactor, self._machine.leave)
        self._build()
        self._is_built = True
        self.ledger.start()
        self._spawn(self._open_doors())

    async def _open_doors(self) -> None:
        """Open work first, then new work."""
        try:
            self._store.tenure = await self.lease.take(lambda: self._is_stopping)
            self._machine.prove_lock(self._store.engine)
            self._go_on()
            for line in sorted(self.lease.held):
                await self._start_line(line)
            self.lease.start()
            recovered = await self.doubts.recover()
            log.info("{count} open orders were taken up", count=recovered)
            await self.parts.recover()
            self.doubts.start()
            self.parking.start()
            self.pos.cancels.start()
            self.relay.start()
            self.days.start()
            self.prover.start()
            self.expiry.start()
            self.descriptors.start()
            await self._wait_for_lines(self._config.daemon.operator_wait_s)
            self._go_on()
            self.batches.start()
            for place in self._config.smpp.place:
                await self._open_place(place)
            await self.pos.open()
            if self._config.daemon.metrics_listen:
                registry = self.board.meters.registry
                pages = health_site(registry, self._not_ready, self._status)
                site = Guarded(pages, "metrics", self._reactor)
                watch_gate(registry, site.gate)
                endpoint = serverFromString(self._reactor, self._config.daemon.metrics_listen)
                self._ports.append(await endpoint.listen(site))
        except Stopping:
            log.info("asked to stop before the doors were open: none is opened")
            return
        except Occupied as error:
            log.critical("this ledger is not ours: {why}", why=str(error))
            self._fail()
            return
        except NotLocked as error:
            log.critical("the ledger is not safe from other processes: {why}", why=str(error))
            self._fail()
            return
        except CannotListenError as error:
            log.critical("a door cannot be opened: {why}", why=str(error))
            self._fail()
            return
        except Exception:  # nothing may be half open: say why and go
            log.failure("the doors could not be opened")
            self._fail()
            return
        self._is_up = True
        self._machine.settle()
        log.info("the doors are open")

    def _go_on(self) -> None:
        """Raises Stopping once it has been asked to stop."""
        if self._is_stopping:
            raise Stopping

    async def _wait_for_lines(self, wait_s: float) -> None:
        """Give the operators' lines a moment to bind: what the SMS centres keep until then need not be refused."""
        until_s = self._clock.monotonic_s() + wait_s
        while not all(link.ready() for link in self.links) and self._clock.monotonic_s() < until_s:
            self._go_on()
            await deferLater(self._reactor, 0.05, lambda: None)

    async def _open_place(self, place: SmppPlace) -> None:
        smpp = self._config.smpp
        peers = [section.profile for section in smpp.peer if section.profile.name in place.peers]
        passwords = self._config.smpp_passwords()
        if place.direction == "listen":
            gate = GateSettings(
                (),
                smpp.connections_max,
                smpp.connections_per_address_max,
                smpp.strangers_max,
                smpp.strangers_per_address_max,
                smpp.first_octet_s,
            )
            server = SmppServer(self.gateway, peers, passwords, gate)
            watch_gate(self.board.meters.registry, server.gate)
            port = await serverFromString(self._reactor, place.endpoint).listen(server)
            self._ports.append(port)
            return
        for peer in peers:
            endpoint = clientFromString(self._reactor, place.endpoint)
            client = SmppClient(self.gateway, peer, passwords[peer.name], endpoint, self._fraction)
            self._clients.append(client)
            client.startService()

    def _fraction(self) -> float:
        return int.from_bytes(self._chance.token(4), "big") / 2**32

    # -- stop ---------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        self._is_stopping = True
        if not self._is_built:
            return succeed(None)
        return Deferred.fromCoroutine(self._close_doors())

    async def _close_doors(self) -> None:
        """Throttle, let open recharges end, unbind; what is still open is left to recovery."""
        self._is_up = False
        self.board.closing = True
        self.gateway.throttle(True)
        self.doubts.stop()
        self.batches.stop()
        self.expiry.stop()
        self.descriptors.stop()
        self.days.stop()
        self.prover.stop()
        self.parking.stop()
        self.pos.close()
        self.pos.cancels.stop()
        await self._wait_for_tasks(self._config.daemon.stop_wait_s)
        await self.relay.stop()
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        await self.pos.hang_up()
        for client in self._clients:
            client.stopService()
        await self.gateway.unbind_all()
        for link in self.links:
            await link.stop()
        self._spawn(self.doubts.end())
        await self._end_of(list(self._tasks), _LAST_WORDS_S)
        await self.ledger.stop()
        await self.lease.stop()
        self._store.engine.dispose()
        log.info("stopped; {count} recharges are left to recovery", count=len(self._tasks))

    async def _wait_for_tasks(self, wait_s: float) -> None:
        """Until nothing is under way and nothing has come after it: an order may just be getting its hold."""
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            await self._end_of(list(self._tasks), max(until_s - self._clock.monotonic_s(), 0.01))
            await deferLater(self._reactor, 0.1, lambda: None)
            if not self._tasks and not self.ledger.waiting:
                return
            if self._clock.monotonic_s() >= until_s:
                log.warn("{count} recharges did not end in time", count=len(self._tasks))
                return

    async def _end_of(self, tasks: list[Deferred[Any]], wait_s: float) -> None:
        if tasks:
            ended = DeferredList(tasks, consumeErrors=True)
            ended.addTimeout(wait_s, self._reactor)
            with contextlib.suppress(TimeoutError):
                await ended

    # -- what runs by itself ------------------------------------------------------------------------------

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[None]:
        """Run it to its end; the stop waits for it. Its failure is a bug: logged, never lost."""
        done: Deferred[None] = Deferred()
        self._tasks.add(done)

        def end(result: object) -> None:
            if isinstance(result, Failure):
                log.failure("a recharge's coroutine failed", failure=result)
            self._tasks.discard(done)
            done.callback(None)

        Deferred.fromCoroutine(coroutine).addBoth(end)
        return done

    def _broken(self, failure: Failure) -> None:
        """A broken invariant or disk: the doors close and say so; recovery after a restart is the tested path."""
        if failure.check(Fenced):
            log.critical("{why}: the doors close", why=failure.getErrorMessage())
        else:
            log.failure("THE LEDGER IS BROKEN, the doors close", failure=failure)
        self.board.closing = True
        self.gateway.throttle(True)
        self.pos.close()
        if not self._is_failing:  # writer and lease may both have met it
            self._is_failing = True
            self._reactor.callLater(0.5, self._fail)

    def _unsound(self, problems: Sequence[str]) -> None:
        """What was booked does not hold: no new work until people have looked; what is open may end."""
        for problem in problems:
            log.critical("THE BOOKS ARE NOT SOUND, the doors close: {problem}", problem=problem)
        self._doubtful = [f"the books are not sound: {problem}" for problem in problems[:5]]
        self.board.closing = True
        self.gateway.throttle(True)

    def _fail(self) -> None:
        """Stop in order, then leave with exit code 1: whoever watches over us must see it."""
        self._reactor.addSystemEventTrigger("after", "shutdown", self._machine.leave, 1)
        self._reactor.stop()


def _line(section: OperatorSection) -> str:
    return line_key(section.id, section.link.agent_id, section.link.link_id)


def _plan(section: OperatorSection, link: Operator) -> OperatorPlan:
    codes = CodeTable(
        frozenset(section.codes.yes),
        {code: Reason[reason] for code, reason in section.codes.no.items()},
        frozenset(section.codes.not_found),
        frozenset(section.codes.busy),
        {code: Reason[reason] for code, reason in section.codes.reverse_no.items()},
        frozenset(section.codes.no_original),
        frozenset(section.codes.reversed_before),
        frozenset(section.codes.stands),
        frozenset(section.codes.pending),
    )
    return OperatorPlan(
        section.id, section.link.name, link, section.segments, section.products, codes, section.doubt
    )
