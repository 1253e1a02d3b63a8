from __future__ import annotations

import random
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType

from ppd_core.bag.reader import BagReader, Gap

Message = tuple[str, int, bytes]
Bags = SimpleNamespace
NO_SUMMARY = dict(
    use_summary_offsets=False,
    repeat_channels=False,
    repeat_schemas=False,
    use_statistics=False,
    index_types=IndexType.MESSAGE,
)
BEFORE_KILL = b"\x0f\x04\x00\x00\x00\x00\x00\x00\x00"
"""Begin of the record that ends the data."""


class Recording:
    """Messages in an MCAP file, and the chunks that they are in."""

    def __init__(self, bags: Bags, path: Path, count: int = 30, **options: Any) -> None:
        self.path, self.messages = path, bags.recorded(count)
        bags.mcap(path, self.messages, **options)
        with path.open("rb") as stream:
            summary = make_reader(stream).get_summary()
        self.chunks = sorted(summary.chunk_indexes, key=lambda one: one.chunk_start_offset)
        self.content = bytearray(path.read_bytes())

    def in_chunk(self, number: int) -> list[Message]:
        chunk = self.chunks[number]
        begin, end = chunk.message_start_time, chunk.message_end_time
        return [one for one in self.messages if begin <= one[1] <= end]

    def without(self, *numbers: int) -> list[Message]:
        lost = {one for number in numbers for one in self.in_chunk(number)}
        return [one for one in self.messages if one not in lost]

    def end_before_summary(self) -> None:
        """As a robot leaves the file that loses its power."""
        del self.content[self.content.rindex(BEFORE_KILL) :]

    def read(self) -> tuple[list[Message], list[Gap]]:
        self.path.write_bytes(self.content)
        with BagReader(self.path) as reader:
            messages = [(one.topic, one.log_ns, one.data) for one in reader.messages()]
            return messages, reader.gaps


def seconds(gap: Gap) -> tuple[float, float]:
    assert gap.begin_ns is not None and gap.end_ns is not None
    return gap.begin_ns / 1e9, gap.end_ns / 1e9


@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize("has_summary", [True, False])
def test_a_changed_byte_costs_its_chunk(
    bags: Bags, tmp_path: Path, compression: CompressionType, has_summary: bool
):
    bag = Recording(bags, tmp_path / "b.mcap", compression=compression)
    chunk = bag.chunks[3]
    bag.content[chunk.chunk_start_offset + chunk.chunk_length // 2] ^= 0x10
    if not has_summary:
        bag.end_before_summary()
    messages, gaps = bag.read()
    assert messages == bag.without(3)
    gap = next(one for one in gaps if "checksum does not hold" in one.detail)
    lost = bag.in_chunk(3)
    assert (gap.begin_ns, gap.end_ns) == (lost[0][1], lost[-1][1])
    assert gap.detail.endswith(f": {len(lost)} of {len(lost)} messages are lost")
    assert len(gaps) == (1 if has_summary else 2)


@pytest.mark.parametrize("damage", ["zeros", "noise"])
@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize("has_summary", [True, False])
def test_an_overwritten_header_costs_its_chunk(
    bags: Bags, tmp_path: Path, compression: CompressionType, has_summary: bool, damage: str
):
    bag = Recording(bags, tmp_path / "b.mcap", compression=compression)
    at = bag.chunks[3].chunk_start_offset
    bag.content[at : at + 57] = bytes(57) if damage == "zeros" else random.Random(0).randbytes(57)
    if not has_summary:
        bag.end_before_summary()
    messages, gaps = bag.read()
    assert messages == bag.without(3)
    lost = bag.in_chunk(3)
    assert (gaps[0].begin_ns, gaps[0].end_ns) == (lost[0][1], lost[-1][1])
    assert f"{len(lost)} " in gaps[0].detail and "messages are lost" in gaps[0].detail


@pytest.mark.parametrize("has_summary", [True, False])
def test_zeros_over_several_chunks_cost_these(bags: Bags, tmp_path: Path, has_summary: bool):
    bag = Recording(bags, tmp_path / "b.mcap")
    begin = bag.chunks[2].chunk_start_offset + 70
    end = bag.chunks[5].chunk_start_offset + 60
    bag.content[begin:end] = bytes(end - begin)
    if not has_summary:
        bag.end_before_summary()
    messages, gaps = bag.read()
    assert messages == bag.without(2, 3, 4, 5)
    assert min(one.begin_ns for one in gaps if one.begin_ns) <= bag.in_chunk(2)[0][1]
    assert max(one.end_ns for one in gaps if one.end_ns) >= bag.in_chunk(5)[-1][1]


def test_a_header_that_only_lost_its_times_costs_nothing(bags: Bags, tmp_path: Path):
    bag = Recording(bags, tmp_path / "b.mcap")
    at = bag.chunks[3].chunk_start_offset
    bag.content[at : at + 25] = bytes(25)
    assert bag.read() == (bag.messages, [])


@pytest.mark.parametrize("at", [-1, -20, -60])
def test_a_damaged_summary_costs_nothing(bags: Bags, tmp_path: Path, at: int):
    bag = Recording(bags, tmp_path / "b.mcap")
    bag.content[at] ^= 0x55
    assert bag.read() == (bag.messages, [])


@pytest.mark.parametrize("compression", CompressionType)
def test_a_file_that_was_cut_off_gives_what_is_whole(
    bags: Bags, tmp_path: Path, compression: CompressionType
):
    bag = Recording(bags, tmp_path / "b.mcap", compression=compression)
    chunk = bag.chunks[4]
    del bag.content[chunk.chunk_start_offset + chunk.chunk_length - 5 :]
    messages, gaps = bag.read()
    before = [one for number in range(4) for one in bag.in_chunk(number)]
    assert messages[: len(before)] == before
    rest = messages[len(before) :]
    assert rest == bag.in_chunk(4)[: len(rest)]
    if compression == CompressionType.NONE:
        assert len(rest) == len(bag.in_chunk(4)) - 1
    details = [one.detail for one in gaps]
    assert "the file ends without its index: it was cut off, or its recorder killed" in details
    assert any("the file ends in the middle of it" in one for one in details)


def test_a_bad_record_without_checksum_costs_itself(bags: Bags, tmp_path: Path):
    bag = Recording(bags, tmp_path / "b.mcap", enable_crcs=False, compression=CompressionType.NONE)
    lost = bag.in_chunk(3)[1]
    at = bag.content.index(lost[2]) - 31
    bag.content[at + 1 : at + 9] = struct.pack("<Q", 10**6)  # its length
    messages, gaps = bag.read()
    assert messages == [one for one in bag.messages if one != lost]
    assert len(gaps) == 1 and f"1 of {len(bag.in_chunk(3))} messages are lost" in gaps[0].detail


def test_messages_outside_of_chunks_are_read_around_damage(bags: Bags, tmp_path: Path):
    messages = bags.recorded()
    path = bags.mcap(tmp_path / "b.mcap", messages, use_chunking=False)
    content = bytearray(path.read_bytes())
    begin, end = content.index(messages[5][2]) - 31, content.index(messages[8][2]) + 4
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)
    with BagReader(path) as reader:
        read = [(one.topic, one.log_ns, one.data) for one in reader.messages()]
        # The one before goes too: nothing confirms its length.
        assert read == messages[:4] + messages[9:]
        assert [seconds(one) for one in reader.gaps] == [
            (messages[3][1] / 1e9, messages[9][1] / 1e9)
        ]
        assert reader.topics["/image"].count == 12 - 3


