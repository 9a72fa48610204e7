"""
What people see, and the output that programs read.

Belongs here: text, tables, progress bars, JSON, and the styles of the help; nothing that knows a command.
Does not belong here: what is said: each command says that, and ``failures`` says it of errors.
"""
