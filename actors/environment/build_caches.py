"""Build folders and build caches that commands write to: a separate one for each worktree or agent.

With a shared cache an agent could manipulate files that the gate later uses. So every worktree gets a copy of the
checkout's build folders, and every agent and the gate a copy of the user's caches. Hard links are not used, because a
command could write through one into the user's file.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.git.command import Git
from actors.sandbox.git_paths import admin_folder

MAX_COPIED_BYTES = 2 * 1024**3
_COPY_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class BuildCache:
    """A tool's cache: the files of a project that need it, its variable, and its usual place in the home.

    `usual` is "" if the crew's cache starts empty instead of as a copy of the user's.
    """

    manifests: tuple[str, ...]
    variable: str
    usual: str = ""


BUILD_CACHES = (
    BuildCache(("go.mod", "go.work"), "GOCACHE", ".cache/go-build"),
    BuildCache(("build.gradle", "build.gradle.kts", "settings.gradle"), "GRADLE_USER_HOME"),
    BuildCache(("deno.json", "deno.jsonc"), "DENO_DIR", ".cache/deno"),
    BuildCache(("build.zig",), "ZIG_GLOBAL_CACHE_DIR"),
)


def needed_caches(
    environ: Mapping[str, str], checkout: Path, names: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """Pairs of a variable and the user's own folder ("" for none) for a project with files of these names."""
    present = set(names)
    home = Path(environ.get("HOME") or Path.home())
    found = []
    for cache in BUILD_CACHES:
        if present.intersection(cache.manifests):
            usual = Path(environ.get(cache.variable) or home / cache.usual) if cache.usual else None
            found.append((cache.variable, str(usual) if usual is not None and usual.is_dir() else ""))
    return tuple(found)


def prepare_cache(folder: Path, original: str) -> None:
    """Create the cache at `folder`, as a copy of the user's `original` if it is small enough."""
    if folder.is_dir():
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not original or not copy_tree(Path(original), folder):
        folder.mkdir(mode=0o700, exist_ok=True)


def warm_worktree(worktree: Path, copies: Iterable[tuple[str, str]]) -> None:
    """Copy build folders and generated files that the worktree lacks and that git ignores there.

    `copies` are pairs of a relative path and the original. Cheap if there is nothing to do. Modification times
    are kept, so tools rebuild what differs.
    """
    missing = {
        path: Path(source)
        for path, source in copies
        if not os.path.lexists(worktree / path)
        and (worktree / path).parent.is_dir()
        and Path(source).exists()
    }
    for path in _ignored(worktree, list(missing)):
        # A symbolic link on the way could lead out of the worktree.
        if (worktree / path).parent.resolve().is_relative_to(worktree.resolve()):
            copy_tree(missing[path], worktree / path)


def _ignored(worktree: Path, paths: list[str]) -> list[str]:
    """Those paths that git ignores in this worktree: any other would become part of the next commit."""
    admin = admin_folder(worktree)
    if not paths or admin is None:
        return []
    git = Git(worktree, git_dir=admin, work_tree=worktree)
    # The slash tells git that a path which is not there yet is a folder.
    asked = {path: path for path in paths} | {f"{path}/": path for path in paths}
    answer = git.attempt("check-ignore", "-z", "--stdin", stdin="\0".join(asked) + "\0")
    ignored = {asked[line] for line in answer.stdout.split("\0") if line in asked}
    return [path for path in paths if path in ignored]


def copy_tree(source: Path, target: Path) -> bool:
    """Copy a file or folder, sharing blocks where the file system can; False if it is too large.

    A copy that was interrupted leaves nothing at `target`.
    """
    if _size(source) > MAX_COPIED_BYTES:
        return False
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    copier = ["cp", "-a", "--reflink=auto"] if os.uname().sysname == "Linux" else ["cp", "-a", "-c"]
    try:
        subprocess.run(
            [*copier, "--", str(source), str(draft)], check=True, capture_output=True, timeout=_COPY_TIMEOUT_S
        )
        draft.rename(target)
    except (subprocess.SubprocessError, OSError):
        subprocess.run(["rm", "-rf", "--", str(draft)], check=False, capture_output=True)
        return False
    return True


def _size(path: Path) -> int:
    """Bytes in the folder; stops counting above the limit."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - thousands of files; pathlib is slower
        if total > MAX_COPIED_BYTES:
            break
    return total
