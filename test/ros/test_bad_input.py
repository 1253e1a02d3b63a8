"""Everything that may come and should not, over real topics: the node tells, and goes on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ppd_core.types import Intrinsics
from ppd_ros.batches import BatchProcessor
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.parameters import Effort

DEPTH, POINTS, INFO = "/ppd/depth/image", "/ppd/points", "/ppd/depth/camera_info"


def image_of(encoding="rgb8", *, height=6, width=8, step=None, size=None, fill=7, header=None):
    """An image whose parts need not agree."""
    step = 3 * width if step is None else step
    size = height * step if size is None else size
    return Image(
        header=header or Header(),
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        data=[fill] * size,
    )


BAD_IMAGES = {
    "truncated data": (image_of(size=100), "data must be 144 bytes"),
    "no data": (image_of(size=0), "data must be 144 bytes"),
    "rows that are too short": (image_of(step=20), "step must be >= 24"),
    "no step": (image_of(step=0), "step must be >= 24"),
    "an encoding that nobody knows": (image_of("rgb9"), "'rgb9'"),
    "no encoding": (image_of(""), "encoding"),
    "depth for colour": (image_of("32FC1", step=32), "'32FC1'"),
    "no rows": (image_of(height=0), "size must be >= 1 x 1, got 8 x 0"),
    "no columns": (image_of(width=0), "size must be >= 1 x 1, got 0 x 6"),
    "a size that no memory holds": (
        image_of(height=2**31, width=2**31, step=2**32 - 1, size=10),
        "",
    ),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_an_image_that_cannot_be_read(world, count_fates, capfd, name):
    message, words = BAD_IMAGES[name]
    node, camera, received = world.active()
    message.header.stamp = camera.now()
    camera.image_out.publish(message)
    world.spin_until(lambda: count_fates(node.cameras[0]).get("bad") == 1, "it is counted")
    said = capfd.readouterr().err
    assert "dropped a frame of /image: " in said
    assert words in said
    camera.send()
    world.spin_until(lambda: received[DEPTH], "the next frame comes out")
    assert count_fates(node.cameras[0]) == {"in": 2, "bad": 1, "out": 1}


def info_of(**changes):
    info = intrinsics_to_info(Intrinsics.from_focal(8, 6, 10.0), Header())
    for name, value in changes.items():
        setattr(info, name, value)
    return info


NAN_K = [float("nan"), 0.0, 3.5, 0.0, 10.0, 2.5, 0.0, 0.0, 1.0]
BAD_INFOS = {
    "NaN in K": (info_of(k=NAN_K), "finite focal length"),
    "K and P of zeros": (info_of(k=[0.0] * 9, p=[0.0] * 12), "not calibrated"),
    "another size": (info_of(width=640, height=640), "proportions of its camera_info"),
    "a lens that nobody knows": (
        info_of(distortion_model="thin_prism", d=[0.1] * 12),
        "distortion_model must be one of",
    ),
    "too few coefficients": (info_of(d=[0.1, 0.2]), "takes 4, 5, 8, 12 or 14 coefficients"),
    "coefficients that are NaN": (info_of(d=[float("nan")] * 5), "must be finite"),
}


@pytest.mark.parametrize("name", BAD_INFOS)
def test_a_calibration_that_cannot_be_used(world, count_fates, capfd, name):
    """Depth needs none and goes out; the cloud does not, and the log says why."""
    info, words = BAD_INFOS[name]
    node, camera, received = world.active(outputs=(DEPTH, POINTS, INFO))
    infos = node.cameras[0].frames.calibrations.infos
    infos.clear()
    camera.info_out.publish(info)
    world.spin_until(lambda: infos, "it arrives")
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    said = capfd.readouterr().err
    assert "CameraInfo on /camera_info cannot be used" in said
    assert words in said
    assert received[POINTS] == received[INFO] == []
    camera.send_info()
    world.spin_until(lambda: len(infos) == 2, "a good one arrives")
    infos.popleft()
    camera.send()
    world.spin_until(lambda: received[POINTS] and received[INFO], "points")
    assert count_fates(node.cameras[0]) == {"in": 2, "out": 2}


NO_TIME = Time(sec=-1)


def test_an_image_whose_stamp_is_no_time(world, count_fates, capfd):
    node, camera, received = world.active()
    camera.image_out.publish(image_of(header=Header(stamp=NO_TIME)))
    world.spin_until(lambda: count_fates(node.cameras[0]).get("bad") == 1, "it is counted")
    said = capfd.readouterr().err
    assert "dropped a frame of /image: its stamp must be >= 0 s, got -1 s" in said
    camera.send()
    world.spin_until(lambda: received[DEPTH], "the next frame comes out")
    assert count_fates(node.cameras[0]) == {"in": 2, "bad": 1, "out": 1}


def test_one_frame_that_was_asked_for_and_whose_stamp_is_no_time(world):
    _, camera, _ = world.active()
    called = world.call("/ppd/estimate_once")

    def is_answered():
        camera.image_out.publish(image_of(header=Header(stamp=NO_TIME)))
        return called.done()

    world.spin_until(is_answered, "an answer")
    assert world.answer(called) == (False, "bad: its stamp must be >= 0 s, got -1 s")


def test_a_calibration_whose_stamp_is_no_time(world, count_fates, capfd):
    """It may be latched, and never come again: frames go on without it."""
    node, camera, received = world.active(outputs=(DEPTH, POINTS))
    infos = node.cameras[0].frames.calibrations.infos
    infos.clear()
    for _ in range(2):
        camera.info_out.publish(info_of(header=Header(stamp=NO_TIME)))
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    assert received[POINTS] == []
    camera.send_info()
    world.spin_until(lambda: infos, "a good one arrives")
    said = capfd.readouterr().err
    assert said.count("CameraInfo on /camera_info is left out: its stamp must be >= 0 s") == 1
    camera.send()
    world.spin_until(lambda: received[POINTS], "points")
    assert count_fates(node.cameras[0]) == {"in": 2, "out": 2}


def test_a_clock_that_shows_no_time(world, monkeypatch, capfd):
    """rclpy's own subscription raises: the node tells, and follows the next one."""
    monkeypatch.setattr("ppd_ros.health.PERIOD_S", 0.05)
    clock_out = world.client.create_publisher(Clock, "/clock", 10)
    diagnostics = world.subscribe(DiagnosticArray, "/diagnostics")
    node, camera, received = world.active(use_sim_time=True, drop_stale=False)
    world.spin_until(clock_out.get_subscription_count, "the clock is heard")

    def shown():
        clock_out.publish(Clock(clock=NO_TIME))
        return [one for one in diagnostics[-1].status if one.level == DiagnosticStatus.ERROR]

    world.spin_until(shown, "/diagnostics tells")
    (status,) = shown()
    assert status.name == "ppd: frames"
    assert "callbacks failed: the subscription of /clock raised ValueError" in status.message
    assert capfd.readouterr().err.count("the subscription of /clock raised") == 1
    clock_out.publish(Clock(clock=Time(sec=5)))
    world.spin_until(lambda: node.get_clock().now().nanoseconds == 5 * 10**9, "it is followed")
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")


