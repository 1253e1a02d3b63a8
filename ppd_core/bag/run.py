"""READ FIRST. A recording through the model, from its messages to those that are written.

`reader -> frames -> (some at a time) model and metres -> messages -> writer`: reading and writing
are done by threads of their own, the model by the caller's. Nothing is kept of the recording but
what frames still wait for.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ppd_core.bag.background import Ahead, Behind
from ppd_core.bag.copier import Copier, StoppedError
from ppd_core.bag.estimate import CameraOfSize, Decoded, Estimator, decoded, grouped
from ppd_core.bag.frames import recorded_frames
from ppd_core.bag.health import RunHealth
from ppd_core.bag.outputs import FrameOutput, frame_output, messages_of
from ppd_core.bag.pairing_report import PairingReport
from ppd_core.bag.progress import Progress
from ppd_core.bag.reader import BagReader
from ppd_core.bag.recording import BagMessage
from ppd_core.bag.settings import RunSettings
from ppd_core.bag.static import read_static
from ppd_core.bag.topics import ChosenTopics
from ppd_core.bag.writer import BagWriter
from ppd_core.pipeline import DepthPipeline

WRITE_BUDGET = 256 * 2**20
"""Bytes of messages that may wait for the disk, and of copies that may wait for their frames."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be done with one recording.

    Args:
        reader: open.
        chosen: the topics that frames are made of.
        settings: how they are worked on.
        folder: becomes the written recording.
        kept: topics that are copied as they are.
        storage, compression: see `BagWriter`.
        camera: the camera of images without calibration.
        given: what else decides what comes out, as the user gave it: the model, the camera.
    """

    reader: BagReader
    chosen: ChosenTopics
    settings: RunSettings
    folder: Path
    kept: Collection[str] = ()
    storage: str = "mcap"
    compression: str = "none"
    camera: CameraOfSize | None = None
    given: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What a run must share with the one that it goes on with."""
        return {
            "input": _fingerprint(self.reader.files),
            "topics": sorted(self.chosen.names(self.settings.frames.source)),
            "kept": sorted(self.kept),
            "storage": self.storage,
            **self.given,
            **self.settings.facts(),
        }


@dataclass(eq=False)
class Watch:
    """What a run tells its caller while it goes on.

    Attributes:
        say: takes a sentence for the user.
        advance: is told how many frames more are done.
        is_stopped: whether the run is to end early; asked after each batch, and by the thread that
            reads before each message. Once true it stays so.
    """

    say: Callable[[str], None] = lambda text: None
    advance: Callable[[int], None] = lambda count: None
    is_stopped: Callable[[], bool] = lambda: False


