"""Run git so that it never waits for a person and never executes code from a repository.

The only module that starts git. No terminal, editor, pager, hooks, signatures, credential prompts or file
system monitor; the crew's own identity; none of the caller's `GIT_*` variables. No garbage collection either:
`gc --prune=now` during a commit would destroy a repository. Commands on a linked worktree name its git folder
explicitly, so git does not follow a `.git` file that an agent has replaced.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.git.errors import GitError, GitMissingError, GitTimeoutError

IDENTITY_NAME = "Nightcrew"
IDENTITY_EMAIL = "nightcrew@localhost"
MINIMUM_VERSION = (2, 38)
DEFAULT_TIMEOUT_S = 120.0

_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
    "GIT_SEQUENCE_EDITOR": "true",
    "GIT_MERGE_AUTOEDIT": "no",
    "GIT_PAGER": "cat",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=10",
    # Reading must not take index.lock, which would disturb the user's own git. Writing takes it anyway.
    "GIT_OPTIONAL_LOCKS": "0",
}

_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.editor": "true",
    "core.pager": "cat",
    "core.safecrlf": "false",
    # By default git does not sync loose objects, so a power failure after a commit could leave empty ones.
    "core.fsync": "committed,reference",
    "core.fsyncMethod": "batch",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "log.showSignature": "false",
    "credential.helper": "",
    "user.name": IDENTITY_NAME,
    "user.email": IDENTITY_EMAIL,
    "i18n.commitEncoding": "UTF-8",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "color.ui": "never",
    "diff.ignoreSubmodules": "all",
    "submodule.recurse": "false",
    "worktree.useRelativePaths": "false",
    "advice.detachedHead": "false",
}


@dataclass(frozen=True, slots=True)
class GitOutcome:
    """How one git command ended.

    `stdout` is decoded as UTF-8 with surrogate escapes, so that file names survive unchanged.
    """

    exit_code: int
    stdout: str
    stderr: str


class Git:
    """Runs git for one repository.

    - `repository`: the folder in which git runs.
    - `git_dir`, `work_tree`: pass what `open_repository` returned. Then git searches nothing in the file system
      and checks no ownership.
    - `config`: configuration (name, value) in addition to ours.
    - `keep_fds`: descriptors of held locks, which git inherits. If this process is killed, the lock stays held
      until the git that it started has ended.
    """

    def __init__(
        self,
        repository: Path,
        *,
        git_dir: Path | None = None,
        work_tree: Path | None = None,
        config: Sequence[tuple[str, str]] = (),
        keep_fds: Sequence[int] = (),
    ) -> None:
        self.repository = repository
        self._keep_fds = tuple(keep_fds)
        self._variables = dict(_ENVIRONMENT)
        if git_dir is not None:
            self._variables["GIT_DIR"] = str(git_dir)
        if work_tree is not None:
            self._variables["GIT_WORK_TREE"] = str(work_tree)
        self._variables |= _config_variables([*_CONFIG.items(), *config])

    def run(
        self,
        *args: str,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run `git ARGS`; returns its standard output. Raises `GitError` for any exit code but 0."""
        outcome = self.attempt(*args, cwd=cwd, stdin=stdin, timeout_s=timeout_s, environment=environment)
        if outcome.exit_code != 0:
            raise self.error(args, outcome, cwd)
        return outcome.stdout

    def line(self, *args: str, cwd: Path | None = None) -> str:
        """Standard output without its final newline, for commands that print one name, id or path."""
        return self.run(*args, cwd=cwd).removesuffix("\n")

    def names(self, *args: str, cwd: Path | None = None) -> list[str]:
        """Standard output of a command with the option `-z`, split into its names."""
        return [name for name in self.run(*args, cwd=cwd).split("\0") if name]

    def attempt(
        self,
        *args: str,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> GitOutcome:
        """Run `git ARGS`; returns how it ended, whatever the exit code.

        Raises `GitMissingError`, or `GitTimeoutError` after killing git and all processes that it started.
        """
        where = cwd or self.repository
        try:
            process = subprocess.Popen(
                ["git", *args],
                cwd=where,
                env=self._environment(environment or {}),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # without a terminal it cannot prompt, and it is one group to kill
                pass_fds=self._keep_fds,
            )
        except FileNotFoundError as error:
            if not where.is_dir():
                raise GitError(
                    f"git {args[0]} cannot run in {where}: there is no such folder.", command=args
                ) from error
            raise GitMissingError("git is not on PATH; install git and try again.") from error
        return _finish(process, args, stdin, timeout_s, where)

    def error(self, args: Sequence[str], outcome: GitOutcome, cwd: Path | None = None) -> GitError:
        """The `GitError` for an outcome that the caller did not expect."""
        answer = outcome.stderr.strip() or outcome.stdout.strip() or "no message"
        return GitError(
            f"git {' '.join(args[:2])} failed in {cwd or self.repository} "
            f"with exit code {outcome.exit_code}: {answer[-2000:]}",
            command=args,
            git_exit_code=outcome.exit_code,
            stderr=outcome.stderr,
        )

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return inherited | self._variables | dict(extra)


def git_version() -> tuple[int, int]:
    """The version of the git on PATH, as (major, minor). Raises `GitMissingError`."""
    text = Git(Path("/")).run("version")
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None:
        raise GitError(f"`git version` printed no version number: {text.strip()!r}")
    return int(found[1]), int(found[2])


def driver_overrides(git: Git) -> tuple[tuple[str, str], ...]:
    """Configuration that disables the repository's content filters and merge drivers.

    git would run filters (LFS, notebook cleaners) in the worktree, where an agent may have put a program of the
    same name. A required filter that is missing would also fail the checkout. Merge drivers are replaced by
    git's own text merge.
    """
    listed = git.attempt("config", "-z", "--name-only", "--get-regexp", r"^(filter|merge)\..+\.")
    pairs: dict[str, str] = {}
    for key in ["filter.lfs.clean", *listed.stdout.split("\0")]:
        section, _, rest = key.partition(".")
        name, _, variable = rest.rpartition(".")
        if section == "filter" and name:
            pairs |= {f"filter.{name}.{part}": "" for part in ("clean", "smudge", "process")}
            pairs[f"filter.{name}.required"] = "false"
        elif section == "merge" and variable == "driver":
            pairs[key] = "git merge-file -q --marker-size=%L %A %O %B"
    return tuple(pairs.items())


def _config_variables(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The configuration as environment variables: `-c name=value` does not allow `=` in a name."""
    variables = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return variables


def _finish(
    process: subprocess.Popen[bytes], args: Sequence[str], stdin: str | None, timeout_s: float, where: Path
) -> GitOutcome:
    data = None if stdin is None else stdin.encode("utf-8", "surrogateescape")
    try:
        stdout, stderr = process.communicate(data, timeout=timeout_s)
    except BaseException as error:
        _kill_group(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise GitTimeoutError(
                f"git {' '.join(args[:2])} in {where} was killed because it took longer than {timeout_s:g} s. "
                "Check whether the disk is slow or the repository is on a network drive.",
                command=args,
            ) from error
        raise
    return GitOutcome(
        process.returncode, stdout.decode("utf-8", "surrogateescape"), stderr.decode("utf-8", "replace")
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # macOS raises PermissionError for a group of which only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
