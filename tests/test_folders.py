"""Folders are there as a whole, or what was there before is."""

from pathlib import Path

import pytest

from mlcore.files import atomic_folder


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "before").touch()
    return tmp_path / "folder"


def test_a_new_folder_takes_the_place_of_one_that_is_there(folder):
    with atomic_folder(folder) as new:
        (new / "after").touch()
        assert names(folder) == ["before"]
    assert names(folder.parent) == ["folder", "folder/after"]


def test_it_is_made_with_those_above_it(tmp_path):
    with atomic_folder(tmp_path / "a" / "b") as new:
        (new / "c").touch()
    assert names(tmp_path) == ["a", "a/b", "a/b/c"]


def write(folder, name):
    with atomic_folder(folder) as new:
        (new / "after").touch()
        (new / name).touch()


@pytest.mark.parametrize("broken", ["block", "rename"])
def test_what_was_there_stays_where_it_fails(folder, broken, monkeypatch):
    rename = Path.rename

    def failing(self, target):
        if broken == "rename" and self.name == "new":
            raise OSError("name too long")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="name too long"):
        write(folder, "b" * 300 if broken == "block" else "b")
    assert names(folder.parent) == ["folder", "folder/before"]
