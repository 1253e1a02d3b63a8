"""A world of its own for each test: a free DDS domain, contexts that are closed, and deadlines."""

from __future__ import annotations

import importlib.util
import itertools
import os
import threading
import time

import numpy as np
import pytest

if importlib.util.find_spec("rclpy") is None:
    # Said in the report's header: tests that are not there must not go unnoticed.
    collect_ignore_glob = ["*"]

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"

DEADLINE_S = 20.0
_tests = itertools.count()


def pytest_report_header():
    """Say when the ROS tests are left out."""
    if importlib.util.find_spec("rclpy") is None:
        return "rclpy is not installed: test/ros is NOT collected (pip install 'ppd_ros[ros]')"
    return None


@pytest.fixture
def domain_id():
    """A domain that no other test and no other program on this machine uses."""
    from ppd_ros.children import DOMAIN_IDS, free_domain_id

    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = list(DOMAIN_IDS)[worker::workers]
    # With the process id, so that two runs on one machine do not go through the same row.
    start = (os.getpid() + next(_tests)) % len(mine)
    return free_domain_id(mine[start:] + mine[:start])


@pytest.fixture(scope="session")
def search_path():
    """Folders -> a PYTHONPATH of them and, after them, what a ROS set-up file put there."""

    def make(*folders):
        kept = os.environ.get("PYTHONPATH")
        return os.pathsep.join([*map(str, folders), *([kept] if kept else [])])

    return make


class FakeAligner:
    """An aligner without memory, which takes a given alignment and nothing else.

    It lists the evidence that it got.
    """

    def __init__(self, config):
        self.config = config
        self.evidence = []
        self.num_resets = 0

    def align(self, relative_depth, evidence, stamp_s, *, image=None):
        from ppd_core.alignment.affine import to_metric_depth
        from ppd_core.types import AlignedDepth, Alignment, AlignmentError

        self.evidence.append(evidence)
        if isinstance(evidence, Alignment):
            return AlignedDepth(to_metric_depth(relative_depth, evidence), evidence)
        if not isinstance(evidence, AlignmentError):
            evidence = AlignmentError("few_samples", "a fake takes none")
        return AlignedDepth(None, None, evidence)

    def reset(self):
        self.num_resets += 1


class FakePipeline:
    """A pipeline whose depth and timing the test decides.

    Depth is 0 .. 1 from the left to the right; with `is_held`, a call waits for `release`.
    """

    is_trained = True

    def __init__(self, *, is_held=False):
        self.calls = []
        self.batch_sizes = []
        self.error = None
        self.invalid_pixel = None
        self.relative = None
        self.started = threading.Event()
        self.release = threading.Event()
        if not is_held:
            self.release.set()

    def batch(self, images, *, intrinsics, alignments, previous, num_steps, processing_area):
        self.batch_sizes.append(len(images))
        given = zip(images, intrinsics, alignments, previous, strict=True)
        for image, camera, alignment, before in given:
            self.calls.append(
                {
                    "image": image.copy(),
                    "intrinsics": camera,
                    "alignment": alignment,
                    "previous": before,
                    "num_steps": num_steps,
                    "processing_area": processing_area,
                }
            )
        self.started.set()
        assert self.release.wait(DEADLINE_S), "the test never released the pipeline"
        error = self.error(processing_area) if callable(self.error) else self.error
        if error is not None:
            raise error
        return [
            self._result(image, alignment, before, processing_area)
            for image, alignment, before in zip(images, alignments, previous, strict=True)
        ]

    def _result(self, image, alignment, before, processing_area):
        import torch

        from ppd_core.depth_result import DepthResult
        from ppd_core.preprocess import model_size
        from ppd_core.types import AlignedDepth

        height, width = image.shape[:2]
        relative = torch.linspace(0, 1, width).repeat(height, 1)
        if self.relative is not None:
            relative = self.relative(image)
        if self.invalid_pixel is not None:
            relative[self.invalid_pixel] = torch.nan
        aligned = AlignedDepth(None, None)
        if alignment is not None:
            aligned = alignment(image, relative, self.own_anchors)
        metric = aligned.metric_depth
        return DepthResult(
            relative_depth=relative,
            relative_depth_model=torch.zeros(model_size(height, width, processing_area)),
            valid_mask=torch.isfinite(relative),
            metric_depth=metric,
            alignment=aligned.alignment,
            alignment_failure=aligned.failure,
            timings_s={"sample": 0.001},
            is_warm=before is not None,
        )

    def own_anchors(self):
        raise ValueError("metres from the prompt network need prompt kind moge2, got 'fake'")


