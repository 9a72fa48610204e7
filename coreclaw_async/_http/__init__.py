"""Sending requests and receiving answers. What an operation means stands above, in ``_operations``."""
