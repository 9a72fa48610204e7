"""What several groups of endpoints share: starting, waiting, lists, rows, exports. The groups are in ``_resources``."""
