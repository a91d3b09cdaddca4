"""A client that a partner generates from docs/openapi.json has every operation, and works."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from openapi_python_client import Config, generate
from openapi_python_client.config import ConfigFile, MetaType
from openapi_python_client.strings import snake_case

from gateway.api import examples
from gateway.api.openapi_export import DOCS

OPERATIONS = [
    operation["operationId"]
    for methods in json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))["paths"].values()
    for operation in methods.values()
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("client")
    settings = ConfigFile(
        package_name_override="generated_client",
        # The generator reads JSON and bytes; a payment file is bytes to it.
        content_type_overrides=dict.fromkeys(
            ("application/xml", "application/pdf"), "application/octet-stream"
        ),
        post_hooks=[],
    )
    config = Config.from_sources(
        settings,
        MetaType.NONE,
        DOCS / "openapi.json",
        file_encoding="utf-8",
        overwrite=True,
        output_path=folder / "generated_client",
    )
    errors = generate(config=config)
    assert [(error.header, error.detail) for error in errors] == []
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("generated_client")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == "generated_client"]:
            del sys.modules[name]


def test_the_generated_client_has_every_operation(client: ModuleType) -> None:
    folder = Path(str(client.__file__)).parent / "api"
    generated = {path.stem for path in folder.glob("*/*.py")}
    assert {snake_case(name) for name in OPERATIONS} <= generated


def test_the_generated_client_reads_a_session(client: ModuleType) -> None:
    models = importlib.import_module(f"{client.__name__}.models")
    example = examples.example_of("getSession", "200")
    session = models.Session.from_dict(example)
    assert (session.id, session.price.incl_vat) == (example["id"], example["price"]["incl_vat"])
    assert session.created.tzinfo is not None
    assert session.to_dict()["capture"] == {
        **example["capture"],
        "captured_at": session.capture.captured_at.isoformat(),
    }


def test_the_generated_client_sends_an_authorization(client: ModuleType) -> None:
    models = importlib.import_module(f"{client.__name__}.models")
    request = examples.example_of("createAuthorization", "request")
    assert models.AuthorizationBody.from_dict(request).to_dict() == request
    operation = importlib.import_module(f"{client.__name__}.api.authorizations.create_authorization")
    assert callable(operation.sync_detailed)
