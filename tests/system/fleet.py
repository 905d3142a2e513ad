"""Several whole daemons on one PostgreSQL, an SMS centre for each, and every one is given the same requests.

A request is one sealed STK message: the same card and serial wherever it comes in, so that it is one request however
often it is heard. Each daemon hears all of them in an order of its own. The operator is a process with a record of its
own, and every daemon has a line of its own to it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from aircharge.config import load
from aircharge.instance import DEMO_PIN, HOST, Instance, Ports, Shop, free_port, free_ports
from aircharge.office import Office
from aircharge.simulators.sim_card import SimCard
from aircharge.values import Pin
from aircharge.wire.stk import StkMessage, StkOperation
from tests.postgres import Cluster
from tests.system.audit import Audit, audit
from tests.system.rig_centre import Centre, Habits, Mo, Request

__all__ = ["FleetPlan", "FleetReport", "beside", "readiness", "run_fleet", "verified"]

OUTLETS = 50
AMOUNT_FEN = 1000
BLOCK = 32
"""A card's counter may lag by less than 64 (``ledger.counters``): so far a message may overtake its card's others."""
PATIENCE_S = 300.0
PEACEFUL = Habits(0.0, 0.0, 0.0, 0.0)
STEADY = """[lease]
ttl_s = 30.0
renew_s = 3.0
quiet_s = 3.0
"""
"""With four daemons, a database and an operator on two cores a renewal may be late."""


@dataclass(frozen=True)
class FleetPlan:
    """``share``: how much of what is asked for the outlets can pay."""

    daemons: int
    requests: int = 4000
    share: float = 2.0
    seed: int = 1

    @property
    def payable(self) -> int:
        """Requests that must be settled."""
        return min(self.requests, OUTLETS * self.each_payable)

    @property
    def each_payable(self) -> int:
        return round(self.requests / OUTLETS * self.share)


@dataclass
class FleetReport:
    """What it came to; ``problems`` is empty when all is as it must be."""

    plan: FleetPlan
    audit: Audit
    problems: list[str]
    took_s: float = 0.0
    deadlocks: int = 0
    opened_by: dict[int, int] = field(default_factory=dict)  # orders by node
    messages: dict[str, int] = field(default_factory=dict)


def beside(first: Instance, node: int, login: str) -> Instance:
    """Another node, not started: the same keys, database and operator; its line to the operator is called ``login``."""
    ports = Ports(free_port(), first.ports.operator, first.ports.operator_control, free_port(), free_port())
    folder = first.folder.with_name(f"node{node}")
    folder.mkdir()
    shutil.copytree(first.folder / "keys", folder / "keys")
    made = Instance(folder, ports, ledger_url=first.ledger_url)
    text = first.config_file.read_text("utf-8")
    for old, new in (
        ("[daemon]\n", f"[daemon]\nnode = {node}\ndesk_node = {1024 - node}\n"),
        (f"tcp:{first.ports.smpp}:", f"tcp:{ports.smpp}:"),
        (f"tcp:{first.ports.metrics}:", f"tcp:{ports.metrics}:"),
        ('agent_id = "aircharge"\n', f'agent_id = "aircharge"\nlink_id = "{login}"\n'),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    made.config_file.write_text(text, "utf-8")
    return made


def run_fleet(folder: Path, server: Cluster, plan: FleetPlan) -> FleetReport:
    return _Fleet(folder, server, plan).run()


class _Fleet:
    def __init__(self, folder: Path, server: Cluster, plan: FleetPlan) -> None:
        self._plan = plan
        self._server = server
        self._rng = random.Random(plan.seed)
        home = folder / "node1"
        home.mkdir(parents=True)
        self._url = server.empty()
        self._first = Instance(
            home, free_ports(), response_timeout_s=30.0, extra=STEADY, ledger_url=self._url
        )
        self._daemons = [self._first]
        self._requests: list[Request] = []

    def run(self) -> FleetReport:
        try:
            self._create()
            self._first.start_operator("--faults", json.dumps({"latency_ms": 3, "jitter_ms": 10}))
            for daemon in self._daemons:
                daemon.start_daemon()
            began = time.monotonic()
            self._deliver()
            took_s = time.monotonic() - began
            problems = self._stop()
        finally:
            for daemon in reversed(self._daemons):  # the operator is the first one's
                daemon.stop()
        return self._report(took_s, problems)

    def _create(self) -> None:
        plan, first = self._plan, self._first
        float_fen = plan.each_payable * AMOUNT_FEN
        shops = [
            Shop(f"F{n}", f"139000000{n:02d}", f"89860000000000000{n:03d}", float_fen=float_fen)
            for n in range(OUTLETS)
        ]
        first.create(shops)
        for node in range(2, plan.daemons + 1):
            self._daemons.append(beside(first, node, f"line{node}"))
        rows = json.loads((first.folder / "cards.json").read_text("utf-8"))
        cards = {row["msisdn"]: SimCard.from_file(row) for row in rows}
        sealed = [self._seal(cards[shops[n % OUTLETS].phone], n) for n in range(plan.requests)]
        password = (first.folder / "keys" / "smsc-password").read_text().strip()
        self._centres = []
        for node, daemon in enumerate(self._daemons, 1):
            centre = Centre(daemon.ports.smpp, password, random.Random(plan.seed + node), PEACEFUL)
            for request, data, sent_s in self._shuffled(sealed):
                centre.queue.append(Mo(request, "0353911", data, True, sent_s))
            self._centres.append(centre)

    def _seal(self, card: SimCard, number: int) -> tuple[Request, bytes, int]:
        now_s, target = int(time.time()), f"138{number:08d}"
        message = StkMessage(StkOperation.RECHARGE, number + 1, Pin(DEMO_PIN), now_s, target, AMOUNT_FEN)
        request = Request("stk", card.msisdn, [target])
        self._requests.append(request)
        return request, card.seal(message), now_s

    def _shuffled(self, sealed: Sequence[tuple[Request, bytes, int]]) -> Iterator[tuple[Request, bytes, int]]:
        size = BLOCK * OUTLETS
        for start in range(0, len(sealed), size):
            block = sealed[start : start + size]
            yield from self._rng.sample(block, len(block))

    def _turn(self) -> None:
        for centre in self._centres:
            centre.turn(0.001)

    def _deliver(self) -> None:
        end = look_at = time.monotonic()
        end += PATIENCE_S
        while time.monotonic() < end:
            self._turn()
            if time.monotonic() > look_at and not any(centre.open for centre in self._centres):
                look_at = time.monotonic() + 0.3
                if self._is_quiet():
                    return

    def _is_quiet(self) -> bool:
        """No open order, no notice to be sent."""
        open_orders = "SELECT count(*) FROM txn WHERE state IN (1, 2, 3)"
        [(waiting,)] = self._ask(f"SELECT ({open_orders}) + (SELECT count(*) FROM outbox WHERE state = 0)")
        return waiting == 0

    def _ask(self, question: str) -> list[tuple[int, ...]]:
        with psycopg.connect(self._url.replace("+psycopg", ""), autocommit=True) as connection:
            return connection.execute(question).fetchall()  # type: ignore[call-overload,no-any-return]

    def _stop(self) -> list[str]:
        """All in order, while the SMS centres listen."""
        for daemon in self._daemons:
            os.kill(daemon.pid("daemon"), signal.SIGTERM)
        self._until(lambda: not any(daemon.is_running("daemon") for daemon in self._daemons))
        codes = Counter(daemon.stop_one("daemon") for daemon in self._daemons)
        del codes[-signal.SIGTERM]
        return [f"{count} daemons ended with {code}" for code, count in codes.items()]

    def _until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_so() and time.monotonic() < end:
            self._turn()

    def _report(self, took_s: float, problems: list[str]) -> FleetReport:
        plan, found = self._plan, audit(self._url, self._first.operator_file)
        messages: Counter[str] = Counter()
        for centre in self._centres:
            messages.update(centre.counts)
        counts = {
            "orders": (found.orders, plan.requests),
            "settled": (found.settled, plan.payable),
            "refused": (found.refused, plan.requests - plan.payable),
            "credited": (found.credited, plan.payable),
            "messages answered OK": (messages["answered"], plan.requests * plan.daemons),
        }
        problems = problems + found.problems
        problems += [
            f"{what}: {is_so}, not {wanted}" for what, (is_so, wanted) in counts.items() if is_so != wanted
        ]
        problems += self._floats() + verified(self._first.config_file)
        deadlocks = self._deadlocks()
        if deadlocks:
            problems.append(f"{deadlocks} deadlocks")
        opened_by = dict(
            self._ask("SELECT owner_node, count(*) FROM txn WHERE kind = 1 GROUP BY 1 ORDER BY 1")
        )
        return FleetReport(plan, found, problems, took_s, deadlocks, opened_by, dict(messages))

    def _floats(self) -> list[str]:
        """Every outlet must have what it did not pay for, and nothing held: 0 where funds were short."""
        plan = self._plan
        rest = (plan.each_payable - plan.payable // OUTLETS) * AMOUNT_FEN
        floats = self._ask(
            "SELECT posted, held, count(*) FROM balance JOIN outlet ON float_id = account_id GROUP BY 1, 2"
        )
        return [] if floats == [(rest, 0, OUTLETS)] else [f"the outlets have {floats}, not {rest} each"]

    def _deadlocks(self) -> int:
        """By the server's own count of this database, and by its log."""
        name = self._url.rpartition("/")[2]
        [(counted,)] = self._server.execute(
            f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'"
        )
        logged = (self._server.folder / "log").read_text("utf-8", "replace").count("deadlock detected")
        return max(int(counted), logged)


def readiness(instance: Instance) -> str:
    """What the daemon says to whoever would send it work; ``ready`` when nothing is the matter."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{instance.ports.metrics}/ready", timeout=10) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as refused:
        with refused:
            return str(refused.read().decode())


def verified(config_file: Path) -> list[str]:
    """The product's own ``aircharge verify`` must say the same as the audit."""
    office = Office(load(config_file))
    try:
        lines, is_sound = office.verify()
    finally:
        office.close()
    return [] if is_sound else [f"verify: {line}" for line in lines]
