"""The version of the package, where the build, the program and the requests read it."""

__version__ = "0.1.0"
