"""One ROS parameter: its default, its bounds, what it means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

NAN = "nan"


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter: what a user sees of it.

    Args:
        name, default, description: as `ros2 param describe` shows them.
        bounds: the smallest and largest value of a number, or None.
        choices: the values that a text may have, or empty for any.
        is_fixed_by_configure: refuse changes while a model is loaded, which they would not reach.
        is_read_only: refuse all changes after start-up.
    """

    name: str
    default: bool | int | float | str | tuple[str, ...]
    description: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    is_fixed_by_configure: bool = False
    is_read_only: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """The description and the bounds as ROS carries them."""
        result = ParameterDescriptor(name=self.name, description=self.description)
        result.read_only = self.is_read_only
        # `-p name:=nan` is a number to YAML, and rclpy would end the node for its type.
        # And rclpy takes an empty list for one of bytes.
        result.dynamic_typing = NAN in self.choices or isinstance(self.default, tuple)
        if self.choices:
            result.additional_constraints = f"one of {', '.join(self.choices)}"
        if self.is_fixed_by_configure:
            result.description += " Can change only while the node is unconfigured."
        if self.bounds:
            low, high = self.bounds
            if isinstance(self.default, int):
                result.integer_range = [
                    IntegerRange(from_value=int(low), to_value=int(high), step=1)
                ]
            else:
                result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return result

    def read(self, value: Any) -> Any:
        """What was meant by a value that a user gave.

        The word nan, where YAML reads a number; no names, where it reads [] as nothing at all.
        """
        if isinstance(self.default, tuple):
            if value is None:
                return ()
            return tuple(value) if isinstance(value, (list, tuple)) else value
        is_number = isinstance(value, float) and math.isnan(value)
        return NAN if is_number and NAN in self.choices else value

    def check(self, value: Any) -> None:
        """Raise ValueError unless `value` is within bounds and choices."""
        if isinstance(self.default, tuple) and not (
            isinstance(value, tuple) and all(isinstance(one, str) for one in value)
        ):
            raise ValueError(f"{self.name} must be a list of names, got {value!r}")
        if self.choices and value not in self.choices:
            raise ValueError(
                f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}"
            )
        if self.bounds and not self.bounds[0] <= value <= self.bounds[1]:
            low, high = self.bounds
            raise ValueError(f"{self.name} must be in [{low}, {high}], got {value}")
