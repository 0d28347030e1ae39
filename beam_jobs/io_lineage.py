"""Beam's own lineage of a job: the files that its workers report to have read and written.

Beam keeps up to a hundred names a list; of more, it names the folder: `/data/flights/*`.
"""

import functools
from collections.abc import Iterator
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import monitoring_infos
from apache_beam.metrics.cells import BoundedTrieData
from apache_beam.metrics.metric import Lineage, MetricResults, MetricsFilter

_SCHEMES = {"filesystem:": "", "gcs:": "gs://", "s3:": "s3://"}
_ROLLED_UP = "*"


def reads(*paths: str) -> None:
    """Reports, from inside a worker's bundle, the files that it reads; elsewhere it does nothing."""
    for path in paths:
        FileSystems.report_source_lineage(path)


def writes(path: str) -> None:
    """Reports, from inside a worker's bundle, a file that it writes."""
    FileSystems.report_sink_lineage(path)


def sources(result: Any) -> list[str]:
    """The files that the job of this pipeline result read, as paths and bucket URIs, sorted."""
    return _named(result, Lineage.SOURCE)


def sinks(result: Any) -> list[str]:
    """The files that it wrote."""
    return _named(result, Lineage.SINK)


def _named(result: Any, label: str) -> list[str]:
    whole = functools.reduce(lambda one, other: one.combine(other), _reported(result, label), BoundedTrieData())
    return sorted(_path(*segments, rolled_up=rolled_up) for *segments, rolled_up in whole.get_result())


def _reported(result: Any, label: str) -> Iterator[BoundedTrieData]:
    """The names, worker by worker and step by step."""
    if hasattr(result, "monitoring_infos"):
        # The in-process runner merges the counters of its workers, but of this metric its query gives one worker's.
        for info in result.monitoring_infos():
            if monitoring_infos.is_bounded_trie(info) and _is(info, label):
                yield monitoring_infos.extract_bounded_trie_value(info)
        return
    wanted = MetricsFilter().with_namespace(Lineage.LINEAGE_NAMESPACE).with_name(label)
    for metric in result.metrics().query(wanted).get(MetricResults.BOUNDED_TRIES, []):
        yield metric.committed or metric.attempted  # `Lineage.query` wants both, which no runner over the wire has


def _is(info: Any, label: str) -> bool:
    return bool(monitoring_infos.parse_namespace_and_name(info) == (Lineage.LINEAGE_NAMESPACE, label))


def _path(system: str = "", place: str = "", *rest: str, rolled_up: bool) -> str:
    """`gcs:`, `bucket.`, `folder/`, `file` as the URI that it stands for; other systems stay as Beam spells them."""
    more = _ROLLED_UP if rolled_up else ""
    if system not in _SCHEMES or not place:
        return "".join((system, place, *rest, more))
    host = f"{place.removesuffix('.')}/" if _SCHEMES[system] else ""
    return "".join((_SCHEMES[system], host, *rest, more))
