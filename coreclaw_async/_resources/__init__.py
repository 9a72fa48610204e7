"""
The groups of the API, as users see them on a client.

Belongs here: one module per group of endpoints and one method per operation, each with its full docstring.
Does not belong here: what two groups share, or what takes more than one request: that is in ``_operations``.
"""
