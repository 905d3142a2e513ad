"""examples/aircharge.toml names every key there is, with its default."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from aircharge.config import Config, OperatorSection, SmppPeerSection, SmppPlace, load
from aircharge.pos.door import PosSection
from aircharge.protocols.operator_link import OperatorLinkSettings
from aircharge.protocols.pos_place import PosPlace
from aircharge.protocols.smpp import SmppPeer
from aircharge.wire.ota import CardProfile

EXAMPLE = Path(__file__).parents[1] / "examples" / "aircharge.toml"


def expected() -> Config:
    """The defaults, and one of everything that may be there several times."""
    place = SmppPlace("tcp:2775:interface=127.0.0.1", ("smsc",))
    peer = SmppPeerSection("keys/smsc-password", SmppPeer(system_id="smsc"))
    operator = OperatorSection(1, "keys/operator-secret", OperatorLinkSettings())
    config = Config()
    smpp = dataclasses.replace(config.smpp, place=(place,), peer=(peer,))
    pos = PosSection(place=(PosPlace("ip", "tcp:8583:interface=127.0.0.1"),))
    cards = {"default": CardProfile()}
    return dataclasses.replace(config, cards=cards, smpp=smpp, operator=(operator,), pos=pos)


def test_the_example_holds_the_defaults() -> None:
    assert dataclasses.replace(load(EXAMPLE), path="") == expected()


def _missing(value: Any, document: Any, where: str) -> list[str]:
    if not dataclasses.is_dataclass(value):
        return []
    missing = []
    for item in dataclasses.fields(value):
        if where == "" and item.name == "path":
            continue
        name = f"{where}{item.name}"
        if item.name not in document:
            missing.append(name)
            continue
        inner, given = getattr(value, item.name), document[item.name]
        if isinstance(inner, tuple) and inner and dataclasses.is_dataclass(inner[0]):
            inner, given = inner[0], given[0]
        missing += _missing(inner, given, f"{name}.")
    return missing


def test_the_example_names_every_key() -> None:
    document = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert _missing(expected(), document, "") == []
    assert _missing(CardProfile(), document["cards"]["default"], "cards.default.") == []


def test_no_line_is_too_long() -> None:
    assert [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if len(line) > 120] == []
