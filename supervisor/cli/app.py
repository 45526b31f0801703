"""The group `nightcrew`, and the only place that turns errors into a message and an exit code.

| error                               | exit code                         |
|-------------------------------------|-----------------------------------|
| invalid arguments                   | 2                                 |
| a `NightcrewError`                  | its own `exit_code`               |
| a full or read-only disk            | 73                                |
| Ctrl-C                              | 130                               |
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from store.errors import NightcrewError
from supervisor.cli.lazy import LazyGroup
from supervisor.cli.options import Options, shared

PROGRAM = "nightcrew"
COMPLETE_VARIABLE = "_NIGHTCREW_COMPLETE"
EXIT_UNWRITABLE = 73
EXIT_INTERRUPTED = 130
# Any write can fail because the disk is full or read-only. The user must fix that, so no traceback is shown.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


def _version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib import metadata  # 20 ms that no other command needs

        click.echo(f"{PROGRAM} {metadata.version(PROGRAM)}")
        context.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Names may be shortened if only one fits: `engineer-1` for engineer-1.shop, or `pm`. "
    "See `nightcrew COMMAND --help` for examples.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@shared
def nightcrew() -> None:
    """Run a crew of local coding agents overnight: a spec in the evening, a tested branch in the morning.

    \b
    nightcrew doctor                 check your setup and list what is missing
    nightcrew run spec.md --wait     have a crew work on the repository in this directory
    nightcrew status                 show projects, agents and what they are doing
    nightcrew report                 show the results by project and task
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. Errors that users can fix are printed without a traceback."""
    options = Options(as_json="--json" in arguments)
    try:
        if instruction := os.environ.get(COMPLETE_VARIABLE):
            return shell_complete(nightcrew, {"obj": options}, PROGRAM, COMPLETE_VARIABLE, instruction)
        with nightcrew.make_context(PROGRAM, list(arguments), obj=options) as context:
            nightcrew.invoke(context)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.ClickException as error:
        return _refuse_usage(options, error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe has exited (`| head`). Discard the rest, including Python's flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except NightcrewError as error:
        message = str(error) or (type(error).__doc__ or type(error).__name__).strip()
        _print_error(options, type(error).__name__, message)
        return error.exit_code
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        message = f"{error.filename or 'disk'}: {error.strerror}; free some space or make it writable"
        _print_error(options, type(error).__name__, message)
        return EXIT_UNWRITABLE


def _refuse_usage(options: Options, error: click.ClickException) -> int:
    if options.as_json:
        _print_error(options, "UsageProblem", error.format_message())
    elif isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"error: {error.format_message()}", err=True)
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"See `{error.ctx.command_path} --help` for examples.", err=True)
    else:
        click.echo(f"error: {error.format_message()}", err=True)
    return error.exit_code


def _print_error(options: Options, kind: str, message: str) -> None:
    if options.as_json:
        click.echo(json.dumps({"error": {"kind": kind, "message": message}}, ensure_ascii=False))
    else:
        click.echo(f"error: {message}", err=True)
