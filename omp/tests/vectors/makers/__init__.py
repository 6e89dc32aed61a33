"""What ``python -m omp vectors`` makes: one module a set, ``generate() -> {path under vectors/: JSON document}``.

A document is ``{"kind", "description", "spec", "cases": [{"name", …}, …]}``; ``vectors/README.md`` says for each kind
what the other members of a case mean, and ``omp/tests/vectors/runners/<set>.py`` runs it.
"""
