"""
The commands that list, start, wait for and stop runs.

Belongs here: those commands, and what a started or awaited run needs at a terminal.
Does not belong here: what runs have produced: that is ``rows``.
"""
