"""A Google Workflow that launches the stages of a data strand one after the other, each when the one before is done.

https://cloud.google.com/workflows/docs/reference/syntax
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

RUN = '${"run-" + string(int(sys.now()))}'
"""The name of a run where the execution's argument gives none."""
_AUTH = {"type": "OAuth2"}
_SECONDS = 30
_FAILED = '${told.body.currentState in ["JOB_STATE_FAILED", "JOB_STATE_CANCELLED"]}'
_HEAD = """\
# Launches the stages one after the other and waits for each; the argument {{"run": "..."}} names the run.
# Deploy: gcloud workflows deploy {name} --source=workflow.yaml --location={region}
"""


class _Plain(yaml.SafeDumper):
    """Writes what is used twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always: workflows know no anchors."""
        return True


def text(name: str, region: str, launches: str, bodies: Sequence[Mapping[str, Any]]) -> str:
    """The workflow as YAML.

    Args:
      name: the workflow's.
      region: where it runs.
      launches: the address that launches are posted to.
      bodies: of the launches in their order, the run's name in them left to the workflow.
    """
    stages = [{"number": number, **body["launchParameter"]} for number, body in enumerate(bodies, 1)]
    for stage in stages:
        del stage["jobName"]
        stage["parameters"] = {key: value for key, value in stage["parameters"].items() if key != "run"}
    main = {"params": ["args"], "steps": [*_named_run(), {"stages": {"for": _loop(name, launches, stages)}}, _end()]}
    body: str = yaml.dump({"main": main}, Dumper=_Plain, sort_keys=False, width=160)
    return _HEAD.format(name=name, region=region) + body


def _named_run() -> list[dict[str, Any]]:
    return [
        {"name_run": {"assign": [{"run": RUN}]}},
        {
            "given": {
                "switch": [
                    {"condition": "${args == null}", "next": "stages"},
                    {"condition": '${"run" in args}', "steps": [{"take": {"assign": [{"run": "${args.run}"}]}}]},
                ]
            }
        },
    ]


def _loop(name: str, launches: str, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    jobs = launches.removesuffix("flexTemplates:launch") + "jobs/"
    parameter = {
        "jobName": f'${{"{name}-" + run + "-" + string(stage.number)}}',
        "containerSpecGcsPath": "${stage.containerSpecGcsPath}",
        "parameters": "${parameters}",
        "environment": "${stage.environment}",
    }
    post = {"url": launches, "auth": _AUTH, "body": {"launchParameter": parameter}}
    get = {"url": f'${{"{jobs}" + launched.body.job.id}}', "auth": _AUTH}
    steps: list[dict[str, Any]] = [
        {"fill": {"assign": [{"parameters": "${stage.parameters}"}, {"parameters.run": "${run}"}]}},
        {"launch": {"call": "http.post", "args": post, "result": "launched"}},
        {"pause": {"call": "sys.sleep", "args": {"seconds": _SECONDS}}},
        {
            "ask": {
                "try": {"call": "http.get", "args": get, "result": "told"},
                "retry": "${http.default_retry}",
            }
        },
        {
            "decide": {
                "switch": [
                    {"condition": '${told.body.currentState == "JOB_STATE_DONE"}', "next": "continue"},
                    {"condition": _FAILED, "raise": '${"Job " + told.body.id + " ended as " + told.body.currentState}'},
                ],
                "next": "pause",
            }
        },
    ]
    return {"value": "stage", "in": list(stages), "steps": steps}


def _end() -> dict[str, Any]:
    return {"done": {"return": "${run}"}}
