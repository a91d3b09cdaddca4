"""The TypeScript package: generated types and the modules of `sdk/typescript`, compiled.

Owns: how npm and the compiler are called. Must not know: what the operations do.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

from sdk.sources import DESCRIPTION, HAND_WRITTEN, SdkError, api_version, version

_TIMEOUT_S: Final = 300
_API_VERSION: Final = """\
/** The version of the API that this package speaks. */
export const API_VERSION = "{version}";
"""


def find_npm() -> str | None:
    """Where npm is, or None: then there is no TypeScript package to be had."""
    return shutil.which("npm") if shutil.which("node") else None


def write_package(folder: Path) -> Path:
    """Write the whole project that `npm publish` takes; its folder.

    Raises SdkError where npm is absent, its registry can't be reached or something does not compile.
    """
    npm = find_npm()
    if npm is None:
        raise SdkError("Node.js with npm is not installed; the Python package needs neither")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        HAND_WRITTEN / "typescript", folder, ignore=shutil.ignore_patterns("node_modules", "dist")
    )
    shutil.copy(DESCRIPTION, folder / "openapi.json")
    about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    (folder / "package.json").write_text(json.dumps(about | {"version": version()}, indent=2) + "\n")
    (folder / "src/api-version.ts").write_text(_API_VERSION.format(version=api_version()), encoding="utf-8")
    for arguments in (["ci", "--ignore-scripts"], ["run", "generate"], ["run", "build"]):
        done = subprocess.run(  # noqa: S603 - arguments of ours
            [npm, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise SdkError(f"npm {' '.join(arguments)}: " + " ".join(said[-3:]))
    return folder
