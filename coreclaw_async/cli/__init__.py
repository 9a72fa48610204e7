r"""
The command line: ``coreclaw-async``, with the extra ``cli``.

The key comes from ``CORECLAW_API_KEY``, ``--api-key-file`` or a prompt, never from the arguments. To try it without
an account, start ``coreclaw-async emulate`` (extra ``emulator``) in a second terminal, and paste the two ``export``
lines that it prints. README has the way from finding a worker to its rows; these commands go further:

.. code-block:: sh

    coreclaw-async workers types coreclaw/google-maps-scraper > scraper_input.py    # Its input as a TypedDict.
    coreclaw-async export last -o rows.xlsx             # Formats of the service: also xls, xml, html and rss.
    coreclaw-async rerun last -o again.csv              # Start, wait and write in one; run takes -o too, and --assess.
    coreclaw-async runs --since yesterday --until today # Yesterday's runs.
    coreclaw-async log last --follow                    # What a run says, until it ends.
    coreclaw-async doctor                               # Which settings are used, and whether they work.

Every command explains itself with ``-h``. ``coreclaw-async --install-completion`` sets up completion in your shell.
Here is a line for cron, which starts in your home directory and has neither your ``PATH`` nor your variables. The
file ``key`` holds the key (``chmod 600 key``), and ``flock`` keeps a second run from starting while the first still
runs; ``tests/examples/crontab`` has one that pays once a day:

.. code-block:: text

    15 6 * * *  cd places && flock -n lock .venv/bin/coreclaw-async run coreclaw/google-maps-scraper -i input.json -o rows.csv --api-key-file key >>log 2>&1

Tables, bars and messages are for people. ``--json`` prints one object per line, failures included; without a
terminal, the columns of tables are separated by tabs. Files are written whole or not at all, and a path that cannot
be written is refused before anything is paid for. After Ctrl-C or SIGTERM the command says how to wait for the run
again or how to stop it; ``--abort-on-interrupt`` aborts it. When you name several runs, each is handled even if the
first fails.

You always learn the id of a run you paid for: it goes to standard output or standard error; if both are closed or
full, to the terminal; and if there is no terminal, to ``~/.local/state/coreclaw-async/untold-runs.txt``.

The exit code says what happened:

* 0: success; also when a read command's output is cut off (``... | head``)
* 1: the run failed or was aborted, or its verdict is not ``pass`` (``--assess``)
* 2: usage: an option, a key, a file, an address or a checked input is wrong; nothing was paid for
* 3: the service refused, failed, or cannot be reached
* 4: it is unknown whether a run was started; the candidates are named
* 5: the wait timed out, or the run is still running
* 6: a batch has open or held items
* 7: the output could not be written; the run is named
* 130: interrupted (143 by SIGTERM, 129 by SIGHUP)

Batches (`coreclaw_async.batch`) are made, run and looked at with ``coreclaw-async batch``:

.. code-block:: sh

    export CORECLAW_LEDGER=runs.db                      # Or --ledger; postgresql://... too.
    printf 'key,keywords:json\ncoffee,"[""coffee""]"\ntea,"[""tea""]"\n' > places.csv
    printf '{"key": "cake", "input": {"keywords": ["cake"]}, "retries": 1}\n' > more.jsonl
    coreclaw-async batch plan nightly -i places.csv --worker coreclaw/google-maps-scraper --check   # Checks the inputs.
    coreclaw-async batch plan nightly -i more.jsonl --worker coreclaw/google-maps-scraper
    coreclaw-async batch run nightly -o rows --max-spend 20    # The same command goes on after a crash or Ctrl-C.
    coreclaw-async batch report nightly --html report.html     # States, spending, progress, failures; needs no network.
    coreclaw-async batch items nightly --state failed          # With reasons; --json for programs.
    coreclaw-async batch rows nightly -o all.csv               # All rows, each with its key; or lines of JSON.
    coreclaw-async batch rerun nightly                         # All failed items; named by key, also refused ones.
    coreclaw-async batch pause nightly                         # In all processes, until batch resume.
    coreclaw-async batch resume nightly
    coreclaw-async batch cancel nightly                        # Planned items; with --abort, running ones too.
    coreclaw-async batch export nightly -o ledger.jsonl        # All items with all their runs.
    coreclaw-async batch prune --older-than-days 30            # Finished batches; never one with open items.

* **CSV**: columns ``key``, ``worker_id``, ``version``, ``retries``, ``run_timeout``, ``priority``, ``input`` and
  ``system`` (both JSON) are members of the spec; every other column is a member of the input: a string, or JSON if
  its name ends with ``:json``. ``--key-from FIELD`` takes the key from the input.
* **Exit codes** of ``batch run``: 0 all done; 1 some failed or were refused; 6 items are open or held, for instance
  because balance or budget is used up; 7 rows could not be written; 3 the service refused or failed; 2 usage, before
  anything was paid for; 130 interrupted. The reasons are on stderr, and with ``--json`` also in a last object, which
  has no ``key``.
* **A missing ledger or batch** is an error for every command but ``plan``: a mistyped name creates nothing.
* **Held items** are shown by ``batch resolve nightly KEY``, which takes ``--adopt RUN`` or ``--resubmit``.
  ``batch reset-foreign nightly WORKER`` forgets that somebody else was seen starting runs of a worker.
* **Pruned batches**: the ids of their runs stay in the ledger for two months, so that none is mistaken for the run of
  a lost start. If you make the same plan again, you pay for it again.

Belongs here: commands, their options, and how results and errors are shown to people and programs.
Does not belong here: what a program could need too: that is a method of the client, which a command calls.
"""  # noqa: E501 - a line for cron cannot be broken