@dataclass(eq=False)
class Run:
    """One pass over a recording, or the rest of one.

    Args:
        plan: what is to be done.
        pipeline: the model.
        watch: is told how it goes.
        progress: of the run that this one goes on with.

    Attributes:
        pairing: how messages were put together.
        gaps: sentences on what of the recording could not be read.
        is_complete: whether the recording's end was reached.
    """

    plan: Plan
    pipeline: DepthPipeline
    watch: Watch = field(default_factory=Watch)
    progress: Progress = field(default_factory=Progress)
    pairing: PairingReport = field(default_factory=PairingReport)
    gaps: Sequence[str] = ()
    is_complete: bool = False

    def __post_init__(self) -> None:
        settings = self.plan.settings
        self._estimator = Estimator(self.pipeline, settings, self.watch.say)
        self._health = RunHealth(settings, self.pipeline)
        self._copied = 0
        # Copies read ahead of the frames wait for these: players read part after part, so
        # none may hold what is later than the next one's. Touched by `behind`'s thread alone.
        self._held: deque[BagMessage] = deque()
        self._held_bytes = 0
        self._begin_s = time.perf_counter()
        self._saved_s = self._begin_s
        self._earlier_s = 0.0

    def resume(self, state: dict[str, Any]) -> None:
        """Go on behind a checkpoint.

        Raises:
            ValueError: it is of another recording, or of other settings, or of no run at all.
        """
        facts, before = _plain(self.plan.facts()), state.get("facts")
        if before is None:
            raise ValueError(f"{self.plan.folder} holds a recording that no such run has written")
        changed = [key for key in facts | before if facts.get(key) != before.get(key)]
        if changed:
            raise ValueError(
                f"{self.plan.folder} was begun with another {', '.join(changed)}: give the same "
                "again, another folder, or --overwrite"
            )
        self.progress = Progress.from_json(state["progress"])
        self._copied = state["copied"]
        self._estimator.restore(state["aligner"])
        self._earlier_s = self.progress.total_s
        if state["complete"]:
            # Nothing is read again, and what was wrong shall be told all the same.
            self.is_complete = True
            self.pairing = PairingReport(**state["pairing"])
            self.gaps = state["gaps"]

    def __call__(self) -> None:
        """Work until the recording ends or `watch.is_stopped`.

        However it ends, what was written until then can be gone on with. Of a run that was
        complete nothing is done.

        Raises:
            OSError: the disk is full or fails.
            ValueError: the recording is none.
            RuntimeError, MemoryError: the model failed.
        """
        plan = self.plan
        if self.is_complete:
            return
        with ExitStack() as stack:
            writer = stack.enter_context(
                BagWriter(plan.folder, storage=plan.storage, compression=plan.compression)
            )
            behind = stack.enter_context(closing(Behind(WRITE_BUDGET)))
            frames = self._frames(
                Copier(
                    plan.reader,
                    partial(self._copy, writer, behind),
                    plan.kept,
                    first=self._copied,
                    is_stopped=self.watch.is_stopped,
                )
            )
            ahead = Ahead(frames, 2 * plan.settings.batch_size)
            stack.callback(ahead.close)
            try:
                for group in grouped(ahead, plan.settings.batch_size):
                    self._work_on(group, writer, behind)
                    if self.watch.is_stopped():
                        break
                    if time.perf_counter() - self._saved_s > plan.settings.checkpoint_s:
                        self._save(writer, behind)
                else:
                    self.is_complete = True
            except StoppedError:
                pass  # Where no image came for long.
            self.gaps = list(dict.fromkeys(gap.describe() for gap in plan.reader.gaps))
            self._save(writer, behind)
            behind.finish()

    def _frames(self, reader: Copier) -> Iterator[Decoded]:
        plan = self.plan
        # Where no index tells how many come, a whole recording would be read for them.
        is_tf_read = plan.settings.frames.source == "lidar"
        chosen = plan.chosen if is_tf_read else replace(plan.chosen, tf_static=())
        static = read_static(plan.reader, chosen)
        frames = recorded_frames(
            reader,
            plan.chosen,
            plan.settings.frames,
            report=self.pairing,
            static=static,
        )
        return decoded(frames, self.progress.frames, plan.camera)

    def _work_on(self, group: list[Decoded], writer: BagWriter, behind: Behind) -> None:
        settings = self.plan.settings
        are_metres_wanted = settings.frames.source != "none"
        begin_s = time.perf_counter()
        results = self._estimator(group) if group[0].rgb is not None else [None] * len(group)
        self.progress.model_s += time.perf_counter() - begin_s
        for one, result in zip(group, results, strict=True):
            self.progress.note(result, are_metres_wanted=are_metres_wanted)
            if one.no_camera:
                self.progress.no_camera[one.no_camera] += 1
            messages = self._health.after(one, result)
            if result is None:
                self.watch.say(f"image {one.frame.index} cannot be read: {one.problem}")
                behind.do(partial(self._write_copies, writer, one.frame.log_ns))
            else:
                output = frame_output(one, result, settings)
                behind.do(partial(self._write, writer, output), output.size_bytes)
            for message in messages:
                topic = settings.topic("diagnostics")
                behind.do(partial(writer.write, topic, one.frame.log_ns, message))
        self.watch.advance(len(group))

    def _write(self, writer: BagWriter, output: FrameOutput) -> None:
        self._write_copies(writer, output.log_ns)
        for topic, message in messages_of(output, self.plan.settings):
            writer.write(topic, output.log_ns, message)

    def _copy(self, writer: BagWriter, behind: Behind, message: BagMessage) -> None:
        behind.do(partial(self._hold_copy, writer, message), len(message.data))

    def _hold_copy(self, writer: BagWriter, message: BagMessage) -> None:
        self._held.append(message)
        self._held_bytes += len(message.data)
        while self._held_bytes > WRITE_BUDGET:
            self._write_copy(writer)

    def _write_copies(self, writer: BagWriter, until_ns: float) -> None:
        """Write what was recorded until then, in the order of the recording."""
        while self._held and self._held[0].log_ns <= until_ns:
            self._write_copy(writer)

    def _write_copy(self, writer: BagWriter) -> None:
        message = self._held.popleft()
        self._held_bytes -= len(message.data)
        writer.copy(self.plan.reader.topics[message.topic], message)
        self._copied += 1

    def _save(self, writer: BagWriter, behind: Behind) -> None:
        """Have all that belongs to the frames until now made safe; at the end, the rest, too."""
        commit = writer.close if self.is_complete else writer.checkpoint
        self._saved_s = time.perf_counter()
        self.progress.total_s = self._earlier_s + self._saved_s - self._begin_s
        state = {
            "facts": self.plan.facts(),
            "progress": self.progress.as_json(),
            "aligner": self._estimator.state(),
        }
        if self.is_complete:
            state |= {"pairing": asdict(self.pairing), "gaps": self.gaps}
            behind.do(partial(self._write_copies, writer, math.inf))
        # The count is that of the moment when the job's turn comes.
        behind.do(lambda: commit({**state, "copied": self._copied}))


def _fingerprint(files: Sequence[Path]) -> list[Any]:
    """What tells a recording from another one: names, sizes and times of its files."""
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    import json

    return json.loads(json.dumps(facts))
