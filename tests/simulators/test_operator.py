"""The simulated operator as a process, the link as another: real sockets, a durable record, every fault."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aircharge.instance import free_port
from aircharge.simulators.control import ask

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)
SECRET = "0123456789abcdef0123456789abcdef"


class _Place:
    """A folder with a running simulator and, one at a time, an agent."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        (folder / "secret").write_text(SECRET + "\n")

    def simulator(self, *options, listen="tcp:0:interface=127.0.0.1"):
        command = [sys.executable, "-m", "aircharge.simulators.operator", *options]
        command += ["--control", "tcp:0:interface=127.0.0.1", "--db", str(self.folder / "record.db")]
        command += ["--secret-file", str(self.folder / "secret")]
        command += ["--listen", listen] if listen else []
        self.process = self._start(command, stdin=subprocess.DEVNULL)
        places = json.loads(self.process.stdout.readline())
        self.control = places["control"]
        return places["listen"][0] if listen else 0

    def _start(self, command, **how):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE, **how
        )
        self.processes.append(process)
        return process

    def say(self, verb, **arguments):
        return ask("127.0.0.1", self.control, verb, **arguments)

    def agent(self, settings, *steps, secret=SECRET):
        """Start an agent with these steps; its process and the port it listens on."""
        process = self._start(
            [sys.executable, "-m", "tests.simulators.operator_agent"], stdin=subprocess.PIPE
        )
        process.stdin.write(json.dumps({"settings": settings, "secret": secret, "steps": steps}) + "\n")
        process.stdin.flush()
        ports = json.loads(process.stdout.readline() or process.stderr.read())
        return process, ports

    def outcomes(self, port, *steps, secret=SECRET, **settings):
        settings = {"response_timeout_s": 60.0, "reconnect_min_s": 0.05, "reconnect_max_s": 1.0, **settings}
        settings.setdefault("connect", [f"tcp:127.0.0.1:{port}"])
        process, _ = self.agent(settings, ["up", 90], *steps, secret=secret)
        return result(process)[1:]

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def result(process):
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.fixture
def place(tmp_path):
    place = _Place(tmp_path)
    yield place
    place.close()


def test_the_operator_listens_and_we_dial(place):
    port = place.simulator("--stock-fen", "6000")
    steps = [
        ["stock"],
        ["recharge", "r1", "13800138000", 5000],
        ["recharge", "r1", "13800138000", 5000],
        ["recharge", "r1", "13800138000", 4000],
        ["recharge", "r2", "13800138000", 5000],
        ["recharge", "r3", "13800138000", 60000],
        ["query", "r1"],
        ["query", "r2"],
        ["query", "rX"],
        ["reverse", "v1", "13800138000", 5000, "r1"],
        ["reverse", "v1", "13800138000", 5000, "r1"],
        ["reverse", "v2", "13800138000", 5000, "r1"],
        ["reverse", "v3", "13800138000", 5000, "rX"],
        ["recharge", "rX", "13800138000", 5000],
        ["reverse", "v3", "13800138000", 5000, "rX"],
        ["query", "rX"],
        ["reverse", "v4", "13800138000", 4000, "r1"],
        ["reverse", "v5", "13800138000", 5000, "r2"],
        ["stock"],
    ]
    codes = [
        "6000",
        "0000",
        "0000",
        "5001",
        "3001",
        "2001",
        "0000",
        "3001",
        "1404",
        "0000",
        "0000",
        "6003",
        "6001",
        "6005",  # its reversal came first: never executed
        "6001",
        "6005",
        "6002",
        "6001",  # refused then, so nothing to take back
        "6000",
    ]
    assert [str(code) for code in place.outcomes(port, *steps)] == codes
    totals = place.say("totals")
    assert (totals["credits"], totals["credited_fen"], totals["references_credited_twice"]) == (2, 0, 0)
    (row,) = place.say("record", op_ref="r1")["rows"]
    assert (row["code"], row["amount_fen"], row["credits"], row["attempts"]) == ("0000", 5000, 1, 3)
    assert len(place.say("record", msisdn="13800138000", limit=3)["rows"]) == 3


