"""The Python package: generated operations and models, and the modules of `sdk/python`.

Owns: how the generator is called, and the package's metadata. Must not know: what the operations do.
"""

import shutil
from pathlib import Path
from typing import Final

from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType

from sdk.sources import DESCRIPTION, HAND_WRITTEN, SdkError, api_version, version

PACKAGE: Final = "networkcore_sdk"
_PROJECT: Final = """\
[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "networkcore-sdk"
version = "{version}"
description = "A typed client for the networkcore API"
readme = "README.md"
requires-python = ">=3.11"
license = "Apache-2.0"
dependencies = ["attrs>=22.2", "cryptography>=42", "httpx>=0.23.1,<1", "standardwebhooks>=1,<2"]

[tool.setuptools.packages.find]
include = ["{package}*"]

[tool.setuptools.package-data]
"*" = ["py.typed"]
"""
_API_VERSION: Final = '''\
"""The version of the API that this package speaks."""

API_VERSION = "{version}"
'''


def generate_client(folder: Path) -> Path:
    """Write the generated package into `folder`; the package's own folder. Raises SdkError."""
    package = folder / PACKAGE
    settings = ConfigFile(
        package_name_override=PACKAGE,
        # The generator reads JSON and bytes; a payment file is bytes to it.
        content_type_overrides=dict.fromkeys(
            ("application/xml", "application/pdf"), "application/octet-stream"
        ),
        post_hooks=[],
    )
    config = Config.from_sources(
        settings, MetaType.NONE, DESCRIPTION, file_encoding="utf-8", overwrite=True, output_path=package
    )
    errors = generate(config=config)
    if errors:
        raise SdkError("; ".join(f"{error.header}: {error.detail}" for error in errors))
    return package


def write_package(folder: Path) -> Path:
    """Write the whole project that `python -m build` makes a wheel of; its folder. Raises SdkError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    package = generate_client(folder)
    for module in sorted((HAND_WRITTEN / "python").glob("*.py")):
        shutil.copy(module, package)
    (package / "api_version.py").write_text(_API_VERSION.format(version=api_version()), encoding="utf-8")
    shutil.copy(HAND_WRITTEN / "python/README.md", folder)
    project = _PROJECT.format(version=version(), package=PACKAGE)
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    return folder
