"""``twistd aircharge --config FILE``: options and service for twistd."""

from __future__ import annotations

from typing import ClassVar

from twisted.application.service import Service
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from aircharge.config import load
from aircharge.daemon import AirchargeService
from aircharge.errors import ConfigError

__all__ = ["Options", "makeService"]


class Options(UsageOptions):
    """Command line of ``twistd aircharge``."""

    synopsis = "--config FILE"
    optParameters: ClassVar = [  # noqa: N815 (Twisted's name)
        ["config", "c", "/etc/aircharge/aircharge.toml", "The configuration file (TOML)."]
    ]


def makeService(options: Options) -> Service:
    """The daemon as twistd's service. Configuration errors end twistd with one plain line."""
    from twisted.internet import reactor

    try:
        return AirchargeService(load(options["config"]), reactor)
    except ConfigError as error:
        raise UsageError(str(error)) from error
