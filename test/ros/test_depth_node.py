"""The node between a camera and its subscribers: real topics, a pipeline of the test's own."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from ppd_core.depth_reading import image_to_depth
from ppd_core.types import Intrinsics
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import cloud_to_points, rgb_to_image
from ppd_ros.parameters import BY_PROFILE
from ppd_ros.worker import threads_alive

DEPTH, INFO, POINTS = "/ppd/depth/image", "/ppd/depth/camera_info", "/ppd/points"
CONSTANT = {"alignment__source": "constant", "alignment__near_m": 1.0, "alignment__far_m": 7.0}


def fates(node):
    """The counters that are not zero."""
    return {fate: number for fate, number in node.cameras[0].statistics.counts.items() if number}


def wait_subscribed(world, node, *topics):
    """Spin until the node knows of the client's subscriptions."""
    for topic in topics:
        world.spin_until(lambda topic=topic: node.count_subscribers(topic) > 0, topic)
    outputs = [p for p in node.cameras[0].outputs.values() if p.topic_name in topics]
    world.spin_until(
        lambda: all(p.get_subscription_count() for p in outputs), "the publishers are matched"
    )


def running(world, pipeline=None, *, topics=(DEPTH, INFO, POINTS), with_info=True, **values):
    """An active node, a camera that it sees, and topic -> what arrives."""
    node = world.depth_node(pipeline, **values)
    camera = world.camera()
    types = {DEPTH: Image, INFO: CameraInfo, POINTS: PointCloud2}
    received = {topic: world.subscribe(types[topic], topic) for topic in topics}
    world.wait_active(node)
    camera.wait_seen()
    wait_subscribed(world, node, *topics)
    if with_info:
        camera.send_info()
        world.spin_until(lambda: node.cameras[0].frames.calibrations.infos, "camera_info arrives")
    return node, camera, received


def set_parameters(node, **values):
    """Set at once; the result with its reason."""
    changes = [Parameter(name.replace("__", "."), value=v) for name, v in values.items()]
    return node.set_parameters_atomically(changes)


def test_outputs_are_where_the_documentation_says(world):
    node = world.depth_node()
    world.wait_active(node)
    assert {p.topic_name for p in node.cameras[0].outputs.values()} >= {DEPTH, INFO, POINTS}


def test_outputs_follow_the_namespace_and_inputs_are_remapped(world):
    node = world.depth_node(
        cli_args=["--ros-args", "-r", "__ns:=/robot1", "-r", "image:=front/image_raw"]
    )
    world.wait_active(node)
    topics = {p.topic_name for p in node.cameras[0].outputs.values()}
    assert {f"/robot1{topic}" for topic in (DEPTH, INFO, POINTS)} <= topics
    inputs = {subscription.topic_name for subscription in node.cameras[0].inputs}
    assert inputs == {"/robot1/front/image_raw", "/robot1/camera_info"}


def test_every_output_copies_the_header_of_its_frame(world):
    _, camera, received = running(world, **CONSTANT)
    image = camera.send()
    world.spin_until(lambda: all(received.values()), "all three outputs")
    for topic in (DEPTH, INFO, POINTS):
        assert received[topic][0].header == image.header, topic


def test_depth_is_metres_in_32fc1(world):
    _, camera, received = running(world, topics=[DEPTH], **CONSTANT)
    camera.send(width=8, height=6)
    world.spin_until(lambda: received[DEPTH], "depth")
    message = received[DEPTH][0]
    assert (message.encoding, message.step, message.is_bigendian) == ("32FC1", 32, 0)
    # log(1 + z) is a straight line from log 2 to log 8.
    expected = np.expm1(np.linspace(np.log(2), np.log(8), 8))
    assert image_to_depth(message) == pytest.approx(np.tile(expected, (6, 1)), rel=1e-5)


def test_invalid_pixels_are_nan_in_depth_and_cloud(world, make_pipeline):
    pipeline = make_pipeline()
    pipeline.invalid_pixel = (2, 3)
    _, camera, received = running(world, pipeline, **CONSTANT)
    camera.send()
    world.spin_until(lambda: all(received.values()), "all three outputs")
    depth = image_to_depth(received[DEPTH][0])
    points, _ = cloud_to_points(received[POINTS][0])
    expected = np.zeros((6, 8), bool)
    expected[2, 3] = True
    assert np.array_equal(np.isnan(depth), expected)
    assert np.array_equal(np.isnan(points), np.repeat(expected[..., None], 3, axis=2))


