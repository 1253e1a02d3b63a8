from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ppd_core.data.eval_samples import EvalSample, EvalSet, SampleError
from ppd_core.evaluation import run
from ppd_core.evaluation.canny_cloud import CLOUD_METRICS
from ppd_core.evaluation.measure import AnyModel, measure
from ppd_core.evaluation.metrics import METRICS
from ppd_core.evaluation.model import Prediction
from ppd_core.evaluation.protocols import PROTOCOLS
from ppd_core.evaluation.ranks import Ranks
from ppd_core.evaluation.records import Key
from ppd_core.evaluation.run import Task, evaluate
from ppd_core.evaluation.summary import Row


def task(
    model: AnyModel, data: EvalSet, *protocols: str, limit: int | None = None, weights: str = "1"
) -> Task:
    names = protocols or ("ppd",)
    keys = {name: Key(model.name, weights, data.name, "/data", name) for name in names}
    return Task(model, data, {name: PROTOCOLS[name] for name in names}, keys, limit)


def figures(rows: list[Row]) -> list[dict]:
    return [
        {record.name: (dict(record.figures), record.failure) for record in row.records}
        for row in rows
    ]


def test_the_truth_itself_has_no_error_and_no_flying_pixel(tmp_path: Path, fakes: SimpleNamespace):
    (row,) = evaluate(task(fakes.TruthModel(), fakes.FakeSet(3)), tmp_path)
    assert row.means["absrel"] < 1e-4 and row.means["flying"] == 0
    assert row.means["edge_cloud_m"] < 1e-3
    assert row.counts["edge_cloud_m"] == 3 and not row.failed
    assert row.model_s > 0 and row.metrics_s > 0


def test_an_image_goes_once_through_the_model_for_all_protocols(
    tmp_path: Path, fakes: SimpleNamespace
):
    model = fakes.TruthModel()
    rows = evaluate(task(model, fakes.FakeSet(4), "ppd", "scale", "metric"), tmp_path)
    assert model.calls == 4
    assert [row.key.protocol for row in rows] == ["ppd", "scale", "metric"]
    # All metres are 10 % too long; a factor mends that, and "metric" fits nothing.
    assert rows[1].means["absrel"] < 1e-4
    assert rows[2].means["absrel"] == pytest.approx(0.1, rel=1e-4)


def test_a_second_run_measures_nothing_anew_and_says_the_same(
    tmp_path: Path, fakes: SimpleNamespace
):
    first = evaluate(task(fakes.TruthModel(), fakes.FakeSet(3)), tmp_path)
    model, data = fakes.TruthModel(), fakes.FakeSet(3)
    second = evaluate(task(model, data), tmp_path)
    assert model.calls == 0 and data.read == []
    assert figures(first) == figures(second)


def test_only_the_protocol_that_is_new_is_measured(tmp_path: Path, fakes: SimpleNamespace):
    evaluate(task(fakes.TruthModel(), fakes.FakeSet(3)), tmp_path)
    model = fakes.TruthModel()
    evaluate(task(model, fakes.FakeSet(4), "ppd", "scale"), tmp_path)
    assert model.calls == 4
    ppd_files = list((tmp_path / "records").glob("*ppd*"))
    assert len(ppd_files) == 1 and len(ppd_files[0].read_text().splitlines()) == 1 + 4


def test_a_run_that_was_cut_short_goes_on_where_it_was(tmp_path: Path, fakes: SimpleNamespace):
    whole = evaluate(task(fakes.TruthModel(), fakes.FakeSet(4)), tmp_path / "whole")

    class Killed(fakes.TruthModel):
        def __call__(self, image: np.ndarray, **rest: object) -> Prediction:
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().__call__(image)

    with pytest.raises(KeyboardInterrupt):
        evaluate(task(Killed(), fakes.FakeSet(4)), tmp_path)
    model = fakes.TruthModel()
    assert figures(evaluate(task(model, fakes.FakeSet(4)), tmp_path)) == figures(whole)
    assert model.calls == 2


