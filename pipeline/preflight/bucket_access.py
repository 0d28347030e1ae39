"""Whether the buckets of a target can be read and written with the credentials that are here, and lie where jobs run."""

import errno
import urllib.parse
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import DataError
from pipeline.preflight.finding import Finding

SCHEME = "gs://"
_NEEDED = ("storage.objects.create", "storage.objects.get", "storage.objects.delete", "storage.objects.list")
_TAKES = {"written": _NEEDED[0], "read": _NEEDED[1], "deleted": _NEEDED[2]}
_ROLE = "roles/storage.objectUser"
_CONTENT = b"Braid looks whether it may write here."
_MULTI_REGIONS = {
    "US": ("us-",),
    "EU": ("europe-",),
    "ASIA": ("asia-",),
}
_NOT_IN_EU = ("europe-west2", "europe-west6")
"""Regions of Europe that the multi-region EU does not take in: London and Zurich."""
_DUAL_REGIONS = {
    "NAM4": ("us-central1", "us-east1"),
    "EUR4": ("europe-north1", "europe-west4"),
    "EUR5": ("europe-west1", "europe-west2"),
    "EUR7": ("europe-west2", "europe-west3"),
    "EUR8": ("europe-west3", "europe-west6"),
    "ASIA1": ("asia-northeast1", "asia-northeast2"),
}


@dataclass(frozen=True)
class Place:
    """A folder of a bucket, and the key of the target, or of the pipeline, that names it."""

    key: str
    path: str

    @property
    def bucket(self) -> str:
        """Its bucket's name."""
        return urllib.parse.urlsplit(self.path).netloc


def check_writable(places: Iterable[Place]) -> Iterator[Finding]:
    """Writes, reads and deletes a small object in each folder; told is which permission that lacks."""
    refused: set[str] = set()
    for folder, key in {one.path: one.key for one in places}.items():
        place = Place(key, folder)
        found = list(_tried(place)) if place.bucket not in refused else []
        refused |= {place.bucket for _ in found}
        yield from found


def _tried(place: Place) -> Iterator[Finding]:
    lacking = _lacking(place) if place.path.startswith(SCHEME) else ()
    if lacking:
        names = ", ".join(lacking)
        yield Finding(
            place.key,
            f"The credentials here lack {names} on the bucket '{place.bucket}'.",
            f"Grant them {_ROLE} on gs://{place.bucket}: docs/howto-dataflow.md lists who needs what.",
        )
        return
    path = f"{place.path.rstrip('/')}/.preflight-{uuid.uuid4().hex}"
    doing = "written"
    try:
        with storage.open_output(path) as stream:
            stream.write(_CONTENT)
        doing = "read"
        with storage.open_input(path) as stream:
            stream.read()
        doing = "deleted"
        _remove(path)
    except (OSError, DataError) as error:
        yield _refused(place, doing, error)


def _refused(place: Place, doing: str, error: Exception) -> Finding:
    denied = getattr(error, "errno", None) == errno.EACCES
    why = f"it takes {_TAKES[doing]}" if denied else getattr(error, "strerror", None) or error
    return Finding(
        place.key,
        f"With the credentials here an object in '{place.path}' cannot be {doing}: {why}.",
        f"See that the bucket '{place.bucket}' is there, and that these credentials have {_ROLE} on it.",
    )


def _remove(path: str) -> None:
    from beam_jobs import buckets

    buckets.remove([path])


def _lacking(place: Place) -> tuple[str, ...]:
    """Those of the needed permissions that the service says are missing; none where it does not tell."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    try:
        held = client().bucket(place.bucket).test_iam_permissions(list(_NEEDED))
    except (GoogleAPICallError, GoogleAuthError):
        return ()  # who may not ask is told by what happens
    return tuple(name for name in _NEEDED if name not in held)


def client() -> Any:
    """Google's own client, with the credentials that Beam finds."""
    from apache_beam.io.gcp.gcsio import GcsIO

    return GcsIO().client


def check_region(places: Iterable[Place], region: str) -> Iterator[Finding]:
    """Looks that each bucket's location contains the region of the jobs."""
    first = {one.bucket: one for one in reversed(list(places)) if one.path.startswith(SCHEME)}
    for bucket, place in first.items():
        try:
            location = location_of(bucket)
        except OSError as error:
            if error.errno is None:
                yield Finding(place.key, f"Where the bucket '{bucket}' lies cannot be seen: {error}.", "", "warning")
            continue
        if not contains(location, region):
            yield Finding(
                place.key,
                f"The bucket '{bucket}' lies in {location}, and jobs run in the region '{region}': every byte would cross regions, slowly and for money.",
                f"Set the region: --set region={_region_in(location)}; or use a bucket in '{region}'.",
            )


def location_of(bucket: str) -> str:
    """The location of a bucket, such as `US` or `EUROPE-WEST1`; of a custom dual-region both, joined by `+`.

    Raises:
      OSError: it cannot be seen; without a number where that is for want of a permission.
    """
    from google.api_core.exceptions import Forbidden, GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    try:
        found = client().get_bucket(bucket)
    except Forbidden as error:
        raise OSError("the credentials here lack storage.buckets.get") from error
    except (GoogleAPICallError, GoogleAuthError) as error:
        # That there is none, or nobody is let in, is told by the check of what can be written and read.
        raise OSError(1, str(error)) from error
    both = getattr(found, "data_locations", None)
    return "+".join(both) if both else str(found.location)


def contains(location: str, region: str) -> bool:
    """Whether a bucket's location takes in a region.

    >>> contains("US", "us-central1"), contains("EU", "us-central1")
    (True, False)
    """
    if location.upper() in _MULTI_REGIONS:
        inside = region.startswith(_MULTI_REGIONS[location.upper()])
        return inside and not (location.upper() == "EU" and region in _NOT_IN_EU)
    if location.upper() in _DUAL_REGIONS:
        return region in _DUAL_REGIONS[location.upper()]
    return region.lower() in location.lower().split("+")


def _region_in(location: str) -> str:
    """A region that the location takes in."""
    upper = location.upper()
    if upper in _DUAL_REGIONS:
        return _DUAL_REGIONS[upper][0]
    return {"US": "us-central1", "EU": "europe-west1", "ASIA": "asia-east1"}.get(upper, location.lower().split("+")[0])
