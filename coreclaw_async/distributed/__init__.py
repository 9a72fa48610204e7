"""
Batches on several machines: a ledger in Postgres, and engines that distribute work.

One process is enough for about a million runs a day: that is 12 starts a second, at about 3.3 ms of processor time and
1.5 requests a run (``benchmarks/bench_growth.py``). You need more when there are too many rows or several accounts, or
when a machine may fail. Then put the ledger into Postgres (extra ``postgres``, ``ledger="postgresql://..."``), which
any number of processes may share, and give each process a part. If Postgres restarts or fails over, the batch waits
for up to ``patience=``. A failover needs synchronous replication: if the standby is behind, or a backup was restored,
acknowledged writes are lost, and a process that notices it starts nothing more. A pooler in transaction mode is
refused, because its locks exclude nobody: use a direct connection, or session mode.

.. code-block:: py

    from distributed import Client  # Extra dask.

    from coreclaw_async.distributed.dask import run_batch

    report = run_batch(
        Client("tcp://scheduler:8786"), "nightly", ledger="postgresql://db/runs", output="/shared/rows", shard_size=200
    )

Each shard holds items of one worker and goes to one of Dask's workers, which takes the key from its own
``CORECLAW_API_KEY``. Killed workers are replaced; after the loss of the driver or the scheduler, the same call
continues, even while another one is at work. It takes the options of ``client.batch`` and ``batch.run``;
``max_spend`` is the budget of the batch over all workers, and ``on_event`` gets an event for each item. A failed
shard does not stop the others: when all have ended, `BatchIncompleteError` says what is open and why, with the first
failure as its cause. A SQLite file is refused unless all workers are on this machine. ``tests/examples/night_job.py``
is a whole program.

For every other engine there is `run_shard`: it takes a `ShardSpec` and returns a `ShardReport`, has its own event
loop, may be run any number of times, and returns counts, never rows. It returns a report even if some items are open,
so that one failed part does not lose you the others: look at ``is_finished``, ``reasons`` and ``error``, or call
``check()``, which raises. These recipes are not part of the tests:

.. code-block:: py

    from functools import reduce
    from operator import add

    from coreclaw_async import CoreClaw, Shard, ShardSpec, run_shard

    with CoreClaw() as client, client.batch("nightly", ledger=LEDGER) as batch:
        specs = [ShardSpec(batch="nightly", ledger=LEDGER, shard=shard) for shard in batch.shards(200)]

    reports = ray.get([ray.remote(max_retries=-1)(run_shard).remote(spec) for spec in specs])  # Ray
    total = reduce(add, reports).check()


    @celery.task(acks_late=True, reject_on_worker_lost=True)  # Celery: prefork, and any serializer.
    def shard(first: int, last: int, worker_id: str) -> dict[str, int]:
        part = Shard(first=first, last=last, worker_id=worker_id)
        return dict(run_shard(ShardSpec(batch="nightly", ledger=LEDGER, shard=part)).check().counts)


    @airflow.decorators.task(retries=10)  # Airflow: shard.expand(...) over batch.shards() of an earlier task.
    def shard_of_dag(first: int, last: int, worker_id: str) -> dict[str, int]:
        return shard(first, last, worker_id)

Belongs here: ``shards``, which every engine can use, and one module per engine, with its own extra.
Does not belong here: how a batch is planned and run: that is `coreclaw_async.batch`.
"""
