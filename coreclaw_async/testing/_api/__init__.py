"""
The operations of the API: from a request that has arrived to its answer.

Belongs here: a module of handlers for each resource group (as in ``_resources``), and the rules they share.
Does not belong here: how requests arrive, faults and callbacks (``_serving``); what a run does by itself (``_state``).
"""
