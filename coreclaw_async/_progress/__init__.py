"""
How far a call is, told to a function or shown to somebody.

Belongs here: the reporter that calls use, and the lines in notebooks and terminals.
Does not belong here: the bars of the command line (``cli``), and what a call tells.
"""
