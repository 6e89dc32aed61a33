"""The vectors of mrs: one test a file."""

from omp.tests.vectors.files import tests_of

load_tests = tests_of("mrs")
