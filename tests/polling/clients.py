"""What the tests of waiting share: a client of a service, and the worker whose runs they wait for."""

from __future__ import annotations

from typing import Any

from coreclaw_async import AsyncCoreClaw
from coreclaw_async.testing import FakeService

WORKER = "coreclaw/google-maps-scraper"


def client_of(service: FakeService, **options: Any) -> AsyncCoreClaw:
    return AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, **options)
