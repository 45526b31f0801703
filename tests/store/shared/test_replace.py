"""Files are written in one step."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from store.shared.replace import replace_file


@pytest.mark.parametrize("durable", [False, True])
def test_content_is_replaced_and_no_draft_remains(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "x.json"
    for content in ("ä", b"\xff"):
        replace_file(path, content, durable=durable)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_the_old_content_and_no_draft(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_file(folder, "text")
    assert list(tmp_path.iterdir()) == [folder]


def test_readers_see_whole_content_while_several_write(tmp_path: Path) -> None:
    path = tmp_path / "x"
    contents = {letter * 50_000 for letter in "abc"}
    replace_file(path, "a" * 50_000)

    def write(content: str) -> None:
        for _ in range(50):
            replace_file(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]
