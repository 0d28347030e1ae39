"""Programs of Debian's and Ubuntu's packages, unpacked into a folder without being installed; no root needed."""

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

SECONDS = 300
APT = ("apt-get", "-q", "-y", "-o", "Debug::NoLocking=1", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")


class NotAvailableError(Exception):
    """The packages cannot be had here; tells why."""


def cache_folder() -> Path:
    """Where unpacked packages are kept from one test run to the next. Every user may enter it: servers do not run as root."""
    if os.geteuid() == 0:
        return Path("/var/cache/braid-tests")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "braid-tests"


def unpacked(name: str, candidates: Sequence[str]) -> Path:
    """The root folder of the first candidate that there is, and all that it depends on and is not installed.

    Args:
      name: of the folder in the cache.
      candidates: names of packages: they differ between releases.

    Raises:
      NotAvailableError: with apt's reasons.
    """
    system = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    root = cache_folder() / "-".join(
        [name, system.get("ID", "unknown"), system.get("VERSION_ID", ""), platform.machine()]
    )
    if root.is_dir():
        return root
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise NotAvailableError("this system has no apt-get and dpkg")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        files = _downloaded(candidates, Path(folder))
        made = Path(folder, "root")
        for file in files:
            subprocess.run(["dpkg", "-x", file, made], check=True)
        made.chmod(0o755)
        if not root.is_dir():  # another test run may have been faster
            made.rename(root)
    return root


def _downloaded(candidates: Sequence[str], folder: Path) -> list[Path]:
    """By the system's lists of packages; where it has none, or old ones, by new ones of our own."""
    own = [f"Dir::Cache={folder}", f"Dir::Cache::archives={folder}/archives/"]
    (folder / "archives" / "partial").mkdir(parents=True)
    (folder / "lists" / "partial").mkdir(parents=True)
    folder.chmod(0o755)
    told = []
    for options in (own, [*own, f"Dir::State::lists={folder}/lists"]):
        if options is not own:
            told.append(_apt(options, "update")[1])
        for package in candidates:
            done, said = _apt(options, "install", "--download-only", "--no-install-recommends", package)
            files = sorted((folder / "archives").glob("*.deb"))
            if done and files:
                return files
            told.append(said)
    raise NotAvailableError(f"apt-get cannot download {' or '.join(candidates)}:\n" + "\n".join(told))


def _apt(options: Sequence[str], *command: str) -> tuple[bool, str]:
    settings = [word for option in options for word in ("-o", option)]
    done = subprocess.run(
        [*APT, *settings, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    return done.returncode == 0, done.stderr.strip()[-500:]
