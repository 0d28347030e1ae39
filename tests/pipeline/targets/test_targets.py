"""A target as written becomes Beam's options; mistakes are told with the file, the key and what is allowed."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.targets import loading

NEEDED = {"spark": ["image=braid-worker:1"], "dataflow": ["project=p", "bucket=b"]}


def options(name: str, *assignments: str) -> tuple[str, ...]:
    return loading.placement_of(name, assignments).options


def test_every_target_that_is_shipped_is_sound() -> None:
    for path in Path(loading.FOLDER).iterdir():
        needed = NEEDED.get(path.stem, [])
        assert options(path.stem, *needed)
        assert options(str(path), *needed) == options(path.stem, *needed)


def test_here_a_thread_a_core_or_as_many_as_asked_for() -> None:
    assert "--runner=FnApiRunner" in options("local")
    assert "--direct_num_workers=3" in options("local", "workers=3")
    assert "--direct_num_workers=4" in loading.placement_of("local", (), workers=4).options


def test_keys_of_the_target_are_its_own_and_the_others_the_pipelines() -> None:
    given = ("endpoint=there:1", "train.rounds=3", "options.parallelism=4")
    assert loading.others(given) == ("train.rounds=3",)
    runner = "--runner=pipeline.remote.portable_runner.PortableRunner"
    assert {runner, "--job_endpoint=there:1", "--parallelism=4"} <= set(options("portable", *given))


def test_options_are_flags_values_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "runner: portable\nendpoint: h:1\noptions: {streaming: true, fast: false, none: null, jobs: 2}\n"
        "steps: {departures: {parallelism: 9}}\n"
    )
    place = loading.placement_of(str(tmp_path / "mine.yaml"))
    assert place.options[-2:] == ("--streaming", "--jobs=2")
    assert place.steps == {"departures": ("--parallelism=9",)}
    assert (place.target, place.runner) == ("mine", "PortableRunner")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (["environment=loopback"], ["--environment_type=LOOPBACK"]),
        (["environment=external", "pool=h:5"], ["--environment_type=EXTERNAL", "--environment_config=h:5"]),
        (["environment=docker", "image=b:1"], ["--environment_type=DOCKER", "--sdk_container_image=b:1"]),
        (
            ["environment=process", "python=/a b/python"],
            [
                "--environment_config='/a b/python' -m beam_jobs.worker_process"
                " || exec '/a b/python' -m beam_jobs.worker_process --lost"
            ],
        ),
    ],
)
def test_workers_are_where_the_environment_says(environment: list[str], words: list[str]) -> None:
    assert set(words) <= set(options("portable", *environment))


@pytest.mark.parametrize(
    ("name", "assignments", "told"),
    [
        ("portabel", [], "There is no target 'portabel'. Did you mean 'portable'?"),
        ("portable", ["endpoint=nowhere"], "'endpoint' must look like"),
        ("portable", ["environment=procss"], "'environment' must be 'loopback', 'process', 'external' or 'docker'"),
        ("portable", ["runner=portible"], "'runner' is 'portible'. Did you mean 'portable'?"),
        ("portable", ["workers=0"], "'workers' must be at least 1"),
        ("spark", [], "'image' is not set."),
        ("dataflow", ["bucket=b"], "The target 'dataflow' needs project."),
        ("dataflow", ["steps.flights.max_worker=2"], "unknown key 'max_worker' in 'steps.flights'. Did you mean"),
        ("mine.yaml", [], "There is no target 'mine.yaml'."),
    ],
)
def test_mistakes_are_told(name: str, assignments: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(name, *assignments)
    assert told in str(caught.value)
