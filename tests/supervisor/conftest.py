"""A crew in a private home, with nothing left of it after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.home import Home
from tests.support.crews import Crew


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    made = Crew(Home(tmp_path / "home"))
    made.open()
    yield made
    made.close()
