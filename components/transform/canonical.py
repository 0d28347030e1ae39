"""A SavedModel's bytes freed of chance: the same analysis writes the same files.

TensorFlow numbers its functions by a counter of the process, writes them and their nodes in any order, names tables after temporary
folders and adds a random id. None of it means anything; all of it would change the digest of an artifact that is equal.
"""

import hashlib
import os
import re
from collections.abc import Callable
from typing import Any

from tensorflow.core.protobuf import fingerprint_pb2, saved_model_pb2

from beam_jobs import storage

_NUMBERED = re.compile(r"^(.*?)_(\d+)$")
_TEXT = (9, 12)  # the descriptor's numbers of string and bytes

Rename = Callable[[str], str]


def canonicalize(folder: str, temporary: str) -> None:
    """Rewrites `saved_model.pb` and `fingerprint.pb` of a SavedModel; what it computes stays the same.

    Args:
      folder: the SavedModel's.
      temporary: the folder whose path TensorFlow wrote into the names of vocabulary tables.
    """
    path = os.path.join(folder, "saved_model.pb")
    with storage.open_input(path) as stream:
        model = saved_model_pb2.SavedModel.FromString(stream.read())
    for graph in model.meta_graphs:
        _rename_captures(graph)
        names = _function_names(graph)
        tables = _table_names(folder, temporary)
        _rename(graph, lambda text: tables(names.get(text, text)))  # noqa: B023  used within the turn
        graph.graph_def.library.function.sort(key=lambda one: one.signature.name)
        for function in graph.graph_def.library.function:
            function.node_def.sort(key=lambda node: node.name)  # nodes name their inputs: their order says nothing
    content = model.SerializeToString(deterministic=True)
    with storage.open_output(path) as stream:
        stream.write(content)
    _sign(os.path.join(folder, "fingerprint.pb"), content)


def _rename_captures(graph: Any) -> None:
    """Constants that a function captured are its last arguments, and carry the counter in their names too."""
    captured = {name: len(one.bound_inputs) for name, one in graph.object_graph_def.concrete_functions.items()}
    for function in graph.graph_def.library.function:
        arguments = [argument.name for argument in function.signature.input_arg]
        first = len(arguments) - captured.get(function.signature.name, 0)
        names = {name: f"{_base(name)}_captured_{place}" for place, name in enumerate(arguments[first:])}
        _rename(function, lambda text: names.get(text, text))  # noqa: B023  used within the turn
        for place in range(first, len(arguments)):
            function.arg_attr[place].attr.pop("_user_specified_name", None)


def _base(name: str) -> str:
    match = _NUMBERED.match(name)
    return match[1] if match else name


def _function_names(graph: Any) -> dict[str, str]:
    """For each function its new name: numbered from 0 in the order in which they were traced."""
    found = [_NUMBERED.match(function.signature.name) for function in graph.graph_def.library.function]
    ordered = sorted((match for match in found if match), key=lambda match: (int(match[2]), match[1]))
    return {match[0]: f"{match[1]}_{place:06d}" for place, match in enumerate(ordered)}


def _table_names(folder: str, temporary: str) -> Rename:
    """Tables are shared in a process by name: what differs must be named differently, so the content is in the name."""
    place = re.compile(re.escape(temporary) + r"[^'\"\\ ]*/([^/'\"\\ ]+)")

    def named(match: re.Match[str]) -> str:
        asset = os.path.join(folder, "assets", match[1])
        return f"{match[1]}_{storage.content_digest(asset)[:16]}" if storage.exists(asset) else match[1]

    return lambda text: place.sub(named, text)


def _rename(message: Any, rename: Rename) -> None:
    """Passes every text in a message, however deep, through `rename`."""
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            _rename_map(field, value, rename)
        elif field.message_type:
            for one in value if field.is_repeated else [value]:
                _rename(one, rename)
        elif field.type in _TEXT and field.is_repeated:
            value[:] = [_renamed(one, rename) for one in value]
        elif field.type in _TEXT:
            setattr(message, field.name, _renamed(value, rename))


def _rename_map(field: Any, value: Any, rename: Rename) -> None:
    holds_messages = field.message_type.fields_by_name["value"].message_type is not None
    for key in list(value):
        if holds_messages:
            _rename(value[key], rename)
        else:
            value[key] = _renamed(value[key], rename)
        new = _renamed(key, rename)
        if new != key:
            if holds_messages:
                value[new].CopyFrom(value[key])
            else:
                value[new] = value[key]
            del value[key]


def _renamed(text: Any, rename: Rename) -> Any:
    if isinstance(text, bytes):
        try:
            return rename(text.decode()).encode()
        except UnicodeDecodeError:
            return text  # a tensor's content
    return rename(text) if isinstance(text, str) else text


def _sign(path: str, content: bytes) -> None:
    """The fingerprint of these bytes; the random id becomes their digest."""
    if not storage.exists(path):
        return
    with storage.open_input(path) as stream:
        fingerprint = fingerprint_pb2.FingerprintDef.FromString(stream.read())
    digest = hashlib.sha256(content).digest()
    numbers = [int.from_bytes(digest[start : start + 8], "little") for start in (0, 8, 16, 24)]
    fingerprint.saved_model_checksum, fingerprint.graph_def_program_hash = numbers[:2]
    fingerprint.signature_def_hash, fingerprint.saved_object_graph_hash = numbers[2:]
    fingerprint.uuid = digest.hex()
    with storage.open_output(path) as stream:
        stream.write(fingerprint.SerializeToString(deterministic=True))
