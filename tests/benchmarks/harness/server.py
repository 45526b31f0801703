"""`python -m tests.benchmarks.harness.server HOME CONFIG_JSON`: the product's supervisor for a home, as it is."""

from __future__ import annotations

import sys
from pathlib import Path

from actors.home import Home
from actors.settings import Config
from supervisor import run

if __name__ == "__main__":
    run.serve(Home(Path(sys.argv[1])), Config.from_json(sys.argv[2]), stderr=False)
