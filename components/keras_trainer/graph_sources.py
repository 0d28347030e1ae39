"""Which arguments of a TensorFlow function each of its results is computed from, read off its graph."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def of(function: Any) -> dict[str, frozenset[str]]:
    """The names of the arguments behind each result.

    Args:
      function: a concrete function of one dict of tensors that returns a dict of tensors.
    """
    import tensorflow as tf

    graph = function.graph
    definition = graph.as_graph_def()
    bodies = {body.signature.name: body for body in definition.library.function}
    arguments = function.structured_input_signature[0][0]
    placeholders = {
        tensor.op.name: name for name, tensor in zip(sorted(arguments), graph.inputs[: len(arguments)], strict=True)
    }
    behind = _Behind(bodies).tracer(definition.node, placeholders)
    results = function.structured_outputs
    tensors = dict(zip(sorted(results), graph.outputs[: len(results)], strict=True))
    assert all(isinstance(tensor, tf.Tensor) for tensor in tensors.values())
    return {name: behind(tensor.name) for name, tensor in tensors.items()}


class _Behind:
    """Traces results to arguments, through the functions that a graph calls."""

    def __init__(self, bodies: Mapping[str, Any]) -> None:
        self._bodies = bodies
        self._of_body = lru_cache(maxsize=None)(self._trace_body)

    def tracer(self, nodes: Iterable[Any], arguments: Mapping[str, str]) -> Callable[[str], frozenset[str]]:
        """What tells the arguments behind a tensor, given as `node`, `node:port` or `node:output:port`."""
        by_name = {node.name: node for node in nodes}
        known: dict[str, frozenset[str]] = {}

        def behind(tensor: str) -> frozenset[str]:
            name, _, port = tensor.partition(":")
            if name in arguments:
                return frozenset({arguments[name]})
            node = by_name.get(name)
            if node is None:
                return frozenset()
            if node.op in _CALLS:
                return called(node, int(port.rpartition(":")[2] or 0))
            if name not in known:
                known[name] = frozenset()  # a loop's own output, looked at from inside of it
                known[name] = frozenset().union(*(behind(one) for one in node.input if not one.startswith("^")))
            return known[name]

        def called(node: Any, port: int) -> frozenset[str]:
            places = self._of_body(node.attr["f"].func.name)[port]
            given = [one for one in node.input if not one.startswith("^")]
            return frozenset().union(*(behind(given[place]) for place in places))

        return behind

    def _trace_body(self, name: str) -> tuple[frozenset[int], ...]:
        """For each result of a function of the library, the places of the arguments behind it."""
        body = self._bodies[name]
        names = [argument.name for argument in body.signature.input_arg]
        behind = self.tracer(body.node_def, {argument: argument for argument in names})
        return tuple(frozenset(map(names.index, behind(body.ret[result.name]))) for result in body.signature.output_arg)
