"""
Reading lists to their end.

Belongs here: what ``offset`` means, which page comes next, and whether the pages add up; callables fetch them.
Does not belong here: resources, the transport and HTTP; which list is read is said in ``_operations``.
"""
