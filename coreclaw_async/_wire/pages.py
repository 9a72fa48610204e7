"""From the data of a list operation to a page; a missing list is a broken answer and never an empty page."""

from __future__ import annotations

from typing import Any, TypeVar

from coreclaw_async._wire.converter import ListHead, read_model, read_models, read_object
from coreclaw_async._wire.json_types import is_array, is_object
from coreclaw_async._wire.response import Answer, wrong_shape
from coreclaw_async.errors import InvalidResponseError
from coreclaw_async.models import Page, ResultPage

T = TypeVar("T")

_LIST = "list"
_LIST_OF_WORKERS = "scraper"


class LastPageError(InvalidResponseError):
    """
    A page of rows without a list that is the last one by its count.

    Either rows are missing or the count is too high; whoever has read the pages before can tell.

    Attributes:
        count: The count that came with it.
    """

    count: int = 0


def read_page(answer: Answer, model: type[T], *, offset: int, limit: int, member: str = _LIST) -> Page[T]:
    """
    Return the page in *answer*; its items are in *member*, which is ``scraper`` for store and workers.

    An item that cannot be identified stays in its place, with an empty id.

    Raises:
        InvalidResponseError: There is no data, or no list where there must be one.
    """
    data = read_object(answer)
    head = read_model(answer, ListHead)
    items = _items_of(answer, data, member, count=head.count, offset=offset, limit=limit)
    head.extra.pop(member, None)
    return Page(
        items=read_models(answer, model, items),
        count=head.count,
        page_index=head.page_index,
        page_size=head.page_size,
        offset=offset,
        limit=limit,
        extra=head.extra,
    )


def read_result_page(answer: Answer, *, offset: int, limit: int) -> ResultPage:
    """
    Return the page of result rows in *answer*.

    Raises:
        LastPageError: There is no list, and there must be one unless the count is too high.
        InvalidResponseError: There is no data, no list where there must be one, or a row that is no object. The row was
            paid for, so it is not left out.
    """
    data = read_object(answer)
    _check_rows(answer, data.get(_LIST))
    page = read_model(answer, ResultPage)
    try:
        _items_of(answer, data, _LIST, count=page.count, offset=offset, limit=limit)
    except InvalidResponseError as error:
        if page.count is None or not limit < page.count <= offset * limit:
            raise
        last = LastPageError(error.message)
        last.__dict__.update(error.__dict__, count=page.count)
        raise last from None
    object.__setattr__(page, "offset", offset)  # Nobody has seen the new object yet.
    object.__setattr__(page, "limit", limit)
    return page


def read_whole_list(answer: Answer, model: type[T]) -> tuple[T, ...]:
    """
    Return the items of a list that is not paged and has no count.

    Raises:
        InvalidResponseError: There is no data, or no list in it.
    """
    return read_models(answer, model, _listed(answer, read_object(answer), _LIST))


def _check_rows(answer: Answer, rows: Any) -> None:
    """Refuse a list with a row that is no object, and name the position of the first."""
    if not is_array(rows) or set(map(type, rows)) <= {dict}:
        return
    place = next(place for place, row in enumerate(rows) if not is_object(row))
    raise wrong_shape(answer, f"{_LIST}[{place}]: a row must be an object")


def _items_of(answer: Answer, data: dict[str, Any], member: str, *, count: int | None, offset: int, limit: int) -> Any:
    """
    Return the list of a page.

    The service writes null for an empty list, or leaves the list out. The count tells whether that is meant; store and
    workers have no count and must at least have the member. An empty list may lack a count, but a count that cannot be
    read may mean that there is more.
    """
    items = data.get(member)
    if not items and count is None and data.get("count") is not None:
        raise wrong_shape(answer, "there are no items, and the count cannot be read")
    if items is not None:
        return items
    if member == _LIST_OF_WORKERS:
        return _listed(answer, data, member)
    if count is None or _LIST_OF_WORKERS in data or _must_have_items(count, offset, limit):
        told = "no count" if count is None else f"a count of {count}"
        raise wrong_shape(answer, f"{member} is missing or null, beside {told}")
    return items


def _listed(answer: Answer, data: dict[str, Any], member: str) -> Any:
    if member not in data:
        raise wrong_shape(answer, f"{member} is missing")
    return data[member]


def _must_have_items(count: int, offset: int, limit: int) -> bool:
    """Return whether there are items at *offset*, whether it counts rows or pages (`AsyncPager`)."""
    return offset < count and (offset - 1) * limit < count
