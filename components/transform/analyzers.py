"""TensorFlow Transform's analyzers, all of them fed in one pass over the batches.

TensorFlow Transform makes some twenty Beam steps of every analyzer; building, translating and starting hundreds of steps
takes ten times as long as looking at a few hundred thousand rows. Here one Beam step feeds them all. What they compute
is still TensorFlow Transform's: its traced graph gives the values that are looked at, its own combiners merge them. Where
a function asks for something else (a second pass over the data, values by key, informative vocabularies),
`analyzers_of` gives None and TensorFlow Transform's own steps do the work.
"""

import functools
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow_transform import analyzer_nodes, annotators, graph_context, graph_tools, tf2_utils, tf_utils
from tensorflow_transform.analyzers import get_empy_vocabulary_dummy_value

from components import feature_tensors
from components.model_contract import Feature
from components.transform.preprocessing import Preprocessing

States = dict[str, Any]
"""What each analyzer has seen, by its label: a combiner's accumulator, or rows by word."""

_BY_FREQUENCY = 1
_tracing = threading.Lock()


@dataclass(frozen=True)
class Combined:
    """An analyzer that is a combiner: its state is the combiner's accumulator."""

    label: str
    tensors: tuple[Any, ...]
    combiner: Any

    @property
    def fetched(self) -> tuple[Any, ...]:
        """The tensors of a batch that it looks at."""
        return self.tensors

    def begin(self) -> Any:
        """Nothing seen."""
        return self.combiner.create_accumulator()

    def add(self, state: Any, values: Sequence[Any]) -> Any:
        """Adds the fetched values of a batch."""
        return self.combiner.add_input(state, values)

    def merge(self, states: Iterable[Any]) -> Any:
        """Merges states, in their order."""
        return self.combiner.merge_accumulators([self.combiner.compact(state) for state in states])


@dataclass(frozen=True)
class Counted:
    """An analyzer that counts words: its state is the rows of each."""

    label: str
    fetched: tuple[Any, ...]

    def begin(self) -> Any:
        """Nothing seen."""
        return Counter[bytes]()

    def add(self, state: Any, values: Sequence[Any]) -> Any:
        """Adds the distinct words of a batch and their rows."""
        words, rows = values
        state.update(dict(zip(words.tolist(), rows.tolist(), strict=True)))
        return state

    def merge(self, states: Iterable[Any]) -> Any:
        """Adds the counts."""
        total = Counter[bytes]()
        for state in states:
            total.update(state)
        return total


def kept_words(top: int | None, least: int, state: Mapping[bytes, int]) -> list[bytes]:
    """A vocabulary's words, most frequent first; of equally frequent ones the last in the alphabet first."""
    kept = sorted(((rows, word) for word, rows in state.items() if rows >= least), reverse=True)
    return [word for _, word in kept[:top]]


@dataclass(frozen=True)
class Constant:
    """A place of the graph that an analyzer's answer goes to.

    Attributes:
      analyzer: the analyzer's label.
      answer: makes the value from the merged state.
      file: for a vocabulary, the name of its file; the value is then its words.
    """

    tensor: Any
    analyzer: str
    answer: Callable[[Any], Any]
    file: str = ""


class NotFusedError(Exception):
    """Only TensorFlow Transform's own steps can do this."""


