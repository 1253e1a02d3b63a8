#!/bin/bash
# Run a command where ROS 2 and the node are known.
set -e
# shellcheck source=/dev/null
source /opt/ros/jazzy/setup.bash
# shellcheck source=/dev/null
source /workspace/install/setup.bash
exec "$@"
