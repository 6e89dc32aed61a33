"""The vectors of avp: one test a file."""

from omp.tests.vectors.files import tests_of

load_tests = tests_of("avp")
