"""The commands of ``batch``, each with an example."""

from __future__ import annotations

import typer

from coreclaw_async.cli.batch.deciding import cancel, pause, prune, rerun, reset_foreign, resolve, resume
from coreclaw_async.cli.batch.looking import export, items, report, rows
from coreclaw_async.cli.batch.planning import plan
from coreclaw_async.cli.batch.running import run
from coreclaw_async.cli.epilogs import WORKER, epilog, group_epilog

_LEDGER = "--ledger runs.db"
_FAILED = {1: "some runs failed or were refused"}
_REFUSED = {2: "usage, or an input would fail: nothing was planned"}
_OPEN = {6: "items are open or held, also as balance or budget are used up"}

_PLAN = f"batch plan nightly {_LEDGER} -i places.csv \\\n    --worker {WORKER} --key-from place"
_RUN = f"batch run nightly {_LEDGER} -o rows --max-spend 20"

batch_app = typer.Typer(
    help="Many runs under one name, each paid for once, through crashes.",
    epilog=group_epilog(_PLAN, _RUN),
    no_args_is_help=True,
)

batch_app.command(epilog=epilog(_PLAN, f"{_PLAN} --check", codes=_REFUSED))(plan)
batch_app.command(epilog=epilog(_RUN, codes={**_FAILED, **_OPEN}))(run)
batch_app.command(epilog=epilog(f"batch report nightly {_LEDGER} --html report.html"))(report)
batch_app.command(epilog=epilog(f"batch items nightly {_LEDGER} --state failed"))(items)
batch_app.command(epilog=epilog(f"batch rows nightly {_LEDGER} -o all.csv", codes=_OPEN))(rows)
batch_app.command(epilog=epilog(f"batch rerun nightly {_LEDGER}"))(rerun)
batch_app.command(epilog=epilog(f"batch cancel nightly {_LEDGER} --abort"))(cancel)
batch_app.command(epilog=epilog(f"batch pause nightly {_LEDGER}"))(pause)
batch_app.command(epilog=epilog(f"batch resume nightly {_LEDGER}"))(resume)
batch_app.command(epilog=epilog(f"batch resolve nightly k17 {_LEDGER} --json"))(resolve)
batch_app.command(epilog=epilog(f"batch export nightly {_LEDGER} --with-inputs"))(export)
batch_app.command(epilog=epilog(f"batch prune {_LEDGER} --older-than-days 30"))(prune)
batch_app.command("reset-foreign", epilog=epilog(f"batch reset-foreign nightly {WORKER} \\\n    {_LEDGER}"))(
    reset_foreign
)
