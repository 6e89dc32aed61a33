"""The web: HTTP in front of the protocols, from the socket to a handler and back.

A protocol gives a :class:`~omp.web.routes.Mount`, the table of its routes.  An :class:`~omp.web.routes.Application` is
any number of mounts behind one function from requests to responses.  Calling it needs no socket:

>>> from omp.web.messages import Request, json_response
>>> from omp.web.routes import Application, Mount, Route
>>> def greet(request, names):
...     return json_response({"hello": request.params["name"], "known": request.params["name"] in names})
>>> route = Route("GET", "/greetings/{name}", greet, "Greet somebody", {200: "The greeting"})
>>> mount = Mount("greetings", "1", "Greetings", [route], state={"ann"}, owns=("/greetings",))
>>> application = Application([mount], log=print, max_body=1024)
>>> application.answer(Request("GET", "/greetings/ann", {})).body
b'{"hello":"ann","known":true}'
>>> application.answer(Request("DELETE", "/greetings/ann", {})).status
405

The files, in reading order:

* ``messages``: requests and responses as values; pages and entity tags;
* ``addressing``: where a request is addressed, and who sent it;
* ``errors``: what a client did wrong, as values, and the shape that each protocol gives them;
* ``routes``: routes, mounts, and the way from a request to its answer;
* ``wire``: HTTP/1.1 on the wire, without a socket;
* ``capacity``: what clients share of one server, and how much each may take;
* ``metrics``: what is counted of all this, for the operator;
* ``connection``: one connection, on a socket, in a thread of its own;
* ``server``: accepting, counting and stopping connections;
* ``settings``: every variable that the server reads, as tables;
* ``metrics``: what the operator may watch;
* ``openapi``: the OpenAPI document, made from the route tables;
* ``system``: ``/``, ``/health``, ``/metrics`` and the capability document;
* ``pages``: what people are shown, at ``/docs`` and, in a browser, at ``/``;
* ``signature_guard``: HTTP Message Signatures in front of routes; read it after ``signature_base`` and
  ``http_signatures`` in ``rules``.

Public, for a protocol: all of ``messages``, ``errors``, ``settings`` and ``signature_guard``, and from ``routes``
:class:`~omp.web.routes.Route`, :class:`~omp.web.routes.Mount` and :class:`~omp.web.routes.Context`.  ``omp/SPEC.md``
specifies what this floor does on the wire.
"""
