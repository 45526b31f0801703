"""The tools run in the sandbox of its own tests."""

from tests.actors.sandbox.conftest import context, repository, run, sandbox, worktree

__all__ = ["context", "repository", "run", "sandbox", "worktree"]