class RosWorld:
    """Nodes in contexts of their own on one domain, spun by the test's own thread."""

    def __init__(self, domain_id):
        self.domain_id = domain_id
        self.aligners = []
        self._contexts = []
        self._executors = []
        self._nodes = []
        self.client = self.add(lambda context: self._plain_node(context))

    @staticmethod
    def _plain_node(context):
        from rclpy.node import Node

        return Node("client", context=context, use_global_arguments=False)

    def add(self, make_node):
        """Add what `make_node(context)` returns, in a context of its own."""
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        context = rclpy.Context()
        rclpy.init(context=context, domain_id=self.domain_id)
        self._contexts.append(context)
        node = make_node(context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        self._executors.append(executor)
        self._nodes.append(node)
        return node

    def depth_node(
        self,
        pipeline=None,
        *,
        load_pipeline=None,
        make_aligner=None,
        cli_args=None,
        **values,
    ):
        """A depth node of the given parameters (`__` for a dot), its pipeline and aligner fake."""
        from rclpy.parameter import Parameter

        from ppd_ros.depth_node import DepthNode

        if load_pipeline is None:
            pipeline = FakePipeline() if pipeline is None else pipeline

            def load_pipeline(settings):
                return pipeline

        def make_fake_aligner(config):
            self.aligners.append(FakeAligner(config))
            return self.aligners[-1]

        values = {name.replace("__", "."): value for name, value in values.items()}
        # Best effort, the default, loses what is sent while the two sides still find each other.
        for topic in ("/image", "/camera_info", "/depth_in", "/lidar_in"):
            values.setdefault(f"qos_overrides.{topic}.subscription.reliability", "reliable")
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        return self.add(
            lambda context: DepthNode(
                context=context,
                load_pipeline=load_pipeline,
                make_aligner=make_aligner or make_fake_aligner,
                parameter_overrides=overrides,
                cli_args=cli_args,
                use_global_arguments=False,
            )
        )

    def spin_until(self, is_true, what, *, timeout_s=DEADLINE_S):
        """Spin all nodes until something is so, or fail saying what never was."""
        deadline_s = time.monotonic() + timeout_s
        while not is_true():
            assert time.monotonic() < deadline_s, f"{what}: not within {timeout_s:g} s"
            for executor in self._executors:
                executor.spin_once(timeout_sec=0.005)

    def wait_active(self, node):
        """Spin until a node that starts by itself is active."""
        self.spin_until(lambda: node.is_active, "the node is active")

    def subscribe(self, message_type, topic, qos=10, callback=None):
        """Subscribe from the client; returns the list that messages are appended to."""
        received = []
        self.client.create_subscription(message_type, topic, callback or received.append, qos)
        return received

    def camera(self, **topics):
        """A camera in the client."""
        return Camera(self, **topics)

    def active(self, pipeline=None, *, outputs=("/ppd/depth/image",), cameras=("",), **values):
        """An active node, its cameras that are calibrated and seen, and topic -> what arrives.

        The outputs are of the type that the node publishes.
        """
        if any(cameras):
            values["cameras"] = list(cameras)
        node = self.depth_node(pipeline, **values)
        self.wait_active(node)
        published = {p.topic_name: p for c in node.cameras for p in c.outputs.values()}
        received = {topic: self.subscribe(published[topic].msg_type, topic) for topic in outputs}
        made = []
        for name, of_node in zip(cameras, node.cameras, strict=True):
            prefix = f"{name}/" if name else ""
            camera = self.camera(image=f"{prefix}image", info=f"{prefix}camera_info")
            camera.wait_seen()
            camera.send_info()
            infos = of_node.frames.calibrations.infos
            self.spin_until(lambda infos=infos: infos, "camera_info arrives")
            made.append(camera)
        self.spin_until(
            lambda: all(published[topic].get_subscription_count() for topic in outputs),
            "the outputs are matched",
        )
        return node, made[0] if len(made) == 1 else made, received

    def call(self, service):
        """Call a std_srvs/Trigger; the future of its answer."""
        from std_srvs.srv import Trigger

        client = self.client.create_client(Trigger, service)
        self.spin_until(client.service_is_ready, service)
        return client.call_async(Trigger.Request())

    def answer(self, called):
        """Spin until a call is answered; whether it succeeded, and the text."""
        self.spin_until(called.done, "an answer")
        return called.result().success, called.result().message

    def close(self):
        """End all of it; fails when a node leaves a thread behind."""
        from ppd_ros.worker import threads_alive

        for node in self._nodes:
            if hasattr(node, "close"):
                node.close()
        for executor in self._executors:
            executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        for context in self._contexts:
            context.try_shutdown()
        assert threads_alive() == []


class Camera:
    """Publishes images and calibrations from the test's client."""

    frame_id = "camera_optical_frame"

    def __init__(self, world, *, image="image", info="camera_info"):
        from sensor_msgs.msg import CameraInfo, Image

        self._world = world
        self.image_out = world.client.create_publisher(Image, image, 10)
        self.info_out = world.client.create_publisher(CameraInfo, info, 10)

    def wait_seen(self):
        """Spin until the node has found both topics."""
        self._world.spin_until(
            lambda: (
                self.image_out.get_subscription_count() > 0
                and self.info_out.get_subscription_count() > 0
            ),
            "the node subscribes to image and camera_info",
        )

    def send_info(self, *, width=8, height=6):
        """Publish a calibration with a focal length of 10 px; returns it."""
        from std_msgs.msg import Header

        from ppd_core.types import Intrinsics
        from ppd_ros.calibration import intrinsics_to_info

        header = Header(stamp=self.now(), frame_id=self.frame_id)
        info = intrinsics_to_info(Intrinsics.from_focal(width, height, 10.0), header)
        self.info_out.publish(info)
        return info

    def now(self, *, offset_s=0.0):
        """The client's time as a stamp."""
        from rclpy.duration import Duration

        now = self._world.client.get_clock().now()
        return (now + Duration(nanoseconds=round(offset_s * 1e9))).to_msg()

    def send(self, rgb=None, *, age_s=0.0, value=None, width=8, height=6):
        """Publish an rgb8 image, all of one value if that is given; returns the message."""
        from std_msgs.msg import Header

        from ppd_ros.conversions import rgb_to_image

        if rgb is None:
            rgb = np.full((height, width, 3), 100 if value is None else value, np.uint8)
        header = Header(stamp=self.now(offset_s=-age_s), frame_id=self.frame_id)
        message = rgb_to_image(rgb, header)
        self.image_out.publish(message)
        return message


@pytest.fixture
def world(domain_id):
    """A `RosWorld` that is closed with the test."""
    made = RosWorld(domain_id)
    yield made
    made.close()


@pytest.fixture
def make_pipeline(world):
    """Makes a `FakePipeline`; those that are held are released before the world is closed."""
    made = []

    def make(**options):
        made.append(FakePipeline(**options))
        return made[-1]

    yield make
    for pipeline in made:
        pipeline.release.set()


def fates(camera):
    """The counters of a node's camera that are not zero."""
    return {fate: number for fate, number in camera.statistics.counts.items() if number}


@pytest.fixture
def count_fates():
    """`fates`, for tests of other files."""
    return fates
