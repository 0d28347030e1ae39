"""The model that a user names, held against its record before it is used. Loads neither TFX nor Beam."""

import os
from collections.abc import Sequence

from beam_jobs import storage
from beam_jobs.errors import listed, nearest
from beam_jobs.folder_digest import folder_digest
from components import serving_folder
from components.model_contract import CONTRACT
from pipeline.errors import RunError
from pipeline.lineage import naming, serving
from pipeline.lineage.archive import PIPELINE, PIPELINE_SUFFIX, Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.misnaming import LATEST
from pipeline.lineage.naming import Subject
from pipeline.lineage.records import Artifact
from pipeline.scoring.model_content import FoundModel, check_content
from pipeline.serving.versions import Version, in_reach, pipelines, versions

FORMS = "a pipeline (the version that serves), PIPELINE@VERSION, a run, RUN/step, an artifact's id, or a model's folder"
MODEL, BLESSING, DIGEST = "Model", "ModelBlessing", "tree_digest"
JUDGED = ("current_model_id", "current_model_digest")
_AT = "@"


def find_model(archive: Archive, text: str) -> FoundModel:
    """The model that `text` means; see `FORMS`. Its folder holds what was recorded.

    Raises:
      BraidError: nothing, several things or no model is called so; or its folder is gone or was altered.
    """
    found = locate(archive, text)
    check_content(found)
    return found


def locate(archive: Archive, text: str) -> FoundModel:
    """The same, whatever its folder holds.

    Raises:
      BraidError: nothing, several things or no model is called so.
    """
    every = versions(archive)
    name, at, version = text.rpartition(_AT)
    known = pipelines(every)
    if at and name in known:
        return of_version(version_of(every, name, version))
    if text in known and text != LATEST:
        return of_version(serving_version(every, text))
    try:
        return _named(archive, every, text)
    except LineageError as error:
        if archive.store.get_context_by_type_and_name(PIPELINE, f"{text}{PIPELINE_SUFFIX}"):
            raise RunError(
                f"Pipeline '{text}' has not pushed a model yet, so none of its models serves.",
                f"Name {FORMS}: `braid runs` lists the runs.",
            ) from error
        close = nearest(name or text, known)
        if close:
            raise LineageError(f"{str(error).partition(' Did you mean')[0]}{close}", f"Name {FORMS}.") from error
        raise


def serving_version(every: Sequence[Version], pipeline: str) -> Version:
    """The version of a pipeline that serves.

    Raises:
      RunError: none does.
    """
    own = in_reach(one for one in every if one.pipeline == pipeline)
    now = [one for one in own if one.is_serving]
    if now:
        return now[-1]
    folder = own[-1].folder
    raise RunError(
        f"No version of '{pipeline}' serves: '{os.path.join(folder, serving_folder.CURRENT)}' names none that is there.",
        f"Name one: {listed(f'{pipeline}{_AT}{one.name}' for one in own)}; or put one back with `braid rollback "
        f"{pipeline} --to VERSION`.",
    )


def version_of(every: Sequence[Version], pipeline: str, version: str) -> Version:
    """A version of a pipeline by its number, with or without zeros before it; `latest` is the highest.

    Raises:
      RunError: there is no such version.
    """
    own = in_reach(one for one in every if one.pipeline == pipeline)
    others = [one for one in every if one.pipeline == pipeline and one not in own]
    if version == LATEST:
        return own[-1]
    for one in (*reversed(own), *reversed(others)):
        if one.name == version or (version.isdecimal() and one.name.isdecimal() and int(one.name) == int(version)):
            return one
    names = [one.name for one in own]
    raise RunError(
        f"Pipeline '{pipeline}' has no version '{version}'.{nearest(version, names)}",
        f"Its versions: {listed(names)}; `braid models {pipeline}` tells about them.",
    )


