"""
What a batch reads from its ledger and writes to it, in the SQL that SQLite and Postgres share.

Belongs here: rows of items, runs, budgets and start queues; each write as a whole, with what must hold when it is made.
Does not belong here: connections, transactions and locks (``_store``), and when to write what (the rest of ``batch``).
"""
