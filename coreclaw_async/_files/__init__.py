"""
Files that are written whole or not at all, and what exported files hold.

Belongs here: temporary files and their places, modes and links, and counting rows in a file.
Does not belong here: HTTP (a download is in ``_http``), and the rows of a batch (``batch``).
"""
