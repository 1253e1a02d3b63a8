from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ppd_core import DepthPipeline, Intrinsics, PipelineConfig, WeightsError
from ppd_core.alignment.affine import alignment_from_range
from ppd_core.cli import main
from ppd_core.config import (
    PRESETS,
    PreprocessConfig,
    PromptConfig,
    SamplerConfig,
    SpDitConfig,
)
from ppd_core.flow import interpolate, warm_timesteps
from ppd_core.geometry.camera import ray_table
from ppd_core.models.sp_dit import SpDit
from ppd_core.networks import Estimate
from ppd_core.preprocess import preprocess
from ppd_core.registry import REGISTRY, PublishedFile
from ppd_core.sampler import sample
from ppd_core.types import AlignedDepth, AlignmentError
from ppd_core.weights import save_checkpoint

SMALL = PipelineConfig(
    model=SpDitConfig(hidden_size=32, depth=2, num_heads=2, semantics_dim=384),
    prompt=PromptConfig("dinov2", "s"),
    preprocess=PreprocessConfig(processing_area=64 * 64),
)


@pytest.fixture(scope="module")
def pipeline() -> DepthPipeline:
    return DepthPipeline.from_config(SMALL, device="cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


def assert_same_depth(one: DepthPipeline, other: DepthPipeline, image: np.ndarray) -> None:
    # Before upsampling, which takes this sample or that at a border by the last bit.
    depths = [pipeline(image).relative_depth_model for pipeline in (one, other)]
    torch.testing.assert_close(*depths, atol=1e-5, rtol=1e-5)


def test_a_result_has_the_promised_shapes_and_no_points_without_intrinsics(pipeline, image):
    result = pipeline(image)
    h, w = pipeline.model_size(60, 90)
    assert result.relative_depth.shape == result.valid_mask.shape == (60, 90)
    assert result.relative_depth_model.shape == (h, w) == (48, 80)
    assert result.relative_depth.dtype == torch.float32
    assert result.valid_mask.all()
    assert result.metric_depth is result.points is result.colors is result.intrinsics is None
    stages = ["preprocess", "prompt", "sample", "upsample", "align"]
    assert list(result.timings_s) == stages
    assert all(seconds >= 0 for seconds in result.timings_s.values())


def test_warm_up_does_what_frames_of_that_size_do(pipeline, image, monkeypatch):
    expected = pipeline(image).relative_depth
    asked = []
    backend = pipeline._backend

    class Noting:
        def estimate(self, images, area, x_t, timesteps, clock):
            asked.append(([one.shape for one in images], area, tuple(x_t.shape), timesteps))
            return backend.estimate(images, area, x_t, timesteps, clock)

    monkeypatch.setattr(pipeline, "_backend", Noting())
    seconds = pipeline.warm_up(60, 90, num_steps=2, processing_area=32 * 48, batch_size=3)
    assert asked == [([(60, 90, 3)] * 3, 32 * 48, (3, 1, 32, 48), [1000, 500])]
    pipeline.warm_up(60, 90, num_steps=4, is_warm_started=True)
    assert asked[1:] == [([(60, 90, 3)], 64 * 64, (1, 1, 48, 80), [500, 249])]
    assert list(seconds) == ["preprocess", "prompt", "sample", "upsample", "align", "total"]
    assert seconds["total"] >= seconds["sample"] > 0
    assert torch.equal(pipeline(image).relative_depth, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0, "width": 90}, "image must be at least|must be"),
        ({"height": 60, "width": 90, "batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"height": 60, "width": 90, "num_steps": 0}, r"num_steps must be in \[1, 1000\], got 0"),
    ],
)
def test_warm_up_refuses_what_no_frame_can_be(pipeline, arguments, message):
    with pytest.raises(ValueError, match=message):
        pipeline.warm_up(**arguments)


