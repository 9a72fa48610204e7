"""
Batches on engines that distribute work over machines.

Belongs here: `shards`, which every engine can use, and one module per engine, with its own extra.
Does not belong here: how a batch is planned and run: that is `coreclaw_async.batch`.
"""
