"""
How batches work; `batch` and `ledger` are what users import.

Belongs here: ledgers and their databases, admission, starting, reconciling lost starts, and the files of rows.
Does not belong here: what a single run needs too (``_operations``), and dividing a batch among machines (`shards`).
"""
