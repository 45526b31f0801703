"""The configuration of the crew's tmux server, and quoting for tmux's command language. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

CONFIG_NAME = "tmux.conf"
SOCKET_NAME = "tmux.sock"
PROMPT_KEY = "F2"
PROMPT_PREFIX_KEY = "m"
HISTORY_LINES = 20_000

_OPTIONS = f"""\
# Written by nightcrew at each start: changes here are lost.
set-option -s exit-empty off
set-option -s escape-time 50
set-option -g destroy-unattached off
set-option -g detach-on-destroy off
set-option -g default-terminal screen-256color
set-option -g history-limit {HISTORY_LINES}
set-option -g mouse on
set-option -g bell-action none
set-option -g allow-rename off
set-option -g automatic-rename off
set-option -g renumber-windows off
set-option -g window-size latest
set-option -g status-interval 0
set-option -g status-style 'bg=colour238,fg=colour252'
set-option -g status-left '#[bold] #{{session_name}} #[default]'
set-option -g status-left-length 30
set-option -g status-right ' {PROMPT_KEY}: write to this agent · C-b d: leave '
set-option -g status-right-length 50
set-option -g window-status-current-style 'bg=colour31,fg=colour255,bold'
set-option -g window-status-format ' #{{window_index}} #{{window_name}} '
set-option -g window-status-current-format ' #{{window_index}} #{{window_name}} '
"""


def config_text(prompt_argv: Sequence[str]) -> str:
    """The text of the configuration file. `prompt_argv` gets the agent's name as its last argument."""
    return _OPTIONS + "".join(
        f"bind-key {key} if-shell -F '#{{@agent}}' {quote(_popup(prompt_argv))} "
        "\"display-message 'no agent in this window'\"\n"
        for key in (f"-n {PROMPT_KEY}", PROMPT_PREFIX_KEY)
    )


def _popup(prompt_argv: Sequence[str]) -> str:
    """The tmux command that opens the prompt for the agent of the current window.

    `display-popup` does not expand formats, but `run-shell -C` does before it parses its command. So the inner
    command is quoted once for tmux, with its own `#` doubled, and the agent's name, which `WindowSpec` has
    checked, is put between single quotes. No shell is involved: tmux executes the arguments directly.
    """
    argv = " ".join(quote(argument).replace("#", "##") for argument in prompt_argv)
    # -EE keeps the popup open when the command fails, so that its error can be read.
    inner = f"display-popup -EE -w 90% -h 40% -- {argv} '#{{@agent}}'"
    return f"run-shell -C {quote(inner)}"


def quote(argument: str) -> str:
    """One argument in tmux's command language, where nothing is special between single quotes."""
    return "'" + argument.replace("'", "'\\''") + "'"


def literal(argument: str) -> str:
    """One argument on tmux's command line, where a trailing `;` would end the command."""
    return argument[:-1] + "\\;" if argument.endswith(";") else argument