def test_cloud_lies_on_the_rays_of_the_camera_and_has_its_colours(world):
    _, camera, received = running(world, topics=[DEPTH, POINTS], **CONSTANT)
    rgb = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    camera.send(rgb)
    world.spin_until(lambda: all(received.values()), "depth and points")
    cloud = received[POINTS][0]
    assert (cloud.height, cloud.width, cloud.is_dense) == (6, 8, False)
    points, colors = cloud_to_points(cloud)
    z = image_to_depth(received[DEPTH][0])
    v, u = np.mgrid[:6, :8]
    expected = np.stack([(u - 3.5) / 10 * z, (v - 2.5) / 10 * z, z], axis=2)
    assert points == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(colors, rgb)


def test_cloud_can_be_one_row_of_valid_points(world, make_pipeline):
    pipeline = make_pipeline()
    pipeline.invalid_pixel = (0, 0)
    _, camera, received = running(
        world, pipeline, topics=[POINTS], points__organized=False, **CONSTANT
    )
    camera.send()
    world.spin_until(lambda: received[POINTS], "points")
    cloud = received[POINTS][0]
    assert (cloud.height, cloud.width, cloud.is_dense) == (1, 6 * 8 - 1, True)


def test_depth_camera_info_is_the_cameras_own(world):
    node, camera, received = running(world, with_info=False, topics=[INFO])
    info = camera.send_info()
    world.spin_until(lambda: node.cameras[0].frames.calibrations.infos, "camera_info arrives")
    image = camera.send()
    world.spin_until(lambda: received[INFO], "depth/camera_info")
    assert received[INFO][0].header == image.header
    info.header = image.header
    assert received[INFO][0] == info


def test_camera_info_alone_needs_no_inference(world, make_pipeline):
    pipeline = make_pipeline()
    node, camera, received = running(world, pipeline, topics=[INFO])
    camera.send()
    world.spin_until(lambda: received[INFO], "depth/camera_info")
    assert pipeline.calls == []
    assert fates(node) == {"in": 1, "out": 1}


def test_pipeline_gets_the_frame_and_the_parameters(world, make_pipeline):
    pipeline = make_pipeline()
    _, camera, received = running(
        world, pipeline, topics=[POINTS], num_steps=2, processing_area=5000, **CONSTANT
    )
    camera.send(value=42)
    world.spin_until(lambda: received[POINTS], "points")
    call = pipeline.calls[0]
    assert (call["image"].shape, call["image"].max()) == ((6, 8, 3), 42)
    assert (call["num_steps"], call["processing_area"]) == (2, 5000)
    assert world.aligners[-1].evidence[0].source == "constant"
    # The points are not the model's work.
    assert call["intrinsics"] is None


def test_messages_that_nobody_wants_are_not_made(world, monkeypatch):
    monkeypatch.setattr("ppd_ros.conversions.points_to_cloud", None)
    monkeypatch.setattr("ppd_ros.conversions.depth_to_image_mm", None)
    node, camera, received = running(world, topics=[DEPTH])
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    assert fates(node) == {"in": 1, "out": 1}


def test_source_none_gives_relative_depth_and_says_so(world, capfd):
    _, camera, received = running(world, topics=[DEPTH])
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    depth = image_to_depth(received[DEPTH][0])
    assert depth[0] == pytest.approx(np.linspace(0, 1, 8))
    log = capfd.readouterr().err
    assert log.count("depth and points are RELATIVE (about 0..1), NOT in metres") == 1


def test_constant_source_is_not_called_relative(world, capfd):
    _, camera, received = running(world, topics=[DEPTH], **CONSTANT)
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    assert "RELATIVE" not in capfd.readouterr().err


def test_untrained_model_is_said_to_be_so(world, make_pipeline, capfd):
    pipeline = make_pipeline()
    pipeline.is_trained = False
    node = world.depth_node(pipeline)
    world.wait_active(node)
    assert "is UNTRAINED: what comes out is not depth" in capfd.readouterr().err


def test_only_the_newest_frame_waits_for_a_slow_model(world, make_pipeline):
    pipeline = make_pipeline(is_held=True)
    node, camera, _ = running(world, pipeline, topics=[DEPTH])
    camera.send(value=1)
    world.spin_until(pipeline.started.is_set, "the first frame is worked on")
    for value in (2, 3, 4):
        camera.send(value=value)
        world.spin_until(
            lambda v=value: node.cameras[0].statistics.counts["in"] == v, "it arrives"
        )
    pipeline.release.set()
    # Not two messages: the outputs keep the newest one too.
    world.spin_until(lambda: fates(node).get("out") == 2, "two frames come out")
    assert [call["image"].max() for call in pipeline.calls] == [1, 4]
    assert fates(node) == {"in": 4, "replaced": 2, "out": 2}


