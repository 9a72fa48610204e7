"""
The command line, on typer and rich.

`app` lists the commands; each has a module of its own. They share `screen` (text and tables), `row_progress` (the bar)
and `failures` (how an error becomes a message and an exit code).
"""