def test_a_loaded_pipeline_tells_what_loading_took(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p.safetensors")
    for loaded in (pipeline, DepthPipeline.from_pretrained(tmp_path / "p.safetensors")):
        assert list(loaded.load_seconds) == ["build", "weights"]
        assert all(seconds > 0 for seconds in loaded.load_seconds.values())


def test_same_image_same_depth_and_another_noise_another(pipeline, image):
    first = pipeline(image).relative_depth
    torch.testing.assert_close(pipeline(image).relative_depth, first)
    generator = torch.Generator().manual_seed(5)
    assert not torch.allclose(pipeline(image, generator=generator).relative_depth, first)


def test_given_noise_is_what_sampling_starts_from(pipeline, image):
    shape = (1, 1, *pipeline.model_size(60, 90))
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    by_noise = pipeline(image, noise=drawn).relative_depth
    by_generator = pipeline(image, generator=torch.Generator().manual_seed(5)).relative_depth
    torch.testing.assert_close(by_noise, by_generator)


def test_steps_and_area_are_a_choice_of_each_call(pipeline, image):
    assert pipeline(image, processing_area=32 * 48).relative_depth_model.shape == (32, 48)
    one, four = pipeline(image, num_steps=1), pipeline(image)
    assert not torch.allclose(one.relative_depth, four.relative_depth)


def test_points_lie_on_their_rays_at_metric_depth(pipeline, image):
    camera = Intrinsics.from_fov(90, 60, 70)
    result = pipeline(image, intrinsics=camera, alignment=alignment_from_range(1, 5))
    valid = result.valid_mask
    assert valid.any()
    torch.testing.assert_close(result.points[..., 2][valid], result.metric_depth[valid])
    v, u = 7, int(valid[7].nonzero()[0])
    x, _, z = result.points[v, u].tolist()
    assert x / z == pytest.approx((u - camera.cx) / camera.fx, rel=1e-5)
    assert result.points[~valid].isnan().all()
    assert torch.equal(result.colors, torch.from_numpy(image))


def test_without_alignment_z_is_relative_depth_moved_in_front_of_the_camera(pipeline, image):
    result = pipeline(image, intrinsics=Intrinsics.from_fov(90, 60, 70))
    in_front = result.relative_depth > -0.5
    torch.testing.assert_close(
        result.points[..., 2][in_front], result.relative_depth[in_front] + 0.5
    )
    assert result.points[~in_front].isnan().all()


def test_a_camera_s_buffer_may_be_flipped_read_only_and_reused(pipeline, image):
    bgr = image[..., ::-1].copy()
    bgr.flags.writeable = False
    camera = Intrinsics.from_fov(90, 60, 70)
    result = pipeline(bgr[..., ::-1], intrinsics=camera)
    assert torch.equal(result.colors, torch.from_numpy(image))
    buffer = image.copy()
    result = pipeline(buffer, intrinsics=camera)
    buffer[:] = 0
    assert torch.equal(result.colors, torch.from_numpy(image))


def test_training_may_follow_a_call_in_inference_mode(pipeline, image):
    with torch.inference_mode():
        pipeline(image, intrinsics=Intrinsics.from_fov(90, 60, 71))
    rays = ray_table(Intrinsics.from_fov(90, 60, 71))
    gain = torch.ones((), requires_grad=True)
    (gain * rays).sum().backward()
    dit = SpDit(SMALL.model)
    x, semantics = torch.randn(1, 4, 48, 80), torch.randn(1, 15, 384)
    dit(x, semantics, torch.tensor([500])).sum().backward()
    assert dit.x_embedder.proj.weight.grad is not None
    assert gain.grad is not None


def test_the_default_device_of_torch_changes_nothing(pipeline, image):
    expected = pipeline(image, num_steps=3).relative_depth
    torch.set_default_device("meta")
    try:
        found = pipeline(image, num_steps=3).relative_depth
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(found, expected)


def test_an_untrained_pipeline_leaves_the_caller_s_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    DepthPipeline.from_config(SMALL, device="cpu")
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.processor
def test_half_precision_computes_in_it_and_answers_in_float32(image):
    pipeline = DepthPipeline.from_config(SMALL, device="cpu", dtype=torch.bfloat16)
    exact = DepthPipeline.from_config(SMALL, device="cpu")(image).relative_depth_model
    found = pipeline(image).relative_depth_model
    assert pipeline.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    error = (found - exact).norm() / exact.norm()
    assert 1e-6 < error < 2e-2


def test_float32_stays_with_float64_at_working_size(assert_parity):
    image = np.random.default_rng(0).integers(0, 256, (768, 1024, 3), np.uint8)
    found = {}
    for dtype in (torch.float32, torch.float64):
        pipeline = DepthPipeline.from_config(SMALL, device="cpu", dtype=dtype)
        result = pipeline(image, processing_area=768 * 1024, num_steps=1)
        found[dtype] = result.relative_depth_model
    assert_parity(found[torch.float32], found[torch.float64])


@pytest.mark.parametrize("has_semantics", [True, False])
@pytest.mark.parametrize("has_cascade", [True, False])
def test_each_ablation_runs(image, has_semantics, has_cascade):
    model = SpDitConfig(
        hidden_size=32,
        depth=2,
        num_heads=2,
        semantics_dim=384,
        has_semantics=has_semantics,
        has_cascade=has_cascade,
    )
    config = PipelineConfig(model=model, prompt=SMALL.prompt, preprocess=SMALL.preprocess)
    pipeline = DepthPipeline.from_config(config, device="cpu")
    assert ("semantics" in pipeline.models) == has_semantics
    assert pipeline(image).valid_mask.all()


def test_an_x_0_model_is_sampled_by_the_velocity_towards_its_output(image):
    """With one step from pure noise the sampled field is the network's output itself."""
    config = PipelineConfig(
        model=SpDitConfig(
            hidden_size=64, depth=2, num_heads=4, has_semantics=False, prediction="x0"
        ),
        preprocess=PreprocessConfig(processing_area=64 * 48),
        sampler=SamplerConfig(num_steps=1),
    )
    pipeline = DepthPipeline.from_config(config, device="cpu", dtype=torch.float32)
    noise = torch.randn(1, 1, *pipeline.model_size(*image.shape[:2]))
    model_image = preprocess(image, 64 * 48)
    x = torch.cat([noise, model_image - 0.5], dim=1)
    with torch.no_grad():
        output = pipeline.models["dit"](x, None, torch.tensor([1000.0]))
    result = pipeline(image, noise=noise)
    torch.testing.assert_close(result.relative_depth_model, output[0, 0] + 0.5)


def test_the_tiny_preset_needs_no_file_and_says_that_it_is_untrained():
    pipeline = DepthPipeline.from_pretrained("tiny", device="cpu")
    assert not pipeline.is_trained
    again = DepthPipeline.from_pretrained("tiny", device="cpu")
    for name, tensor in pipeline.models.state_dict().items():
        assert torch.equal(tensor, again.models.state_dict()[name]), name


def test_a_saved_pipeline_comes_back_the_same(pipeline, image, tmp_path):
    path = tmp_path / "mine.safetensors"
    pipeline.save_pretrained(path)
    loaded = DepthPipeline.from_pretrained(path, device="cpu")
    assert loaded.config == SMALL
    assert not loaded.is_trained
    assert_same_depth(loaded, pipeline, image)


def box_on_a_floor() -> np.ndarray:
    """What nano can tell something of, which of noise it cannot."""
    image = np.full((96, 128, 3), 150, np.uint8)
    image[48:] = np.linspace(90, 200, 48)[:, None, None]
    image[30:70, 40:80] = (180, 60, 40)
    return image


@pytest.mark.processor
def test_float8_gives_the_depth_of_bfloat16_but_for_its_rounding():
    found = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float8_e4m3fn):
        nano = DepthPipeline.from_pretrained("nano", device="cpu", dtype=dtype)
        found[dtype] = nano(box_on_a_floor()).relative_depth_model
    assert (nano.dtype, nano.state_dtype) == (torch.bfloat16, torch.float32)
    assert found[torch.float8_e4m3fn].dtype == torch.float32

    def error(dtype: torch.dtype, of: torch.dtype = torch.float32) -> float:
        return float((found[dtype] - found[of]).abs().mean())

    assert error(torch.bfloat16) < 0.005  # 0.0035: of the encoder's fifty layers, mostly
    assert error(torch.float8_e4m3fn) < 0.01
    assert 0 < error(torch.float8_e4m3fn, torch.bfloat16) < 0.01


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9),
    reason="needs a CUDA device of compute capability 8.9",
)
def test_float8_gives_the_same_depth_on_both_devices():
    image = box_on_a_floor()
    cpu, cuda = (
        DepthPipeline.from_pretrained("nano", device=device, dtype=torch.float8_e4m3fn)(image)
        for device in ("cpu", "cuda")
    )
    error = (cpu.relative_depth_model - cuda.relative_depth_model.cpu()).abs().mean()
    assert error < 0.01  # orders of sums differ, and what falls to the other side of a rounding


