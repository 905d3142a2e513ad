"""Worlds that go wrong: the daemon is killed again and again while operator and SMS centre misbehave.

One ``World`` is one folder with a ledger of its own, the simulated operator as a process, the rig's SMS centre in
this process, and one life of the daemon after the other. Everything is drawn from one seed; only the operating
system's scheduling is not.
"""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.office import Office
from aircharge.simulators.sim_card import SimCard
from aircharge.values import Pin
from aircharge.wire.stk import StkMessage, StkOperation
from tests.postgres import Cluster
from tests.system.audit import Audit, audit, audit_requests, rows
from tests.system.fleet import verified
from tests.system.points import DISK, OUTSIDE, POINTS
from tests.system.rig_centre import Centre, Mo, Request
from tests.system.rigged import Life
from tests.system.sick_disk import SickDisk
from tests.system.zygote import Zygote

__all__ = ["Report", "World", "WorldPlan", "run_world"]

FAULTS: dict[str, Any] = {
    "latency_ms": 4,
    "jitter_ms": 10,
    "lose": 0.06,
    "swallow": 0.08,
    "late": 0.08,
    "duplicate": 0.05,
    "refuse": 0.05,
    "busy": 0.02,
    "strange": 0.01,
    "reject": 0.01,
    "disconnect": 0.004,
    "cut": 0.004,
    "freeze": 0.002,
    "other_ref": 0.003,
    "garbage": 0.003,
}
DOUBTS = {
    "resend": 'mode = "resend"\nfirst_s = 0.3\nmax_s = 1.0',
    "query": 'mode = "query"\nfirst_s = 0.3\nmax_s = 1.0\nfinality_s = 6.0',
    "never": 'mode = "never"',
    "reverse": 'mode = "reverse"\nfirst_s = 0.3\nmax_s = 1.0\nfinality_s = 0.0',
}
LATE_S, FINALITY_S = 1.6, 2.0
PATIENCE_S = 60.0  # a process that is loaded, not stuck
SETTINGS = """
[notices]
poll_s = 0.3
retry_first_s = 0.3
retry_max_s = 1.0

[lease]
ttl_s = 2.5
renew_s = 0.5
quiet_s = 1.0
"""
NO_KILLS = {"stopped in order", "left by itself"}
QUICKER = {
    "[ledger]\n": "[ledger.book]\nhold_look_ms = 2500\n\n[ledger]\n",
    "window_max = 200\nqueue_max": "window_max = 16\nresponse_s = 1.0\nqueue_max",
    "window_max = 200\nresponse_timeout": "window_max = 24\nheartbeat_s = 0.4\nheartbeats_missed_max = 2\n"
    "reconnect_min_s = 0.1\nreconnect_max_s = 0.5\nresponse_timeout",
}
"""Seconds instead of minutes in the instance's configuration, and windows small enough to fill."""


@dataclass(frozen=True)
class WorldPlan:
    """One world: all points in turn, in an order of chance, until there were so many kills."""

    seed: int
    mode: str = "resend"
    kills: int = len(POINTS) + len(OUTSIDE)
    points: tuple[str, ...] = (*POINTS, *OUTSIDE)
    mutant: str = ""
    operator_kills: int = 0  # so often the operator's platform is killed as well, and started again
    calm_max_s: float = 1.0  # half of the lives run in peace for up to this before they die
    life_s: float = (
        3.0  # a life that does not come to its point in this time of service is ended from outside
    )
    calm_life_s: float = 2.0  # how long it runs when there are no kills at all
    requests_per_s: float = 120.0
    requests_min: int = 0  # after the last death it trades on until there were so many
    drain_s: float = 100.0
    frozen_max_s: float = 3.5  # how long a sleep is at most: longer than its lease
    engine: str = "sqlite"


@dataclass
class Report:
    """What one world came to."""

    plan: WorldPlan
    audit: Audit
    kills: Counter[str] = field(default_factory=Counter)
    operator_kills: int = 0
    freezes: int = 0
    disk_faults: int = 0  # calls that the disk refused
    requests: int = 0
    ruled: int = 0  # doubts that two people decided (mode "never")
    taken_up: int = 0  # open orders found by a daemon that started
    took_s: float = 0.0
    fates: dict[str, int] = field(default_factory=dict)
    centre: dict[str, int] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def killed(self) -> int:
        """kill -9 of the daemon."""
        return sum(self.kills[point] for point in self.kills.keys() - NO_KILLS)


