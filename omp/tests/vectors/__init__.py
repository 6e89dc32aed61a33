"""The vectors: who makes them, who runs them, and the command ``python -m omp vectors``."""

from omp.tests import gather

load_tests = gather(__name__)