def test_a_camera_that_changes_its_size(world, count_fates):
    node, camera, received = world.active(outputs=(POINTS, INFO))
    infos = node.cameras[0].frames.calibrations.infos
    for number, (width, height) in enumerate([(8, 6), (20, 10), (8, 6)], start=2):
        camera.send_info(width=width, height=height)
        world.spin_until(lambda n=number: len(infos) == n, "its calibration arrives")
        camera.send(width=width, height=height)
        world.spin_until(
            lambda n=number: [len(r) for r in received.values()] == 2 * [n - 1], "points"
        )
        cloud, info = received[POINTS][-1], received[INFO][-1]
        assert (cloud.width, cloud.height) == (info.width, info.height) == (width, height)
    assert count_fates(node.cameras[0]) == {"in": 3, "out": 3}


def test_time_that_begins_anew(world, count_fates, capfd):
    """A bag that is played in a loop, or a simulation that is reset."""
    node, camera, received = world.active(
        drop_stale=False, alignment__source="constant", alignment__near_m=1.0
    )
    for number, age_s in enumerate([0.0, -5.0, 60.0, 59.0, 0.0], start=1):
        camera.send(age_s=age_s)
        world.spin_until(lambda n=number: len(received[DEPTH]) == n, "depth")
    said = capfd.readouterr().err
    assert said.count("/image went back 65.") == 1
    assert said.count("went back") == 1
    assert world.aligners[-1].num_resets == 1
    assert count_fates(node.cameras[0]) == {"in": 5, "out": 5}


def test_stamps_that_repeat(world, count_fates):
    node, camera, received = world.active()
    image = camera.send()
    world.spin_until(lambda: len(received[DEPTH]) == 1, "depth")
    for number in (2, 3):
        camera.image_out.publish(image)
        world.spin_until(lambda n=number: len(received[DEPTH]) == n, "depth once more")
    assert {depth.header.stamp.nanosec for depth in received[DEPTH]} == {
        image.header.stamp.nanosec
    }
    assert count_fates(node.cameras[0]) == {"in": 3, "out": 3}


