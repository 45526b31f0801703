"""The options of every command, before or after its name: `--json`, `--home`, `--config`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from actors.home import Home
    from store.engine import Store
    from supervisor.config import LoadedConfig

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Options:
    """One per process. The callbacks of the shared options fill it while click parses the arguments."""

    as_json: bool = False
    home_path: Path | None = None
    config_file: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with `--home` and `--config` applied. The supervisor gets it too."""
        changed = dict(os.environ)
        if self.home_path is not None:
            changed["NIGHTCREW_HOME"] = str(self.home_path.absolute())
        if self.config_file is not None:
            changed["NIGHTCREW_CONFIG"] = str(self.config_file.absolute())
        return changed

    @property
    def home(self) -> Home:
        from actors.home import Home

        return Home(_home_path(self.environment))

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The crew's store. Its writes wake the actors that get messages. Raises a `StoreError`."""
        from actors.runtime.wake import Waker
        from store.engine import Store

        home = self.home
        waker = Waker(home.run)
        try:
            store = Store(home.store, notify=waker)
            try:
                yield store
            finally:
                store.close()
        finally:
            waker.close()

    def load_config(self) -> LoadedConfig:
        """The effective configuration. Raises `ConfigError`."""
        from supervisor import config

        return config.load(self.environment)


def _home_path(env: dict[str, str]) -> Path:
    """Copy of `config.home_path` without importing pydantic, which is slow. A test keeps them equal."""
    if chosen := env.get("NIGHTCREW_HOME", "").strip():
        if chosen.startswith("~/") and env.get("HOME"):
            return Path(env["HOME"]) / chosen[2:]
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("nightcrew", appauthor=False)


def of(context: click.Context) -> Options:
    """The options of this process."""
    return context.ensure_object(Options)


def _store_value(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(of(context), parameter.name or "", value)


def shared(command: Command) -> Command:
    """Add the options of every command to `command`."""
    for option in (
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Configuration file; default: nightcrew.toml in the home.",
            expose_value=False,
            callback=_store_value,
        ),
        click.option(
            "--home",
            "home_path",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The crew's directory; default: NIGHTCREW_HOME.",
            expose_value=False,
            callback=_store_value,
        ),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print JSON only.",
            expose_value=False,
            callback=_store_value,
        ),
    ):
        command = option(command)
    return command


pass_options = click.make_pass_decorator(Options, ensure=True)
