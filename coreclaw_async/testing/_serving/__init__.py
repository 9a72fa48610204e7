"""
How the fake service is reached: in memory, or on real sockets.

Belongs here: the transport, the ASGI app and its server, downloads, callbacks, and the faults that are planned.
Does not belong here: what an operation answers (``_api``).
"""
