"""
What several groups of endpoints share.

Belongs here: starting, waiting, lists, rows and exports, as functions and classes that take a `Context`.
Does not belong here: public methods (``_resources``), and the meaning of pages and polls (``_paging``, ``_polling``).
"""
