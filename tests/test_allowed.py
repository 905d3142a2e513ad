"""Every key with the wrong values of its type: each is refused with file, key, value and what is allowed."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aircharge.allowed import LIMITS, Limit, Listed, limit_of
from aircharge.config import Config, load
from aircharge.errors import ConfigError
from tests.configuration_page import PAGE, keys, page

BASE = """
[[smpp.place]]
endpoint = "tcp:2775:interface=127.0.0.1"
peers = ["a"]
[[smpp.peer]]
password_file = "password"
[smpp.peer.profile]
name = "a"
system_id = "a"
[[operator]]
id = 1
secret_file = "secret"
[operator.link]
name = "one"
[[pos.place]]
name = "ip"
endpoint = "tcp:8583:interface=127.0.0.1"
[cards.x]
"""


def _toml(value: Any) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, float) and abs(value) == float("inf"):
        return "inf"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _document(key: str, value: Any) -> dict[str, Any]:
    """The base with one value put in its place."""
    document: Any = tomllib.loads(BASE)
    *path, last = key.replace("cards.*", "cards.x").split(".")
    at = document
    for part in path:
        at = at.setdefault(part.removesuffix("[]"), [{}] if part.endswith("[]") else {})
        at = at[0] if isinstance(at, list) else at
    at[last] = value
    return typing.cast("dict[str, Any]", document)


def _written(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "aircharge.toml"
    path.write_text("\n".join(f"{name} = {_toml(value)}" for name, value in document.items()), "utf-8")
    return path


def _wrong(kind: type, default: Any, limit: Limit | Listed | None) -> Iterator[Any]:
    """Wrong values of the type, and values of wrong types."""
    if kind is bool:
        yield from (0, 1, "true", [], 1.0)
    elif kind is int:
        yield from (True, 1.5, "1", [1], -(10**30), 10**30, -1000, float("nan"))
    elif kind is float:
        yield from (False, "1.0", [1.0], -(10**400), 10**400, -2, -0.5, float("nan"), float("inf"))
    elif kind is str:
        yield from (1, True, ["x"], "\x1b[2J", "x\n", "y" * 2000)
    elif kind is tuple:
        yield from ("x", 1, {"a": 1}, [True], [["x"]], [1.5])
    elif kind is dict:
        yield from ("x", 1, [1], {"1": 1}, {"1": True})
    if isinstance(limit, Listed) and limit.least:
        yield []
    is_number = isinstance(limit, Limit) and isinstance(default, int | float) and kind in (int, float)
    if is_number and default != 0 and isinstance(limit, Limit) and limit.fault(0):
        yield 0


CASES = [(key, value) for key, kind, default, limit in keys() for value in _wrong(kind, default, limit)]


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key}={str(value)[:20]!a}" for key, value in CASES])
def test_a_wrong_value_is_refused_with_its_place(tmp_path: Path, key: str, value: Any) -> None:
    path = _written(tmp_path, _document(key, value))
    with pytest.raises(ConfigError) as caught:
        load(path)
    wanted = key.replace("[]", "[0]").replace("cards.*", "cards.x")
    assert caught.value.path == str(path)
    assert caught.value.key.startswith(wanted), str(caught.value)
    assert any(word in str(caught.value) for word in ("allowed", "must be", "one of")), str(caught.value)
    assert str(caught.value).isprintable() or "\n" in str(caught.value)


def test_every_declaration_is_of_a_key() -> None:
    assert set(LIMITS) - {key for key, *_ in keys()} == set()


def test_defaults_are_allowed() -> None:
    for key, _kind, default, limit in keys():
        if isinstance(limit, Limit) and default is not dataclasses.MISSING:
            assert limit.problem(default) == "", key


def test_the_page_of_keys_is_the_code() -> None:
    """`python -m tests.configuration_page` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def _base(*changes: tuple[str, str]) -> str:
    text = BASE
    for old, new in changes:
        assert old in text or old == "", old
        text = text.replace(old, new, 1) if old else text + new
    return text


