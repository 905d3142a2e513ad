"""Kannel, its line cut while our responses are on the way: what it delivers again by itself is executed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import need
from tests.peers.kannel_cuts import Cuts, prove


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(560)
def test_what_kannel_delivers_again_is_executed_once(tmp_path: Path) -> None:
    """The deaf line lasts longer than the 60 seconds within which the fingerprint of old held."""
    need("bearerbox", "smsbox")
    outcome = prove(tmp_path, 12, Cuts(short=0, deaf_s=6.0, gone_s=0.0, long_s=70.0))
    assert outcome.problems == []
    assert outcome.redelivered > outcome.repeats  # Kannel did deliver again
