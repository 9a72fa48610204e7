"""
Reading lists to their end: what ``offset`` means, which page comes next, and whether the sum is right.

Knows pages and plain callables that fetch them; no resource, no transport, no HTTP.
"""
