"""Trees of any depth and with any permissions are deleted, and nothing outside them is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.git.delete import delete_tree


def test_folders_thousands_deep_are_deleted(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    here = os.open(tree, os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("a folder with a long name", dir_fd=here)
        below = os.open("a folder with a long name", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    delete_tree(tree)
    assert not tree.exists()


def test_links_are_deleted_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    delete_tree(tree)
    delete_tree(tree)
    (tmp_path / "link").symlink_to(outside)
    delete_tree(tmp_path / "link")
    assert (outside / "kept").read_text() == "kept"
    assert not tree.exists()
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("mode", [0o000, 0o500, 0o300])
def test_folders_without_permissions_are_deleted(tmp_path: Path, mode: int) -> None:
    tree = tmp_path / "tree"
    inner = tree / "inner" / "more"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    for folder in (inner, inner.parent, tree):
        folder.chmod(mode)
    delete_tree(tree)
    assert not tree.exists()


def test_wide_trees_are_deleted(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for first in range(30):
        for second in range(10):
            (tree / str(first) / str(second)).mkdir(parents=True)
            (tree / str(first) / str(second) / "file").write_text("x")
    delete_tree(tree)
    assert not tree.exists()
