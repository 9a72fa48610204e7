"""How batches work: their ledgers, lanes, admission, reconciliation and files."""