class Analyzers:
    """The analyzers of a preprocessing function, traced once a process and shared by its threads."""

    def __init__(self, preprocessing: Preprocessing, features: Sequence[Feature]) -> None:
        self.specs = input_specs(features)
        self.analyzers: dict[str, Combined | Counted] = {}
        self.constants: list[Constant] = []
        graph = self._trace(preprocessing)
        self.fingerprint = graph_tools.get_analyzers_fingerprint(
            graph, tf2_utils.get_structured_inputs_from_func_graph(graph)
        )
        self.assets: dict[str, str] = annotators.get_asset_annotations(graph)
        self._run = self._runnable(graph)

    def _trace(self, preprocessing: Preprocessing) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            context = graph_context.TFGraphContext(tf.Module(), folder, None)

            @tf.function(input_signature=[self.specs], autograph=False)
            def looked_at(inputs: Any) -> Any:
                with context:
                    preprocessing(tf_utils.copy_tensors(inputs))  # type: ignore[no-untyped-call]
                graph = tf.compat.v1.get_default_graph()
                for sink in graph.get_collection(analyzer_nodes.TENSOR_REPLACEMENTS):
                    self._understand(sink)
                return [tensor for one in self.analyzers.values() for tensor in one.fetched]

            tracker = annotators.ObjectTracker()  # type: ignore[no-untyped-call]
            with annotators.object_tracker_scope(tracker):
                graph = looked_at.get_concrete_function().graph
        _check_one_pass(graph, self)
        return graph

    def _understand(self, sink: Any) -> None:
        operation, index = sink.future.parent_operation, sink.future.value_index
        found = operation.operation_def
        if isinstance(found, analyzer_nodes.ExtractCombineMergeOutputs):
            label = self._combined(_only(operation))
            combiner = self.analyzers[label].combiner  # type: ignore[union-attr]
            self.constants.append(Constant(sink.tensor, label, lambda state: combiner.extract_output(state)[index]))
        elif isinstance(found, analyzer_nodes.VocabularyOrderAndWrite):
            if found.fingerprint_shuffle or found.store_frequency or found.file_format != "text":
                raise NotFusedError
            label, words = self._vocabulary(_only(operation))
            self.constants.append(Constant(sink.tensor, label, words, found.vocab_filename))
        elif isinstance(found, analyzer_nodes.VocabularyCount):
            label, words = self._vocabulary(_only(operation))
            # A table is never empty.
            self.constants.append(Constant(sink.tensor, label, lambda state: max(len(words(state)), 1)))
        else:
            raise NotFusedError

    def _combined(self, merge: Any) -> str:
        _expect(merge, analyzer_nodes.CacheableCombineMerge)
        accumulate = _only(merge)
        _expect(accumulate, analyzer_nodes.CacheableCombineAccumulate)
        definition = accumulate.operation_def
        self.analyzers[definition.label] = Combined(definition.label, _source(accumulate), definition.combiner)
        return str(definition.label)

    def _vocabulary(self, counted: Any) -> tuple[str, Callable[[Any], list[bytes]]]:
        """The analyzer whose words these are, and what makes the vocabulary of its state."""
        top, least = None, 0
        if isinstance(counted.operation_def, analyzer_nodes.VocabularyPrune):
            top, least = _limits(counted.operation_def)
            counted = _only(counted)
        _expect(counted, analyzer_nodes.VocabularyMerge)
        accumulate = _only(counted)
        _expect(accumulate, analyzer_nodes.VocabularyAccumulate)
        definition, tensors = accumulate.operation_def, _source(accumulate)
        if definition.vocab_ordering_type != _BY_FREQUENCY or len(tensors) != 1 or tensors[0].dtype != tf.string:
            raise NotFusedError
        if definition.label not in self.analyzers:
            distinct = tf.unique_with_counts(tensors[0], tf.int64)
            self.analyzers[definition.label] = Counted(definition.label, (distinct.y, distinct.count))
        return str(definition.label), functools.partial(kept_words, top, least)

    def _runnable(self, graph: Any) -> Callable[..., Any]:
        """The part of the graph from the inputs to what the analyzers look at, and nothing else of it."""
        definition = graph.as_graph_def()
        wrapped = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(definition, name=""), [])
        inputs = tf2_utils.get_structured_inputs_from_func_graph(graph)
        self._names = list(inputs)
        captured = [(inside, outside) for outside, inside in graph.captures if outside.dtype != tf.resource]
        feeds = [wrapped.graph.as_graph_element(tensor.name) for tensor in inputs.values()]
        feeds += [wrapped.graph.as_graph_element(inside.name) for inside, _ in captured]
        fetches = [wrapped.graph.as_graph_element(t.name) for one in self.analyzers.values() for t in one.fetched]
        pruned = wrapped.prune(feeds, fetches)
        return functools.partial(_call, pruned, [outside for _, outside in captured])

    def begin(self) -> States:
        """Nothing seen."""
        return {label: one.begin() for label, one in self.analyzers.items()}

    def add(self, states: States, arrays: Mapping[str, Any]) -> States:
        """Adds a batch: an array of shape (rows,) a feature."""
        if not self.analyzers:
            return states
        values = iter(self._run([tf.constant(arrays[name], self.specs[name].dtype) for name in self._names]))
        return {
            label: one.add(states[label], tuple(next(values).numpy() for _ in one.fetched))
            for label, one in self.analyzers.items()
        }

    def merge(self, states: Sequence[States]) -> States:
        """Merges states of parts of the data, in their order."""
        return {label: one.merge([state[label] for state in states]) for label, one in self.analyzers.items()}

    def replacements(self, states: States, folder: str) -> dict[str, Any]:
        """The constants of the final graph by tensor name; vocabularies are written into `folder`."""
        found = {}
        for constant in self.constants:
            value = constant.answer(states[constant.analyzer])
            if constant.file:
                value = _write_words(os.path.join(folder, constant.file), value)
            found[constant.tensor.name] = tf.constant(value, constant.tensor.dtype)
        return found


