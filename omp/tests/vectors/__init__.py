"""The vectors: ``makers`` make them, ``runners`` run them, ``command`` is ``python -m omp vectors``.

The files are tests of the folder that they belong to (``omp/tests/oplog/test_vectors.py`` runs ``vectors/oplog/``), by
what ``files`` has for it; here are tested the machinery, and that it leaves out no file.
"""

from omp.tests import gather

load_tests = gather(__name__)
