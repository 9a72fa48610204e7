"""
The documentation: the sources of its pages, and the configuration of Sphinx.

Belongs here: scripts that show the package as it is imported, and so may import it.
Does not belong here: text about the package, which stands in README and in its docstrings.
"""
