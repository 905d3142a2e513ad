"""A wrong configuration is one clear error that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from aircharge.config import Config, load
from aircharge.errors import ConfigError

PEER = """
[[smpp.place]]
endpoint = "tcp:2775:interface=127.0.0.1"
peers = ["a"]
[[smpp.peer]]
password_file = "password"
[smpp.peer.profile]
name = "a"
system_id = "a"
"""
OPERATOR = """
[[operator]]
id = 1
secret_file = "secret"
[operator.link]
name = "one"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "aircharge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    assert load(path) == Config(path=str(path))


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        ("[daemon]\nnoode = 1", "daemon.noode", "unknown key"),
        ("path = 'x'", "path", "unknown key"),
        ("[daemon]\nnode = 'one'", "daemon.node", "must be int"),
        ("[daemon]\nnode = true", "daemon.node", "must be int"),
        ("[daemon]\nnode = 1024", "daemon.node", "1024: out of range; allowed: 0 to 1,023"),
        ("[daemon]\nnode = 1023", "daemon.node", "differ"),
        ("[daemon]\nstop_wait_s = 'long'", "daemon.stop_wait_s", "must be float"),
        ("daemon = 3", "daemon", "must be a table"),
        ("[ledger.book]\nop_ref_prefix = '充值'", "ledger.book.op_ref_prefix", "ASCII letters"),
        ("[cards.old]\nciphers = ['rot13']", "cards.old.ciphers", "rot13"),
        (
            "[[smpp.place]]\nendpoint = 'tcp:1:interface=127.0.0.1'\npeers = ['nobody']",
            "smpp.place[0].peers",
            "nobody",
        ),
        (
            PEER.replace('peers = ["a"]', 'peers = ["a"]\ndirection = "up"'),
            "smpp.place[0].direction",
            "allowed: one of 'listen', 'dial'",
        ),
        (PEER.replace('password_file = "password"', ""), "smpp.peer[0].password_file", "missing"),
        (PEER.replace('peers = ["a"]', 'peers = "a"'), "smpp.place[0].peers", "must be a list"),
        (OPERATOR.replace("id = 1", "id = 100"), "operator[0].id", "1 to 99"),
        (OPERATOR + OPERATOR, "operator[0].id", "must have its own"),
        (
            OPERATOR + "[operator.doubt]\nmode = 'hope'",
            "operator[0].doubt.mode",
            "'resend', 'query', 'reverse', 'never'",
        ),
        (OPERATOR + "[operator.codes]\nno = { 1 = 'MAYBE' }", "operator[0].codes.no.1", "MAYBE"),
        ("[daemon\n", "-", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, key: str, why: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.path == str(path)
    assert caught.value.key == key
    assert why in caught.value.why


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0o600, "No such file"),
        ("x" * 40, 0o644, "chmod 600"),
        ("short", 0o600, "at least 32"),
    ],
)
def test_a_secret_must_be_there_long_and_its_owners_only(
    tmp_path: Path, content: str | None, mode: int, why: str
) -> None:
    config = load(written(tmp_path, "[secrets]\npepper_file = 'pepper'"))
    if content is not None:
        (tmp_path / "pepper").write_text(content)
        (tmp_path / "pepper").chmod(mode)
    with pytest.raises(ConfigError) as caught:
        config.pin_hash()
    assert caught.value.key == "secrets.pepper_file"
    assert why in caught.value.why
    assert "x" * 40 not in str(caught.value)


def test_card_keys_must_be_hexadecimal_of_the_right_size(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[secrets]\ncard_master_file = 'master'\nkek_file = 'kek'"))
    for name, content in (("master", "zz" * 32), ("kek", "00" * 32)):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match="hexadecimal"):
        config.key_ring()
    (tmp_path / "master").write_text("00" * 17)
    with pytest.raises(ConfigError, match="octets"):
        config.key_ring()


@pytest.mark.parametrize("version", ["0", "2", "3", "one", "-1"])
def test_an_older_kek_is_older(tmp_path: Path, version: str) -> None:
    old = f"kek_version = 2\nkek_old = {{ '{version}' = 'kek' }}"
    with pytest.raises(ConfigError, match="older") as caught:
        load(written(tmp_path, f"[secrets]\n{old}"))
    assert caught.value.key == f"secrets.kek_old.{version}"


def test_an_smpp_password_has_at_most_eight_characters(tmp_path: Path) -> None:
    config = load(written(tmp_path, PEER))
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text("ninechars\n")
    with pytest.raises(ConfigError, match="at most 8"):
        config.smpp_passwords()
    (tmp_path / "password").write_text("eight888\n")
    assert config.smpp_passwords() == {"a": "eight888"}


def test_relative_files_are_beside_the_configuration(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[ledger]\nurl = 'sqlite:///books/ledger.db'"))
    assert config.resolve("keys/x") == tmp_path / "keys" / "x"
    assert config.resolve("/etc/x") == Path("/etc/x")
    assert config.database_url() == f"sqlite:///{tmp_path}/books/ledger.db"