def test_ten_cameras_on_one_topic(world, count_fates, capfd):
    node, camera, received = world.active()
    others = [world.client.create_publisher(Image, "/image", 10) for _ in range(9)]
    said = []

    def is_said():
        said.append(capfd.readouterr().err)
        return "/image has 10 publishers" in "".join(said)

    world.spin_until(is_said, "it is said that there are ten")
    message = camera.send()
    for out in others:
        world.spin_until(out.get_subscription_count, "it is matched")
        out.publish(message)
    world.spin_until(lambda: received[DEPTH], "depth")
    counts = count_fates(node.cameras[0])
    assert not counts.keys() - {"in", "out", "replaced"}


JPEG_HEAD = [0xFF, 0xD8, 0xFF, 0xE0]
BAD_PICTURES = {
    "garbage": [1, 2, 3, 4, 5, 6, 7, 8],
    "nothing": [],
    "the head of a JPEG and no more": [*JPEG_HEAD, 0, 16, 74, 70, 73, 70, 0],
}


def jpeg(value=200):
    import cv2

    _, data = cv2.imencode(".jpg", np.full((32, 48, 3), value, np.uint8))
    return CompressedImage(format="rgb8; jpeg compressed bgr8", data=data.tobytes())


def compressed(world):
    """A node that reads compressed images, what publishes them, and what depth arrives."""
    topic = "/image/compressed"
    node = world.depth_node(
        image_transport="compressed",
        **{f"qos_overrides.{topic}.subscription.reliability": "reliable"},
    )
    world.wait_active(node)
    out = world.client.create_publisher(CompressedImage, topic, 10)
    received = world.subscribe(Image, DEPTH)
    depth = node.cameras[0].outputs["depth"]
    world.spin_until(
        lambda: out.get_subscription_count() and depth.get_subscription_count(), "all is matched"
    )
    return node, out, received


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_picture_that_cannot_be_decoded(world, count_fates, capfd, name):
    node, out, received = compressed(world)
    now = world.client.get_clock().now().to_msg()
    bad = CompressedImage(format="jpeg", data=BAD_PICTURES[name], header=Header(stamp=now))
    out.publish(bad)
    world.spin_until(lambda: count_fates(node.cameras[0]).get("bad") == 1, "it is counted")
    assert "dropped a frame of /image: " in capfd.readouterr().err
    good = jpeg()
    good.header.stamp = now
    out.publish(good)
    world.spin_until(lambda: received, "the next frame comes out")
    assert (received[0].width, received[0].height) == (48, 32)
    assert received[0].header == good.header


def test_a_jpeg_that_ends_too_soon(world, count_fates):
    node, out, _ = compressed(world)
    cut = jpeg()
    cut.data = cut.data[: len(cut.data) // 2]
    cut.header.stamp = world.client.get_clock().now().to_msg()
    out.publish(cut)
    world.spin_until(lambda: count_fates(node.cameras[0]).get("bad") == 1, "it is counted")


OUT_OF_MEMORY = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "the CPU": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    "Python": MemoryError(),
}


@pytest.mark.parametrize("where", OUT_OF_MEMORY)
def test_too_little_memory_makes_the_area_smaller_where_that_is_wanted(
    world, make_pipeline, count_fates, capfd, where
):
    pipeline = make_pipeline()
    pipeline.error = lambda area: OUT_OF_MEMORY[where] if area > 2048 else None
    node, camera, received = world.active(pipeline, on_oom="shrink", processing_area=4096)
    for number in (1, 2):
        camera.send()
        world.spin_until(lambda n=number: len(received[DEPTH]) == n, "depth")
    assert [call["processing_area"] for call in pipeline.calls] == [4096, 2048, 2048]
    assert "from now on it is 2048 (on_oom is shrink)" in capfd.readouterr().err
    assert count_fates(node.cameras[0]) == {"in": 2, "out": 2}


def test_frames_that_do_not_fit_together_go_one_after_the_other(world, make_pipeline, capfd):
    pipeline = make_pipeline()
    processor = BatchProcessor(pipeline, print, pytest.fail)
    batch = pipeline.batch

    def small(images, **options):
        if len(images) > 1:
            raise OUT_OF_MEMORY["CUDA"]
        return batch(images, **options)

    pipeline.batch = small
    effort = Effort(4, 4096)
    request = SimpleNamespace(
        rgb=np.zeros((6, 8, 3), np.uint8),
        intrinsics=None,
        aligner=None,
        settings=None,
        previous=lambda area: None,
    )
    for _ in range(2):
        assert len(processor._results([request, request], effort)) == 2
    assert [call["processing_area"] for call in pipeline.calls] == 4 * [4096]
    assert capfd.readouterr().out.count("one after the other") == 1


