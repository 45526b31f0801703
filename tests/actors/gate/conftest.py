"""The gate works on the repositories of the git tests."""

from tests.actors.git.conftest import _home, integration, locks, repository, user

__all__ = ["_home", "integration", "locks", "repository", "user"]
