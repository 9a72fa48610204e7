"""The blocking client: generated from the async one, on an event loop in a thread."""
