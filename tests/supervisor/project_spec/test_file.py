"""Spec files: names, encodings, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.project_spec.file import read_spec
from supervisor.project_spec.spec import SpecError

PLAIN = "GOAL: Add accounts\nDELIVERABLES:\n1. Login\n2. Logout\n"


def test_file_without_a_project_is_named_after_itself_or_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "Grüne Äpfel"
    folder.mkdir()
    for name, project in {"project_spec.md": "Grüne Äpfel", "accounts.md": "accounts"}.items():
        (folder / name).write_text(PLAIN, encoding="utf-8")
        assert read_spec(folder / name).project == project


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_file_is_read_in_the_encodings_of_usual_editors(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "s.md"
    path.write_text("GOAL: Größe prüfen\nDELIVERABLES:\n- Maß\n", encoding=encoding)
    assert read_spec(path).goal == "Größe prüfen"


def test_unreadable_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes("GOAL: Größe\n".encode("latin1"))
    (tmp_path / "binary.md").write_bytes(b"\x89PNG\0\xff")
    (tmp_path / "huge.md").write_bytes(b"x" * 300_000)
    for name, reason in {
        "latin.md": "iconv",
        "binary.md": "binary",
        "huge.md": "300000 bytes",
        "absent.md": "file not found",
        ".": "is a directory",
    }.items():
        with pytest.raises(SpecError, match=reason):
            read_spec(tmp_path / name)
