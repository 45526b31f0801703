"""Files that hold credentials. They are hidden from commands where a toolchain or dependency folder has them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

# Hidden whatever is in them.
_ALWAYS = re.compile(r"credentials(\..+)?|\.?netrc|_netrc|\.pypirc|auth\.(json|toml)|\.git-credentials")
# Ordinary settings that may hold a password.
_SETTINGS = re.compile(
    r"\.?npmrc|\.yarnrc(\.yml)?|pip\.(conf|ini)|uv\.toml|settings\.xml|gradle\.properties|config\.toml|env"
)
_SECRET = re.compile(
    r"_auth|authToken|password|passphrase|token|secret|api_?key|://[^/\s:@]+:[^/\s@]+@", re.IGNORECASE
)
_MAX_SETTINGS_BYTES = 1_000_000


def is_secret_value(value: str) -> bool:
    """Whether a variable's value is an address with a user and password in it."""
    return re.search(r"://[^/\s@]*:[^/\s@]+@", value) is not None


def is_secret_name(name: str) -> bool:
    """Whether a variable's name says that its value is secret."""
    return re.search(r"TOKEN|PASSWORD|PASSWD|SECRET|AUTH|CREDENTIAL|KEY", name, re.IGNORECASE) is not None


def holds_credentials(path: Path) -> bool:
    """Whether a file's name, or its name and content, say that it holds credentials."""
    if _ALWAYS.fullmatch(path.name):
        return True
    if not _SETTINGS.fullmatch(path.name):
        return False
    try:
        # What cannot be read or is far too large is treated as secret.
        if not path.is_file() or path.stat().st_size > _MAX_SETTINGS_BYTES:
            return True
        return _SECRET.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return True


def credential_files(folders: Iterable[str], *, depth: int = 2) -> tuple[str, ...]:
    """The credential files in the folders, down to `depth` levels below each: tools keep them at the top."""
    found: list[str] = []
    for folder in folders:
        if not Path(folder).is_dir():
            found += [folder] if holds_credentials(Path(folder)) else []
        for place, names, files in os.walk(folder):
            if place.count("/") - folder.count("/") >= depth:
                names.clear()
            paths = (Path(place) / name for name in files)
            found += [str(path) for path in paths if holds_credentials(path)]
    return tuple(dict.fromkeys(found))
