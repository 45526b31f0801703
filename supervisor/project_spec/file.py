"""Reads a spec from a file: its size, its encoding, and the project's name where the text gives none."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.project_spec.parse import parse_spec
from supervisor.project_spec.spec import Spec, SpecError

MAX_BYTES = 200_000
_GENERIC_NAMES = frozenset(("spec", "project_spec", "project", "readme", "nightcrew"))


def read_spec(path: Path) -> Spec:
    """The spec in the file at `path`. Raises `SpecError`.

    A project without a name is called like the file, or like its folder if the file has a usual name.
    """
    text = _decode(_read(path), path)
    is_generic = path.stem.lower().replace("-", "_") in _GENERIC_NAMES
    return parse_spec(text, path.absolute().parent.name if is_generic else path.stem)


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise SpecError([f"{path} is a directory; give the spec file in it"], with_example=False)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise SpecError([f"file not found: {path}"]) from error
    except OSError as error:
        raise SpecError([f"cannot read {path}: {error.strerror or error}"], with_example=False) from error
    if len(data) > MAX_BYTES:
        problem = f"{path} has {max(size, len(data))} bytes, more than the {MAX_BYTES} allowed in a spec"
        raise SpecError([problem], with_example=False)
    return data


def _decode(data: bytes, path: Path) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise SpecError([f"{path} is binary, not text"]) from error
        advice = f"convert it from Latin-1 with `iconv -f latin1 -t utf-8 '{path}'`"
        raise SpecError(
            [f"{path} is not UTF-8 text (byte {error.start}); {advice}"], with_example=False
        ) from error
