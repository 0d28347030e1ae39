"""What the pipelines compile to: TFX's intermediate representation."""

import pytest
from golden import Golden
from google.protobuf import text_format
from tfx.dsl.compiler import compiler

from pipeline import graph, loading, planning
from pipeline.targets.beam_options import LOCAL_BEAM
from pipeline.workspace import Workspace


@pytest.mark.parametrize("configuration", ["flights", "taxi"])
def test_compiled_pipeline(golden: Golden, configuration: str) -> None:
    file = f"configs/pipelines/{configuration}.yaml"
    # As many threads as here are cores, unless said otherwise.
    plan = planning.plan(loading.load(file, assignments=["train.threads=2"]))
    place = Workspace(str(golden.workspace))
    pipeline = graph.compose(plan, place.pipeline_root(configuration), place.store, LOCAL_BEAM)
    compiled = text_format.MessageToString(compiler.Compiler().compile(pipeline))
    golden.check(f"{configuration}.pbtxt", compiled, f"compiling {file} with --set train.threads=2")
