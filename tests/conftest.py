"""For the whole suite: how Hypothesis runs. A slow or shared machine is no failure of ours; examples are."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.leaks import leaks
from tests.postgres import stop_cluster

_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile("here", deadline=None, suppress_health_check=_QUIET)
settings.register_profile("ci", deadline=None, suppress_health_check=_QUIET, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session", autouse=True)
def no_secret_in_any_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """When all is done: no PIN, key or whole number in any log of any instance this run has made."""
    yield
    assert leaks(tmp_path_factory.getbasetemp()) == []


@pytest.fixture(scope="session", autouse=True)
def no_server_left_behind() -> Iterator[None]:
    """The PostgreSQL that tests of this process have asked for ends with them."""
    yield
    stop_cluster()
