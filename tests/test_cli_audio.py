"""``aircharge audio``: a terminal that is a pile of recordings, before a door with real books; what is no recording."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

np = pytest.importorskip("numpy", reason="the audio extra is not installed")

from aircharge.cli import main  # noqa: E402
from aircharge.pos.fsk_door import FskDoor  # noqa: E402
from aircharge.protocols.pos_line import PosServer  # noqa: E402
from aircharge.protocols.pos_place import PosPlace  # noqa: E402
from aircharge.protocols.shell import Ticker  # noqa: E402
from aircharge.simulators.pos_fsk_terminal import FskTerminal  # noqa: E402
from aircharge.simulators.pos_terminal import TerminalSettings  # noqa: E402
from aircharge.wire.fsk import FskFrame, FskType  # noqa: E402
from aircharge.wire.modem.g711 import Encoding  # noqa: E402
from aircharge.wire.modem.recording import Said, hear, spoken  # noqa: E402
from aircharge.wire.modem.tones import V23  # noqa: E402
from aircharge.wire.modem.wav import read_wav, write_wav  # noqa: E402
from tests.pos.shop import MASTER, MODULE, Shop, now  # noqa: E402

RANDOM = bytes.fromhex("1a2b3c4d")
SECRET = b"\x12\x34PIN BLOCK"


def audio(*words: Any) -> Result:
    return CliRunner().invoke(main, ["audio", *map(str, words)])


def record(path: Path, *contents: bytes, first: int = 1) -> Path:
    frames = [
        FskFrame(FskType.FROM_TERMINAL, RANDOM, number, content)
        for number, content in enumerate(contents, first)
    ]
    said = [Said(b"\x55" * 30 + frame.encode(), 0.2 + 4 * at) for at, frame in enumerate(frames)]
    path.write_bytes(write_wav(spoken(said, V23, 0.0), 8000, Encoding.ALAW))
    return path


class Connection:
    """What a socket is to the command, before a place of framing fsk-gateway; ``deaf_after`` so many requests."""

    def __init__(self, answer: Callable[..., Any], deaf_after: int = 99, ends: bytes | None = None) -> None:
        self.left, self._ends = deaf_after, ends
        place = PosPlace("p", "tcp:0", "fsk-gateway", application="fsk")
        chance: Any = None
        self.server = PosServer(place, Ticker(Clock()), answer, now, chance)
        line = self.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        assert line is not None
        self.line, self.transport = line, StringTransport()
        line.makeConnection(self.transport)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        assert 0 < seconds <= 30

    def sendall(self, octets: bytes) -> None:
        self.left -= 1
        if self.left >= 0:
            self.line.dataReceived(octets)

    def recv(self, size: int) -> bytes:
        octets: bytes = self.transport.value()[:7]
        rest = self.transport.value()[7:]
        self.transport.clear()
        self.transport.write(rest)
        if octets:
            return octets
        if self._ends is None:
            raise TimeoutError
        return self._ends


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Connection], None]:
    return lambda made: monkeypatch.setattr(socket, "create_connection", lambda *_: made)


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


PLACE = ("--connect", "tcp:127.0.0.1:9", "--tones", "v23")


def test_a_terminal_of_recordings_signs_in_and_sells(
    shop: Shop, tmp_path: Path, connect: Callable[[Connection], None]
) -> None:
    """Its last number called and calling goes with it; the same recording again sells nothing again."""
    callers: list[str] = []
    door = FskDoor(shop.serving())

    async def answer(message: Any) -> bytes | None:
        callers.append(message.caller.ani)
        return await door.answer(message)

    connect(Connection(answer))
    asked, said = tmp_path / "asked.wav", tmp_path / "said.wav"
    calling = ("--caller", "13900000001", "--called", "4008")

    async def exchange(content: bytes) -> bytes | None:
        record(asked, content, first=7)
        assert audio("answer", asked, "--to", said, *PLACE, *calling).exit_code == 0
        samples, rate, encoding = read_wav(said.read_bytes())
        assert (rate, encoding) == (8000, Encoding.ALAW)
        receipt, answered = hear(samples, V23).frames
        assert receipt.frame == FskFrame(FskType.RECEIVED, RANDOM, 7)
        assert (answered.frame.kind, answered.frame.random, answered.frame.sequence) == (0x84, RANDOM, 8)
        return answered.frame.content

    known = TerminalSettings(module=MODULE, master=MASTER, mac=shop.settings.mac)
    terminal = FskTerminal(known, exchange)
    assert now(terminal.sign_in()).code == "00"
    assert now(terminal.sale("13812345678", 5000)).code == "00"
    assert shop.asked.count("recharge") == 1
    assert audio("answer", asked, "--to", said, *PLACE, *calling).exit_code == 0
    assert shop.asked.count("recharge") == 1
    assert set(callers) == {"13900000001"}


@pytest.mark.parametrize(("ends", "why"), [(None, "in time"), (b"", "connection lost")])
def test_what_is_not_answered_is_silence(
    tmp_path: Path, connect: Callable[[Connection], None], ends: bytes | None, why: str
) -> None:
    async def answer(message: Any) -> bytes:
        return bytes(reversed(message.content))

    connect(Connection(answer, deaf_after=1, ends=ends))
    asked = record(tmp_path / "asked.wav", SECRET * 5, SECRET * 6)
    result = audio("answer", asked, "--to", tmp_path / "said.wav", *PLACE)
    assert result.exit_code == 1
    assert "sequence 2: no answer; it may have been done" in result.output
    assert why in result.output
    frames = [heard.frame for heard in hear(read_wav((tmp_path / "said.wav").read_bytes())[0], V23).frames]
    assert [(frame.kind, frame.sequence) for frame in frames] == [(0x83, 1), (0x84, 2), (0x83, 2)]
    assert frames[1].content == bytes(reversed(SECRET * 5))


def test_what_is_in_a_recording_is_shown_without_what_it_says(tmp_path: Path) -> None:
    asked = record(tmp_path / "asked.wav", SECRET)
    plain = audio("decode", asked, "--tones", "v23")
    assert plain.exit_code == 0
    assert "1 frames, 0 broken" in plain.output
    told = json.loads(audio("decode", asked, "--tones", "v23", "--json").output)
    frame = told["frames"][0]
    assert (frame["type"], frame["random"], frame["sequence"], frame["octets"]) == ("87", "1a2b3c4d", 1, 11)
    assert 0.2 < frame["begins_s"] < 0.3
    assert "content" not in frame
    assert SECRET.hex() not in plain.output
    told = json.loads(audio("decode", asked, "--tones", "v23", "--json", "--contents").output)
    assert told["frames"][0]["content"] == SECRET.hex()


def told(result: Result) -> str:
    assert result.exit_code in (1, 2)
    [line] = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line


def test_one_line_says_what_is_wrong_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked anything either: there is no connection to be had here."""
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("a connection was made"))
    good, out = record(tmp_path / "good.wav", SECRET * 5), tmp_path / "out.wav"
    bad, fast, empty = (tmp_path / name for name in ("bad.wav", "fast.wav", "empty.wav"))
    bad.write_bytes(b"RIFF, said the file")
    fast.write_bytes(write_wav(np.zeros(100, np.int16), 48000))
    empty.write_bytes(write_wav(np.zeros(8000, np.int16)))
    assert "not a WAVE file" in told(audio("decode", bad))
    assert "48000 samples a second, 8000 wanted" in told(audio("decode", fast))
    assert audio("decode", empty).exit_code == 0
    to = ("--to", out)
    assert "not a WAVE file" in told(audio("answer", bad, *to, *PLACE))
    assert "no request in it, 0 broken" in told(audio("answer", empty, *to, *PLACE))
    assert "written over" in told(audio("answer", good, "--to", good, *PLACE))
    assert "tcp:HOST:PORT" in told(audio("answer", good, *to, "--connect", "udp:1"))
    assert "tcp:HOST:PORT" in told(audio("answer", good, *to, "--connect", "tcp:h:70000"))
    assert "16 digits" in told(audio("answer", good, *to, *PLACE, "--caller", "me"))
    assert "No such file" in told(audio("answer", good, "--to", tmp_path / "no" / "out.wav", *PLACE))
    monkeypatch.setitem(sys.modules, "aircharge.wire.modem.recording", None)
    assert told(audio("decode", good)) == 'Error: recordings need numpy: pip install "aircharge[audio]"'
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bad.wav",
        "empty.wav",
        "fast.wav",
        "good.wav",
    ]


def test_nobody_listens(tmp_path: Path) -> None:
    good = record(tmp_path / "good.wav", SECRET * 5)
    with socket.socket() as taken:  # bound, and no one listens: refused
        taken.bind(("127.0.0.1", 0))
        place = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
        result = audio("answer", good, "--to", tmp_path / "out.wav", "--connect", place, "--tones", "v23")
    assert "refused" in told(result)
    assert [path.name for path in tmp_path.iterdir()] == ["good.wav"]
