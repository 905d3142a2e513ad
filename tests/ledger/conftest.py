from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.desk import Books, file_url


@pytest.fixture
def books() -> Iterator[Books]:
    """Outlets A (1,000 yuan) and B (100 yuan); sound books at the end of every test."""
    made = Books().setup()
    yield made
    assert made.problems() == []
    made.engine.dispose()


@pytest.fixture
def file_books(tmp_path: Path) -> Iterator[Books]:
    """The same in a file, with WAL and fsync."""
    made = Books(file_url(tmp_path)).setup()
    yield made
    assert made.problems() == []
    made.engine.dispose()
