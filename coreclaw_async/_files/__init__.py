"""Files that are written whole or not at all, and what exported files hold. No HTTP."""
