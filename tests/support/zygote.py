"""The real zygote, extended with the actor kinds of the tests."""

from __future__ import annotations

import sys

from supervisor.process import zygote
from tests.support import kinds

if __name__ == "__main__":
    kinds.install()
    zygote.main(sys.argv[1:])
