"""Window files: always the committed rows, whatever happened to the live text."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.screen import files
from actors.screen.errors import ScreenUnwritable
from actors.screen.files import CLEAR, WindowFile
from actors.screen.render import render_entry
from store.entries import Body, Call, Entry, NoteBody, ReplyBody, ReplyCost

AT = datetime(2025, 11, 3, 22, 0, 0, tzinfo=UTC)
TEXT = "First I look at the tests.\n\nThen I run them: ünïcode \x1b[31mred\x1b[0m and all.\n"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[WindowFile]:
    window_file = WindowFile(tmp_path / "screens" / "eng-1.ansi", "eng-1")
    window_file.rebuild([note(1)])
    yield window_file
    window_file.close()


def note(row_id: int, text: str = "") -> Entry:
    return row(row_id, NoteBody(text or f"note number {row_id}."))


def reply(row_id: int, text: str = TEXT, *, stream: int | None = None) -> Entry:
    calls = (Call("shell", {"command": "pytest"}),)
    return row(row_id, ReplyBody(text, calls, cost=ReplyCost(total_ms=5), stream=stream))


def row(row_id: int, body: Body) -> Entry:
    return Entry(row_id, "eng-1", body, None, None, AT.timestamp())


def says(file: WindowFile, *rows: Entry) -> bool:
    """Whether the file is equal to a rebuild from these rows."""
    return file.path.read_bytes() == CLEAR + "".join(map(render_entry, rows)).encode()


def stream(file: WindowFile, text: str, number: int = 7, size: int = 5) -> None:
    for offset in range(0, len(text), size):
        file.append_live(number, offset, text[offset : offset + size], AT)


def test_streamed_reply_ends_as_exactly_its_committed_row(file: WindowFile) -> None:
    inode = file.path.stat().st_ino
    text = "Plain words,\nin two lines."
    stream(file, text)
    assert file.path.read_text().endswith(text)
    file.commit(reply(2, text, stream=7))
    assert says(file, note(1), reply(2, text))
    assert file.path.stat().st_ino == inode  # appended, not replaced


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_live_text_in_pieces_of_any_size_is_not_shown_twice(file: WindowFile, size: int) -> None:
    stream(file, TEXT, size=size)
    file.commit(reply(2, stream=7))
    file.append_entry(note(3))
    # White space at the end of a reply may stay in the window until the next rebuild.
    assert file.path.read_text().replace("\n\n", "\n") == (
        (CLEAR.decode() + "".join(map(render_entry, [note(1), reply(2), note(3)]))).replace("\n\n", "\n")
    )


def test_only_the_missing_end_is_appended_if_the_last_tokens_were_lost(file: WindowFile) -> None:
    inode = file.path.stat().st_ino
    file.append_live(7, 0, TEXT[:20], AT)
    file.commit(reply(2, stream=7))
    assert says(file, note(1), reply(2))
    assert file.path.stat().st_ino == inode


def test_lost_repeated_and_overlapping_tokens_leave_the_committed_row(file: WindowFile) -> None:
    for offset, end in [(0, 5), (0, 5), (3, 9), (12, 20), (9, 12), (18, 30)]:
        file.append_live(7, offset, TEXT[offset:end], AT)
    assert "[…]" in file.path.read_text()
    file.commit(reply(2, stream=7))
    assert says(file, note(1), reply(2))


def test_reply_whose_text_was_repaired_replaces_what_was_streamed(file: WindowFile) -> None:
    stream(file, "<tool_call>shell pytest</tool_call>")
    file.commit(reply(2, "", stream=7))
    assert says(file, note(1), reply(2, ""))


def test_tokens_that_arrive_after_their_row_are_dropped(file: WindowFile) -> None:
    file.commit(reply(2, stream=7))
    stream(file, TEXT, number=7)
    stream(file, "older still", number=6)
    assert says(file, note(1), reply(2))


def test_next_call_that_streams_before_the_row_of_the_last_ends_in_order(file: WindowFile) -> None:
    stream(file, TEXT, number=7)
    stream(file, "second answer", number=8)
    file.commit(reply(2, stream=7))
    file.append_entry(note(3))
    assert file.path.read_text().endswith("second answer")
    file.commit(reply(4, "second answer", stream=8))
    assert says(file, note(1), reply(2), note(3), reply(4, "second answer"))


def test_interrupted_call_leaves_nothing_once_its_retry_is_committed(file: WindowFile) -> None:
    stream(file, "broken off in the mid", number=7)
    stream(file, TEXT, number=8)
    file.commit(reply(2, stream=8))
    assert says(file, note(1), reply(2))


def test_dropped_live_text_is_gone_and_stays_gone(file: WindowFile) -> None:
    stream(file, "cancelled", number=7)
    file.drop_live(7)
    assert says(file, note(1))
    file.append_live(7, 9, " late", AT)
    file.drop_live(7)
    assert says(file, note(1))


def test_dropping_an_older_call_leaves_the_one_that_streams_now(file: WindowFile) -> None:
    stream(file, "cancelled", number=7)
    stream(file, "it goes", number=8)
    file.drop_live(7)
    file.append_live(8, 7, " on", AT)
    assert file.path.read_text().endswith("it goes on")
    assert "cancelled" not in file.path.read_text()
    file.commit(reply(2, "it goes on", stream=8))
    assert says(file, note(1), reply(2, "it goes on"))


def test_reply_of_a_call_before_the_dropped_one_is_shown_whole(file: WindowFile) -> None:
    stream(file, "Words", number=6)
    stream(file, "cancelled", number=7)
    file.drop_live(7)
    file.commit(reply(2, "Words.", stream=6))
    assert says(file, note(1), reply(2, "Words."))


def test_reply_without_a_stream_number_closes_what_is_streaming(file: WindowFile) -> None:
    stream(file, "Words.")
    file.commit(reply(2, "Words."))
    assert says(file, note(1), reply(2, "Words."))


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_loss_ends_as_a_rebuild_would(file: WindowFile, seed: int) -> None:
    rng = random.Random(seed)
    rows = [note(1)]
    for number in range(1, 30):
        text = "".join(rng.choice("ab \n\tü") for _ in range(rng.randrange(40))).strip()
        offsets = [o for o in range(0, len(text), 4) if rng.random() < 0.8] * rng.choice([1, 1, 2])
        for offset in offsets:
            file.append_live(number, offset, text[offset : offset + 4], AT)
        fate = rng.random()
        if fate < 0.6:
            rows.append(reply(number + 1, text, stream=number))
            file.commit(rows[-1])
        elif fate < 0.8:
            rows.append(note(number + 1))
            file.append_entry(rows[-1])
        elif fate < 0.9:
            file.rebuild(rows)
    file.drop_live(30)
    assert says(file, *rows)


def test_rebuild_is_private_and_replaces_the_file_at_once(file: WindowFile) -> None:
    old = file.path.stat().st_ino
    stream(file, "in flight")
    file.rebuild([note(1), note(2)])
    assert says(file, note(1), note(2))
    assert file.path.stat().st_ino != old
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(file.path.parent) == ["eng-1.ansi"]  # noqa: PTH208 - names are wanted


def test_new_process_rebuilds_exactly_what_was_committed(file: WindowFile) -> None:
    stream(file, TEXT)
    again = WindowFile(file.path, "eng-1")
    again.append_entry(note(9))  # before the rebuild nothing is written
    again.rebuild([note(1), reply(2)])
    assert says(again, note(1), reply(2))
    again.close()


def test_file_that_grows_too_long_keeps_its_last_rows(
    file: WindowFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 20_000)
    monkeypatch.setattr(files, "KEPT_BYTES", 5_000)
    for number in range(2, 1_000):
        file.append_entry(note(number))
        assert file.path.stat().st_size <= 21_000
    text = file.path.read_text()
    assert text.startswith(CLEAR.decode())
    assert text.endswith(render_entry(note(999)))
    file.rebuild([note(number) for number in range(1_000)])
    assert file.path.stat().st_size <= 5_100
    file.append_entry(note(1, "x" * 30_000))
    assert file.path.read_text().endswith("characters hidden\x1b[0m\n")


def test_deleted_file_asks_for_a_rebuild(file: WindowFile) -> None:
    file.path.unlink()
    file.append_entry(note(2))
    assert file.needs_rebuild
    file.rebuild([note(1), note(2)])
    assert says(file, note(1), note(2))


def test_unwritable_folder_is_reported_once_and_recovers(tmp_path: Path) -> None:
    (tmp_path / "screens").write_text("in the way")
    file = WindowFile(tmp_path / "screens" / "eng-1.ansi", "eng-1")
    with pytest.raises(ScreenUnwritable, match="cannot write the window file"):
        file.rebuild([note(1)])
    assert file.needs_rebuild
    file.append_entry(note(2))
    (tmp_path / "screens").unlink()
    file.rebuild([note(1), note(2)])
    assert says(file, note(1), note(2))
    file.close()
