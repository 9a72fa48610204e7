"""
The command line, on typer and rich: `app` lists the commands, `failures` turns an error into an exit code.

Belongs here: commands, their options, and how results and errors are shown to people and programs.
Does not belong here: what a program could need too: that is a method of the client, which a command calls.
"""