def test_stale_frames_are_dropped_counted_and_explained(world, make_pipeline, capfd):
    pipeline = make_pipeline()
    node, camera, received = running(world, pipeline, topics=[DEPTH], max_age_s=0.5)
    camera.send(age_s=30.0)
    world.spin_until(lambda: "stale" in fates(node), "the old frame is dropped")
    camera.send(value=7)
    world.spin_until(lambda: received[DEPTH], "the new frame comes out")
    assert [call["image"].max() for call in pipeline.calls] == [7]
    assert fates(node) == {"in": 2, "stale": 1, "out": 1}
    log = capfd.readouterr().err
    assert "dropped a frame of /image: it is 30." in log
    assert "max_age_s is 0.5" in log
    assert "use_sim_time" in log


def test_frames_of_any_age_are_taken_when_asked(world):
    node, camera, received = running(world, topics=[DEPTH], drop_stale=False)
    camera.send(age_s=1e6)
    world.spin_until(lambda: received[DEPTH], "depth")
    assert fates(node) == {"in": 1, "out": 1}


def test_without_subscribers_nothing_is_computed(world, make_pipeline):
    pipeline = make_pipeline()
    node, camera, _ = running(world, pipeline, topics=[])
    camera.send()
    world.spin_until(lambda: "unwanted" in fates(node), "the frame is let go")
    assert pipeline.calls == []
    assert fates(node) == {"in": 1, "unwanted": 1}


def test_depth_goes_out_without_camera_info_and_points_do_not(world, monkeypatch, capfd):
    monkeypatch.setattr("ppd_ros.views.CAMERA_INFO_GRACE_S", 0.0)
    node, camera, received = running(world, with_info=False)
    for number in (1, 2):
        camera.send()
        world.spin_until(lambda n=number: len(received[DEPTH]) == n, "depth")
    assert received[POINTS] == received[INFO] == []
    assert fates(node) == {"in": 2, "out": 2}
    log = capfd.readouterr().err
    assert log.count("no CameraInfo on /camera_info yet") == 1
    assert "points and depth/camera_info are not published" in log


def test_camera_info_that_is_a_moment_behind_is_not_warned_of(world, capfd):
    node, camera, received = running(world, with_info=False, topics=[DEPTH, POINTS])
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth of the first frame")
    camera.send_info()
    world.spin_until(lambda: node.cameras[0].frames.calibrations.infos, "camera_info arrives")
    camera.send()
    world.spin_until(lambda: received[POINTS], "points of the second frame")
    assert "no CameraInfo" not in capfd.readouterr().err


def test_points_alone_without_camera_info_need_no_inference(world, make_pipeline):
    pipeline = make_pipeline()
    node, camera, _ = running(world, pipeline, topics=[POINTS], with_info=False)
    camera.send()
    world.spin_until(lambda: "bad" in fates(node), "the frame is given up")
    assert pipeline.calls == []


def test_uncalibrated_camera_is_named(world, capfd):
    node, camera, received = running(world, with_info=False)
    camera.info_out.publish(CameraInfo(width=8, height=6))
    world.spin_until(lambda: node.cameras[0].frames.calibrations.infos, "camera_info arrives")
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    log = capfd.readouterr().err
    assert "CameraInfo on /camera_info cannot be used" in log
    assert "not calibrated" in log
    assert received[POINTS] == []


def test_camera_info_of_another_frame_is_pointed_out(world, capfd):
    _, camera, received = running(world, topics=[POINTS])
    camera.frame_id = "rear_optical_frame"
    image = camera.send()
    world.spin_until(lambda: received[POINTS], "points")
    assert received[POINTS][0].header == image.header
    assert "/camera_info is of frame 'camera_optical_frame', /image of 'rear" in (
        capfd.readouterr().err
    )


