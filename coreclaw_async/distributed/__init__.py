"""Batches on engines that distribute work over machines, each an extra of its own."""
