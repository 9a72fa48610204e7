"""Scripts that write parts of the package; run by path, imported by nothing."""
