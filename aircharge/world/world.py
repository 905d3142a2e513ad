"""One world: the real daemon, the operator and the SMS centre on simulated hosts, carried through a plan."""

from __future__ import annotations

import io
import shutil
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from aircharge.daemon import AirchargeService
from aircharge.errors import LedgerError
from aircharge.ledger.book import Book
from aircharge.ledger.dialect import open_engine
from aircharge.machine import Machine
from aircharge.observe.logs import JsonLines
from aircharge.protocols.smpp import SmppClient, SmppPeer
from aircharge.simulators.operator import OperatorPlatform
from aircharge.simulators.operator_faults import Fate, FaultPlan, Faults
from aircharge.simulators.sim_card import SimCard
from aircharge.simulators.sms_centre import SmsCentre
from aircharge.simulators.sms_delivery import Delivery, Redelivery
from aircharge.world.base import OPERATOR_PORT, SMPP_PORT, Base, SeededRandomness
from aircharge.world.breaking import Breaking
from aircharge.world.disk import Died, Disk, WorldLedger, WorldStore, WorldWorker
from aircharge.world.network import Network, Weather
from aircharge.world.plan import COUNTERS, OUTLETS, PIN, WRONG_PIN, Plan, Step
from aircharge.world.till import Tills
from aircharge.world.timeline import Host, Timeline

__all__ = ["Asked", "World"]

log_publisher: Any = globalLogPublisher

PEACE_S: Final = 50.0
"""When the last thing has been broken and mended, the world goes on for at least so long …"""
PEACE_MAX_S: Final = 400.0
"""… and at most for so long, until nothing is open."""

_PACKET: Final = 0xF6
"""data_coding of what a card sends."""

_PHONES: Final = {seat.code: seat.phone for seat in OUTLETS}


@dataclass(slots=True, eq=False)
class Asked:
    """A recharge that an outlet really asked for. ``deliveries``: every message that asks for it."""

    step: Step
    outlet: str
    target: str
    amount_fen: int
    deliveries: list[Delivery] = field(default_factory=list)


class _Fates(Faults):
    """The operator's faults by number: those of the plan in turn, then none."""

    def __init__(self, plan: FaultPlan, chance: Random, met: Callable[[str], None]) -> None:
        super().__init__(plan, 0)
        self.by_number: dict[str, deque[str]] = {}
        self.is_calm = False
        self._chance = chance
        self._met = met

    def draw(self, msisdn: str) -> Fate:
        waiting = self.by_number.get(msisdn)
        name = waiting.popleft() if waiting else "ok"
        if name != "ok":
            self._met(f"operator {name}")
        code = {"refuse": self.plan.refuse_code, "strange": self.plan.strange_code}.get(name, "")
        return Fate(name, code, self.delay_s())

    def delay_s(self) -> float:
        """Mostly quick; now and then slower than the daemon waits."""
        slowest_s = 9.0 if not self.is_calm and self._chance.random() < 0.15 else 0.05
        return self._chance.uniform(0.001, slowest_s)