def test_a_float8_pipeline_is_made_of_rounded_weights_and_not_saved(pipeline, tmp_path):
    path = tmp_path / "weights.safetensors"
    pipeline.save_pretrained(path)
    for made in (
        DepthPipeline.from_pretrained(path, device="cpu", dtype=torch.float8_e4m3fn),
        DepthPipeline.from_config(SMALL, device="cpu", dtype=torch.float8_e4m3fn),
    ):
        assert made.dtype == torch.bfloat16
        layer = made.models["dit"].blocks[0].attn.qkv
        exact = pipeline.models["dit"].blocks[0].attn.qkv.weight
        restored = layer.weight.float() * layer.weight_scale.T
        torch.testing.assert_close(restored, exact, rtol=2**-4 + 2**-7, atol=1e-4)
        with pytest.raises(ValueError, match="as they were loaded, got some rounded to float8"):
            made.save_pretrained(tmp_path / "float8.safetensors")
    assert not (tmp_path / "float8.safetensors").exists()


def test_a_checkpoint_loads_in_the_dtype_asked_for(pipeline, tmp_path):
    path = tmp_path / "mine.safetensors"
    pipeline.save_pretrained(path)
    loaded = DepthPipeline.from_pretrained(path, device="cpu", dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.models.parameters()} == {torch.bfloat16}


