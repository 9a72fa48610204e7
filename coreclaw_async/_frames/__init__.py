"""
Rows as tables and files: pandas, polars, Arrow, Parquet, CSV and lines of JSON.

Belongs here: which type a column gets, and how rows become columns, page by page and in bounded memory.
Does not belong here: where the rows come from (``_paging``, ``batch``), and how a file gets its place (``_files``).
"""
