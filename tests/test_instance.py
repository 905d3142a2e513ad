"""Ports for instances: never the same one for two processes that draw at the same time."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from aircharge.instance import HOST, _claimed_ports, _lowest_ephemeral, free_port

DRAW = """
import sys
from aircharge.instance import free_port
sys.stdout.write(" ".join(str(free_port()) for _ in range(150)) + "\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.mark.timeout(300)
def test_processes_at_the_same_time_draw_different_ports() -> None:
    command = [sys.executable, "-c", DRAW]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        drawn = [process.stdout.readline().split() if process.stdout else [] for process in processes]
        drawn.append([str(free_port()) for _ in range(150)])  # while the others still hold theirs
    finally:
        for process in processes:
            process.communicate()
    ports = list(itertools.chain(*drawn))
    assert len(ports) == len(set(ports)) == 4 * 150
    assert all(1024 < int(port) < _lowest_ephemeral() for port in ports)


def test_what_somebody_listens_on_is_not_drawn() -> None:
    ours = _claimed_ports()
    first = next(ours)
    with socket.socket() as other:
        with suppress(OSError):  # somebody sits there already: as good
            other.bind((HOST, first + 1))
        assert first + 1 not in itertools.islice(ours, 200)
