"""The sandbox policy of a crew, from its configuration."""

from __future__ import annotations

from pathlib import Path

from actors.sandbox.policy import MIB, SandboxPolicy
from actors.settings import Config


def policy_of(config: Config, home: Path) -> SandboxPolicy:
    """The sandbox policy that the settings describe. The crew's own `home` is always hidden."""
    settings = config.sandbox
    return SandboxPolicy(
        network=settings.network or config.environment.network == "always",
        read_only_paths=tuple(Path(path).expanduser() for path in settings.read_only_paths),
        hidden_paths=(home,),
        memory_bytes=settings.memory_mb * MIB,
        max_processes=settings.max_processes,
        max_output_bytes=settings.max_output_mb * MIB,
    )