SECOND_OPERATOR = (
    '[[operator]]\nid = 2\nsecret_file = "other"\nsegments = ["1"]\n[operator.link]\nname = "two"\n'
)
SECOND_PEER = '[[smpp.peer]]\npassword_file = "p"\n[smpp.peer.profile]\nname = "%s"\nsystem_id = "%s"\n'
PORT = "tcp:2775:interface=127.0.0.1"
_PROFILE = "[smpp.peer.profile]\n"
OUTSIDE = [
    (_base((_PROFILE, f"{_PROFILE}destination_ton = 1\n")), "smpp.peer[0].profile.destination_ton", "country_code"),
    (
        _base((_PROFILE, f'{_PROFILE}destination_ton = 2\ncountry_code = "86"\n')),
        "smpp.peer[0].profile.destination_ton",
        "country_code",
    ),
    (_base((PORT, "tcp:70000:interface=127.0.0.1")), "smpp.place[0].endpoint", "1 to 65535"),
    (_base((PORT, "tcp:0:interface=127.0.0.1")), "smpp.place[0].endpoint", "1 to 65535"),
    (_base((PORT, "udp:2775:interface=127.0.0.1")), "smpp.place[0].endpoint", "'udp'"),
    (_base((PORT, "tcp:2775")), "smpp.place[0].endpoint", "no address"),
    (_base((PORT, "tcp:2775:interface=::1")), "smpp.place[0].endpoint", "\\:"),
    (_base((PORT, "tcp:2775:interface=127.0.0.1:colour=red")), "smpp.place[0].endpoint", "Twisted"),
    (_base((PORT, "ssl:2775:interface=127.0.0.1:privateKey=/none")), "smpp.place[0].endpoint", "/none"),
    (_base((PORT, "tcp:127.0.0.1:70000"), ('peers = ["a"]', 'peers = ["a"]\ndirection = "dial"')),
     "smpp.place[0].endpoint", "1 to 65535"),
    (_base((PORT, "tls:127.0.0.1"), ('peers = ["a"]', 'peers = ["a"]\ndirection = "dial"')),
     "smpp.place[0].endpoint", "1 to 65535"),
    ('[daemon]\nmetrics_listen = "tcp:9100"', "daemon.metrics_listen", "no address"),
    ('[daemon]\nmetrics_listen = "tcp:9100:interface=0.0.0.0"', "daemon.metrics_listen", "loopback only"),
    (_base((PORT, "tcp:8583:interface=127.0.0.1")), "pos.place[0].endpoint", "listens there already"),
    ("[ledger.writer]\nbatch_max = 0", "ledger.writer.batch_max", "1 to"),
    ("[ledger.writer]\nreaders_max = 0", "ledger.writer.readers_max", "1 to"),
    (_base(("[operator.link]", '[operator.codes]\nyes = ["0000", "9001"]\n[operator.link]')),
     "operator[0].codes.yes", "9001"),
    (_base(("[operator.link]", '[operator.codes]\nyes = ["0000", "1001"]\n[operator.link]')),
     "operator[0].codes.no", "one meaning"),
    (_base(("[operator.link]", '[operator.codes]\nbusy = ["7777"]\n[operator.link]')),
     "operator[0].codes.busy", "7777"),
    (_base(('system_id = "a"', 'system_id = ""')), "smpp.peer[0].profile.system_id", "blank"),
    (_base(("[[pos.place]]", SECOND_PEER % ("a", "b") + "[[pos.place]]")), "smpp.peer[0].profile.name", "own"),
    (_base(("[[pos.place]]", SECOND_PEER % ("b", "a") + "[[pos.place]]"), ('["a"]', '["a", "b"]')),
     "smpp.place[0].peers", "system_id"),
    (_base(('["a"]', '["a", "a"]')), "smpp.place[0].peers", "twice"),
    (_base(("[[pos.place]]", SECOND_OPERATOR + "[[pos.place]]")), "operator[0].segments", "'1'"),
    (_base(("[[pos.place]]", SECOND_OPERATOR.replace('"two"', '"one"') + "[[pos.place]]")),
     "operator[0].link.name", "own"),
    *((_base(("id = 1\n", f"id = 1\nsegments = {text}\n")), f"operator[0].segments{row}", "digits")
      for text, row in (("[]", ""), ('[""]', "[0]"), ('["abc"]', "[0]"), ('["１３"]', "[0]"))),
    ('[sms]\nrecharge_number = "1"\nquery_number = "1"', "sms.recharge_number", "differ"),
    ('[ledger.book]\ncut_at = { "1" = "24:00" }', "ledger.book.cut_at.1", "23:59"),
    ('[ledger]\nurl = "mysql://x"', "ledger.url", "sqlite"),
    ('[lease]\nrenew_s = 9.0', "lease.renew_s", "shorter"),
    ("\ufeff[daemon]\nnode = 1", "-", "BOM"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "why"), OUTSIDE)