def test_other_weights_are_measured_anew(tmp_path: Path, fakes: SimpleNamespace):
    evaluate(task(fakes.TruthModel(), fakes.FakeSet(2)), tmp_path)
    (row,) = evaluate(task(fakes.TruthModel(0.5), fakes.FakeSet(2), weights="2"), tmp_path)
    assert row.means["absrel"] > 0.01


def test_a_limit_takes_the_first_images_and_a_longer_run_goes_on(
    tmp_path: Path, fakes: SimpleNamespace
):
    (row,) = evaluate(task(fakes.TruthModel(), fakes.FakeSet(4), limit=2), tmp_path)
    assert [record.name for record in row.records] == ["scene/0", "scene/1"]
    model = fakes.TruthModel()
    (row,) = evaluate(task(model, fakes.FakeSet(4)), tmp_path)
    assert len(row.records) == 4 and model.calls == 2
    (row,) = evaluate(task(model, fakes.FakeSet(4), limit=1), tmp_path)
    assert len(row.records) == 1


def without_truth(one: EvalSample) -> EvalSample:
    return replace(one, valid_mask=np.zeros_like(one.valid_mask))


def of_two_sizes(one: EvalSample) -> EvalSample:
    return replace(one, depth=one.depth[:10])


def broken(one: EvalSample) -> EvalSample:
    raise SampleError("fake, sample scene/1: cannot read depth.png")


def missing(one: EvalSample) -> EvalSample:
    raise FileNotFoundError(2, "No such file or directory", "depth/1.png")


@pytest.mark.parametrize(
    ("reader", "reason", "detail"),
    [
        (broken, "unreadable", "cannot read depth.png"),
        (missing, "unreadable", "depth/1.png"),
        (without_truth, "no_truth", "none of 768 pixels"),
        (of_two_sizes, "sizes_differ", "32 x 24, 32 x 10, 32 x 24"),
    ],
)
def test_a_bad_sample_is_counted_by_its_reason(
    tmp_path: Path, reader, reason: str, detail: str, fakes: SimpleNamespace
):
    (row,) = evaluate(
        task(fakes.TruthModel(), fakes.FakeSet(3, {1: lambda: reader(fakes.sample(1))})), tmp_path
    )
    assert row.failures == {reason: 1}
    assert row.failed[0].name == "scene/1" and detail in row.failed[0].detail
    assert row.counts["absrel"] == 2


@pytest.mark.parametrize(
    ("how", "reason", "detail"),
    [
        ("raises", "model_failed", "out of memory"),
        ("small", "model_failed", r"depth must be (24, 32), got (5, 32)"),
        ("nan", "prediction_invalid", "1 of 768 pixels"),
    ],
)
def test_a_bad_answer_is_counted_by_its_reason(
    tmp_path: Path, how: str, reason: str, detail: str, fakes: SimpleNamespace
):
    (row,) = evaluate(task(fakes.FailingModel(1, how), fakes.FakeSet(3)), tmp_path)
    assert row.failures == {reason: 1}
    assert row.failed[0].name == "scene/1" and detail in row.failed[0].detail
    assert row.counts["absrel"] == 2 and row.means["absrel"] < 1e-4


def test_a_protocol_that_cannot_align_is_counted_for_itself_alone(
    tmp_path: Path, fakes: SimpleNamespace
):
    class Relative(fakes.TruthModel):
        def __call__(self, image: np.ndarray, **rest: object) -> Prediction:
            return Prediction(super().__call__(image).relative_depth)

    ppd, metric = evaluate(task(Relative(), fakes.FakeSet(2), "ppd", "metric"), tmp_path)
    assert ppd.failures == {} and metric.failures == {"not_aligned": 2}
    assert metric.means == {}


