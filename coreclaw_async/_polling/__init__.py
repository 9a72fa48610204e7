"""Following runs to their ends in few requests. Which requests those are stands above, in ``_operations``."""
