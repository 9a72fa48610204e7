"""Arrow tables as data frames of pandas and polars."""

from __future__ import annotations

import importlib
from typing import Any

from coreclaw_async._frames.options import DtypeBackend, Extra


def frame_of(table: Any, extra: Extra, dtype_backend: DtypeBackend) -> Any:
    """Return a table as a frame of *extra*."""
    if extra == "arrow":
        return table
    return polars_of(table) if extra == "polars" else pandas_of(table, dtype_backend)


def pandas_of(table: Any, dtype_backend: DtypeBackend) -> Any:
    """Return a table as a ``pandas.DataFrame``."""
    pd: Any = importlib.import_module("pandas")
    pa: Any = importlib.import_module("pyarrow")
    nullable = {
        pa.bool_(): pd.BooleanDtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.string(): pd.StringDtype(),
    }
    return table.to_pandas(
        types_mapper=pd.ArrowDtype if dtype_backend == "pyarrow" else nullable.get,
        integer_object_nulls=True,  # Otherwise nested whole numbers beside a null become floats.
    )


def polars_of(table: Any) -> Any:
    """Return a table as a ``polars.DataFrame``."""
    pl: Any = importlib.import_module("polars")
    # It renames and moves a column whose name is empty.
    frame = pl.from_arrow(table.rename_columns([str(place) for place in range(table.num_columns)]))
    frame.columns = table.column_names
    return frame