def test_a_depth_with_holes_is_measured_where_it_is_and_says_how_much_that_is(
    tmp_path: Path, fakes: SimpleNamespace
):
    class Sensor(fakes.FailingModel):
        has_holes = True

    (row,) = evaluate(task(Sensor(1, "nan"), fakes.FakeSet(2)), tmp_path)
    assert row.failures == {}
    assert row.means["coverage"] == pytest.approx(767 / 768) and row.counts["coverage"] == 1


def test_what_failed_is_tried_again(tmp_path: Path, fakes: SimpleNamespace):
    evaluate(
        task(fakes.TruthModel(), fakes.FakeSet(3, {1: lambda: broken(fakes.sample(1))})), tmp_path
    )
    model = fakes.TruthModel()
    (row,) = evaluate(task(model, fakes.FakeSet(3)), tmp_path)
    assert row.failures == {} and model.calls == 1


def test_an_empty_data_set_is_an_error(tmp_path: Path, fakes: SimpleNamespace):
    with pytest.raises(ValueError, match="data set fake is empty"):
        evaluate(task(fakes.TruthModel(), fakes.FakeSet(0)), tmp_path)


def test_names_that_come_twice_are_an_error(tmp_path: Path, fakes: SimpleNamespace):
    data = fakes.FakeSet(2)
    data.names = lambda: ["a", "a"]
    with pytest.raises(ValueError, match="several images of one name"):
        evaluate(task(fakes.TruthModel(), data), tmp_path)


def test_a_limit_below_one_is_refused(fakes: SimpleNamespace):
    with pytest.raises(ValueError, match="limit must be >= 1, got 0"):
        task(fakes.TruthModel(), fakes.FakeSet(2), limit=0)


@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_make_the_same_rows_as_one(
    tmp_path: Path, world: int, fakes: SimpleNamespace
):
    alone = evaluate(task(fakes.TruthModel(0.5), fakes.FakeSet(5)), tmp_path / "alone")
    models = [fakes.TruthModel(0.5) for _ in range(world)]
    found: list[list[Row]] = [[] for _ in range(world)]

    def work(rank: int) -> None:
        one = task(models[rank], fakes.FakeSet(5))
        found[rank] = evaluate(one, tmp_path, Ranks(rank, world))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert figures(found[0]) == figures(alone)
    assert found[1:] == [[]] * (world - 1)
    assert sum(model.calls for model in models) == 5


def test_a_process_that_never_comes_is_not_waited_for_forever(
    tmp_path: Path, fakes: SimpleNamespace
):
    evaluate(task(fakes.TruthModel(), fakes.FakeSet(4)), tmp_path, Ranks(1, 2))
    key = task(fakes.TruthModel(), fakes.FakeSet(4)).keys["ppd"]
    seconds = iter(range(1000))
    with pytest.raises(TimeoutError, match="4 images need a record where 2 have one"):
        run._all_records(
            tmp_path,
            key,
            fakes.FakeSet(4).names(),
            patience_s=5,
            clock=lambda: next(seconds),
            wait=lambda _: None,
        )


def test_nan_is_never_a_figure_of_a_measured_image(tmp_path: Path, fakes: SimpleNamespace):
    (row,) = evaluate(task(fakes.TruthModel(0.5), fakes.FakeSet(2)), tmp_path)
    for record in row.measured:
        assert math.isfinite(record.figures["absrel"])
    assert torch.isfinite(torch.tensor(list(row.means.values()))).all()


def test_figures_are_those_of_the_registries(fakes: SimpleNamespace):
    one = fakes.sample(2)
    truth, valid_mask = torch.from_numpy(one.depth), torch.from_numpy(one.valid_mask)
    predicted = truth + 0.3 * (truth - truth.roll(1, 1)).abs()
    planes = predicted[None], truth[None], valid_mask[None]
    figures = measure(predicted, truth, valid_mask, one.intrinsics)
    assert list(figures) == [*METRICS, *CLOUD_METRICS]
    assert figures["flying"] > 0
    for name, metric in METRICS.items():
        assert figures[name] == float(metric.function(*planes)), name
    assert list(measure(predicted, truth, valid_mask, None)) == list(METRICS)
