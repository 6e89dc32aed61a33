"""Tests of the store floor: one contract for every adapter, and what is left after a crash."""

from omp.tests import gather

load_tests = gather(__name__)