def test_a_file_without_config_is_no_checkpoint(tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, {"w": torch.zeros(1)}, {})
    with pytest.raises(
        WeightsError, match="must be a checkpoint written by save_pretrained or by"
    ):
        DepthPipeline.from_pretrained(path, device="cpu")


def test_a_broken_config_names_the_checkpoint(tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, {"w": torch.zeros(1)}, {"ppd_config": "{}"})
    with pytest.raises(WeightsError, match=r"other\.safetensors has an unusable config: config"):
        DepthPipeline.from_pretrained(path, device="cpu")


def test_a_checkpoint_that_is_not_there_is_named():
    with pytest.raises(WeightsError, match=r"/no/such\.safetensors cannot be read: No such file"):
        DepthPipeline.from_pretrained("/no/such.safetensors", device="cpu")


@pytest.fixture
def published_small(monkeypatch, tmp_path) -> tuple[DepthPipeline, Path]:
    """A preset "small" with files as the authors publish them, and the pipeline they are of."""
    source = DepthPipeline.from_config(SMALL, device="cpu", seed=7)
    files = {
        "small-dit": ("dit.", "dit", ()),
        "small-prompt": ("", "semantics", ("depth_head.",)),
    }
    for name, (prefix, part, ignored) in files.items():
        tensors = {prefix + k: v for k, v in source.models[part].state_dict().items()}
        tensors |= {f"{p}extra": torch.zeros(3) for p in ignored}
        torch.save(tensors, tmp_path / f"{name}.pth")
        entry = PublishedFile(
            name=name,
            filename=f"{name}.pth",
            page_url="https://example.org",
            licence="MIT",
            use="tests",
            strip_prefix=prefix,
            ignored_prefixes=ignored,
        )
        monkeypatch.setitem(REGISTRY, name, entry)
    monkeypatch.setitem(PRESETS, "small", replace(SMALL, weights=tuple(files)))
    return source, tmp_path


