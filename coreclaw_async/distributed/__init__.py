"""
Batches on engines that distribute work over machines.

Belongs here: one module per engine, with an extra of its own; nothing else in the package imports it.
Does not belong here: what every engine needs: that is `coreclaw_async.distributed.shards`.
"""