def test_bad_frames_are_counted_and_explained_and_the_node_goes_on(world, capfd):
    node, camera, received = running(world, topics=[DEPTH])
    bad = Image(width=2, height=2, encoding="rgb9", step=2, data=[0] * 4)
    for number in (1, 2, 3):
        bad.header.stamp = camera.now()
        camera.image_out.publish(bad)
        world.spin_until(lambda n=number: fates(node).get("bad") == n, "it is counted")
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth of the good frame")
    log = capfd.readouterr().err
    assert "dropped a frame of /image: image encoding must be one of rgb8" in log
    assert log.count("dropped a frame") == 1
    assert fates(node) == {"in": 4, "bad": 3, "out": 1}


def test_failing_model_is_reported_and_the_node_goes_on(world, make_pipeline, capfd):
    pipeline = make_pipeline()
    pipeline.error = RuntimeError("CUDA error: unspecified launch failure")
    node, camera, received = running(world, pipeline, topics=[DEPTH])
    camera.send()
    world.spin_until(lambda: "failed" in fates(node), "the failure is counted")
    pipeline.error = None
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth of the next frame")
    assert "RuntimeError: CUDA error: unspecified launch failure" in capfd.readouterr().err


def test_parameters_of_a_frame_can_change_while_active(world, make_pipeline):
    pipeline = make_pipeline()
    node, camera, received = running(world, pipeline, topics=[DEPTH])
    assert set_parameters(node, num_steps=9, processing_area=1024).successful
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    assert (pipeline.calls[0]["num_steps"], pipeline.calls[0]["processing_area"]) == (9, 1024)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"num_steps": -1}, "num_steps"),
        ({"processing_area": 1}, "processing_area"),
        ({"alignment__source": "gps"}, "must be one of none, constant, depth, lidar, moge2, got"),
        ({"alignment__source": "moge2"}, "moge2 needs a model with MoGe-2's prompt (ppd-moge2)"),
        ({"alignment__on_failure": "hope"}, "must be one of drop, nan, relative, got 'hope'"),
        ({"alignment__min_depth_m": 90.0}, "need 0 <= min_depth_m < max_depth_m"),
        ({"alignment__far_m": 0.25}, "need 0 <= near < far metres, got near 0.5, far 0.25"),
        ({"model": "ppd-moge2"}, "model can change only while unconfigured: clean up first"),
        ({"num_steps": 2.5}, "Wrong parameter type"),
    ],
)
def test_refused_parameters_come_with_the_reason_and_change_nothing(world, values, reason):
    node = world.depth_node()
    world.wait_active(node)
    before = node._settings
    result = set_parameters(node, **values)
    assert not result.successful
    assert reason in result.reason
    assert node._settings == before
    assert node.get_parameter("num_steps").value == BY_PROFILE


def test_configure_fails_with_the_reason_and_can_be_tried_again(world, capfd):
    from ppd_core.config import preset

    loaded = []

    def load(settings):
        loaded.append(preset(settings.model))
        return lambda *args, **kwargs: None

    node = world.depth_node(load_pipeline=load, model="no-such-model", autostart=False)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "cannot configure: unknown model 'no-such-model'; known presets: ppd-da2" in (
        capfd.readouterr().err
    )
    assert set_parameters(node, model="tiny").successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert loaded == [preset("tiny")]


def test_only_a_package_s_own_step_count_can_be_set(world, make_pipeline, capfd):
    from ppd_core.config import SamplerConfig, preset

    pipeline = make_pipeline()
    pipeline.is_package = True
    pipeline.config = replace(preset("nano"), sampler=SamplerConfig(num_steps=2))
    load = lambda settings: pipeline  # noqa: E731
    node = world.depth_node(load_pipeline=load, autostart=False, num_steps=4)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    refusal = "num_steps must be 2, which the package was built for, got "
    assert f"cannot configure: {refusal}4" in capfd.readouterr().err
    assert set_parameters(node, num_steps=2).successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    refused = set_parameters(node, num_steps=3)
    assert not refused.successful
    assert f"{refusal}3" in refused.reason
    assert set_parameters(node, num_steps=0).successful


def test_a_package_has_no_warm_start(world, make_pipeline, capfd):
    from ppd_core.config import preset

    pipeline = make_pipeline()
    pipeline.is_package, pipeline.config = True, preset("nano")
    node = world.depth_node(load_pipeline=lambda _: pipeline, autostart=False, warm_start=True)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "cannot configure: warm_start must be false" in capfd.readouterr().err
    assert set_parameters(node, warm_start=False).successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert "warm_start must be false" in set_parameters(node, warm_start=True).reason