def test_a_preset_loads_its_published_files(published_small, image):
    source, folder = published_small
    loaded = DepthPipeline.from_pretrained("small", device="cpu", weights_dir=folder)
    assert loaded.is_trained
    assert_same_depth(loaded, source, image)


def test_a_converted_preset_loads_by_its_path_and_may_be_converted_again(
    published_small, image, tmp_path
):
    source, folder = published_small
    one, half = tmp_path / "one.safetensors", tmp_path / "half.safetensors"
    assert main(["weights", "convert", "small", "-o", str(one), "--dir", str(folder)]) == 0
    assert main(["weights", "convert", str(one), "-o", str(half), "--dtype", "bfloat16"]) == 0
    loaded = DepthPipeline.from_pretrained(one, device="cpu")
    assert_same_depth(loaded, source, image)
    assert half.stat().st_size < 0.6 * one.stat().st_size
    assert DepthPipeline.from_pretrained(str(half), device="cpu").is_trained


def test_missing_published_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"ppd\.pth"):
        DepthPipeline.from_pretrained(
            "ppd-da2", device="cpu", weights_dir=tmp_path, download=False
        )


BAD_CALLS = {
    "image": ({"image": np.zeros((60, 90), np.uint8)}, "image must be (H, W, 3) uint8 RGB"),
    "steps": ({"num_steps": 0}, "num_steps must be in [1, 1000], got 0"),
    "area": ({"processing_area": 3}, "processing_area must be in [256, 16000000] pixels, got 3"),
    "intrinsics": (
        {"intrinsics": Intrinsics.from_fov(640, 480, 60)},
        "intrinsics must be of the image's size 90 x 60, got 640 x 480",
    ),
    "steps' type": ({"num_steps": 2.5}, "num_steps must be a whole number, got 2.5"),
    "noise type": ({"noise": np.zeros(3)}, "noise must be a torch tensor, got ndarray"),
    "two noises": (
        {"noise": torch.zeros(1, 1, 48, 80), "generator": torch.Generator()},
        "give noise or a generator that draws it, got both",
    ),
    "noise shape": (
        {"noise": torch.zeros(1, 1, 60, 90)},
        "noise must be (1, 1, 48, 80), got (1, 1, 60, 90)",
    ),
    "previous type": ({"previous": [1.0]}, "previous must be a torch tensor, got list"),
    "previous of another size": (
        {"previous": torch.zeros(60, 90)},
        "previous must be (48, 80), the frame's own model size, got (60, 90)",
    ),
    "noise NaN": (
        {"noise": torch.full((1, 1, 48, 80), torch.nan)},
        "noise must be finite, got NaN or infinite values",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_argument_is_refused(pipeline, image, name):
    arguments, message = BAD_CALLS[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        pipeline(**{"image": image, **arguments})


@pytest.mark.parametrize("model", ["tiny", "nano"])
def test_a_batch_is_what_single_calls_are(model):
    pipeline = DepthPipeline.from_pretrained(model, device="cpu", dtype=torch.float32)
    generator = np.random.default_rng(1)
    images = [
        generator.integers(0, 256, (*size, 3), np.uint8) for size in ((60, 90), (90, 60), (60, 90))
    ]
    cameras = [Intrinsics.from_fov(90, 60, 70), None, Intrinsics.from_fov(90, 60, 50)]
    ties = [
        alignment_from_range(1, 5),
        None,
        lambda image, relative, own: AlignedDepth(relative, None),
    ]
    options = {"num_steps": 2, "processing_area": 64 * 96}
    batch = pipeline.batch(images, intrinsics=cameras, alignments=ties, **options)
    for found, image, camera, tie in zip(batch, images, cameras, ties, strict=True):
        single = pipeline(image, intrinsics=camera, alignment=tie, **options)
        torch.testing.assert_close(
            found.relative_depth_model, single.relative_depth_model, atol=1e-5, rtol=1e-5
        )
        assert found.relative_depth.shape == image.shape[:2]
        assert found.intrinsics is camera
        assert found.alignment == single.alignment
        assert (found.points is None) == (camera is None)
        assert (found.metric_depth is None) == (tie is None)
    # What is shared took the same time for both; what is not is not.
    assert batch[0].timings_s["sample"] == batch[2].timings_s["sample"]
    assert batch[0].timings_s["sample"] != batch[1].timings_s["sample"]


def test_images_of_one_size_go_through_the_networks_together(pipeline, image):
    sizes = []
    embedder = pipeline.models["dit"].x_embedder
    hook = embedder.register_forward_hook(lambda _m, x, _y: sizes.append(len(x[0])))
    try:
        pipeline.batch([image, image.transpose(1, 0, 2), image], num_steps=1)
    finally:
        hook.remove()
    assert sizes == [2, 1]


def test_images_of_a_pass_come_to_the_networks_in_order_of_size(pipeline, monkeypatch):
    generator = np.random.default_rng(3)
    small, large, small_too = (
        generator.integers(0, 256, (height, 3 * height // 2, 3), np.uint8)
        for height in (60, 120, 60)
    )
    sizes = []
    estimate = pipeline._backend.estimate

    def noting(images, *rest):
        sizes.append([len(one) for one in images])
        return estimate(images, *rest)

    monkeypatch.setattr(pipeline._backend, "estimate", noting)
    for images in ([large, small, small_too], [small, large, small_too]):
        results = pipeline.batch(images, num_steps=1)
        assert [len(one.relative_depth) for one in results] == [len(one) for one in images]
        for one, found in zip(images, results, strict=True):
            expected = pipeline(one, num_steps=1).relative_depth
            torch.testing.assert_close(found.relative_depth, expected, atol=1e-5, rtol=1e-5)
    assert [one for one in sizes if len(one) == 3] == [[60, 60, 120]] * 2


def test_a_batch_of_nothing_is_nothing(pipeline):
    assert pipeline.batch([]) == []


def test_a_batch_wants_one_of_each_for_each_image(pipeline, image):
    with pytest.raises(ValueError, match="intrinsics must be 2, one for each image, got 1"):
        pipeline.batch([image, image], intrinsics=[None])
    with pytest.raises(ValueError, match="alignments must be 1, one for each image, got 2"):
        pipeline.batch([image], alignments=[None, None])


class StraightPaths:
    """A backend whose networks know the one path from the noise to a field."""

    name = "straight"

    def __init__(self, x_0: torch.Tensor, noise: torch.Tensor) -> None:
        self.x_0, self.noise = x_0, noise
        self.asked: list[tuple[torch.Tensor, list[int]]] = []

    def estimate(self, images, processing_area, x_t, timesteps, clock):
        self.asked.append((x_t, list(timesteps)))
        found = sample(lambda x_t, t: self.noise - self.x_0, x_t, timesteps)
        return Estimate(found + 0.5, None)


@pytest.mark.parametrize("num_steps", [2, 3, 4])
def test_a_warm_start_is_exact_on_a_straight_path_and_half_the_steps(pipeline, image, num_steps):
    generator = torch.Generator().manual_seed(1)
    x_0, noise = torch.randn(2, 1, 1, 48, 80, generator=generator)
    straight = StraightPaths(x_0, noise)
    warmed = DepthPipeline(SMALL, pipeline.models, backend=straight)
    options = {"num_steps": num_steps, "noise": noise}
    cold = warmed(image, **options)
    warm = warmed(image, previous=cold.relative_depth_model, **options)
    assert (cold.is_warm, warm.is_warm) == (False, True)
    torch.testing.assert_close(warm.relative_depth_model, x_0[0, 0] + 0.5, atol=1e-5, rtol=1e-5)
    (_, all_times), (x_t, times) = straight.asked
    assert times == warm_timesteps(all_times)
    torch.testing.assert_close(x_t, interpolate(x_0, noise, times[0]), atol=1e-5, rtol=1e-5)


def test_with_one_step_there_is_nothing_to_begin_from(pipeline, image):
    cold = pipeline(image, num_steps=1)
    again = pipeline(image, num_steps=1, previous=torch.zeros(48, 80))
    assert not again.is_warm
    assert torch.equal(again.relative_depth, cold.relative_depth)


def test_a_batch_of_warm_and_cold_frames_is_what_single_calls_are(pipeline, image):
    others = np.random.default_rng(2).integers(0, 256, (3, 60, 90, 3), np.uint8)
    images = [image, others[0], image.transpose(1, 0, 2), others[1], others[2]]
    generator = torch.Generator().manual_seed(2)
    befores = [torch.rand(pipeline.model_size(*i.shape[:2]), generator=generator) for i in images]
    previous = [befores[0], None, befores[2], befores[3], None]
    sizes = []
    embedder = pipeline.models["dit"].x_embedder
    hook = embedder.register_forward_hook(lambda _m, x, _y: sizes.append(len(x[0])))
    try:
        batch = pipeline.batch(images, previous=previous)
    finally:
        hook.remove()
    assert sizes == [2, 2, *4 * [2], 1, 1]  # two warm, two cold, one warm of another shape
    for found, one, before in zip(batch, images, previous, strict=True):
        single = pipeline(one, previous=before)
        assert found.is_warm == single.is_warm == (before is not None)
        torch.testing.assert_close(
            found.relative_depth_model, single.relative_depth_model, atol=1e-5, rtol=1e-5
        )
    cold = pipeline(images[0])
    assert not torch.allclose(cold.relative_depth, batch[0].relative_depth)


def test_a_batch_wants_a_frame_before_or_none_for_each_image(pipeline, image):
    with pytest.raises(ValueError, match="previous must be 2, one for each image, got 1"):
        pipeline.batch([image, image], previous=[None])


def test_unknown_model_lists_the_presets():
    with pytest.raises(ValueError, match="unknown model 'nope'; known presets: ppd-da2"):
        DepthPipeline.from_pretrained("nope", device="cpu")


def test_an_aligner_is_asked_once_a_frame_and_its_answer_is_the_result(pipeline, image):
    asked = []

    def aligner(image, relative, own_anchors):
        asked.append(relative.shape)
        with pytest.raises(ValueError, match="need prompt kind moge2"):
            own_anchors()
        return AlignedDepth(relative * 0 + 2.0, alignment_from_range(1, 3))

    result = pipeline(image, alignment=aligner)
    assert asked == [(60, 90)]
    assert (result.metric_depth == 2).all()
    assert result.alignment == alignment_from_range(1, 3)
    assert result.alignment_failure is None


def test_a_frame_that_cannot_be_aligned_has_no_metres_and_says_why(pipeline, image):
    failure = AlignmentError("unpaired", "no message")
    result = pipeline(
        image, alignment=lambda image, relative, own: AlignedDepth(None, None, failure)
    )
    assert (result.metric_depth, result.alignment) == (None, None)
    assert result.alignment_failure is failure
    assert torch.isfinite(result.relative_depth).all()
