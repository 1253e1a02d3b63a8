"""The ROS 2 face of the package: messages in, `ppd_core`, messages out; no maths here.

`extend_path` joins this folder with the one of the same name that colcon fills with the generated
`ppd_ros.msg`: without it, a source tree earlier on `sys.path` would hide the messages.
"""

import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)