def test_unexpected_error_of_configure_is_shown_with_its_traceback(world, capfd):
    def load(settings):
        raise KeyError("blocks.0.weight")

    node = world.depth_node(load_pipeline=load, autostart=False)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    log = capfd.readouterr().err
    assert "KeyError: 'blocks.0.weight'" in log
    assert "Traceback" in log


def test_failed_autostart_leaves_a_node_that_can_be_configured(world, make_pipeline):
    pipelines = [None, make_pipeline()]

    def load(settings):
        pipeline = pipelines.pop(0)
        if pipeline is None:
            raise ValueError("no such file")
        return pipeline

    node = world.depth_node(load_pipeline=load)
    world.spin_until(lambda: len(pipelines) == 1, "autostart has tried")
    assert not node.is_active
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert node.is_active


def test_without_autostart_the_node_waits(world, make_pipeline):
    node = world.depth_node(autostart=False)
    camera = world.camera()
    for _ in range(20):
        for executor in world._executors:
            executor.spin_once(timeout_sec=0.005)
    assert not node.is_active
    assert camera.image_out.get_subscription_count() == 0
    assert threads_alive() == []


def test_lifecycle_services_drive_the_node(world):
    from lifecycle_msgs.msg import State, Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    world.depth_node(autostart=False)
    change = world.client.create_client(ChangeState, "/ppd/change_state")
    state = world.client.create_client(GetState, "/ppd/get_state")
    world.spin_until(lambda: change.service_is_ready() and state.service_is_ready(), "services")
    for transition, expected in [
        (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
        (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
    ]:
        request = ChangeState.Request()
        request.transition.id = transition
        change.call_async(request)
        # Asked again and again: an answer is lost while the two sides still find each other.
        answers = []

        def arrived(expected=expected, answers=answers):
            answers.append(state.call_async(GetState.Request()))
            done = [answer.result().current_state.id for answer in answers if answer.done()]
            return expected in done

        world.spin_until(arrived, f"transition {transition} to state {expected}")


def test_rounds_of_activation_leave_no_thread_and_no_topic(world, make_pipeline):
    pipeline = make_pipeline()
    node, camera, received = running(world, pipeline, topics=[DEPTH])
    threads = threading.active_count()
    for number in range(1, 6):
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        assert threads_alive() == []
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        world.spin_until(lambda: camera.image_out.get_subscription_count() == 1, "one subscriber")
        camera.send()
        world.spin_until(lambda n=number: len(received[DEPTH]) == n, "depth")
    assert threading.active_count() == threads


def test_deactivate_waits_for_the_frame_in_hand_and_nothing_comes_after(world, make_pipeline):
    pipeline = make_pipeline(is_held=True)
    node, camera, _ = running(world, pipeline, topics=[DEPTH])
    camera.send()
    world.spin_until(pipeline.started.is_set, "the frame is worked on")
    release = threading.Timer(0.2, pipeline.release.set)
    release.start()
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert pipeline.release.is_set()
    assert not node.is_active
    assert threads_alive() == []
    assert fates(node) == {"in": 1, "out": 1}
    release.join()


def test_cleanup_frees_the_model_and_withdraws_the_topics(world):
    class Model:
        is_trained = True

    models = []

    def load(settings):
        model = Model()
        models.append(weakref.ref(model))
        return model

    node = world.depth_node(load_pipeline=load)
    world.wait_active(node)
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    gc.collect()
    assert models[0]() is None
    assert node.count_publishers(DEPTH) == 0
    assert set_parameters(node, model="ppd-moge2").successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert len(models) == 2


def test_error_in_a_transition_is_logged_and_leads_back_to_unconfigured(world, monkeypatch, capfd):
    node = world.depth_node(autostart=False)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    monkeypatch.setattr("ppd_ros.depth_node.BatchProcessor", None)
    assert node.trigger_activate() == TransitionCallbackReturn.ERROR
    log = capfd.readouterr().err
    assert "on_activate raised" in log
    assert "TypeError" in log
    monkeypatch.undo()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def test_silence_of_the_camera_is_said_once_with_the_topic(world, monkeypatch, capfd):
    monkeypatch.setattr("ppd_ros.silence.SILENCE_S", 0.05)
    node = world.depth_node()
    world.wait_active(node)
    log = []

    def has_said():
        log.append(capfd.readouterr().err)
        return "no image on /image for 0.05 s: it has 0 publishers" in "".join(log)

    world.spin_until(has_said, "the warning")
    ticks = []
    world.client.create_timer(0.05, lambda: ticks.append(None))
    world.spin_until(lambda: len(ticks) > 4, "some more periods")
    log.append(capfd.readouterr().err)
    assert "".join(log).count("no image on") == 1


def test_summary_is_logged_at_shutdown(world, capfd):
    node, camera, received = running(world, topics=[DEPTH])
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    node.close()
    log = capfd.readouterr().err
    counts = (
        "1 in, 1 out, 0 replaced, 0 stale, 0 skipped, 0 unwanted, 0 unaligned, 0 bad, 0 failed"
    )
    assert f"frames: {counts}" in log
    for stage in ("decode", "sample", "model", "publish", "stamp to published"):
        assert f"{stage} " in log


def test_alignment_message_goes_out_where_it_is_built(world, monkeypatch):
    # Stands for ppd_ros/msg/Alignment, which only colcon builds: any message with a header.
    monkeypatch.setattr("ppd_ros.conversions.alignment_type", lambda: CameraInfo)
    monkeypatch.setattr(
        "ppd_ros.conversions.alignment_to_message",
        lambda alignment, header, **_: CameraInfo(
            header=header, distortion_model=alignment.source
        ),
    )
    node, camera, _ = running(world, topics=[], **CONSTANT)
    received = world.subscribe(CameraInfo, "/ppd/alignment")
    wait_subscribed(world, node, "/ppd/alignment")
    image = camera.send()
    world.spin_until(lambda: received, "alignment")
    assert received[0].header == image.header
    assert received[0].distortion_model == "constant"


def test_illegal_transition_is_refused_and_the_node_goes_on(world, capfd):
    node, camera, received = running(world, topics=[DEPTH])
    client = world.client.create_client(ChangeState, "/ppd/change_state")
    world.spin_until(client.service_is_ready, "the service")
    request = ChangeState.Request()
    request.transition.id = Transition.TRANSITION_CONFIGURE
    answer = client.call_async(request)
    world.spin_until(answer.done, "an answer")
    assert not answer.result().success
    assert "refused a lifecycle transition" in capfd.readouterr().err
    assert node.is_active
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")


def test_a_frame_gets_the_calibration_of_its_own_stamp(world):
    node, camera, received = running(world, with_info=False, topics=[INFO, POINTS])
    image = rgb_to_image(np.zeros((6, 8, 3), np.uint8), Header(stamp=camera.now()))
    infos = node.cameras[0].frames.calibrations.infos
    for count, (focal_px, offset_s) in enumerate([(10.0, -0.1), (20.0, 0.0), (30.0, 0.1)], 1):
        stamp = image.header.stamp if offset_s == 0 else camera.now(offset_s=offset_s)
        intrinsics = Intrinsics.from_focal(8, 6, focal_px)
        camera.info_out.publish(intrinsics_to_info(intrinsics, Header(stamp=stamp)))
        world.spin_until(lambda count=count: len(infos) == count, "camera_info arrives")
    camera.image_out.publish(image)
    world.spin_until(lambda: received[INFO] and received[POINTS], "camera_info and points")
    assert received[INFO][0].k[0] == 20.0
    points, _ = cloud_to_points(received[POINTS][0])
    x, _, z = points[0, 7]
    assert x / z == pytest.approx(3.5 / 20.0)


def test_calibration_far_from_its_image_is_named(world, capfd):
    _, camera, received = running(world, with_info=False, topics=[POINTS])
    info = intrinsics_to_info(
        Intrinsics.from_focal(8, 6, 10.0), Header(stamp=camera.now(offset_s=-20))
    )
    camera.info_out.publish(info)
    world.spin_until(lambda: camera.send() and received[POINTS], "points")
    assert "nearest to an image is 20." in capfd.readouterr().err


def test_frame_from_the_future_is_used_and_named(world, capfd):
    _, camera, received = running(world, topics=[DEPTH])
    camera.send(age_s=-100)
    world.spin_until(lambda: received[DEPTH], "depth")
    assert "s in the future: clocks that differ" in capfd.readouterr().err


def test_qos_that_is_none_fails_configure_and_leaves_no_publisher(world, capfd):
    node = world.depth_node(
        autostart=False, **{"qos_overrides./ppd/points.publisher.reliability": "foo"}
    )
    for _ in range(2):
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.count_publishers(DEPTH) == 0
    log = capfd.readouterr().err
    assert "cannot configure: topics cannot be offered" in log
    assert "Traceback" not in log
