"""
The commands that print or save what runs have produced.

Belongs here: those commands, and the columns, formats and files of rows.
Does not belong here: progress bars and tables: they are in ``_screen``.
"""