class World:
    """One run from an empty ledger to the audit."""

    def __init__(self, folder: Path, plan: WorldPlan, server: Cluster | None = None) -> None:
        self.plan = plan
        self._rng = random.Random(plan.seed)
        self._instance = Instance(
            folder, free_ports(), doubt=DOUBTS[plan.mode], response_timeout_s=0.6, extra=SETTINGS
        )
        self._ledger: Path | str = self._instance.ledger_file
        if server is not None:
            self._ledger = self._instance.ledger_url = server.empty()
        self._freezes = 0
        self._requests: list[Request] = []
        self._kills: Counter[str] = Counter()
        self._operator_kills = 0
        self._shops = _shops()
        self._began = time.monotonic()

    def run(self) -> Report:
        instance, plan = self._instance, self.plan
        self._create()
        self._start_operator()
        self._disk = SickDisk(instance.folder, "ledger.db") if DISK.keys() & set(plan.points) else None
        self._zygote = Zygote(self._disk.environment if self._disk else None)
        try:
            self._live_and_die()
            if not plan.kills or len(self._requests) < plan.requests_min:
                self._calm_life()
            self._drain()
            fates = instance.operator("totals")["attempts"]
        finally:
            self._zygote.close()
            self._centre.lost()
            instance.stop()
        return self._report(fates)

    def _start_operator(self) -> None:
        faults = {**FAULTS, "late_s": LATE_S, "finality_s": FINALITY_S}
        seed = self.plan.seed + 1000 * self._operator_kills
        self._instance.start_operator("--faults", json.dumps(faults), "--seed", str(seed))

    # -- making it ----------------------------------------------------------------------------------------

    def _create(self) -> None:
        instance = self._instance
        instance.folder.mkdir(parents=True, exist_ok=True)
        instance.create(self._shops)
        text = instance.config_file.read_text("utf-8")
        for old, new in QUICKER.items():
            assert text.count(old) == 1, f"the instance's configuration has changed: {old!r}"
            text = text.replace(old, new)
        instance.config_file.write_text(text, "utf-8")
        rows = json.loads((instance.folder / "cards.json").read_text("utf-8"))
        self._cards = {row["msisdn"]: SimCard.from_file(row) for row in rows}
        password = (instance.folder / "keys" / "smsc-password").read_text().strip()
        self._centre = Centre(instance.ports.smpp, password, random.Random(self.plan.seed + 1))

    def _deaths(self) -> list[str]:
        """Every point in turn in an order of chance, again and again."""
        deaths: list[str] = []
        asks = self.plan.mode != "never"
        points = [point for point in self.plan.points if asks or point not in ("resolving", "doubt_answered")]
        while len(deaths) < self.plan.kills:
            deaths += self._rng.sample(points, len(points))
        return deaths[: self.plan.kills]

    # -- lives --------------------------------------------------------------------------------------------

    def _start(self, point: str = "", nth: int = 1, calm_s: float = 0.0, *, freezes: bool = False) -> None:
        instance, mutant = self._instance, self.plan.mutant
        life = Life(
            str(instance.config_file), str(instance.daemon_log), point, nth, calm_s, mutant, freezes=freezes
        )
        self._zygote.start(life)

    def _live_and_die(self) -> None:
        deaths = self._deaths()
        operator_dies = set(self._rng.sample(range(len(deaths)), min(self.plan.operator_kills, len(deaths))))
        for number, point in enumerate(deaths):
            self._die(point, operator_too=number in operator_dies)

    def _die(self, point: str, *, operator_too: bool) -> None:
        rng = self._rng
        calm_s = rng.uniform(0.2, self.plan.calm_max_s) if rng.random() < 0.5 or operator_too else 0.0
        end_s = self._begin(point, calm_s)
        status = None
        if operator_too:
            status = self._trade_for(calm_s)
            self._instance.stop_one("operator", signal.SIGKILL)
            self._operator_kills += 1
            status = self._trade_for(0.1) if status is None else status
            self._start_operator()
        if status is None and point != "anywhere":
            status = self._till_bound()
        if status is None:
            status = self._freeze(end_s) if point == "frozen" else self._trade_for(end_s)
        if status is None and point == "stopping":
            self._zygote.signal(signal.SIGTERM)
            status = self._trade_for(rng.uniform(0.0, 0.3))
        if status is None and point in DISK:
            status = self._sicken(point)
        if status is None:
            point = "anywhere" if point in POINTS else point
            self._zygote.signal(signal.SIGKILL)
            status = self._zygote.ended(PATIENCE_S)
        self._ended(point, status)

    def _begin(self, point: str, calm_s: float) -> float:
        """Start a life; how long it may last before its end comes from outside."""
        rng, planted = self._rng, point
        if point == "frozen":
            planted = rng.choice(sorted(POINTS.keys() - {"recovering"}))
        if planted not in POINTS:
            self._start()
            return rng.uniform(0.05, 0.4) + calm_s
        calm_s = 0.0 if planted == "recovering" else calm_s
        self._start(planted, rng.randint(1, POINTS[planted][1]), calm_s, freezes=point == "frozen")
        return self.plan.life_s + calm_s

    def _ended(self, point: str, status: int | None) -> None:
        """Count what it was. A daemon may end by itself only while it stops in order or when its disk has failed."""
        allowed = {"stopping": ("stopped in order", 0), "disk_error": ("left by itself", 1)}
        name, code = allowed.get(point, (point, -signal.SIGKILL))
        if status not in (-signal.SIGKILL, code):
            raise RuntimeError(f"the daemon ended by itself ({status}); see {self._instance.daemon_log}")
        self._kills[point if status == -signal.SIGKILL else name] += 1
        if self._disk:
            self._disk.heal()
        self._centre.lost()

    def _freeze(self, wait_s: float) -> int | None:
        """Until it stands still at its place, or is made to; while it sleeps the others go on. Then it is woken."""
        end, status = time.monotonic() + wait_s, None
        while status is None and not self._zygote.is_frozen and time.monotonic() < end:
            self._trade()
            status = self._zygote.ended()
        if status is not None:
            return status
        self._zygote.signal(signal.SIGSTOP)
        self._freezes += 1
        self._trade_for(self._rng.uniform(0.1, self.plan.frozen_max_s))
        self._zygote.signal(signal.SIGCONT)
        return self._trade_for(self._rng.uniform(0.0, 1.5))

    def _sicken(self, point: str) -> int | None:
        """Its ledger's disk is full for a while, or broken for a few calls or for ever; for ever, it must leave."""
        rng, disk = self._rng, self._disk
        assert disk is not None, "the world has no disk of its own"
        if point == "disk_full":
            disk.fill(rng.randint(0, 100))
            status = self._trade_for(rng.uniform(0.3, 1.5))
            if status is None and rng.random() < 0.5:
                disk.heal()
                status = self._trade_for(rng.uniform(0.1, 1.0))
            return status
        calls = rng.choice((1, 3, -1))
        disk.break_down(rng.randint(0, 60), calls)
        status = self._trade_for(1.0 if calls > 0 else PATIENCE_S)
        if status is None and calls < 0:
            raise RuntimeError(f"a broken disk did not end the daemon; see {self._instance.daemon_log}")
        return status

    def _trade_for(self, wait_s: float) -> int | None:
        """Go on until the daemon has ended (its exit code), or for so long (None)."""
        end = time.monotonic() + wait_s
        while (status := self._zygote.ended()) is None and time.monotonic() < end:
            self._trade()
        return status

    def _till_bound(self) -> int | None:
        """Until the SMS centre is bound, or the daemon sleeps: a loaded machine may take seconds to start one."""
        end = time.monotonic() + PATIENCE_S
        while (
            (status := self._zygote.ended()) is None
            and not self._centre.is_bound
            and not self._zygote.is_frozen
            and time.monotonic() < end
        ):
            self._centre.turn(0.004)
        return status

    def _calm_life(self) -> None:
        self._start()
        self._till_bound()
        self._trade_for(self.plan.calm_life_s)
        end = time.monotonic() + PATIENCE_S
        while len(self._requests) < self.plan.requests_min and time.monotonic() < end:
            self._trade()

    def _trade(self) -> None:
        """Keep requests coming while the SMS centre is bound, and let it work for a moment."""
        centre, now = self._centre, time.monotonic()
        if centre.is_bound and centre.open < centre.window:
            owed = max(self._next_at, now - 0.05) if self._requests else now
            while owed <= now and centre.open < centre.window:
                self._ask()
                owed += self._rng.expovariate(self.plan.requests_per_s)
            self._next_at = owed
        if centre.is_bound and self._rng.random() < 0.0005:
            centre.counts["line cut"] += 1
            centre.lost()
        centre.turn(0.004)

    _next_at = 0.0

    def _drain(self) -> None:
        """Nothing goes wrong any more: everything must become definite; then stop in order."""
        self._instance.operator("faults", reset=True)
        self._centre.habits = type(self._centre.habits)(self._centre.habits.forgotten, 0.0, 0.0, 0.0)
        if not self._zygote.pid:
            self._start()
        if self.plan.mode == "never":
            self._wait_until(lambda: self._operator_is_quiet() and not self._centre.open, 4.0)
            self._stop()
            self._ruled = _rule(self._instance, self._ledger)
            self._start()
        self._wait_until(lambda: not self._centre.open and _is_quiet(self._ledger))
        self._stop()
        self._wait_until(self._operator_is_quiet)

    def _wait_until(self, is_so: Callable[[], bool], at_least_s: float = 0.0) -> None:
        """Let the SMS centre work until it is so, or until the plan's patience ends: the audit will tell."""
        began = look_at = time.monotonic()
        while time.monotonic() < began + self.plan.drain_s:
            self._centre.turn(0.01)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + 0.25
                if time.monotonic() >= began + at_least_s and is_so():
                    return

    def _operator_is_quiet(self) -> bool:
        """It has nothing left in its queue."""
        return not self._instance.operator("status")["late"]

    def _stop(self) -> None:
        status = self._till_bound()
        if status is None:
            self._zygote.signal(signal.SIGTERM)
        end = time.monotonic() + PATIENCE_S
        while status is None and time.monotonic() < end:
            self._centre.turn(0.01)
            status = self._zygote.ended()
        self._stop_status = self._stop_status or (1 if status is None else status)

    _stop_status = 0
    _ruled = 0

    # -- requests -----------------------------------------------------------------------------------------

    def _ask(self) -> None:
        rng, number = self._rng, len(self._requests)
        shop = rng.choice(self._shops)
        roll = rng.random()
        now_s = int(time.time())
        if roll < 0.03:
            kind, text, to = (
                ("nonsense", b"hello", "0353911") if roll < 0.01 else ("balance", b"00", "0353910")
            )
            request = Request(kind, shop.phone)
            mos = [Mo(request, to, text)]
        else:
            kind = rng.choice(("stk", "stk", "reference", "fingerprint", "bare"))
            target = f"13{number:09d}"
            request = Request(kind, shop.phone, [target])
            fen = rng.choice((1000, 2000, 3000, 5000))
            mos = [self._mo(request, target, fen, number, now_s)]
            if kind in ("stk", "reference") and rng.random() < 0.04:
                twin = f"15{number:09d}"
                request.targets.append(twin)
                mos.append(self._mo(request, twin, fen, number, now_s))
                mos[-1].ready_at = time.monotonic() + rng.uniform(0, 0.6)
                self._centre.counts["tampered twins"] += 1
            if kind == "stk" and rng.random() < 0.1:
                mos.append(self._question(request, target, fen, number, now_s))
                self._centre.counts["re-confirmations"] += 1
        self._requests.append(request)
        self._centre.queue.extend(mos)

    def _mo(self, request: Request, target: str, fen: int, number: int, now_s: int) -> Mo:
        if request.kind == "stk":
            card = self._cards[request.phone]
            serial = self.plan.seed << 32 | number
            message = StkMessage(StkOperation.RECHARGE, serial, Pin(DEMO_PIN), now_s, target, fen)
            return Mo(request, "0353911", card.seal(message), True, now_s)
        text = f"{target} {fen // 100}".encode()
        reference = number % 65535 + 1 if request.kind == "reference" else 0
        return Mo(request, "0353911", text, False, 0 if request.kind == "bare" else now_s, reference)

    def _question(self, request: Request, target: str, fen: int, number: int, now_s: int) -> Mo:
        """重复充值: what became of it? It is executed only if nothing is known of it."""
        earlier = self.plan.seed << 32 | number
        card, pin = self._cards[request.phone], Pin(DEMO_PIN)
        operation, serial = StkOperation.RECONFIRM, earlier | 1 << 31
        message = StkMessage(operation, serial, pin, now_s, target, fen, 1, earlier)
        mo = Mo(request, "0353911", card.seal(message), True, now_s)
        mo.ready_at = time.monotonic() + self._rng.uniform(0, 1.5)
        return mo

    # -- the end ------------------------------------------------------------------------------------------

    def _report(self, fates: dict[str, int]) -> Report:
        instance = self._instance
        found = audit(self._ledger, instance.operator_file)
        audit_requests(found, self._ledger, instance.operator_file, self._requests, self._centre.received)
        if self._stop_status:
            found.problems.append(f"the daemon did not stop in order: {self._stop_status}")
        if self._centre.open:
            found.problems.append(f"{self._centre.open} messages were never answered")
        found.problems += _complaints(instance.daemon_log, f"{ASLEEP}|{SICK}" if self._disk else ASLEEP)
        found.problems += verified(instance.config_file)
        taken_up = _taken_up(instance.daemon_log)
        took_s = time.monotonic() - self._began
        counts = dict(self._centre.counts)
        return Report(
            self.plan,
            found,
            self._kills,
            self._operator_kills,
            self._freezes,
            self._disk.failed if self._disk else 0,
            len(self._requests),
            self._ruled,
            taken_up,
            took_s,
            fates,
            counts,
            instance.folder,
        )


