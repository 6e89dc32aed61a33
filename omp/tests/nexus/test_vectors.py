"""The vectors of nexus, keccak: one test a file."""

from omp.tests.vectors.files import tests_of

load_tests = tests_of("nexus", "keccak")
