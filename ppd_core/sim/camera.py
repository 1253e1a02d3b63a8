"""An ideal RGB-D camera in a MuJoCo scene: colour and exact depth from one render pass."""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any

import mujoco
import numpy as np

from ppd_core.sim.scenes import Scene
from ppd_core.sim.views import View
from ppd_core.types import Intrinsics

NEAR_M, FAR_M = 0.02, 200.0
"""Clipping planes; the depth buffer is a reversed float, exact over the whole range."""

RANGE_M = 40.0
"""What is farther counts as nothing. MuJoCo paints the sky on a box about `FAR_M / 2` away."""

DEBIAN_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri"
"""What MuJoCo and PyOpenGL need to draw with EGL and no GPU; each was taken away to see."""

_SPARE_GEOMS = 100

# MuJoCo adds light up linearly; a camera encodes brightness so that dark parts show more. Of each
# sum of 16 weighted samples, its 8-bit value.
_ENCODING_GAMMA = 1.6
_ENCODED = np.round(255 * (np.arange(16 * 255 + 1) / (16 * 255)) ** (1 / _ENCODING_GAMMA)).astype(
    np.uint8
)


class RenderingUnavailableError(RuntimeError):
    """This system cannot draw off screen, or not that size; the message says what helps."""


@dataclass(frozen=True, eq=False)
class RgbdFrame:
    """One picture with its truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along the optical z axis at each pixel's centre; +inf where
            there is nothing.
        valid_mask: (H, W) bool, where depth is finite.
        intrinsics: an ideal pinhole.
        camera_to_world: (4, 4) float64, from the optical frame (x right, y down, z forward).
    """

    image: np.ndarray
    depth: np.ndarray
    valid_mask: np.ndarray
    intrinsics: Intrinsics
    camera_to_world: np.ndarray


def intrinsics_of(view: View, width: int, height: int) -> Intrinsics:
    """The pinhole of a view: square pixels, the axis through the middle of the image.

    Pixel (0, 0) is a pixel's centre, so the middle is ((W - 1) / 2, (H - 1) / 2).
    """
    focal = height / 2 / math.tan(math.radians(view.vertical_fov_deg) / 2)
    return Intrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