@pytest.mark.parametrize("on_oom", ["stop", "shrink"])
def test_memory_that_cannot_be_had_stops_the_node_clearly(
    world, make_pipeline, count_fates, capfd, on_oom
):
    pipeline = make_pipeline()
    pipeline.error = OUT_OF_MEMORY["CUDA"]
    node, camera, received = world.active(pipeline, on_oom=on_oom)
    camera.send()
    world.spin_until(lambda: not node.is_active, "it is inactive")
    said = capfd.readouterr().err
    assert "deactivating: the device's memory is not enough for the model" in said
    assert "lower processing_area" in said
    assert count_fates(node.cameras[0]) == {"in": 1, "failed": 1}
    pipeline.error = None
    node.trigger_activate()
    camera.wait_seen()
    camera.send()
    world.spin_until(lambda: received[DEPTH], "activated again, it works")


def test_a_frame_that_fails_leaves_the_next_alone(world, make_pipeline, count_fates, capfd):
    pipeline = make_pipeline()
    pipeline.error = RuntimeError("a cosmic ray")
    node, camera, received = world.active(pipeline)
    camera.send()
    world.spin_until(lambda: count_fates(node.cameras[0]).get("failed") == 1, "it is counted")
    pipeline.error = None
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    assert "RuntimeError: a cosmic ray" in capfd.readouterr().err


def test_an_output_that_would_be_read_again_is_refused(world, capfd):
    node = world.depth_node(cli_args=["--ros-args", "-r", "depth_in:=/ppd/depth/image_raw"])
    said = []

    def is_said():
        said.append(capfd.readouterr().err)
        return "/ppd/depth/image_raw would be input and output" in "".join(said)

    world.spin_until(is_said, "it is said")
    assert not node.is_active
    assert node.count_publishers("/ppd/depth/image_raw") == 0


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("camera_info", "/ppd/depth/camera_info"),
        ("image", "/ppd/rgb/image"),
        ("lidar_in", "/ppd/points"),
    ],
)
def test_every_input_is_held_against_the_outputs(world, capfd, name, topic):
    node = world.depth_node(cli_args=["--ros-args", "-r", f"{name}:={topic}"])
    said = []

    def is_said():
        said.append(capfd.readouterr().err)
        return f"{topic} would be input and output" in "".join(said)

    world.spin_until(is_said, "it is said")
    assert not node.is_active


def test_a_calibration_that_came_once_outlives_a_pause(world):
    node, camera, received = world.active(outputs=(POINTS,))
    node.trigger_deactivate()
    node.trigger_activate()
    camera.wait_seen()
    camera.send()
    world.spin_until(lambda: received[POINTS], "points")


def test_weights_that_are_gone_can_be_put_back(world, tmp_path, capfd):
    from ppd_core import DepthPipeline
    from ppd_core.config import preset
    from ppd_ros.depth_node import load_pipeline

    path = tmp_path / "mine.safetensors"
    node = world.depth_node(load_pipeline=load_pipeline, model=str(path), autostart=False)
    node.trigger_configure()
    assert f"{path} cannot be read: No such file" in capfd.readouterr().err
    DepthPipeline.from_config(preset("tiny"), device="cpu").save_pretrained(path)
    node.trigger_configure()
    node.trigger_activate()
    assert node.is_active


def test_the_node_outlives_a_peer_that_sends_nonsense_all_the_time(world, count_fates):
    node, camera, received = world.active()
    generator = np.random.default_rng(0)
    encodings = ["rgb8", "mono8", "nv12", "bayer_rggb8", "yuv422", "x" * 300, "16UC1"]
    for number in range(1, 60):
        message = image_of(
            str(generator.choice(encodings)),
            height=int(generator.integers(0, 9)),
            width=int(generator.integers(0, 9)),
            step=int(generator.integers(0, 40)),
            size=int(generator.integers(0, 300)),
        )
        message.header.stamp = camera.now()
        camera.image_out.publish(message)
        camera.info_out.publish(CameraInfo(width=int(generator.integers(0, 9))))
        world.spin_until(lambda n=number: node.cameras[0].statistics.counts["in"] == n, "it comes")
    before = len(received[DEPTH])
    camera.send()
    world.spin_until(lambda: len(received[DEPTH]) > before, "depth")
    assert "failed" not in count_fates(node.cameras[0])
