"""
Plain data: what models, events and errors can do without knowing the service.

Belongs here: to dictionaries and JSON and back, the hook for pydantic, and short reprs.
Does not belong here: wire names (``_wire``), and any single model (`coreclaw_async.models`).
"""