def test_we_listen_and_the_operator_dials(place):
    settings = {"listen": ["tcp:0:interface=127.0.0.1"], "allow": ["127.0.0.0/8"]}
    agent, (port,) = place.agent(settings, ["up", 90], ["recharge", "r1", "13800138000", 5000])
    place.simulator("--connect", f"tcp:127.0.0.1:{port}", listen="")
    assert result(agent) == [1, "0000"]


def test_several_lines_and_a_window(place):
    port = place.simulator("--window-max", "7", "--faults", '{"latency_ms": 5, "jitter_ms": 20}')
    connect = [f"tcp:127.0.0.1:{port}"] * 3
    got = place.outcomes(port, ["lines", 3], ["many", "m", 300], ["gather"], connect=connect)
    assert got[0] == 3
    assert got[2] == ["0000"] * 300
    assert place.say("totals")["credits"] == 300


def test_over_tls(place):
    (place.folder / "trust").mkdir()
    key, pem = place.folder / "key.pem", place.folder / "trust" / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    port = place.simulator(listen=f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={pem}")
    endpoint = f"tls:localhost:{port}:endpoint=tcp\\:127.0.0.1\\:{port}:trustRoots={place.folder}/trust"
    assert place.outcomes(port, ["recharge", "r1"], connect=[endpoint]) == ["0000"]
    # a certificate nobody vouches for: no line, nothing sent
    (place.folder / "none").mkdir()
    other = endpoint.replace("/trust", "/none")
    process, _ = place.agent({"connect": [other]}, ["wait", 0.5], ["recharge", "r2"])
    assert result(process) == [None, "NotSent"]


def test_a_wrong_secret_gets_no_line(place):
    port = place.simulator()
    process, _ = place.agent(
        {"connect": [f"tcp:127.0.0.1:{port}"]}, ["wait", 0.5], ["recharge", "r"], secret="wrong" * 5
    )
    assert result(process) == [None, "NotSent"]
    assert place.say("totals")["received"] == 0


FAULTS = [
    # fault, first outcome, resend, credits after both
    ("lose", "InDoubt", "0000", 1),
    ("swallow", "InDoubt", "0000", 1),
    ("duplicate", "0000", "0000", 1),
    ("contradict", "0000", "0000", 1),
    ("busy", "4001", "0000", 1),
    ("refuse", "1001", "1001", 0),
    ("strange", "7777", "0000", 1),
    ("disconnect", "InDoubt", "0000", 1),
    ("cut", "InDoubt", "0000", 1),
    ("other_ref", "InDoubt", "0000", 1),
    ("reject", "REJ12", "0000", 1),
    ("garbage", "InDoubt", "0000", 1),
    ("freeze", "InDoubt", "0000", 1),
]


def test_every_fault_then_a_resend_of_the_same_reference(place):
    port = place.simulator()
    steps = []
    for fault, *_ in FAULTS:
        place.say("next", fault=fault)
        place.say("next", fault="ok")
        steps += [["recharge", f"r-{fault}"], ["up", 90], ["recharge", f"r-{fault}"]]
    got = place.outcomes(port, *steps, ["late"], heartbeat_s=2.0, response_timeout_s=6.0)
    assert list(zip(got[0:-1:3], got[2:-1:3], strict=True)) == [
        (first, again) for _, first, again, _ in FAULTS
    ]
    assert ["r-contradict", "1001"] in got[-1]
    for fault, _, _, credits in FAULTS:
        (row,) = place.say("record", op_ref=f"r-{fault}")["rows"]
        assert (fault, row["credits"], row["attempts"]) == (fault, credits, 2)


def test_executed_late_after_a_query_found_nothing(place):
    port = place.simulator("--faults", '{"late_s": 8}')
    place.say("next", fault="late")
    steps = [
        ["given_up", 0.5, "recharge", "r1"],
        ["query", "r1"],
        ["until", "0000", "query", "r1"],
        ["late", 1],
    ]
    assert place.outcomes(port, *steps) == ["InDoubt", "1404", "0000", [["r1", "0000"]]]


def test_late_and_resent_is_executed_once(place):
    port = place.simulator("--faults", '{"late_s": 8, "pending_told": true}')
    place.say("next", fault="late")
    place.say("next", fault="busy")  # said at the door: the reference is on its way all the same
    steps = [["given_up", 0.5, "recharge", "r1"], ["query", "r1"], ["recharge", "r1"], ["late", 1]]
    assert place.outcomes(port, *steps)[:3] == ["InDoubt", "9001", "4001"]
    (row,) = place.say("record", op_ref="r1")["rows"]
    assert (row["credits"], row["attempts"]) == (1, 2)


def test_without_dedup_money_goes_twice_and_the_record_shows_it(place):
    port = place.simulator("--no-dedup")
    assert place.outcomes(port, ["recharge", "r1"], ["recharge", "r1"]) == ["0000", "0000"]
    assert place.say("totals")["references_credited_twice"] == 1


def test_the_same_seed_gives_the_same_faults(place):
    fates = []
    for number in range(2):
        faults = '{"busy": 0.2, "refuse": 0.2, "strange": 0.1, "refuse_numbers": {"139": "1002"}}'
        port = place.simulator("--seed", "7", "--faults", faults)
        steps = [["recharge", f"r{number}-{index}"] for index in range(40)]
        fates.append(place.outcomes(port, *steps, ["recharge", f"n{number}", "13900000000"]))
        place.process.terminate()
        place.process.wait(60)
    assert fates[0] == fates[1]
    assert {"0000", "4001", "1001", "7777"} <= set(fates[0])
    assert fates[0][-1] == "1002"


def test_killed_while_recharging_it_never_forgets_what_it_answered(place):
    port = free_port()
    listen = f"tcp:{port}:interface=127.0.0.1"
    place.simulator(listen=listen)
    settings = {"connect": [f"tcp:127.0.0.1:{port}"], "reconnect_min_s": 0.05, "reconnect_max_s": 0.2}
    agent, _ = place.agent(
        settings, ["up", 90], ["many", "k", 3000], ["gather"], ["up", 90], ["until", "0000", "query", "k0"]
    )
    while place.say("totals")["credits"] < 50:
        time.sleep(0.005)
    os.kill(place.process.pid, signal.SIGKILL)
    place.process.wait(60)
    place.simulator(listen=listen)
    got = result(agent)
    answered = {f"k{number}" for number, code in enumerate(got[2]) if code == "0000"}
    assert got[4] == "0000"
    with sqlite3.connect(place.folder / "record.db") as record:
        credited = {row[0] for row in record.execute("SELECT op_ref FROM credit")}
    assert answered <= credited
    doubts = {f"k{number}" for number, code in enumerate(got[2]) if code == "InDoubt"}
    assert credited <= answered | doubts  # NotSent was never executed


def test_control_names_its_verbs_and_its_faults(place):
    place.simulator()
    with pytest.raises(RuntimeError, match="drop_link, faults, freeze"):
        place.say("nonsense")
    with pytest.raises(RuntimeError, match="swallow"):
        place.say("next", fault="nonsense")
    with pytest.raises(RuntimeError, match="late_s"):
        place.say("faults", nonsense=1)
    assert place.say("faults", lose=0.5)["faults"]["chances"] == {"lose": 0.5}
    assert place.say("faults", reset=True)["faults"]["chances"] == {}


def test_a_busy_port_is_said_plainly(place):
    port = place.simulator()
    command = [
        sys.executable,
        "-m",
        "aircharge.simulators.operator",
        "--listen",
        f"tcp:{port}:interface=127.0.0.1",
    ]
    command += ["--db", str(place.folder / "other.db"), "--secret-file", str(place.folder / "secret")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert f"Couldn't listen on 127.0.0.1:{port}" in ended.stderr
    assert ended.returncode != 0
