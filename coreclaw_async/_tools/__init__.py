"""
Scripts that write parts of the package, and its documentation.

Belongs here: scripts that are run by path; those that write code need nothing but the standard library.
Does not belong here: anything that the package imports, or that imports the package to write code.
"""
