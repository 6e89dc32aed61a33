"""Who runs the vectors: ``RUNNERS`` of each module maps a kind to ``(test, case)``, which fails through the test."""
