"""A run as a client built on pydantic would have it: frozen, open to new members, with moments and money."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, TypeAdapter


class PeerRun(BaseModel):
    """The contract's members; in the peer's favour no name is changed and the status is a plain text."""

    model_config = ConfigDict(frozen=True, extra="allow")

    slug: str
    scraper_slug: str | None = None
    scraper_title: str | None = None
    version: str | None = None
    origin: str | None = None
    err_msg: str | None = None
    status: str | None = None
    results: int | None = None
    traffic: int | None = None
    duration: float | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    usage: Decimal | None = None


PEER_RUNS = TypeAdapter(list[PeerRun])
