"""Who gets how many of the files that this process may open."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from aircharge import descriptors
from aircharge.config import Config, load
from aircharge.descriptors import DescriptorWatch, needs_of, share_out
from aircharge.errors import ConfigError
from aircharge.protocols.pos_place import PosPlace

EXAMPLE = Path(__file__).parents[1] / "examples" / "aircharge.toml"


def config_with(*places: PosPlace) -> Config:
    config = load(EXAMPLE)
    return dataclasses.replace(config, pos=dataclasses.replace(config.pos, place=places))


def place(name: str, **settings: object) -> PosPlace:
    return PosPlace(name, **{"endpoint": "tcp:1:interface=127.0.0.1", **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [1024, 2000, 4096, 65_536, 1_048_576])
def test_all_doors_together_never_need_more_than_there_is(limit: int) -> None:
    dialled = place("dialled", endpoint="", connect=("tcp:10.0.0.9:2001", "tcp:10.0.0.9:2002"))
    config = config_with(place("a"), place("b", connections_max=100, strangers_max=20), dialled)
    held = dataclasses.replace(config, pos=share_out(config, limit))
    assert needs_of(held).total <= limit
    assert needs_of(held).house == needs_of(config).house  # operators and SMS centres keep theirs
    for before, after in zip(config.pos.place, held.pos.place, strict=True):
        assert after == before or before.name in "ab"
        assert 12 <= after.connections_max <= before.connections_max
        assert 4 <= after.strangers_max <= before.strangers_max
        assert after.strangers_per_address_max >= 2
    if limit >= needs_of(config).total:
        assert held == config


def test_too_few_even_for_operators_and_sms_centres_is_refused() -> None:
    config = config_with(place("a"))
    with pytest.raises(ConfigError, match="may open 300 files") as refused:
        share_out(config, 300)
    least = int(str(refused.value).partition("need ")[2].split()[0])
    share_out(config, least)
    with pytest.raises(ConfigError):
        share_out(config, least - 1)


def test_an_operator_that_dials_us_counts() -> None:
    config = load(EXAMPLE)
    link = dataclasses.replace(config.operator[0].link, connect=(), listen=("tcp:2:interface=127.0.0.1",))
    listening = dataclasses.replace(
        config, operator=(dataclasses.replace(config.operator[0], link=link), *config.operator[1:])
    )
    more = needs_of(listening).house - needs_of(config).house
    assert more == 1 + link.links_max + link.strangers_max - len(config.operator[0].link.connect)


def test_the_alarm_comes_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = Clock(), EventLoggingObserver()
    watch = DescriptorWatch(clock)
    globalLogPublisher.addObserver(seen)
    try:
        watch.start()
        clock.pump([10] * 10)
        assert not any("ALARM" in event.get("log_format", "") for event in seen)
        monkeypatch.setattr(descriptors, "descriptors_open", lambda: None)
        clock.pump([10] * 720)
        assert "are open" in watch.trouble()
        assert sum("ALARM" in event.get("log_format", "") for event in seen) == 2
    finally:
        globalLogPublisher.removeObserver(seen)
        watch.stop()


def test_a_shared_line_that_is_silent_ends_after_a_quarter_of_an_hour() -> None:
    assert place("a").silence_s == 900
    assert place("a", framing="hdlc").silence_s == 180
    assert place("a", idle_s=0).silence_s == 0
    assert place("a", endpoint="", connect=("tcp:10.0.0.9:2001",)).silence_s == 0