def of_version(version: Version) -> FoundModel:
    """A version as a model to be used.

    Raises:
      RunError: the store does not tell which model it is.
    """
    model = version.model
    if model is None:
        raise RunError(
            f"Which model version {version.name} of '{version.pipeline}' is, the metadata store does not tell.",
            "Name the model itself: a run, or the id of its artifact.",
        )
    return FoundModel(
        model=model,
        uri=version.path,
        name=version.pipeline,
        version=version.name,
        digest=str(model.custom(DIGEST) or ""),
        is_serving=version.is_serving,
        pushed_digest=str(version.pushes[-1].custom("pushed_digest") or ""),
    )


def _named(archive: Archive, every: Sequence[Version], text: str) -> FoundModel:
    """A model named as lineage names things, or by a folder."""
    subject = _subject(archive, text)
    by_push = {one.id: version for version in every for one in version.pushes}
    meant = [artifact for artifact in subject.artifacts if artifact.type in (MODEL, serving.PUSHED_MODEL)]
    if meant and all(artifact.type == serving.PUSHED_MODEL for artifact in meant):
        pushed = [by_push[artifact.id] for artifact in meant if artifact.id in by_push]
        if pushed:
            return of_version(pushed[-1])
    return _own(archive, every, _model_of(subject))


def _subject(archive: Archive, text: str) -> Subject:
    """What is called so; a folder that the store does not know is looked up by what it holds.

    `latest` is the newest run that did not score.
    """
    if text == LATEST:
        trained = [one.name for one in archive.runs() if "scoring" not in one.custom_properties]
        return naming.find(archive, trained[-1] if trained else text)
    try:
        return naming.find(archive, text)
    except LineageError:
        copied = _copied(archive, text)
        if copied is None:
            raise
        return copied


def _copied(archive: Archive, text: str) -> Subject | None:
    """The model whose copy a folder is.

    Raises:
      RunError: it holds a model that the store knows nothing of.
    """
    if not os.path.isfile(os.path.join(text, CONTRACT)):
        return None
    digest = folder_digest(text).digest
    same = [model for model in archive.artifacts_of_type(MODEL) if model.custom(DIGEST) == digest]
    if not same:
        raise RunError(
            f"'{text}' holds a model, but none that this metadata store knows, so nothing is known of its data.",
            f"Was it altered, or made with another store? Name {FORMS}.",
        )
    return Subject(text, (same[-1],))


def _model_of(subject: Subject) -> Artifact:
    """The subject's only model; of several candidates of a run, the one that was chosen.

    Raises:
      LineageError: there is none, or there are several and none was chosen.
    """
    found = [artifact for artifact in subject.artifacts if artifact.type == MODEL]
    blessings = [artifact for artifact in subject.artifacts if artifact.type == BLESSING]
    judged = {one.custom(name) for one in blessings for name in JUDGED} - {None, ""}
    chosen = [model for model in found if model.id in judged or model.custom(DIGEST) in judged]
    return chosen[0] if len(found) > 1 and len(chosen) == 1 else naming.one_of_type(subject, MODEL)


def _own(archive: Archive, every: Sequence[Version], model: Artifact) -> FoundModel:
    """The model in its own folder; where that is gone, as the version that it was pushed as."""
    digest = str(model.custom(DIGEST) or "")
    pushed = [one for one in every if any(other.id == model.id for other in one.models)]
    is_gone = not storage.is_remote(model.uri) and not os.path.isdir(model.uri)
    if is_gone and any(one.is_there for one in pushed):
        return of_version([one for one in pushed if one.is_there][-1])
    writers = [event.execution for event in archive.events_of_artifacts([model.id], is_input=False)]
    made = archive.executions(writers)
    version = next(iter([one for one in pushed if one.is_serving] or pushed[-1:]), None)
    return FoundModel(
        model=model,
        uri=model.uri,
        name=made[0].pipeline if made else "",
        version=version.name if version else "",
        digest=digest,
        is_serving=version is not None and version.is_serving,
    )