class World(Breaking):
    """Build it, ``run()`` it, look at it, ``close()`` it. ``made_service`` is told of each daemon that is built."""

    def __init__(self, base: Base, plan: Plan, name: str = "world") -> None:
        self.base, self.plan, self.name = base, plan, name
        self.timeline = Timeline()
        self.timeline.failed = self._failed
        self.network = Network(self.timeline, Random(f"net {plan.seed}"))
        self.disk = Disk(Random(f"disk {plan.seed}"))
        self.disk.met = lambda fate: self.met(f"commit {fate}")
        self.faults: Counter[str] = Counter()
        self.network.met = self.met
        self.bugs: list[str] = []
        self.asked: list[Asked] = []
        self.locked_asked: list[Asked] = []
        self.probes: list[Asked] = []
        self.lives = 0
        self.daemons: list[Host] = []
        self.services: dict[str, AirchargeService] = {}
        self.log = io.StringIO()
        self._observer: Any = JsonLines(self.log, "info")
        self._offset_ms = 0
        self._chance = Random(f"world {plan.seed}")
        self.ledger_file = base.folder / f"{name}.db"
        for old in base.folder.glob(f"{name}.db*"):
            old.unlink()
        shutil.copyfile(base.folder / "base.db", self.ledger_file)
        self._state = base.folder / f"{name}-cards"
        shutil.rmtree(self._state, ignore_errors=True)
        self._state.mkdir()
        log_publisher.addObserver(self._observer)
        self._build_operator()
        self._build_centre()
        self.tills = Tills(Host("tills", self.timeline, self.network), self.met, base.masters, COUNTERS)
        self.start_daemon()

    # -- clocks -------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The wall clock of all machines but the daemon's, which may jump."""
        return self.plan.starts_ms + int(self.timeline.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.timeline.now_s

    def met(self, fault: str) -> None:
        """A fault has happened."""
        self.faults[fault] += 1
        self.timeline.note("fault", fault)

    def _failed(self, host: Host, failure: Failure) -> None:
        if not host.is_dead:
            self.bugs.append(
                f"{host.name}: {type(failure.value).__name__}: {failure.getErrorMessage()}\n{failure.getTraceback()}"
            )

    # -- the parties --------------------------------------------------------------------------------------

    def _build_operator(self) -> None:
        plan = self.plan
        host = self.operator_host = Host("operator", self.timeline, self.network)
        faults = FaultPlan(late_s=plan.late_s, finality_s=30.0)
        self.fates = _Fates(faults, Random(f"operator {plan.seed}"), self.met)
        chance = SeededRandomness(f"operator token {plan.seed}")
        self.operator = OperatorPlatform(
            host,
            ":memory:",
            {"aircharge": self.base.operator_secret},
            faults=self.fates,
            dedup=plan.mode == "resend",
            now_ms=self.now_ms,
            token=chance.token,
            later=lambda call: host.callLater(0.002, call),
        )
        host.listenTCP(OPERATOR_PORT, self.operator)

    def _build_centre(self) -> None:
        host = self.centre_host = Host("centre", self.timeline, self.network)
        chance = Random(f"centre {self.plan.seed}")
        self.centre = SmsCentre(
            host,
            self.now_ms,
            self._state,
            sent_time_tlv=0x1401,
            redelivery=Redelivery(2.0, 30),
            chance=chance.random,
            token=SeededRandomness(f"centre token {self.plan.seed}").token,
        )
        for row in self.base.cards:
            self.centre.cards.add(SimCard.from_file(row))
        peer = SmppPeer(
            name="daemon",
            system_id="smsc",
            role="esme",
            mo_pdu=("submit_sm", "deliver_sm", "data_sm"),
            mt_pdu="deliver_sm",
            window_max=50,
            enquire_link_s=5.0,
            response_s=5.0,
        )
        endpoint = clientFromString(host, f"tcp:127.0.0.1:{SMPP_PORT}")
        client = SmppClient(
            self.centre.gateway,
            peer,
            self.base.password,
            endpoint,
            chance.random,
            delay_first_s=0.2,
            delay_max_s=2.0,
        )
        client.startService()

    def start_daemon(self, node: int = 1) -> Host:
        """Another life of the daemon."""
        self.lives += 1
        host = Host(f"daemon.{node}.{self.lives}", self.timeline, self.network)
        self.daemons.append(host)
        self.timeline.note("start", host.name)
        machine = Machine(
            clock=_DaemonClock(self),
            chance=SeededRandomness(f"{host.name} {self.plan.seed}"),
            open_store=partial(self._open_store, host),
            open_ledger=lambda store, _reactor, settings: WorldLedger(store, host, settings),
            worker=lambda _name, _reactor: WorldWorker(host, self.disk),
            name=lambda: host.name,
            is_running=lambda name: any(one.name == name and not one.is_dead for one in self.daemons),
            settle=lambda: None,
            prove_lock=lambda _engine: None,  # all daemons of a world are one process
            listen_to_signals=lambda _reactor, _leave: None,
            raise_limit=lambda wanted: wanted,
            leave=host.leave,
        )
        service = AirchargeService(self.base.config(self.name, self.plan, node), host, machine)
        host.addSystemEventTrigger("before", "shutdown", service.stopService)
        try:
            service.startService()
        except (
            LedgerError,
            DBAPIError,
            Died,
        ) as error:  # as twistd: it says so and ends, and is started again
            self.timeline.note("not started", type(error).__name__)
            host.ended = self._again_later
            host.leave(1)
            return host
        self.services[host.name] = service
        return host

    def _open_store(self, host: Host, config: Any, clock: Any, node: int) -> WorldStore:
        store = WorldStore(
            open_engine(config.database_url()), Book(config.ledger.book, config.pin_hash().mac), clock, node
        )
        store.stand_on(host, self.disk)
        store.intruded = partial(self.bugs.append, f"{host.name} has written under a lease that is another's")
        host.ended = partial(self._daemon_ended, host, store)
        return store

    def _daemon_ended(self, host: Host, store: WorldStore) -> None:
        """Whoever watches over it starts another soon; what was not committed is gone."""
        self.timeline.note("end", host.name, host.exit_code)
        self.timeline.at(self.operator_host, 0.0, store.engine.dispose)
        self._again_later()

    def _again_later(self) -> None:
        if not self._living() and not self.is_over:
            down_s, self._down_s = self._down_s, 1.0
            self.timeline.at(self.operator_host, self.timeline.now_s + down_s, self._start_again)

    _down_s = 1.0
    is_over = False

    def _start_again(self) -> None:
        if not self._living() and not self.is_over:
            if self.disk.is_broken:
                self.disk.is_broken = False  # the disk was changed
            self.start_daemon()

    def _living(self) -> list[Host]:
        return [host for host in self.daemons if not host.is_dead]

    # -- the plan -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """All of it: the plan, then peace, until nothing is open."""
        world = self.operator_host  # immortal
        for step in self.plan.steps:
            self.timeline.at(world, step.at_s, partial(self.apply, step))
        last_s = (
            max([step.at_s + step.about.get("for_s", 0.0) for step in self.plan.steps], default=0.0) + 1.0
        )
        self.timeline.run(last_s)
        self.make_peace()
        last_s += max(-self._offset_ms, 0) / 1000  # leases last so much longer by a clock that was set back
        self.timeline.at(world, last_s + PEACE_S - 30.0, self._probe)
        self.timeline.run(last_s + PEACE_S)
        end_s = last_s + PEACE_MAX_S
        while self.timeline.now_s < end_s and self.is_busy():
            self.timeline.run(self.timeline.now_s + 10.0)
        self.is_over = True

    def is_busy(self) -> bool:
        """Whether an orderly daemon would still have something to do."""
        with open_engine(f"sqlite:///{self.ledger_file}").connect() as txn:
            last = 2 if self.plan.mode == "never" else 3
            opened = txn.exec_driver_sql(
                "SELECT count(*) FROM txn WHERE state BETWEEN 1 AND ?", (last,)
            ).scalar()
            wished = txn.exec_driver_sql(
                "SELECT count(*) FROM pos_reversal w JOIN txn t ON t.id = w.txn_id"
                " WHERE w.state = 0 AND t.state IN (0, 4, 5, 7)"
            ).scalar()
            unsent = txn.exec_driver_sql("SELECT count(*) FROM outbox WHERE state = 0").scalar()
        return bool(opened or wished or unsent or self.tills.is_busy or self.centre.postman.open)

    def orders(self) -> int:
        return len(self.asked)

    def make_peace(self) -> None:
        """Nothing breaks any more; what was broken is mended."""
        self.timeline.note("peace")
        self.network.weather = Weather()
        self.disk.is_full = False
        self.disk.plan.clear()
        self.fates.by_number.clear()
        self.fates.is_calm = True
        self.centre.postman.responses_to_drop = 0
        if not self._living():
            self._start_again()

    def _probe(self) -> None:
        """A last recharge of an outlet that has money and no limit: it must be served."""
        self.timeline.note("probe")
        step = Step(
            self.timeline.now_s, "card", {"outlet": "W1", "target": "13888888888", "amount_fen": 3_000}
        )
        self._do_card(step)
        self.probes.append(self.asked[-1])
        for counter in COUNTERS:
            if self.tills.tills[counter.terminal].rung:
                self.tills.do(counter.terminal, "settle")

    def apply(self, step: Step) -> None:
        self.timeline.note("step", step.kind)
        getattr(self, f"_do_{step.kind}")(step)

    def _target(self, step: Step) -> Asked:
        about = step.about
        if "fates" in about:
            self.fates.by_number.setdefault(about["target"], deque()).extend(about["fates"])
        return Asked(step, about["outlet"], about["target"], about["amount_fen"])

    def _send(self, verb: str, request: dict[str, Any]) -> Delivery | None:
        """A handset sends something; the delivery, unless the centre says that it cannot."""
        postman = self.centre.postman
        sender = str(request["from"])
        before = len(postman.sent.get(sender, ()))
        asking: Any = self.centre.verbs()[verb]({**request, "wait_s": 0.0})
        sent: Deferred[Any] = Deferred.fromCoroutine(asking)
        sent.addErrback(_nothing_to_send)
        deliveries = postman.sent.get(sender, [])
        return deliveries[-1] if len(deliveries) > before else None

    def _do_card(self, step: Step) -> None:
        asked = self._target(step)
        self.asked.append(asked)
        request = {
            "from": _PHONES[asked.outlet],
            "operation": "recharge",
            "pin": PIN,
            "target": asked.target,
            "amount_fen": asked.amount_fen,
        }
        if step.about.get("deaf"):
            self.met("answer lost")
            request["skip_response"] = True
        if "twin" in step.about:
            self._forge(step.about["twin"])
        delivery = self._send("stk", request)
        if delivery is not None:
            asked.deliveries.append(delivery)

    def _forge(self, what: str) -> None:
        """A copy of the next packet with some bits changed arrives before it."""
        self.met(f"forged {what}")
        postman = self.centre.postman
        start = postman._start
        host = self.centre_host

        def first_the_twin(delivery: Delivery) -> None:
            postman._start = start  # type: ignore[method-assign]
            fields, tlvs = delivery.pdus[-1]
            data = bytearray(fields["short_message"])
            data[-1 if what == "mac" else -12] ^= 1
            twin = Delivery(0, delivery.sender, [({**fields, "short_message": bytes(data)}, tlvs)])
            start(twin)
            host.callLater(0.5, start, delivery)

        postman._start = first_the_twin  # type: ignore[method-assign]

    def _do_plain(self, step: Step) -> None:
        asked = self._target(step)
        self.asked.append(asked)
        text = f"{asked.target} {asked.amount_fen // 100} {PIN}"
        delivery = self._send("sms", {"from": _PHONES[asked.outlet], "text": text})
        if delivery is not None:
            asked.deliveries.append(delivery)

    def _do_timeless(self, step: Step) -> None:
        """A plain text over a centre that does not tell when it was sent."""
        self._say_timeless(step, "")

    def _do_insisting(self, step: Step) -> None:
        self._say_timeless(step, "*2")

    def _say_timeless(self, step: Step, again: str) -> None:
        asked = self._target(step)
        self.asked.append(asked)
        text = f"{asked.target} {asked.amount_fen // 100}{again} {PIN}"
        delivery = self._send("sms", {"from": _PHONES[asked.outlet], "text": text, "timeless": True})
        if delivery is not None:
            asked.deliveries.append(delivery)

    def _do_late_again(self, step: Step) -> None:
        """The centre has not read our response, or says so, and delivers the message again."""
        first = next((asked for asked in self.asked if asked.target == step.about["target"]), None)
        if first is not None and first.deliveries and first.deliveries[0].done:
            self.met("late delivery")
            Deferred.fromCoroutine(self.centre.postman.again(first.deliveries[0], 0.0))

    def _do_wrong_pin(self, step: Step) -> None:
        self.met("wrong pin")
        about = step.about
        text = f"{about['target']} {about['amount_fen'] // 100} {WRONG_PIN}"
        delivery = self._send("sms", {"from": _PHONES[about["outlet"]], "text": text})
        asked = Asked(step, about["outlet"], about["target"], 0)
        if delivery is not None:
            asked.deliveries.append(delivery)
        self.locked_asked.append(asked)

    def _do_locked(self, step: Step) -> None:
        about = step.about
        text = f"{about['target']} {about['amount_fen'] // 100} {PIN}"
        tries = [one for one in self.locked_asked if one.deliveries and one.deliveries[0].status == 0]
        delivery = self._send("sms", {"from": _PHONES[about["outlet"]], "text": text})
        if delivery is not None and len(tries) < 3:  # not all of them have been counted yet: it may be served
            self.asked.append(Asked(step, about["outlet"], about["target"], about["amount_fen"], [delivery]))

    def _do_resend(self, step: Step) -> None:
        self.met("redelivery")
        self._send("resend", {"from": _PHONES[step.about["outlet"]]})

    def _do_replay(self, step: Step) -> None:
        """A packet, that is: a plain text sent again later is a request like any other."""
        phone = _PHONES[step.about["outlet"]]
        sent = self.centre.postman.sent.get(phone)
        if sent and sent[-1].pdus[0][0]["data_coding"] == _PACKET:
            self.met("replay")
            self._send("replay", {"from": phone})

    def _do_reconfirm(self, step: Step) -> None:
        card = self.centre.cards.card(_PHONES[step.about["outlet"]])
        request = {"from": card.msisdn, "operation": "reconfirm", "pin": PIN}
        last = card.last
        delivery = self._send("stk", request)
        for asked in self.asked:
            if delivery is not None and last is not None and asked.target == last.target:
                asked.deliveries.append(delivery)

    def _do_reversal(self, step: Step) -> None:
        about = self._target(step)
        text = f"14 {about.target} {about.amount_fen // 100} {PIN}"
        self._send("sms", {"from": _PHONES[about.outlet], "text": text})

    def _do_transfer(self, step: Step) -> None:
        about = step.about
        text = f"15 {about['to']} {about['yuan']} {PIN}"
        self._send("sms", {"from": _PHONES[about["outlet"]], "text": text})

    def _do_question(self, step: Step) -> None:
        self._send(
            "sms", {"from": _PHONES[step.about["outlet"]], "to": "0353910", "text": step.about["text"]}
        )

    def _do_till(self, step: Step) -> None:
        asked = self._target(step)
        self.asked.append(asked)
        about = step.about
        sale = {"target": asked.target, "amount_fen": asked.amount_fen, "fault": about.get("fault", "")}
        self.tills.do(about["terminal"], "sale", **sale)

    def _do_till_void(self, step: Step) -> None:
        self.tills.do(step.about["terminal"], "void")

    def _do_till_misuse(self, step: Step) -> None:
        self.tills.do(step.about["terminal"], "misuse")

    def _do_till_replaced(self, step: Step) -> None:
        self.tills.do(step.about["terminal"], "replaced")

    def _do_till_replay(self, step: Step) -> None:
        self.tills.do(step.about["terminal"], "replay")

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        log_publisher.removeObserver(self._observer)
        for host in self._living():
            host.ended = lambda: None
            host.die(silent=True)
        for service in self.services.values():
            service._store.engine.dispose()
        self.operator.record.close()


def _nothing_to_send(failure: Failure) -> None:
    """A handset that has sent nothing yet has nothing to send again."""
    failure.trap(ValueError)


class _DaemonClock:
    """``ports.Clock`` of the daemon's machine."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now_ms(self) -> int:
        return self._world.now_ms() + self._world._offset_ms

    def monotonic_s(self) -> float:
        return self._world.timeline.now_s
