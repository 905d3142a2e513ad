"""A whole throw-away instance in one folder: keys, configuration, ledger, outlets, cards, both simulators.

For ``aircharge demo``, the benchmarks and the tests: the daemon runs under ``twistd`` and never knows that it talks
to simulators. Everything listens on 127.0.0.1 only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from aircharge.config import Config, load
from aircharge.errors import AirchargeError
from aircharge.office import Office, OutletForm
from aircharge.outlets.terminal_injection import INJECT, injection
from aircharge.outlets.terminal_keys import KeyLine, kcv_of, with_parity
from aircharge.outlets.terminals import Binding, add_terminal_txn, bind_terminal_txn
from aircharge.simulators.control import ask
from aircharge.staffroom import Staffroom
from aircharge.values import Pin

__all__ = ["BusyPort", "Instance", "Ports", "Shop", "free_port", "free_ports"]

HOST = "127.0.0.1"
DEMO_PIN = "736194"
PATIENCE_S = 90.0  # with a machine that is loaded; costs nothing when all is well


class BusyPort(AirchargeError):
    """A port the instance needs is taken by somebody else."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on 127.0.0.1."""

    smpp: int = 2775
    operator: int = 7801
    operator_control: int = 7802
    centre_control: int = 7803
    metrics: int = 7804


@dataclass(frozen=True, slots=True)
class Shop:
    """An outlet of the instance, its phone and its card."""

    code: str
    phone: str
    iccid: str
    pin: str = DEMO_PIN
    float_fen: int = 1_000_000
    language: str = "zh"
    card: bool = True
    pin_policy: str = "never"  # plain SMS as the documents show it; the product asks for the PIN


def free_port() -> int:
    """A TCP port of loopback that nobody holds and that no other process asking here is given."""
    return next(_ports_of_ours)


def free_ports() -> Ports:
    """Ports for one instance, of the same kind."""
    return Ports(*(free_port() for _ in dataclasses.fields(Ports)))


BLOCK = 100
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _lowest_ephemeral() -> int:
    """Where the ports begin that the system gives to whoever dials; 32,000 when it does not say or leaves no room."""
    try:
        lowest = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_000
    return min(lowest, 32_000) if lowest >= 8_000 else 32_000


