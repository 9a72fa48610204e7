"""Groups of endpoints are loaded when they are first used, from whatever thread, and look as if always there."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import threading
import typing
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from client_groups import GROUPS
from waiting import PATIENCE

from coreclaw_async import AsyncCoreClaw, AsyncRuns, Reply

THREADS = 8
# In a new process: what is loaded at first use is loaded once in each.
FIRST_USE_IN_THREADS = f"""
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import coreclaw_async
from coreclaw_async import AsyncCoreClaw, AsyncRuns
groups = {GROUPS!r}
client, gate = AsyncCoreClaw("key"), threading.Barrier({THREADS})
sys.setswitchinterval(1e-5)

def use(number):
    gate.wait()
    order = groups[number % len(groups):] + groups[:number % len(groups)]
    return {{name: getattr(client, name) for name in order}}, coreclaw_async.RunSpec, coreclaw_async.CoreClaw

with ThreadPoolExecutor({THREADS}) as pool:
    (groups_seen, *names), *others = pool.map(use, range({THREADS}))
for seen, *more in others:
    assert more == names
    assert all(seen[name] is groups_seen[name] for name in groups), seen
print("alike")
"""


# The module of the group takes a while to load, and the process is forked meanwhile.
FORKED = """
import os, pathlib, sys, tempfile, threading
import coreclaw_async._resources
from coreclaw_async import AsyncCoreClaw
from coreclaw_async._operations.lazy_group import LazyGroup

folder = tempfile.mkdtemp()
pathlib.Path(folder, "slow.py").write_text('''
import builtins, time
builtins.is_loading.set()
time.sleep(0.5)
class Slow:
    def __init__(self, context):
        self.context = context
''')
coreclaw_async._resources.__path__.append(folder)

class Own(AsyncCoreClaw):
    slow = LazyGroup("Slow")

import builtins
builtins.is_loading = threading.Event()
client = Own("key")
thread = threading.Thread(target=lambda: client.slow)
thread.start()
builtins.is_loading.wait()
child = os.fork()
if not child:
    os._exit(7 if client.slow.context is client._context else 1)
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no forks")
def test_a_child_that_is_forked_while_a_group_is_loaded_can_use_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], check=False, capture_output=True, text=True, timeout=20
    )

    assert (done.stdout, done.stderr) == ("7\n", "")


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_made_once_and_then_stays(group: str) -> None:
    client = AsyncCoreClaw("key")

    first = getattr(client, group)

    assert type(first) is getattr(AsyncCoreClaw, group)
    assert getattr(client, group) is first
    assert group in dir(client)


def test_threads_that_come_at_once_get_the_same_group() -> None:
    client, gate = AsyncCoreClaw("key"), threading.Barrier(THREADS, timeout=PATIENCE)

    def use(_: int) -> list[Any]:
        gate.wait()
        return [getattr(client, name) for name in GROUPS]

    with ThreadPoolExecutor(THREADS) as pool:
        first, *others = pool.map(use, range(THREADS))

    assert all(one is two for other in others for one, two in zip(first, other, strict=True))


@pytest.mark.endurance
def test_threads_that_come_at_once_load_everything_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE_IN_THREADS], check=False, capture_output=True, text=True, timeout=60
    )

    assert (done.stdout.strip(), done.stderr) == ("alike", "")


def test_a_copy_has_groups_of_its_own_whether_or_not_they_were_used() -> None:
    client = AsyncCoreClaw("key")
    used = client.runs
    copied = client.with_options(timeout=7)

    assert copied.runs is not used
    assert copied.tasks is not client.tasks
    assert client.runs is used


def test_a_group_can_be_replaced_and_a_copy_has_the_real_one() -> None:
    client = AsyncCoreClaw("key")
    client.runs = replacement = object()  # type: ignore[assignment]

    assert client.runs is replacement
    assert type(client.with_options(timeout=7).runs) is AsyncRuns


def test_a_subclass_has_the_same_groups() -> None:
    class Own(AsyncCoreClaw):
        pass

    assert Own.runs is AsyncCoreClaw.runs
    assert type(Own("key").runs) is AsyncRuns


def test_what_users_ask_of_a_client_class_is_not_lost() -> None:
    signature = inspect.signature(AsyncCoreClaw, eval_str=True)

    assert "api_key" in signature.parameters
    assert typing.get_type_hints(AsyncCoreClaw.__init__).keys() == {*signature.parameters, "return"}
    assert typing.get_type_hints(AsyncCoreClaw.request)["return"] is Reply
    assert pickle.loads(pickle.dumps(AsyncCoreClaw.runs)) is AsyncCoreClaw.runs
