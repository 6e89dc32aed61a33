"""The protocols: each a package that turns its document into routes over the store.  None imports another.

* ``objects``: JSON objects under a namespace and a key, over plain HTTP;
* ``oplog``: the signed operation log omp/0.2, which its owner's keys write and any number of copies can merge;
* ``avp``: a vault that stores and orders envelopes and cannot open them;
* ``mrs``: a registry of spaces on the earth, and what they point to, federated between servers;
* ``nexus``: a profile with settings, commands and messages, owned by an Ethereum key.

In each package:

* ``__init__`` opens with what the protocol is for and the order in which to read its files, and has
  ``mount(context) -> Mount`` and, if it reads variables of its own, ``SETTINGS``;
* ``routes`` is the table of its routes and of the answers to its errors; a handler reads like the protocol's text:
  check, decide, store, answer;
* the other files are its models, which know nothing of HTTP and raise exceptions of their own;
* ``SPEC.md`` is the specification, complete together with ``omp/SPEC.md``; ``README.md`` is the guide for users.

What belongs to one protocol alone stays in its package; what several share is in ``omp.rules``, ``omp.store`` and
``omp.web``.
"""
