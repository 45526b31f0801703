"""One wrapper around plain git that never waits for a person and never runs a stranger's code.

Everything goes through `Git.run`: no terminal, no editor, no pager, no hooks, no signatures, no credential
prompts, no file system monitor, no garbage collection (a `gc --prune=now` during commits destroys a
repository), our own identity, and none of the caller's `GIT_*` variables. Commands that work on a linked
worktree name its git folder explicitly, so a `.git` file swapped by an agent is never followed.

GitError                the command ended with an exit code that was not expected
|- GitTimeoutError      it was killed after `timeout_s`
`- GitMissingError      there is no git to run
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
    # Reads must not take index.lock under the user's or an agent's feet; writes take it all the same.
    "GIT_OPTIONAL_LOCKS": "0",
}

_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.editor": "true",
    "core.pager": "cat",
    "core.safecrlf": "false",
    # A power cut after a commit must not leave empty objects: git by default does not sync loose ones.
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


class GitError(Exception):
    """A git command failed; the text says what ran, where, and what git answered."""

    def __init__(
        self, what: str, *, command: Sequence[str] = (), exit_code: int = -1, stderr: str = ""
    ) -> None:
        super().__init__(what)
        self.command = tuple(command)
        self.exit_code = exit_code
        self.stderr = stderr


class GitTimeoutError(GitError):
    """A git command was killed because it took longer than its limit."""


class GitMissingError(GitError):
    """There is no git on PATH."""


@dataclass(frozen=True, slots=True)
class GitOutcome:
    """How one git command ended. Text is UTF-8 with undecodable bytes kept as surrogate escapes."""

    exit_code: int
    stdout: str
    stderr: str


class Git:
    """Runs git for one repository.

    `repository` is where git runs. With `git_dir` (and `work_tree`) nothing is discovered from the file
    system and no ownership check applies: callers pass what `workspace.inspect` found. `config` are pairs
    put on top of ours. `keep_fds` are descriptors of held locks that git inherits: should this process be
    killed, the lock stays taken until the git it started has ended.
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
        """Standard output of `git ARGS`; raises `GitError` for any exit code but 0."""
        outcome = self.attempt(*args, cwd=cwd, stdin=stdin, timeout_s=timeout_s, environment=environment)
        if outcome.exit_code != 0:
            raise self.error(args, outcome, cwd)
        return outcome.stdout

    def line(self, *args: str, cwd: Path | None = None) -> str:
        """Standard output without its final newline: for answers that are one name, id or path."""
        return self.run(*args, cwd=cwd).removesuffix("\n")

    def names(self, *args: str, cwd: Path | None = None) -> list[str]:
        """Standard output of a command with `-z`, split: paths may hold spaces, umlauts and newlines."""
        return [name for name in self.run(*args, cwd=cwd).split("\0") if name]

    def attempt(
        self,
        *args: str,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> GitOutcome:
        """Run `git ARGS` and report how it ended, whatever its exit code.

        Raises `GitMissingError`, or `GitTimeoutError` after killing git with everything it started.
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
                start_new_session=True,  # no terminal to ask, and one group to kill
                pass_fds=self._keep_fds,
            )
        except FileNotFoundError as error:
            if not where.is_dir():
                raise GitError(
                    f"git {args[0]} cannot run in {where}: no such folder.", command=args
                ) from error
            raise GitMissingError("git is not installed or not on PATH; install it and try again.") from error
        return _finish(process, args, stdin, timeout_s, where)

    def error(self, args: Sequence[str], outcome: GitOutcome, cwd: Path | None = None) -> GitError:
        """The `GitError` for an outcome the caller did not expect."""
        answer = outcome.stderr.strip() or outcome.stdout.strip() or "no message"
        return GitError(
            f"git {' '.join(args[:2])} failed in {cwd or self.repository} "
            f"with exit code {outcome.exit_code}: {answer[-2000:]}",
            command=args,
            exit_code=outcome.exit_code,
            stderr=outcome.stderr,
        )

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return inherited | self._variables | dict(extra)


def git_version() -> tuple[int, int]:
    """Major and minor number of the git on PATH; raises `GitMissingError`."""
    text = Git(Path("/")).run("version")
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None:
        raise GitError(f"git version answered {text.strip()!r}, which holds no version number.")
    return int(found[1]), int(found[2])


def driver_overrides(git: Git) -> tuple[tuple[str, str], ...]:
    """Configuration pairs that switch off every content filter and merge driver `git` would run.

    Filters (LFS, notebook cleaners) run in the worktree, where an agent may have put a program of the same
    name, and a required one that is missing fails the checkout. Merge drivers become git's own text merge.
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
    """Configuration as variables: unlike `-c name=value` this bears names that contain `=`."""
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
                f"git {' '.join(args[:2])} in {where} took longer than {timeout_s:g} s and was killed; "
                "is the disk slow or the repository on a network drive?",
                command=args,
            ) from error
        raise
    return GitOutcome(
        process.returncode, stdout.decode("utf-8", "surrogateescape"), stderr.decode("utf-8", "replace")
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # PermissionError: macOS's answer for a group of which only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
