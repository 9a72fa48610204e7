"""What the service calls the states of runs, what they mean, the levels of log lines, and when tasks run."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum


class RunStatus(StrEnum):
    """
    The five statuses of the contract; others that the service sends stay plain strings.

    Attributes:
        READY: The run was accepted and waits to begin.
        RUNNING: It is at work.
        SUCCEEDED: It has ended well, perhaps without rows.
        FAILED: It has ended badly.
        ABORTING: It was asked to stop; it may stop at any moment, or has.

    Example::

        if run.status == RunStatus.SUCCEEDED:  # Equal to "succeeded", too.
            print(run.result_count)
    """

    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTING = "aborting"


class RunOutcome(Enum):
    """
    What a status means to somebody who waits.

    Attributes:
        GOING: The run has not ended, or has a status that this version does not know.
        ABORTING: It was asked to stop, and may not have stopped so far.
        SUCCEEDED: It has ended well.
        FAILED: It has ended badly.
        ABORTED: It was stopped.

    Example::

        print(run.outcome is RunOutcome.SUCCEEDED, run.outcome.is_end)
    """

    GOING = "going"
    ABORTING = "aborting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def is_end(self) -> bool:
        """Whether nothing more can be expected."""
        return self not in _NO_ENDS


# Looked at for each run of each list that is read: a member found through its class takes much longer.
_NO_ENDS = (RunOutcome.GOING, RunOutcome.ABORTING)
_GOING = RunOutcome.GOING


class LogLevel(StrEnum):
    """
    The level of a log entry; the wire sends 1 to 4 or its name.

    Attributes:
        DEBUG: The wire also sends 1.
        INFO: The wire also sends 2.
        WARN: The wire also sends 3.
        ERROR: The wire also sends 4.

    Example::

        log = await client.runs.get_log(run)
        errors = [entry.content for entry in log.entries if entry.level is LogLevel.ERROR]
    """

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class ScheduleType(IntEnum):
    """
    How often a task runs by itself.

    Attributes:
        NONE: Never.
        DAILY: Every day.
        WEEKLY: Every week.
        MONTHLY: Every month.
        ONCE: One time.

    Example::

        await client.tasks.update(
            task_id, schedule_enabled=True, schedule_type=ScheduleType.DAILY, schedule_time="06:15"
        )
    """

    NONE = 0
    DAILY = 1
    WEEKLY = 2
    MONTHLY = 3
    ONCE = 4


# The statuses beyond the contract are those that other clients of the service wait for or have seen in callbacks (docs,
# api/run-lifecycle; coreclaw-mcp-server poll_run; n8n-nodes-coreclaw constants).
_OUTCOMES = {
    "aborting": RunOutcome.ABORTING,
    "succeeded": RunOutcome.SUCCEEDED,
    "success": RunOutcome.SUCCEEDED,
    "finished": RunOutcome.SUCCEEDED,
    "completed": RunOutcome.SUCCEEDED,
    "failed": RunOutcome.FAILED,
    "error": RunOutcome.FAILED,
    "timeout": RunOutcome.FAILED,
    "timed_out": RunOutcome.FAILED,
    "submit_fail": RunOutcome.FAILED,
    "aborted": RunOutcome.ABORTED,
    "abort": RunOutcome.ABORTED,
    "cancelled": RunOutcome.ABORTED,
    "canceled": RunOutcome.ABORTED,
}


def outcome_of(status: str | None) -> RunOutcome:
    """Return what *status* means, whatever its case; an unknown status means that the run goes on."""
    if status is None:
        return _GOING
    return _OUTCOMES.get(status) or _OUTCOMES.get(status.lower(), _GOING)
