"""
The blocking client: generated from the async one, on an event loop in a thread.

Belongs here: ``generated.py``, which nobody edits, and its hand-written base: the loop, iterators and batches.
Does not belong here: an operation or a second implementation: every call runs a coroutine of the async client.
"""