def _call(pruned: Callable[..., Any], captured: Sequence[Any], inputs: Sequence[Any]) -> Any:
    return pruned(*inputs, *captured)


def _write_words(path: str, words: Sequence[bytes]) -> str:
    # A table must not be empty: TensorFlow Transform has a word for that, which no value equals.
    shown = words or [get_empy_vocabulary_dummy_value(tf.string)[1]]
    with tf.io.gfile.GFile(path, "wb") as stream:
        stream.write(b"".join(word + b"\n" for word in shown))
    return path


def _only(operation: Any) -> Any:
    """The operation before this one, where there is one alone."""
    if len(operation.inputs) != 1:
        raise NotFusedError
    return operation.inputs[0].parent_operation


def _expect(operation: Any, kind: type) -> None:
    if not isinstance(operation.operation_def, kind):
        raise NotFusedError


def _source(operation: Any) -> tuple[Any, ...]:
    source = _only(operation)
    _expect(source, analyzer_nodes.TensorSource)
    return tuple(source.operation_def.tensors)


def _limits(prune: Any) -> tuple[int | None, int]:
    """The most words of a vocabulary, and the least rows of a word."""
    informative = prune.informativeness_threshold > float("-inf")
    if prune.key_fn or prune.coverage_top_k or prune.coverage_frequency_threshold or informative:
        raise NotFusedError
    return prune.top_k, prune.frequency_threshold


def _check_one_pass(graph: Any, analyzers: Analyzers) -> None:
    """Refuses a graph in which an analyzer looks at what another one has answered, or at a table."""
    answers = {sink.tensor.op for sink in graph.get_collection(analyzer_nodes.ALL_REPLACEMENTS)}
    waiting = [tensor.op for one in analyzers.analyzers.values() for tensor in one.fetched]
    seen = set(waiting)
    while waiting:
        operation = waiting.pop()
        if operation in answers or any(tensor.dtype == tf.resource for tensor in operation.outputs):
            raise NotFusedError
        before = {tensor.op for tensor in operation.inputs} | set(operation.control_inputs)
        waiting += before - seen
        seen |= before


def input_specs(features: Sequence[Feature]) -> dict[str, Any]:
    """The features' tensors, for tracing."""
    kinds = {True: tf.string, False: tf.float32}
    return {one.name: tf.TensorSpec([None], kinds[feature_tensors.is_text(one)]) for one in features}


def analyzers_of(preprocessing: Preprocessing, features: tuple[Feature, ...]) -> Analyzers | None:
    """The analyzers of a function, the same object for all threads; None where one pass is not enough.

    Raises:
      StepError: the user's function is at fault.
    """
    with _tracing:
        return _analyzers_of(preprocessing, features)


@functools.lru_cache(maxsize=4)
def _analyzers_of(preprocessing: Preprocessing, features: tuple[Feature, ...]) -> Analyzers | None:
    try:
        return Analyzers(preprocessing, features)
    except NotFusedError:
        return None
