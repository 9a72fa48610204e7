"""What a status word means to somebody who waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreclaw_async.models import Run, RunOutcome, RunStatus, StartedRun
from coreclaw_async.models.statuses import outcome_of

WORDS = {
    "ready": RunOutcome.GOING,
    "running": RunOutcome.GOING,
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


@pytest.mark.parametrize(("word", "outcome"), WORDS.items())
def test_word_has_its_meaning_in_any_case(word: str, outcome: RunOutcome) -> None:
    assert outcome_of(word) is outcome_of(word.upper()) is outcome_of(word.title()) is outcome
    assert Run(status=word).outcome is StartedRun(run_id="R", status=word).outcome is outcome
    assert Run(status=word).is_finished is outcome.is_end


@pytest.mark.parametrize("status", RunStatus)
def test_every_word_of_the_contract_is_known(status: RunStatus) -> None:
    assert outcome_of(status) is WORDS[status]


@given(st.none() | st.text().filter(lambda word: word.lower() not in WORDS))
def test_run_goes_on_when_the_word_is_unknown(word: str | None) -> None:
    assert outcome_of(word) is RunOutcome.GOING
    assert not Run(status=word).is_finished


def test_only_aborting_and_going_are_no_ends() -> None:
    assert {outcome for outcome in RunOutcome if not outcome.is_end} == {RunOutcome.GOING, RunOutcome.ABORTING}
