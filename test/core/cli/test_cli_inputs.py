from __future__ import annotations

from pathlib import Path

import pytest

from ppd_core.cli.inputs import find_inputs

ENDINGS = ("_depth.png", "_view.png")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(*words: Path) -> list[str]:
    inputs, problems = find_inputs(words, ENDINGS)
    assert problems == []
    return [one.name.as_posix() for one in inputs]


def test_find_inputs_searches_folders_in_sorted_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "sub/c.mp4", "a.png", "notes.txt", ".hidden.jpg", ".git/d.jpg")
    inputs, problems = find_inputs([tmp_path], ENDINGS)
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
    (named,) = find_inputs([tmp_path / "a.ts"], ENDINGS)[0]
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
    inputs, problems = find_inputs([tmp_path / "folder", tmp_path / "none.jpg"], ENDINGS)
    assert inputs == []
    assert problems == [
        f"{tmp_path / 'folder'}: no image or video in this folder",
        f"{tmp_path / 'none.jpg'}: no such file or folder",
    ]


@pytest.mark.parametrize("suffix", ["mp4", "AVI", "mov"])
def test_find_inputs_knows_videos(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"clip.{suffix}")
    inputs, _ = find_inputs([tmp_path], ENDINGS)
    assert inputs[0].is_video


def test_find_inputs_keeps_a_video_s_frames_from_the_photos_of_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "walk/000000.jpg", "walk.mp4", "run.mp4", "jump/a.png", "jump.png")
    assert sorted(names(tmp_path)) == ["jump", "jump/a", "run", "walk/000000", "walk_mp4"]
