"""What the page of the console does over HTTP: its stream, the details of a run, and its buttons."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from attrs import define, field

from coreclaw_async.testing import FakeService

MAPS = "coreclaw/google-maps-scraper"
START = f"/api/v2/workers/{MAPS.replace('/', '~')}/runs"
EVENTS = "/__console__/events"
ACTIONS = "/__console__/actions"
LIMIT = 20.0


@define
class Stream:
    """A stream that is open; `told` has the newest of each part."""

    _lines: Iterator[str]
    told: dict[str, Any] = field(factory=dict[str, Any])

    def next(self) -> dict[str, Any]:
        """Return the next message."""
        line = next(one for one in self._lines if one)
        assert line.startswith("data: ")
        news: dict[str, Any] = json.loads(line.removeprefix("data: "), parse_constant=_refuse)
        self.told.update(news)
        return news

    def until(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return what was told when it first holds."""
        for _ in range(200):
            if self.told and holds(self.told):
                return self.told
            self.next()
        raise AssertionError(f"this never came: {self.told}")


@define
class ConsoleSession:
    """One service, a browser's requests to its console, and a client of its API."""

    service: FakeService
    client: httpx.Client

    @property
    def origin(self) -> str:
        return str(self.client.base_url).rstrip("/")

    @contextlib.contextmanager
    def stream(self, **query: Any) -> Iterator[Stream]:
        with self.client.stream("GET", EVENTS, params=query, headers={"sec-fetch-site": "same-origin"}) as answer:
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"] == "text/event-stream"
            yield Stream(answer.iter_lines())

    def told(self, **query: Any) -> dict[str, Any]:
        """Return the first message of a stream."""
        with self.stream(**query) as stream:
            return stream.next()

    def post(self, content: Any = None, /, **body: Any) -> httpx.Response:
        """Send an action, as the page does."""
        headers = {"origin": self.origin, "sec-fetch-site": "same-origin", "content-type": "application/json"}
        return self.client.post(ACTIONS, content=json.dumps(body) if content is None else content, headers=headers)

    def act(self, action: str, **body: Any) -> str:
        """Send an action that must be done, and return what is said about it."""
        answer = self.post(action=action, **body)
        assert answer.status_code == 200, answer.text
        done: str = answer.json()["done"]
        return done

    def refusal(self, **body: Any) -> tuple[int, str]:
        answer = self.post(**body)
        return answer.status_code, answer.json()["error"]

    def details(self, run_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/__console__/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        shown: dict[str, Any] = answer.json()
        return shown

    def start(self, given: Any = None) -> str:
        """Start a run as a client of the API, and return its id."""
        custom = {"keywords": ["coffee"]} if given is None else given
        body = json.dumps({"input": {"parameters": {"custom": custom}}})
        headers = {"authorization": f"Bearer {self.service.api_key}", "content-type": "application/json"}
        answer = self.client.post(START, content=body, headers=headers)
        run_id: str = answer.json()["data"]["run_slug"]
        return run_id

    def ask(self, path: str = "/api/v2/users/account") -> httpx.Response:
        """Ask the API something."""
        return self.client.get(path, headers={"authorization": f"Bearer {self.service.api_key}"})


@contextlib.contextmanager
def console_of(service: FakeService, **options: Any) -> Iterator[ConsoleSession]:
    """Serve with a console until the block ends."""
    with (
        service.serve(console=True, **options) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT, trust_env=False, verify=False) as client,
    ):
        yield ConsoleSession(service, client)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
