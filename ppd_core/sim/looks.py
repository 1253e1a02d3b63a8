"""Materials, textures and lights of one simulated scene."""

from __future__ import annotations

import mujoco
import numpy as np

from ppd_core.sim.patterns import draw_color, draw_pattern

_SURFACE_TEXTURES = 4
_OBJECT_TEXTURES = 5
_TEXTURE_SIZES_PX = (64, 128)


class Looks:
    """Draws the materials of one scene from a small set of textures.

    Few textures, each tinted anew by every material that uses it: uploading them is a good part
    of what a scene costs.

    Args:
        spec: the scene under construction; textures, materials and lights are added to it.
        rng: source of chance.
    """

    def __init__(self, spec: mujoco.MjSpec, rng: np.random.Generator):
        self._spec = spec
        self._rng = rng
        self._materials = 0
        self._surface_textures = [
            self._add_texture(f"surface{i}", mujoco.mjtTexture.mjTEXTURE_2D, vivid_share=0.2)
            for i in range(_SURFACE_TEXTURES)
        ]
        self._add_sky()
        self._object_textures = [
            self._add_texture(f"object{i}", mujoco.mjtTexture.mjTEXTURE_CUBE, vivid_share=0.4)
            for i in range(_OBJECT_TEXTURES)
        ]

    def _add_sky(self) -> None:
        """What shows where a wall is missing; depth there is infinite."""
        self._spec.add_texture(
            name="sky",
            type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            width=32,
            height=32 * 6,
            rgb1=self._rng.uniform(0.3, 1.0, 3),
            rgb2=self._rng.uniform(0.1, 0.8, 3),
        )

    def surface(self) -> str:
        """A new material for a floor, wall or board; its pattern has a size in metres."""
        textured = self._rng.random() < 0.75
        texture = str(self._rng.choice(self._surface_textures)) if textured else ""
        repeats_per_m = self._rng.uniform(0.6, 4.0)
        return self._add_material(texture, repeats_per_m, gloss=0.3, vivid_share=0.2)

    def object(self) -> str:
        """A new material for a loose object or a piece of furniture."""
        textured = self._rng.random() < 0.6
        texture = str(self._rng.choice(self._object_textures)) if textured else ""
        return self._add_material(texture, 0.0, gloss=1.0, vivid_share=0.5)

    def _add_texture(self, name: str, kind: mujoco.mjtTexture, *, vivid_share: float) -> str:
        size = int(self._rng.choice(_TEXTURE_SIZES_PX))
        picture = draw_pattern(self._rng, size, vivid_share=vivid_share)
        faces = 6 if kind == mujoco.mjtTexture.mjTEXTURE_CUBE else 1
        texture = self._spec.add_texture(
            name=name, type=kind, width=size, height=size * faces, nchannel=3
        )
        texture.data = np.tile(picture, (faces, 1, 1)).tobytes()
        return name

    def _add_material(
        self, texture: str, repeats_per_m: float, *, gloss: float, vivid_share: float
    ) -> str:
        rng = self._rng
        name = f"material{self._materials}"
        self._materials += 1
        material = self._spec.add_material(name=name)
        if texture:
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture
            # A tint near white keeps the picture's own colours; a darker one repaints it.
            paint = draw_color(rng, vivid_share=vivid_share) * 0.5 + 0.5
            tint = rng.uniform(0.75, 1.0) * np.ones(3) if rng.random() < 0.5 else paint
        else:
            tint = draw_color(rng, vivid_share=vivid_share)
        material.rgba = [*tint, 1.0]
        if repeats_per_m:
            material.texuniform = True
            material.texrepeat = [repeats_per_m, repeats_per_m]
        material.specular = gloss * rng.uniform(0, 1) ** 2
        material.shininess = rng.uniform(0.05, 0.9)
        material.reflectance = 0.0
        return name

    def light(self, focus: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Add the lights: one that casts shadows, fill lights, and an ambient share.

        Args:
            focus: (3,) m, what the first light is turned to.
            low, high: (3,) m, opposite corners of the room; lights hang in its upper part.
        """
        rng = self._rng
        exposure = rng.uniform(0.85, 1.25)
        ambient = exposure * rng.uniform(0.25, 0.5)
        head = exposure * rng.uniform(0.0, 0.2)
        headlight = self._spec.visual.headlight
        headlight.ambient = ambient * _tint(rng)
        headlight.diffuse = head * np.ones(3)
        headlight.specular = head * 0.3 * np.ones(3)
        shares = rng.dirichlet([4.0] + [1.0] * int(rng.integers(0, 3)))
        for index, share in enumerate(shares):
            self._add_light(
                1.2 * (exposure - ambient - head) * share, index == 0, focus, low, high
            )

    def _add_light(
        self, power: float, is_key: bool, focus: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> None:
        rng = self._rng
        at = rng.uniform(low, high)
        # Over the scene rather than in a far corner, where every shadow would be metres long.
        at[:2] = focus[:2] + (at[:2] - focus[:2]) * rng.uniform(0.2, 0.8)
        at[2] = high[2] - rng.uniform(0.05, 0.4)
        is_sun = rng.random() < 0.3
        light = self._spec.worldbody.add_light(pos=at, castshadow=is_key or rng.random() < 0.3)
        toward = focus + rng.normal(0, 0.15, 3) - at
        light.dir = toward / np.linalg.norm(toward)
        light.type = (
            mujoco.mjtLightType.mjLIGHT_DIRECTIONAL if is_sun else mujoco.mjtLightType.mjLIGHT_SPOT
        )
        light.cutoff = rng.uniform(55, 80)
        light.exponent = rng.uniform(0, 3)
        light.attenuation = [1, 0, 0]
        light.ambient = np.zeros(3)
        light.diffuse = power * _tint(rng)
        light.specular = min(1.0, power) * rng.uniform(0.2, 0.7) * np.ones(3)


def _tint(rng: np.random.Generator) -> np.ndarray:
    """Light between warm and cool, brightness 1."""
    warmth = rng.uniform(-0.12, 0.12)
    return np.array([1 + warmth, 1.0, 1 - warmth])
