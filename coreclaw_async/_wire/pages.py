"""The data of a list operation into a page."""

from __future__ import annotations

from typing import TypeVar

from coreclaw_async._wire.converter import read_count, read_model, read_models, read_object
from coreclaw_async._wire.request import Request
from coreclaw_async._wire.response import Answer
from coreclaw_async.models import Page, ResultPage

T = TypeVar("T")

_PAGE_MEMBERS = {"count", "page_index", "page_size"}


def read_page(
    request: Request, answer: Answer, model: type[T], *, offset: int, limit: int, member: str = "list"
) -> Page[T]:
    """
    Return the page in *answer*; its items stand under *member*, ``scraper`` for store and workers.

    Raises:
        InvalidResponseError: A member has the wrong type.
    """
    data = read_object(request, answer)
    return Page(
        items=read_models(request, answer, model, data.get(member)),
        count=read_count(request, answer, "count"),
        page_index=read_count(request, answer, "page_index"),
        page_size=read_count(request, answer, "page_size"),
        offset=offset,
        limit=limit,
        extra={name: value for name, value in data.items() if name not in _PAGE_MEMBERS and name != member},
    )


def read_result_page(request: Request, answer: Answer, *, offset: int, limit: int) -> ResultPage:
    """
    Return the page of result rows in *answer*.

    Raises:
        InvalidResponseError: A member has the wrong type.
    """
    page = read_model(request, answer, ResultPage)
    object.__setattr__(page, "offset", offset)  # Nobody has seen the new object yet.
    object.__setattr__(page, "limit", limit)
    return page
