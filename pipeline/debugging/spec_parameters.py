"""Parameters of a component that no launcher of Braid's recorded: their names and types are in its specification."""

import json
from collections.abc import Mapping
from typing import Any, get_origin


def as_the_executor_gets_them(component: Any, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The execution's properties that are parameters, typed as TFX's launcher types them.

    ML Metadata holds truth values, lists and dictionaries as their JSON.

    Args:
      component: the component's class.
      properties: those of the execution.
    """
    declared = component.SPEC_CLASS.PARAMETERS
    return {name: _typed(properties[name], one.type) for name, one in declared.items() if name in properties}


def _typed(value: Any, kind: Any) -> Any:
    plain = get_origin(kind) or kind
    is_structure = isinstance(plain, type) and issubclass(plain, bool | list | dict)
    return json.loads(value) if is_structure and isinstance(value, str) else value
