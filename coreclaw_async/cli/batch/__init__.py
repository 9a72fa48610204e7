"""
``coreclaw-async batch``: many runs under one name.

Belongs here: the commands about batches, the files and options that only they have, and the page for a browser.
Does not belong here: how a batch is planned, run and kept: that is ``coreclaw_async.batch``.
"""