def _claimed_ports() -> Iterator[int]:
    """Endless: ports of blocks that this process alone draws from, below those given to whoever dials.

    A block is claimed by the UDP port of its first number, which the system lets one process hold and takes back when
    that process ends. A port stays ours while its program is dead between two lives: nobody else draws it.
    """
    below = _lowest_ephemeral()
    blocks = range(max(below - 12_000, 2_000), below - BLOCK + 1, BLOCK)
    claims: list[socket.socket] = []  # held until the process ends
    while True:
        first = random.SystemRandom().choice(blocks)
        claim = socket.socket(type=socket.SOCK_DGRAM)
        try:
            claim.bind((HOST, first))
        except OSError:
            claim.close()
            continue
        claims.append(claim)
        yield from (port for port in range(first, first + BLOCK) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


_ports_of_ours = _claimed_ports()


@dataclass
class Instance:
    """The folder and what runs in it."""

    folder: Path
    ports: Ports = field(default_factory=Ports)
    doubt: str = 'mode = "resend"\nfirst_s = 1.0\nmax_s = 5.0'
    response_timeout_s: float = 5.0
    log_level: str = "info"
    extra: str = ""  # more TOML
    ledger_url: str = "sqlite:///ledger.db"
    python: str = sys.executable
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config_file(self) -> Path:
        return self.folder / "aircharge.toml"

    @property
    def ledger_file(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def operator_file(self) -> Path:
        return self.folder / "operator.db"

    @property
    def daemon_log(self) -> Path:
        return self.folder / "daemon.out"

    # -- making it ----------------------------------------------------------------------------------------

    def create(self, shops: Sequence[Shop]) -> Config:
        """Keys, configuration, schema, outlets with float, PIN and card, and the cards' personalisation file."""
        keys = self.folder / "keys"
        keys.mkdir(parents=True, exist_ok=True)
        for name in ("pepper", "kek", "card-master", "checkcode"):
            _secret(keys / name, secrets.token_hex(32))
        for name, size in (("smsc-password", 4), ("operator-secret", 16)):
            _secret(keys / name, secrets.token_hex(size))
        self.config_file.write_text(self._toml(), encoding="utf-8")
        config = load(self.config_file)
        office = Office(config)
        office.upgrade()
        for shop in shops:
            self._open_shop(office, shop)
        cards = office.personalisation()
        _secret(self.folder / "cards.json", json.dumps(cards, indent=1))
        office.close()
        return config

    def _open_shop(self, office: Office, shop: Shop) -> None:
        form = OutletForm(shop.code, f"outlet {shop.code}", (shop.phone,), shop.language, shop.pin_policy)
        office.add_outlet(form, Pin(shop.pin), actor="demo")
        if shop.card:
            office.add_card(shop.code, shop.iccid, shop.phone, actor="demo")
        if shop.float_fen:
            request = office.propose_funding(
                shop.code, shop.float_fen, f"slip-{shop.code}", maker="demo.maker"
            )
            office.approve_funding(request, checker="demo.checker")

    def place_terminal(self, outlet: str, terminal: str, merchant: str) -> Path:
        """A payment terminal at an outlet, bound, with a master key of its own; the key's file."""
        path, key = self.folder / f"{terminal}.key", with_parity(secrets.token_bytes(16), "3des")
        _secret(path, key.hex())
        office = Office(load(self.config_file))
        with office.desk("demo") as desk:
            add_terminal_txn(desk, outlet, terminal)
            bind_terminal_txn(desk, terminal, Binding(merchant))
        room = Staffroom(office)
        lines = [KeyLine(1, terminal, 1, "3des", kcv_of(key, "3des"), key)]
        with office.store.engine.connect() as txn:
            payload = injection(txn, room.ring(), lines, maker="demo")
        room.change(INJECT, payload, actor="demo")
        office.close()
        return path

    def _toml(self) -> str:
        ports = self.ports
        return f"""# A throw-away instance, made by `aircharge demo`.
[daemon]
metrics_listen = "tcp:{ports.metrics}:interface={HOST}"
log_level = "{self.log_level}"

[ledger]
url = "{self.ledger_url}"

[secrets]
pepper_file = "keys/pepper"
card_master_file = "keys/card-master"
kek_file = "keys/kek"
checkcode_file = "keys/checkcode"

[[smpp.place]]
endpoint = "tcp:{ports.smpp}:interface={HOST}"
peers = ["smsc"]

[[smpp.peer]]
password_file = "keys/smsc-password"
[smpp.peer.profile]
name = "smsc"
system_id = "smsc"
mt_pdu = "submit_sm"
sent_time_tlv = 0x1401
window_max = 200
queue_max = 5000
window_in_max = 1000
allow = ["127.0.0.0/8"]

[[operator]]
id = 1
secret_file = "keys/operator-secret"
segments = ["13", "14", "15", "16", "17", "18", "19"]
[operator.link]
name = "operator"
connect = ["tcp:{HOST}:{ports.operator}"]
agent_id = "aircharge"
window_max = 200
response_timeout_s = {self.response_timeout_s}
[operator.doubt]
{self.doubt}
{self.extra}"""

    # -- running it ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Operator, daemon, SMS centre; returns when the SMS centre is bound. Raises BusyPort, RuntimeError."""
        self.start_operator()
        self.start_daemon()
        self.start_centre()

    def check_ports(self, *more: int) -> None:
        """Raises BusyPort when any port of the instance, or one of these, is taken."""
        self._check_free(*dataclasses.astuple(self.ports), *more)

    def start_operator(self, *options: str) -> None:
        self._check_free(self.ports.operator, self.ports.operator_control)
        command = [
            self.python,
            "-m",
            "aircharge.simulators.operator",
            "--listen",
            self._at(self.ports.operator),
        ]
        command += ["--control", self._at(self.ports.operator_control), "--db", str(self.operator_file)]
        command += ["--secret-file", str(self.folder / "keys" / "operator-secret"), *options]
        self._spawn("operator", command)
        self._wait_for(self.ports.operator_control, "operator")

    def start_daemon(self, command: Sequence[str] = ()) -> None:
        self._check_free(self.ports.smpp, self.ports.metrics)
        twistd = [str(Path(self.python).with_name("twistd")), "--nodaemon", "--pidfile", "daemon.pid"]
        twistd += ["--logger", "aircharge.observe.logs.standard_output", "aircharge"]
        self._spawn("daemon", [*(command or twistd), "--config", str(self.config_file)])
        self._wait_for(self.ports.smpp, "daemon")
        if self.is_running("operator"):
            self.wait_until("the line to the operator", self._has_line)

    def start_centre(self, *options: str) -> None:
        self._check_free(self.ports.centre_control)
        command = [self.python, "-m", "aircharge.simulators.sms_centre"]
        command += ["--connect", f"tcp:{HOST}:{self.ports.smpp}", "--system-id", "smsc"]
        command += ["--password-file", str(self.folder / "keys" / "smsc-password")]
        command += ["--control", self._at(self.ports.centre_control), "--state", str(self.folder / "centre")]
        command += ["--cards", str(self.folder / "cards.json"), "--sent-time-tlv", str(0x1401), *options]
        self._spawn("centre", command)
        self._wait_for(self.ports.centre_control, "centre")
        self.wait_until("the SMS centre to bind", lambda: bool(self.centre("status").get("bound")))

    def centre(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """A control verb of the SMS centre."""
        return ask(HOST, self.ports.centre_control, verb, PATIENCE_S, **arguments)

    def operator(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """A control verb of the operator's platform."""
        return ask(HOST, self.ports.operator_control, verb, PATIENCE_S, **arguments)

    def is_running(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def wait_until(self, what: str, is_so: Any, timeout_s: float = PATIENCE_S) -> None:
        """Look ten times a second. Raises RuntimeError naming what did not come about."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if is_so():
                return
            time.sleep(0.1)
        raise RuntimeError(f"waited {timeout_s:.0f} s in vain for {what}; logs are in {self.folder}")

    def stop_one(self, name: str, how: int = signal.SIGTERM, wait_s: float = PATIENCE_S) -> int:
        """Signal a process of ours and wait for its end; returns its exit code."""
        process = self._running.pop(name)
        if process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(30)

    def stop(self) -> None:
        """End everything that was started here."""
        for name in ("centre", "daemon", "operator"):
            if name in self._running:
                self.stop_one(name)

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _spawn(self, name: str, arguments: list[str]) -> None:
        log: IO[bytes]
        with open(self.folder / f"{name}.out", "ab") as log:
            self._running[name] = subprocess.Popen(  # arguments are ours
                arguments,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def _wait_for(self, port: int, name: str) -> None:
        def listens() -> bool:
            if not self.is_running(name):
                tail = (self.folder / f"{name}.out").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended at once:\n{tail}")
            with socket.socket() as probe:
                return probe.connect_ex((HOST, port)) == 0

        self.wait_until(f"{name} to listen on {HOST}:{port}", listens)

    def _has_line(self) -> bool:
        return any(line["state"] == "bound" for line in self.operator("status")["lines"])

    def _check_free(self, *ports: int) -> None:
        for port in ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise BusyPort(
                        f"port {port} on {HOST} is in use: end what holds it (ss -ltnp), then try again"
                    ) from error

    def _at(self, port: int) -> str:
        return f"tcp:{port}:interface={HOST}"


def _secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text + "\n", encoding="utf-8")
