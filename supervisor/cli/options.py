"""What every command takes, before or after its name: `--json`, `--home`, `--config`; and what follows."""

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
    """One per process; the callbacks of the shared options fill it while click parses."""

    as_json: bool = False
    home_path: Path | None = None
    config_file: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment as `--home` and `--config` change it; handed to the supervisor."""
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
        """The crew's store, whose writes wake their recipients. Raises a `StoreError`."""
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
        """The configuration in force for this command. Raises `ConfigError`."""
        from supervisor import config

        return config.load(self.environment)


def _home_path(env: dict[str, str]) -> Path:
    """As `supervisor.config.home_path`, whose import of pydantic would cost `send`; a test compares them."""
    if chosen := env.get("NIGHTCREW_HOME", "").strip():
        if chosen.startswith("~/") and env.get("HOME"):
            return Path(env["HOME"]) / chosen[2:]
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("nightcrew", appauthor=False)


def of(context: click.Context) -> Options:
    """The options of this process."""
    return context.ensure_object(Options)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(of(context), parameter.name or "", value)


def shared(command: Command) -> Command:
    """Add the options that every command has."""
    for option in (
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The configuration, instead of nightcrew.toml in the home.",
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "--home",
            "home_path",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The crew's folder, instead of NIGHTCREW_HOME.",
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print JSON and nothing else.",
            expose_value=False,
            callback=_keep,
        ),
    ):
        command = option(command)
    return command


pass_options = click.make_pass_decorator(Options, ensure=True)
