from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppd_core.cli.inputs import find_inputs

ENDINGS = ("_depth.png", "_view.png")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(*words: Path) -> list[str]:
    inputs, problems, _ = find_inputs(words, ENDINGS)
    assert problems == []
    return [one.name.as_posix() for one in inputs]


def test_find_inputs_searches_folders_in_sorted_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "sub/c.mp4", "a.png", "notes.txt", ".hidden.jpg", ".git/d.jpg")
    inputs, problems, _ = find_inputs([tmp_path], ENDINGS)
    assert problems == []
    assert [one.path.relative_to(tmp_path).as_posix() for one in inputs] == [
        "a.png",
        "b.JPG",
        "sub/c.mp4",
    ]
    assert [one.name.as_posix() for one in inputs] == ["a", "b", "sub/c"]
    assert [one.is_video for one in inputs] == [False, False, True]


def test_find_inputs_does_not_take_a_folder_for_a_picture(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "album.png/b.png")
    assert names(tmp_path) == ["a", "album.png/b"]


def test_find_inputs_keeps_the_order_of_the_words(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "c.v1.jpg")
    assert names(tmp_path / "b.jpg", tmp_path / "a.jpg", tmp_path / "c.v1.jpg") == [
        "b",
        "a",
        "c.v1",
    ]


def test_find_inputs_takes_a_file_of_any_suffix_that_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "photo", "photo.xyz")
    assert names(tmp_path / "photo.xyz") == ["photo"]
    assert names(tmp_path / "photo") == ["photo"]


def test_find_inputs_takes_a_transport_stream_that_is_named_and_no_typescript(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a.ts", "b.mts")
    assert names(tmp_path) == ["b"]
    (named,) = find_inputs([tmp_path / "a.ts"], ENDINGS).inputs
    assert named.is_video


def test_find_inputs_leaves_out_earlier_results(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a_depth.png", "out/a_view.png")
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a_depth.png") == ["a_depth"]


def test_find_inputs_takes_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "b.png")
    monkeypatch.chdir(tmp_path)
    assert names(Path("b.png"), tmp_path, Path("b.png")) == ["b", "a"]


def test_find_inputs_tells_equal_stems_apart_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "cat.jpg", "cat.png", "dog.png", "Cow.png", "cow.jpg")
    assert names(tmp_path) == ["Cow_png", "cat_jpg", "cat_png", "cow_jpg", "dog"]


def test_find_inputs_tells_equal_names_apart_by_number(tmp_path: Path) -> None:
    touch(tmp_path, "one/cat.jpg", "two/cat.jpg", "three/CAT.jpg", "cat_jpg_2.png")
    words = (tmp_path / word for word in ("one", "two", "three", "cat_jpg_2.png"))
    assert names(*words) == ["cat_jpg", "cat_jpg_3", "CAT_jpg_4", "cat_jpg_2"]


def test_find_inputs_gives_a_sentence_for_what_it_does_not_find(tmp_path: Path) -> None:
    touch(tmp_path, "folder/notes.txt")
    found = find_inputs([tmp_path / "folder", tmp_path / "none.jpg"], ENDINGS)
    assert found.inputs == []
    assert found.problems == [
        f"{tmp_path / 'folder'}: no image or video in this folder",
        f"{tmp_path / 'none.jpg'}: no such file or folder",
    ]


@pytest.mark.parametrize("suffix", ["mp4", "AVI", "mov", "mjpeg", "h264", "asf", "vob"])
def test_find_inputs_knows_videos(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"clip.{suffix}")
    (clip,) = find_inputs([tmp_path], ENDINGS).inputs
    assert clip.is_video


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "avif", "heic", "PNG"])
def test_find_inputs_knows_pictures(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"photo.{suffix}")
    (photo,) = find_inputs([tmp_path], ENDINGS).inputs
    assert not photo.is_video


def test_find_inputs_names_what_it_passes_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b_depth.png", ".hidden", *(f"sub/{n}.raw" for n in range(7)))
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (sentence,) = find_inputs([tmp_path], ENDINGS).passed_over
    named = "gone.jpg, sub/0.raw, sub/1.raw, sub/2.raw, sub/3.raw and 3 more"
    assert sentence == f"{tmp_path}: passed over, as no image or video: {named}"


def test_find_inputs_follows_links_to_folders_once(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/day/a.png", "elsewhere/b.png", "photos/real/c.png")
    photos = tmp_path / "photos"
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    (photos / "again").symlink_to(photos / "real")
    (photos / "real" / "up").symlink_to(photos)
    (tmp_path / "elsewhere" / "back").symlink_to(photos)
    assert names(photos) == ["linked/b", "linked/day/a", "real/c"]


def test_find_inputs_tells_of_a_folder_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.png", "closed/b.png")
    scan = os.scandir

    def refusing(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_inputs([tmp_path], ENDINGS)
    assert [one.name for one in found.inputs] == [Path("a")]
    assert found.problems == [f"{tmp_path / 'closed'}: cannot be read: Permission denied"]


def test_find_inputs_keeps_a_video_s_frames_from_the_photos_of_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "walk/000000.jpg", "walk.mp4", "run.mp4", "jump/a.png", "jump.png")
    assert sorted(names(tmp_path)) == ["jump", "jump/a", "run", "walk/000000", "walk_mp4"]
