"""What a service in the cloud refuses, and what to do about it: quotas, machines that are not there, permissions."""

import re
from dataclasses import dataclass

ROLES_PAGE = "https://cloud.google.com/dataflow/docs/concepts/access-control"
QUOTAS_PAGE = "https://console.cloud.google.com/iam-admin/quotas"


@dataclass(frozen=True)
class Refusal:
    """What was refused, in a sentence, and the next thing to do."""

    told: str
    hint: str


_CODE = re.compile(r"\(?\b[0-9a-f]{4,16}\)?: (?=[A-Z(])")
_REQUEST = re.compile(r"^[A-Z]+ https?://\S+: ")
_QUOTA = re.compile(
    r"(?:Quota|limit|quota metric) '(?P<quota>[^']+)'(?: exceeded)?.*?"
    r"(?:Limit: (?P<limit>[\d.]+)(?: in region (?P<region>[a-z0-9-]+))?|$)",
    re.DOTALL | re.IGNORECASE,
)
_JOBS = re.compile(r"concurrent dataflow jobs|dataflow\.googleapis\.com/job_count|too many running jobs", re.IGNORECASE)
_EXHAUSTED = re.compile(r"RESOURCE_POOL_EXHAUSTED|does not have enough resources available", re.IGNORECASE)
_ADDRESSES = re.compile(r"IP_SPACE_EXHAUSTED|IP space .* is exhausted", re.IGNORECASE)
_LOST = re.compile(r"worker lost contact with the service|out of memory|OOMKilled|MemoryError", re.IGNORECASE)
_PERMISSION = re.compile(
    r"\b(?P<permission>[a-z]+\.[a-zA-Z]+\.[a-zA-Z]+)\b (?:access|permission|denied)|"
    r"[Pp]ermission '?(?P<named>[a-z]+\.[a-zA-Z]+\.[a-zA-Z]+)'?"
)
_ACT_AS = re.compile(r"cannot act as service account (?P<account>[^\s'\",]+@[\w.-]*\w)")
_DISABLED = re.compile(r"API has not been used in project|it is disabled")
_ACCOUNT = re.compile(r"[\w.-]+@[\w.-]+\.iam\.gserviceaccount\.com|\d+-compute@developer\.gserviceaccount\.com")
_BUCKET = re.compile(r"gs://(?P<uri>[^/\s'\"]+)|/b/(?P<api>[^/\s?]+)")
_ROLES = {
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "storage.buckets": "roles/storage.legacyBucketReader",
    "storage": "roles/storage.objectUser",
    "artifactregistry": "roles/artifactregistry.reader",
    "dataflow.workItems": "roles/dataflow.worker",
    "dataflow.streamingWorkItems": "roles/dataflow.worker",
    "dataflow.shuffle": "roles/dataflow.worker",
    **{f"dataflow.{what}": "roles/dataflow.viewer" for what in ("jobs.get", "jobs.list", "messages", "metrics")},
    "dataflow": "roles/dataflow.developer",
}
"""The least role of Google's own that has a permission; the first that fits counts."""


def plain(text: str) -> str:
    """A message of the service without the request that it answers and the codes that it puts before each sentence."""
    return _CODE.sub("", _REQUEST.sub("", text)).strip()


def of(text: str, account: str = "", project: str = "", machine: str = "") -> Refusal | None:
    """What a message of the service says was refused; None where it says no such thing.

    Args:
      text: the message.
      account: whose credentials were used, '' if that is not known.
      project: that jobs run in.
      machine: the type of the workers' machines, '' if that is not known.
    """
    return of_quota(text, machine) or of_permission(text, account, project) or _of_memory(text)


def is_of_jobs(text: str) -> bool:
    """Whether the project may not have another job, which waiting some seconds does not change."""
    return bool(_JOBS.search(text))


