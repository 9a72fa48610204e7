"""
The database of a ledger: a SQLite file, memory, or Postgres.

Belongs here: tables and their migrations, transactions, sessions, the locks of start queues, addresses of ledgers.
Does not belong here: what the rows mean to a batch (the rest of ``batch``).
"""
