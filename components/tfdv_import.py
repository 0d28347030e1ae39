"""TensorFlow Data Validation, importable in any process: get it with `from components.tfdv_import import tfdv`.

tensorflow-data-validation 1.16.1 imports `tfx_bsl.arrow.sql_util`, which tfx-bsl 1.21 no longer has. `import tfx`
hides that with a mock, but a Beam worker unpickles its work without importing tfx. So the gap is filled here, with
a class that can be named but not used: slicing by SQL is the one thing that needs it.
"""

import sys
from types import ModuleType

_MISSING = "tfx_bsl.arrow.sql_util"


class RecordBatchSQLSliceQuery:
    """Stands where tfx-bsl's class stood, so that TFDV's annotations resolve."""

    def __init__(self, *_: object) -> None:
        raise NotImplementedError("Slicing statistics by SQL left tfx-bsl with version 1.21.")


def _fill_gap() -> None:
    if _MISSING in sys.modules:
        return
    try:
        import tfx_bsl.arrow.sql_util  # noqa: F401
    except ImportError:
        module = ModuleType(_MISSING, "Filled in by components.tfdv_import.")
        module.RecordBatchSQLSliceQuery = RecordBatchSQLSliceQuery  # type: ignore[attr-defined]
        sys.modules[_MISSING] = module


_fill_gap()

import tensorflow_data_validation as tfdv  # noqa: E402

__all__ = ["tfdv"]
