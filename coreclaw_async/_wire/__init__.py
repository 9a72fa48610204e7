"""The wire, sans I/O: opens no socket, reads no clock, awaits nothing."""
