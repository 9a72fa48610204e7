"""
Event loops, time and async iterators.

Belongs here: the clock, what is kept for each event loop, and `AsyncStream`.
Does not belong here: anything that knows HTTP, the service or its models.
"""
