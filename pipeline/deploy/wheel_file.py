"""Wheels whose bytes are those of the code in them: the same code gives the same file, whatever machine or clock."""

import base64
import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

VERSION, PYTHON = "0.1.0", ">=3.11,<3.12"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_DIGITS = 12


@dataclass(frozen=True)
class About:
    """What a wheel says of itself.

    Attributes:
      name: of the distribution.
      summary: one line.
      scripts: console scripts as `module:function`, by name.
    """

    name: str
    summary: str
    scripts: Mapping[str, str] = field(default_factory=dict)


def write_wheel(about: About, contents: Mapping[str, bytes], requires: Sequence[str], folder: str) -> tuple[str, str]:
    """Writes the wheel under a name that tells its content.

    Args:
      about: what it says of itself.
      contents: its files by path.
      requires: the packages that it needs, pinned.
      folder: where it goes.

    Returns:
      Its path, and the SHA-256 of its bytes in hexadecimal.
    """
    named = about.name.replace("-", "_")
    info = f"{named}-{VERSION}.dist-info"
    metadata = _metadata(about, requires)
    build_tag = f"0{_content_digest(contents, metadata)[:_DIGITS]}"  # it must begin with a digit
    files = {
        **contents,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": _wheel_file(build_tag).encode(),
    }
    if about.scripts:
        files[f"{info}/entry_points.txt"] = _entry_points(about.scripts).encode()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD").encode()
    path = os.path.join(folder, f"{named}-{VERSION}-{build_tag}-py3-none-any.whl")
    os.makedirs(folder, exist_ok=True)
    _write(files, path)
    with open(path, "rb") as stream:
        return path, hashlib.sha256(stream.read()).hexdigest()


def _write(files: Mapping[str, bytes], path: str) -> None:
    own = f"{path}.{os.getpid()}"
    # Stored, not deflated: other versions of zlib deflate to other bytes.
    with zipfile.ZipFile(own, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.external_attr = _MODE
            entry.create_system = 3  # Unix, wherever it is built
            archive.writestr(entry, content)
    os.replace(own, path)  # another run may be staging the same one


def _content_digest(contents: Mapping[str, bytes], metadata: str) -> str:
    digest = hashlib.sha256(metadata.encode())
    for name, content in contents.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _metadata(about: About, requires: Sequence[str]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {about.name}", f"Version: {VERSION}", f"Requires-Python: {PYTHON}"]
    lines += [f"Summary: {about.summary}", "License: Apache-2.0"]
    lines += [f"Requires-Dist: {one}" for one in requires]
    return "\n".join([*lines, ""])


def _wheel_file(build_tag: str) -> str:
    lines = ["Wheel-Version: 1.0", "Generator: braid", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    return "\n".join([*lines, f"Build: {build_tag}", ""])


def _entry_points(scripts: Mapping[str, str]) -> str:
    return "\n".join(["[console_scripts]", *(f"{name} = {place}" for name, place in scripts.items()), ""])


def _record(files: Mapping[str, bytes], itself: str) -> str:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{itself},,", ""])