def run_world(folder: Path, plan: WorldPlan, server: Cluster | None = None) -> Report:
    """``server``: where the ledger is when ``plan.engine`` is postgresql."""
    return World(folder, plan, server).run()


def _shops() -> list[Shop]:
    """Four outlets with plenty, two that run dry soon."""
    return [
        Shop(f"K{index}", f"1390000000{index}", f"8986000000000000000{index}", float_fen=fen)
        for index, fen in enumerate((10_000_000,) * 4 + (20_000, 31_000), 1)
    ]


def _is_quiet(ledger: Path | str) -> bool:
    """No open order, no notice to be sent."""
    questions = (
        "SELECT count(*) FROM txn WHERE state IN (1, 2, 3)",
        "SELECT count(*) FROM outbox WHERE state = 0",
    )
    return all(rows(ledger, question) == [(0,)] for question in questions)


def _rule(instance: Instance, ledger: Path | str) -> int:
    """Two people decide every doubt by the operator's own record; how many they were."""
    executed = {reference for (reference,) in rows(instance.operator_file, "SELECT op_ref FROM credit")}
    doubts = rows(ledger, "SELECT id, op_ref FROM txn WHERE state IN (1, 2, 3, 6)")
    office = Office(load(instance.config_file))
    try:
        for order, reference in doubts:
            did = reference in executed
            office.resolve(order, executed=did, evidence="record", maker="rig.maker", checker="rig.checker")
    finally:
        office.close()
    return len(doubts)


def _taken_up(log: Path) -> int:
    lines = log.read_text("utf-8", "replace")
    return sum(int(count) for count in re.findall(r'"text":"(\d+) open orders were taken up"', lines))


ASLEEP = "the lease of node 1 ran out [0-9]+ ms ago: nothing was written"
SICK = "disk is full|disk I/O error"


def _complaints(log: Path, excused: str) -> list[str]:
    """Failures the daemon logged: in these worlds there is an excuse only for having slept, and for a sick disk."""
    found = Counter()  # type: ignore[var-annotated]
    for line in log.read_text("utf-8", "replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            found[f"printed: {line[:120]}"] += 1
            continue
        if re.search(excused, line):
            continue
        if event["level"] in ("error", "critical") or "trace" in event:
            last = event.get("trace", "").strip().splitlines()[-1:]
            found[f"logged: {event['from']}: {event['text'][:60]}: {' '.join(last)[:120]}"] += 1
    return [f"{what} ({count} times)" for what, count in found.items()]