def test_what_outsiders_tried_is_refused(tmp_path: Path, text: str, key: str, why: str) -> None:
    path = tmp_path / "aircharge.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert (caught.value.path, caught.value.key) == (str(path), key), str(caught.value)
    assert why in caught.value.why


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "aircharge.toml"
    path.write_text("[daemon]\nnode = 5000\nlog_level = 'loud'\n[ledger.writer]\nbatch_max = 0\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    said = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in said] == [
        "daemon.node",
        "daemon.log_level",
        "ledger.writer.batch_max",
    ]


def _keys_in(folder: Path, **contents: bytes) -> Config:
    """A configuration whose four keys hold what is given, mode 0600."""
    names = ("pepper", "card_master", "kek", "checkcode")
    path = folder / "aircharge.toml"
    path.write_text("[secrets]\n" + "".join(f"{name}_file = '{name}'\n" for name in names))
    for at, name in enumerate(names):
        content = contents.get(name, bytes(f"{at}123456789abcdef" * 4, "ascii"))
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return load(path)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("pepper", bytes(32), "no random key"),
        ("kek", b"0" * 64, "no random key"),
        ("kek", b"1123456789ABCDEF" * 4, "each has its own"),
        ("card_master", b"00" * 5, "octets"),
        ("checkcode", b"", "at least 16"),
    ],
)
def test_keys_are_random_and_each_has_its_own(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    _keys_in(tmp_path).check_secrets()
    with pytest.raises(ConfigError, match=why):
        _keys_in(tmp_path, **{name: content}).check_secrets()


def test_all_secrets_are_looked_at(tmp_path: Path) -> None:
    config = _keys_in(tmp_path, checkcode=b"")
    (tmp_path / "pepper").unlink()
    with pytest.raises(ConfigError) as caught:
        config.check_secrets()
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("how", ["missing folder", "a folder", "no database"])
def test_the_ledgers_place_is_looked_at_before_it_is_opened(tmp_path: Path, how: str) -> None:
    url = "none/l.db" if how == "missing folder" else "l.db"
    (tmp_path / "a.toml").write_text(f"[ledger]\nurl = 'sqlite:///{url}'")
    if how == "a folder":
        (tmp_path / "l.db").mkdir()
    elif how == "no database":
        (tmp_path / "l.db").write_bytes(b"something else entirely")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "a.toml").check_ledger_file()
    assert caught.value.key == "ledger.url"


def test_a_key_that_nobody_declared_has_the_range_of_its_unit() -> None:
    limit = limit_of("sms.new_s", float, 5.0)
    assert isinstance(limit, Limit)
    assert limit.problem(-1.0)
    zero = limit_of("sms.new_s", float, 0.0)
    assert isinstance(zero, Limit)
    assert zero.problem(0.0) == ""
