"""The fast core of the operation log."""
