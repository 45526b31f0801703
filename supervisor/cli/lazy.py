"""Imports a command's module when the command is called, so that `send` does not load what `doctor` needs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from actors.text import did_you_mean

# Section -> command -> module in `commands`. The function of the command `run` is `run_command`.
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Work": {"run": "work", "deploy": "work", "tasks": "work", "report": "report"},
    "Watch": {
        "status": "status",
        "info": "agents",
        "history": "agents",
        "log": "watch",
        "incidents": "report",
        "attach": "watch",
    },
    "Talk": {
        "send": "talk",
        "inbox": "inbox",
        "letters": "inbox",
        "schedule": "schedule",
        "prompt": "talk",
    },
    "Intervene": {
        "pause": "control",
        "resume": "control",
        "cancel": "control",
        "stop": "control",
        "restart": "control",
        "create": "team",
        "archive": "team",
    },
    "Set up": {
        "up": "start",
        "down": "start",
        "doctor": "doctor",
        "service": "service",
        "rehearse": "trials",
        "drill": "trials",
        "completion": "watch",
    },
}
_MODULES = {name: module for commands in SECTIONS.values() for name, module in commands.items()}


class LazyGroup(click.Group):
    """The group of all commands; its help is divided into sections."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        module = _MODULES.get(name)
        if module is None:
            return None
        command = getattr(importlib.import_module(f"supervisor.cli.commands.{module}"), f"{name}_command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _MODULES and not args[0].startswith("-"):
            context.fail(f"unknown command {args[0]!r}{did_you_mean(args[0], _MODULES)}")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            rows = []
            for name in commands:
                command = self.get_command(context, name)
                if command is not None and not command.hidden:
                    rows.append((name, command.get_short_help_str(78)))
            with formatter.section(section):
                formatter.write_dl(rows)
