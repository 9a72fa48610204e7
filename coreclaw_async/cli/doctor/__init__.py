"""
``coreclaw-async doctor``: which settings are used, and whether the service works with them.

Belongs here: the command, its checks, and what each check may take and may show.
Does not belong here: anything that sends more than reads, or that another command needs.
"""