class RgbdCamera:
    """Draws scenes; owns an OpenGL context, so use it from the thread that made it.

    The picture is drawn at twice the size and filtered down (1 2 1), which smooths edges as a
    lens does. Depth is the one sample at each pixel's centre, never a mean: a mean of two
    surfaces would be a flying pixel in the truth.

    Args:
        width, height: of the frames, pixels.

    Raises:
        RenderingUnavailableError: the system lacks EGL or OpenGL.
        ValueError: a size is not positive.
    """

    def __init__(self, width: int = 320, height: int = 240):
        if width < 1 or height < 1:
            raise ValueError(f"image size must be >= 1 x 1, got {width} x {height}")
        self._width, self._height = width, height
        self._render_size = (2 * width + 1, 2 * height + 1)
        self._gl: Any = _open_gl(*self._render_size)
        self._scene: Scene | None = None
        self._context: mujoco.MjrContext | None = None
        self._drawing: mujoco.MjvScene | None = None

    def __enter__(self) -> RgbdCamera:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the graphics memory back. May be called twice."""
        self._drop_scene()
        if self._gl is not None:
            self._gl.free()
            self._gl = None

    def render(self, scene: Scene, view: View) -> RgbdFrame:
        """Take one frame.

        Args:
            scene: in the state that its data has now; rendering does not change it. Several
                views of one scene in a row are cheap: its textures are uploaded once.
            view: the camera's pose and field of view.

        Returns:
            The frame.

        Raises:
            RuntimeError: the camera is closed.
            RenderingUnavailableError: the driver cannot draw frames of this size.
        """
        if self._gl is None:
            raise RuntimeError("the camera is closed")
        self._gl.make_current()
        context, drawing = self._take_scene(scene)
        mujoco.mjv_updateScene(
            scene.model,
            scene.data,
            mujoco.MjvOption(),
            None,
            mujoco.MjvCamera(),
            mujoco.mjtCatBit.mjCAT_ALL,
            drawing,
        )
        _aim(drawing, view, self._width, self._height)
        width, height = self._render_size
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, drawing, context)
        colors = np.empty((height, width, 3), np.uint8)
        buffer = np.empty((height, width), np.float32)
        mujoco.mjr_readPixels(colors, buffer, viewport, context)
        # OpenGL's rows run upward.
        depth = metric_depth(buffer[::-1][1::2, 1::2])
        return RgbdFrame(
            image=_filter_down(colors[::-1]),
            depth=depth,
            valid_mask=np.isfinite(depth),
            intrinsics=intrinsics_of(view, self._width, self._height),
            camera_to_world=view.camera_to_world.copy(),
        )

    def _take_scene(self, scene: Scene) -> tuple[mujoco.MjrContext, mujoco.MjvScene]:
        if self._scene is scene and self._context is not None and self._drawing is not None:
            return self._context, self._drawing
        self._drop_scene()
        # MuJoCo takes the buffer's size from the model, though it says nothing about the scene.
        size = scene.model.vis.global_
        size.offwidth, size.offheight = self._render_size
        # With multisampling, depth would be that of a sample beside the pixel's centre.
        scene.model.vis.quality.offsamples = 0
        try:
            context = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_50)
        except mujoco.FatalError as error:
            raise RenderingUnavailableError(
                f"cannot draw frames of {self._width} x {self._height} pixels ({error}): "
                "take smaller ones"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        drawing = mujoco.MjvScene(scene.model, scene.model.ngeom + _SPARE_GEOMS)
        drawing.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._scene, self._context, self._drawing = scene, context, drawing
        return context, drawing

    def _drop_scene(self) -> None:
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
        self._scene = self._context = self._drawing = None


def metric_depth(buffer: np.ndarray) -> np.ndarray:
    """Metres from a reversed depth buffer: 1 at the near plane, 0 at the far plane.

    With `w = n (f - z) / (z (f - n))`, `z = n f / (w (f - n) + n)`.

    Args:
        buffer: any shape, float32 in [0, 1].

    Returns:
        The same shape, float32, metres along the optical axis; +inf beyond `RANGE_M`.
    """
    near, far = np.float32(NEAR_M), np.float32(FAR_M)
    depth = near * far / (buffer * (far - near) + near)
    return np.where(depth <= RANGE_M, depth, np.float32(np.inf)).astype(np.float32, copy=False)


def _aim(drawing: mujoco.MjvScene, view: View, width: int, height: int) -> None:
    pose = view.camera_to_world
    position, forward, up = pose[:3, 3], pose[:3, 2], -pose[:3, 1]
    # One more half pixel on each side: the middle of every second sample is a pixel's centre.
    half_height = NEAR_M * math.tan(math.radians(view.vertical_fov_deg) / 2)
    half_height *= (2 * height + 1) / (2 * height)
    for eye in drawing.camera:  # the two of a stereo pair; drawn from between them
        eye.pos, eye.forward, eye.up = position, forward, up
        eye.orthographic = 0
        eye.frustum_near, eye.frustum_far = NEAR_M, FAR_M
        eye.frustum_center = 0.0
        eye.frustum_top, eye.frustum_bottom = half_height, -half_height
        eye.frustum_width = half_height * (2 * width + 1) / (2 * height + 1)
    for light in drawing.lights[: drawing.nlight]:
        if light.headlight:
            light.pos, light.dir = position, forward


def _filter_down(colors: np.ndarray) -> np.ndarray:
    """(2H + 1, 2W + 1, 3) to (H, W, 3) uint8, weights 1 2 1 around every second sample."""
    wide = colors.astype(np.uint16)
    rows = wide[0:-2:2] + 2 * wide[1:-1:2] + wide[2::2]
    total = rows[:, 0:-2:2] + 2 * rows[:, 1:-1:2] + rows[:, 2::2]
    return _ENCODED[total]


def _open_gl(width: int, height: int) -> Any:
    """An OpenGL context without a window.

    Raises:
        RenderingUnavailableError: there is none to be had.
    """
    if sys.platform.startswith("linux"):
        # MuJoCo's own default is a window, which servers and containers do not have.
        os.environ["MUJOCO_GL"] = os.environ.get("MUJOCO_GL") or "egl"
        # Mesa and PyTorch's compiler each bring an LLVM. With Mesa's loaded first, loading the
        # other, as any torch optimizer does, ends the process with a segmentation fault.
        with suppress(ImportError):
            import_module("triton")
    backend = os.environ.get("MUJOCO_GL", "")
    try:
        if backend.lower() == "egl":
            # Not `mujoco.GLContext`: that one was chosen when mujoco was first imported.
            from mujoco.egl import GLContext
        else:
            from mujoco import GLContext
        context = GLContext(width, height)
        context.make_current()
        # A driver that is there but cannot do what MuJoCo needs shows itself only here.
        empty = mujoco.MjModel.from_xml_string("<mujoco/>")
        mujoco.MjrContext(empty, mujoco.mjtFontScale.mjFONTSCALE_50).free()
    except Exception as error:  # PyOpenGL fails in as many types as there are ways to fail.
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise RenderingUnavailableError(
            f"cannot draw off screen (MUJOCO_GL={backend}: {reason}): on Debian or Ubuntu, "
            f"apt install {DEBIAN_PACKAGES}"
        ) from error
    return context
