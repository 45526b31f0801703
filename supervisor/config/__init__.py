"""The configuration: found, read, validated (`loader`), and the keys that it may have (`keys`)."""

from supervisor.config.loader import ConfigError, LoadedConfig, home_path, load

__all__ = ["ConfigError", "LoadedConfig", "home_path", "load"]
