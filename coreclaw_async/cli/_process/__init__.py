"""
What a command shares with its process and must handle however it ends.

Belongs here: standard streams, signals, and the runs that were paid for and not yet reported.
Does not belong here: anything that needs typer or rich, or knows a command.
"""
