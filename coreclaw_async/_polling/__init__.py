"""
Waiting for runs with few requests.

Belongs here: when to look, for which runs, by detail or by list, and what to do in an outage; callables look.
Does not belong here: the requests themselves: those are in ``_operations``.
"""
