"""Packaging. Also Beam's `--setup_file`: a worker installs only what `beam_jobs` needs; the rest is an extra."""

from setuptools import setup

DATA_STRAND = ["apache-beam[gcp]>=2.77,<2.78", "pyarrow>=18,<19", "duckdb>=2,<3", "numpy"]
ML_STRAND = [
    "tfx==1.21.0",
    "tensorflow>=2.21,<2.22",
    "ml-metadata==1.17.1",
    "xgboost>=3.2,<4",
    "optuna>=5,<6",
    "pydantic>=2",
    "click",
    "rich",
    "pyyaml",
    "debugpy",
]

setup(
    name="braid",
    version="0.1.0",
    description="A hybrid data-and-ML pipeline: Beam jobs and TFX components, recorded in ML Metadata",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=[
        "beam_jobs",
        "components",
        "components.arrow_statistics",
        "components.data_gate",
        "components.evaluator",
        "components.explainer",
        "components.feature_selector",
        "components.ingest",
        "components.keras_trainer",
        "components.prepare",
        "components.pusher",
        "components.schema_file",
        "components.scorer",
        "components.table_check",
        "components.trainer",
        "components.transform",
        "components.tuner",
        "pipeline",
        "pipeline.cli",
        "pipeline.cli.questions",
        "pipeline.debugging",
        "pipeline.deploy",
        "pipeline.lineage",
        "pipeline.remote",
        "pipeline.report",
        "pipeline.scoring",
        "pipeline.serving",
        "pipeline.targets",
    ],
    package_data={name: ["*.html", "*.css", "*.js"] for name in ("pipeline.lineage", "pipeline.report")},
    install_requires=DATA_STRAND,
    extras_require={"pipeline": ML_STRAND},
    entry_points={"console_scripts": ["braid = pipeline.cli.main:program"]},
)
