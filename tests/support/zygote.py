"""The real zygote, which knows the tests' kinds of actors besides."""

from __future__ import annotations

import sys

from supervisor.process import zygote
from tests.support import kinds

if __name__ == "__main__":
    kinds.install()
    zygote.main(sys.argv[1:])
