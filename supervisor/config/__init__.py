"""The configuration: `loader` finds, reads and validates it; `keys` knows the keys that it may have.

It is read once per command, and the supervisor passes it on to its children as JSON.
"""

from supervisor.config.loader import ConfigError, LoadedConfig, home_path, load

__all__ = ["ConfigError", "LoadedConfig", "home_path", "load"]
