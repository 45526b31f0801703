"""A real, migrated store in a private folder, closed after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.engine import Store
from tests.support.stores import make_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_file(tmp_path / "home" / "crew.db")


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()
