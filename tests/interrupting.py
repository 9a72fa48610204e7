"""Ctrl-C in the middle of a test, at a moment that the test chooses."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interrupt_once(is_time: Callable[[], object]) -> Iterator[None]:
    """Send Ctrl-C to the main thread, where the block runs, when *is_time* is true."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_time():
            if is_over.wait(0.005):
                return
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.get_ident()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
