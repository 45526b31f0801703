"""The tools use the fixtures of the sandbox's tests."""

from tests.actors.sandbox.conftest import context, repository, run, sandbox, worktree

__all__ = ["context", "repository", "run", "sandbox", "worktree"]
