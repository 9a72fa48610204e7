"""
``coreclaw-async demo``: one run from start to file.

Belongs here: the command, the places where a demo can take place, and its steps.
Does not belong here: anything that another command needs.
"""