def of_quota(text: str, machine: str = "") -> Refusal | None:
    """A quota that is used up, or machines that the zone does not have."""
    if is_of_jobs(text):
        return Refusal(
            "The project's quota of concurrent Dataflow jobs is used up.",
            "Nothing was submitted. Run the same command again when a job has ended (`gcloud dataflow jobs list "
            f"--status=active` lists them), choose another --set project=..., or ask for more: {QUOTAS_PAGE}",
        )
    if _EXHAUSTED.search(text):
        return Refusal(
            f"The zone has no machines{f' of type {machine}' if machine else ''} left.",
            "Take other ones: --set worker_type=..., or another --set region=...; or run the same command again later.",
        )
    if _ADDRESSES.search(text):
        return Refusal(
            "The subnetwork has no addresses left.",
            "Name a larger one with --set subnetwork=..., or lower --set max_workers=...",
        )
    found = _QUOTA.search(text) if "quota" in text.lower() else None
    return _of_quota(found["quota"], found["limit"], found["region"], machine) if found else None


def _of_quota(quota: str, limit: str | None, region: str | None, machine: str) -> Refusal:
    where = f" in region {region}" if region else ""
    amount = f" of {float(limit):g}" if limit else ""
    told = f"The project's quota {quota}{amount}{where} does not suffice for the job's workers."
    return Refusal(told, f"{_less(quota, limit, machine)}, or ask for more: {QUOTAS_PAGE}")


def _less(quota: str, limit: str | None, machine: str) -> str:
    """How to do with less of what the quota limits."""
    elsewhere = "choose another --set region=..."
    if "ADDRESS" in quota:
        return f"Workers need no public addresses with an image: --set public_ips=false; or lower --set max_workers=..., or {elsewhere}"
    if "GB" in quota or "DISK" in quota or "SSD" in quota:
        return f"Lower --set disk_gb=... or --set max_workers=..., or {elsewhere}"
    if "CPU" in quota:
        cores = _cores(machine)
        fitting = int(float(limit or 0) // cores) if cores else 0
        most = f"={fitting} (so many {machine} fit if nothing else runs)" if fitting else "=..."
        return f"Lower --set max_workers{most}, take smaller machines with --set worker_type=..., {elsewhere}"
    return f"Lower --set max_workers=..., {elsewhere}"


def _cores(machine: str) -> int:
    last = machine.rpartition("-")[2]
    return int(last) if last.isdigit() else 0


def of_permission(text: str, account: str = "", project: str = "") -> Refusal | None:
    """A permission that an account lacks: which role has it, and how to grant it."""
    if _DISABLED.search(text):
        return Refusal(
            "The project has the Dataflow API switched off.",
            f"`gcloud services enable dataflow.googleapis.com --project {project or 'PROJECT'}`",
        )
    acting = _ACT_AS.search(text)
    if acting:
        role, worker = "roles/iam.serviceAccountUser", acting["account"]
        return Refusal(
            f"{account or 'Your account'} lacks the role {role} on the workers' account {worker}.",
            f"`gcloud iam service-accounts add-iam-policy-binding {worker} --member={_member(account)} --role={role}`",
        )
    found = _PERMISSION.search(text)
    if not found:
        return None
    permission = found["permission"] or found["named"]
    named = _ACCOUNT.search(text)
    place = f"projects add-iam-policy-binding {project or 'PROJECT'}"
    if permission.startswith("storage."):
        place = f"storage buckets add-iam-policy-binding gs://{_bucket(text) or 'BUCKET'}"
    return _lacking(permission, named[0] if named else account, place)


def _lacking(permission: str, who: str, place: str) -> Refusal:
    role = next((role for prefix, role in _ROLES.items() if f"{permission}.".startswith(f"{prefix}.")), "")
    told = f"{who or 'The account'} lacks the permission {permission}"
    if not role:
        return Refusal(f"{told}.", f"Which role has it: {ROLES_PAGE}")
    return Refusal(f"{told}, which the role {role} has.", f"`gcloud {place} --member={_member(who)} --role={role}`")


def _member(account: str) -> str:
    if not account or " " in account:
        return "user:YOU"
    return f"{'serviceAccount' if account.endswith('gserviceaccount.com') else 'user'}:{account}"


def _bucket(text: str) -> str:
    found = _BUCKET.search(text)
    return (found["uri"] or found["api"]) if found else ""


def _of_memory(text: str) -> Refusal | None:
    if not _LOST.search(text):
        return None
    return Refusal(
        "Workers were lost while they worked: most often one has run out of memory.",
        "Give each chunk of rows more: --set worker_type=n2-highmem-4 and --set threads=1, or both for this step alone, "
        "under `steps:` in the target's file.",
    )
