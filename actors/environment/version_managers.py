"""From a version manager's folder on PATH to the folders of the programs that it would start.

Such a folder holds small programs (shims) that choose a version at each start. They need all of the manager
and cost up to 100 ms, so the choice is made once, in the checkout, whose `.python-version` and the like count.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_TIMEOUT_S = 20.0


def real_folders(entry: Path, checkout: Path, environ: Mapping[str, str]) -> list[Path] | None:
    """The folders to put on PATH in place of `entry`; None if it is an ordinary folder.

    pyenv, rbenv, nodenv, goenv and jenv; asdf; mise; volta; rustup.
    """
    root = entry.parent
    if entry.name == "shims" and (root / "plugins").is_dir() and (root / "installs").is_dir():
        return _asdf(root, checkout, environ)
    if entry.name == "shims" and root.name == "mise":
        return _lines(["mise", "bin-paths"], checkout, environ)
    if entry.name == "shims" and (root / "versions").is_dir():
        return [prefix / "bin" for prefix in _lines([_env_program(root), "prefix"], checkout, environ, ":")]
    if entry.name == "bin" and (root / "versions").is_dir() and (root / "libexec").is_dir():
        return []
    if entry.name == "shims" and root.parent.name == "plugins":
        return []
    if (entry / "volta-shim").exists():
        return _parents(
            [[str(entry / "volta"), "which", name] for name in ("node", "npm")], checkout, environ
        )
    if (entry / "rustup").exists() and _has_toolchains(environ):
        # After the real ones: `cargo-nextest` and other programs beside the proxies stay in reach.
        return [*_parents([[str(entry / "rustup"), "which", "cargo"]], checkout, environ), entry]
    return None


def _has_toolchains(environ: Mapping[str, str]) -> bool:
    """Whether rustup has toolchains. Without its folder, running `rustup` would create one in the user's home."""
    home = Path(environ.get("HOME") or Path.home())
    return (Path(environ.get("RUSTUP_HOME") or home / ".rustup") / "toolchains").is_dir()


def _env_program(root: Path) -> str:
    """`pyenv` of `~/.pyenv`, and so on; a package may have it elsewhere on PATH."""
    name = root.name.lstrip(".")
    own = root / "bin" / name
    return str(own) if own.exists() else name


def _asdf(root: Path, checkout: Path, environ: Mapping[str, str]) -> list[Path]:
    """From the `.tool-versions` of the checkout, its parents and the home; the nearest file decides."""
    chosen: dict[str, str] = {}
    for folder in (checkout, *checkout.parents, Path(environ.get("HOME") or "/")):
        with suppress(OSError, UnicodeDecodeError):
            for line in (folder / ".tool-versions").read_text(encoding="utf-8").splitlines():
                tool, *versions = line.partition("#")[0].split()[:2] or [""]
                if versions:
                    chosen.setdefault(tool, versions[0])
    installs = [root / "installs" / tool / version for tool, version in chosen.items()]
    folders = [folder / part for folder in installs for part in ("bin", "go/bin")]
    return [folder for folder in folders if folder.is_dir()]


def _parents(questions: list[list[str]], checkout: Path, environ: Mapping[str, str]) -> list[Path]:
    found = [path.parent for words in questions for path in _lines(words, checkout, environ)]
    return list(dict.fromkeys(found))


def _lines(words: list[str], folder: Path, environ: Mapping[str, str], separator: str = "\n") -> list[Path]:
    """The absolute paths that a manager prints; none if it fails, because a version is not installed."""
    # The query command must not install anything.
    host = {**environ, "RUSTUP_AUTO_INSTALL": "0", "MISE_YES": "0"}
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            words, cwd=folder, env=host, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if answer.returncode == 0:
            lines = answer.stdout.strip().split(separator)
            return [Path(line.strip()) for line in lines if line.strip().startswith("/")]
    return []
