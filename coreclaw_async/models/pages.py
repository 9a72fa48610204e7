"""One page of a listing, and one page of result rows with its columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, Self, TypeAlias, TypeVar

import attrs

from coreclaw_async._data.record import Model
from coreclaw_async.models._html import grid, items_table
from coreclaw_async.models.fields import extra_field

T = TypeVar("T")

Row: TypeAlias = Mapping[str, Any]
"""One result row: plain JSON values under the worker's own column keys."""


@attrs.frozen(kw_only=True, repr=False)
class Page(Model, Generic[T]):
    """
    One page of a listing, as it came.

    Attributes:
        items: The items in the order of the service, which promises none.
        count: Items in the whole listing, or None where the service does not say (store and workers never do).
        page_index: Number of the page, from 1, or None where the service does not say.
        page_size: Items a page holds, or None where the service does not say.
        offset: The offset that was asked for; what it counts has changed over time (see `AsyncPager`).
        limit: The page size that was asked for.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        page = await client.runs.list_page(limit=10)
        print(len(page), "of", page.count)
        for run in page:
            print(run.run_id)
    """

    items: Sequence[T] = attrs.field(default=(), hash=False)
    count: int | None = None
    page_index: int | None = None
    page_size: int | None = None
    offset: int = 0
    limit: int = 20
    extra: dict[str, Any] = extra_field()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def _repr_html_(self) -> str:
        return items_table(self._title(), self.items)

    def _title(self) -> str:
        number = f"{len(self.items)}" if self.count is None else f"{len(self.items)} of {self.count}"
        return f"{number} {'item' if number == '1' else 'items'}"

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, item_type: type[T] | None = None) -> Self:
        """
        Return the page whose `to_dict`, of either form, or parsed `to_json` is *mapping*.

        Args:
            mapping: Values by the names of the members; nothing in it is changed, and nothing kept but models.
            item_type: The type of its items, as in ``Page[Run].from_dict(mapping, item_type=Run)``: a model, a type of
                JSON such as ``list[int]``, or any other, which pydantic reads if your program has imported it; None for
                items that stay as they are in *mapping*.

        Raises:
            TypeError: *mapping* is not a mapping.
            ValueError: A member, which the message names, is missing, unknown or of the wrong type.

        Example::

            page = await client.runs.list_page(limit=10)
            assert Page.from_dict(page.to_dict(json=True), item_type=Run) == page
        """
        from coreclaw_async._data.loading import load

        return load(cls, mapping, () if item_type is None else (item_type,))


@attrs.frozen(kw_only=True, repr=False)
class ResultHeader(Model):
    """
    One column of a run's results.

    Attributes:
        key: The key of the column in each row.
        label: Its name for people.
        format: ``text``, ``number``, ``integer``, ``boolean``, ``array`` or ``object``; None when not told.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.

    Example::

        page = await client.runs.list_results_page(run, limit=1)
        print({header.key: header.label for header in page.headers})
    """

    key: str = ""
    label: str = ""
    format: str | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True, repr=False)
class ResultPage(Page[Row]):
    """
    One page of a run's result rows: a `Page` whose ``items`` are rows, with their columns.

    Attributes:
        headers: The columns in the service's order; a row may hold keys that none of them names, such as
            ``__coreclaw_data_id__``.

    Example::

        page = await client.runs.list_results_page(run, limit=10)
        for row in page:
            print([row.get(header.key) for header in page.headers])
    """

    headers: Sequence[ResultHeader] = attrs.field(default=(), hash=False)

    def _repr_html_(self) -> str:
        labels = {header.key: header.label or header.key for header in self.headers}
        further = dict.fromkeys(name for row in self.items for name in row if not name.startswith("__"))
        return grid(
            self._title(),
            labels | {name: name for name in further if name not in labels},
            self.items,
            total=len(self.items),
        )