def test_a_log_time_that_is_years_away_is_not_believed(bags: Bags, tmp_path: Path):
    messages = bags.recorded()
    path = bags.mcap(tmp_path / "b.mcap", messages, use_chunking=False)
    content = bytearray(path.read_bytes())
    content[content.index(messages[6][2]) - 9] = 0x40  # the highest byte of the log time
    path.write_bytes(content)
    with BagReader(path) as reader:
        read = [(one.topic, one.log_ns, one.data) for one in reader.messages()]
        assert read == messages[:6] + messages[7:]
        assert len(reader.gaps) == 1 and reader.end_ns == messages[-1][1]


def test_a_lost_declaration_is_told(bags: Bags, tmp_path: Path):
    bag = Recording(bags, tmp_path / "b.mcap")
    bag.content[bag.chunks[0].chunk_start_offset + 100] ^= 1
    bag.end_before_summary()
    bag.path.write_bytes(bag.content)
    with BagReader(bag.path) as reader:
        told = [one.detail for one in reader.gaps if "whose declaration is lost" in one.detail]
        assert told == [
            f"30 messages are of topic number {key}, whose declaration is lost" for key in (1, 2)
        ]


def test_a_chunk_without_wanted_topics_is_not_read(bags: Bags, tmp_path: Path):
    messages = [("/image", 10**9, bags.cdr(bags.image(1)))] * 20
    messages += [("/info", 2 * 10**9, bags.cdr(bags.info(2)))] * 20
    path = bags.mcap(
        tmp_path / "b.mcap", messages, chunk_size=500, compression=CompressionType.NONE
    )
    content = bytearray(path.read_bytes())
    content[content.index(messages[0][2]) + 20] ^= 1
    path.write_bytes(content)
    with BagReader(path) as reader:
        assert len(list(reader.messages(["/info"]))) == 20
        assert reader.gaps == []


def damaged(content: bytearray, source: random.Random) -> list[tuple[int, int]]:
    """Change bytes at random; where."""
    places = []
    for _ in range(source.choice([1, 1, 3, 20])):
        begin = source.randrange(len(content))
        end = min(begin + source.choice([1, 1, 8, 300, 5000]), len(content))
        kind = source.choice(["flip", "zero", "noise"])
        for at in range(begin, end):
            if kind == "flip":
                content[at] ^= source.randrange(1, 256)
            else:
                content[at] = 0 if kind == "zero" else source.randrange(256)
        places.append((begin, end))
    return places


@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize("has_summary", [True, False])
def test_random_damage_never_gives_a_wrong_message(
    bags: Bags, tmp_path: Path, compression: CompressionType, has_summary: bool
):
    bag = Recording(bags, tmp_path / "b.mcap", compression=compression)
    if not has_summary:
        bag.end_before_summary()
    whole, known = bytes(bag.content), set(bag.messages)
    data_end = bag.chunks[-1].chunk_start_offset + bag.chunks[-1].chunk_length
    lost_in_all = 0
    for seed in range(40):
        bag.content = bytearray(whole)
        places = damaged(bag.content, random.Random(seed))
        messages, gaps = bag.read()
        assert len(set(messages)) == len(messages), seed
        assert set(messages) <= known, seed
        assert messages == sorted(messages, key=lambda one: one[1]), seed
        hit = {
            number
            for number, chunk in enumerate(bag.chunks)
            for begin, end in places
            if begin < chunk.chunk_start_offset + chunk.chunk_length
            and end > chunk.chunk_start_offset
        }
        lost = known - set(messages)
        lost_in_all += len(lost)
        assert not lost or gaps, seed
        # The first chunk has the declarations; where the summary's are hit too, all is lost.
        has_other = has_summary and all(end <= data_end for _, end in places)
        if has_other or 0 not in hit:
            assert lost <= known - set(bag.without(*hit)), seed
    assert lost_in_all > 0
