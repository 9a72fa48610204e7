"""Finds the new entries of a log of which the service shows only the recent part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from coreclaw_async.models import LogEntry


def _key(entry: LogEntry) -> tuple[object, ...]:
    return entry.timestamp, entry.group, entry.level, entry.content


@attrs.frozen(eq=False, repr=False)
class LogWindow:
    """
    The recent part of a log.

    Attributes:
        entries: Oldest first.
    """

    entries: tuple[LogEntry, ...] = ()

    def advance(self, now: Sequence[LogEntry]) -> tuple[LogWindow, list[LogEntry], bool]:
        """
        Return the next window, the new entries in *now*, and whether some may have been missed.

        The service shows the end of the log, so the first entries of *now* are searched in this window. An answer that
        is older than the window brings nothing. Where *now* does not continue the window, entries were inserted or
        missed, and those not seen before are new.
        """
        old, new = [_key(entry) for entry in self.entries], [_key(entry) for entry in now]
        for start in range(len(old)):
            same = min(len(old) - start, len(new))
            if old[start : start + same] == new[:same]:
                added = list(now[same:])
                return LogWindow((*self.entries[start:], *added)), added, False
        for same in range(min(len(old) - 1, len(new)), 0, -1):
            if new[-same:] == old[:same]:
                return self, [], False  # It ends where the window begins, so it is an older answer.
        seen = Counter(old)
        fresh: list[LogEntry] = []
        for entry, key in zip(now, new, strict=True):
            if seen[key] > 0:
                seen[key] -= 1
            else:
                fresh.append(entry)
        return LogWindow(tuple(now)), fresh, bool(old) and len(fresh) == len(new)
