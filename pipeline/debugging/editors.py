"""Run configurations for VS Code and PyCharm, so that opening the capsule and pressing one key replays the step."""

import json
import os
from xml.sax.saxutils import quoteattr

from beam_jobs import storage


def write(folder: str, project: str, interpreter: str, scripts: list[str]) -> None:
    """Writes `.vscode/launch.json` and a PyCharm configuration for each script.

    Args:
      folder: the capsule's.
      project: the root of the code, whose modules are not to be passed over as a library's.
      interpreter: the Python that has the packages.
      scripts: names in the capsule.
    """
    launch = {"version": "0.2.0", "configurations": [_vs_code(project, interpreter, script) for script in scripts]}
    storage.write_text(os.path.join(folder, ".vscode", "launch.json"), json.dumps(launch, indent=2) + "\n")
    settings = {"python.defaultInterpreterPath": interpreter, "python.analysis.extraPaths": [project]}
    storage.write_text(os.path.join(folder, ".vscode", "settings.json"), json.dumps(settings, indent=2) + "\n")
    for script in scripts:
        name = os.path.splitext(script)[0]
        path = os.path.join(folder, ".idea", "runConfigurations", f"{name}.xml")
        storage.write_text(path, _pycharm(project, interpreter, script))


def _vs_code(project: str, interpreter: str, script: str) -> dict[str, object]:
    return {
        "name": script,
        "type": "debugpy",
        "request": "launch",
        "program": "${workspaceFolder}/" + script,
        "python": interpreter,
        "cwd": "${workspaceFolder}",
        "env": {"PYTHONPATH": project},
        "console": "integratedTerminal",
        "justMyCode": False,  # the step's own code lies outside of the capsule
        "subProcess": False,
    }


def _pycharm(project: str, interpreter: str, script: str) -> str:
    options = {
        "INTERPRETER_OPTIONS": "",
        "PARENT_ENVS": "true",
        "SDK_HOME": interpreter,
        "WORKING_DIRECTORY": "$PROJECT_DIR$",
        "IS_MODULE_SDK": "false",
        "ADD_CONTENT_ROOTS": "true",
        "ADD_SOURCE_ROOTS": "true",
        "SCRIPT_NAME": f"$PROJECT_DIR$/{script}",
        "PARAMETERS": "",
        "EMULATE_TERMINAL": "true",
        "MODULE_MODE": "false",
    }
    lines = "\n".join(f"    <option name={quoteattr(k)} value={quoteattr(v)} />" for k, v in options.items())
    return f"""\
<component name="ProjectRunConfigurationManager">
  <configuration default="false" name={quoteattr(script)} type="PythonConfigurationType" factoryName="Python">
{lines}
    <envs>
      <env name="PYTHONPATH" value={quoteattr(project)} />
      <env name="PYTHONUNBUFFERED" value="1" />
    </envs>
    <method v="2" />
  </configuration>
</component>
"""
