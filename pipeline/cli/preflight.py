"""The checks before a run on a service, as commands that begin one make them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.planning import Plan
    from pipeline.targets.target import Dataflow


def before_a_run(console: "Console", plan: "Plan | None", service: "Dataflow", verbose: bool = False) -> None:
    """Checks, and prints what is worth knowing before anything is paid for.

    Args:
      console: to print to.
      plan: of the run; None for one that has none, of which the service alone is checked.
      service: where it runs.
      verbose: whether TFX and Beam may log.

    Raises:
      PreflightError: the run would fail.
    """
    from pipeline.cli import quiet
    from pipeline.preflight import checking, display

    with ExitStack() as stack:
        stack.enter_context(console.status("Checking what workers would meet ..."))
        stack.enter_context(quiet.worker_tracebacks_held(verbose))
        report = checking.check(plan, service, while_tfx_loads=while_tfx_loads(verbose))
    report.raise_refusals()
    display.before_a_run(console, report)


@contextmanager
def while_tfx_loads(verbose: bool = False) -> Iterator[None]:
    """Around the import of TFX."""
    from pipeline.cli import quiet

    with quiet.native_logs(verbose), quiet.without_stock_components():
        yield
