"""
Scripts that write parts of the package.

Belongs here: scripts that are run by path and need nothing but the standard library.
Does not belong here: anything that the package imports, or that imports the package.
"""
