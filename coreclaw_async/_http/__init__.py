"""
Sending requests and receiving answers.

Belongs here: connections, deadlines, retries, rate limits and downloads: the modules that know httpx.
Does not belong here: what an operation means (``_operations``), and how requests and answers are written (``_wire``).
"""
