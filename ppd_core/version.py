"""The one place of the version; package.xml repeats it, and a test compares."""

__version__ = "0.1.0"
