"""The Helm chart: its values, its templates, and, where helm is installed, what it renders."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.config import Settings

CHART = Path(__file__).parents[2] / "deploy/helm/networkcore"
TEMPLATES = sorted((CHART / "templates").glob("*.yaml"))
ALL = [*TEMPLATES, *sorted((CHART / "templates").glob("*.tpl")), CHART / "templates/NOTES.txt"]
ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
OPENING = re.compile(r"(if|range|with|define|block)\b")
KINDS = {
    "ConfigMap": 1,
    "Deployment": 2,
    "Job": 1,
    "NetworkPolicy": 1,
    "PodDisruptionBudget": 2,
    "Service": 1,
    "ServiceAccount": 1,
}
EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": [{"name": "registry"}],
    "ingress": {"enabled": True, "className": "nginx", "tlsSecretName": "tls", "annotations": {"a": "b"}},
    "otel": {"enabled": True},
    "gateway": {"consoleProcesses": 2, "consolePort": 8082},
    "migration": {"distribute": True},
    "worker": {"bankVolumeClaim": "bank", "nodeSelector": {"pool": "a"}, "tolerations": [{"key": "a"}]},
    "networkPolicy": {"ingressFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
    "secret": {"migrationName": "owner"},
}


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(read)
    return read


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Values over values, as helm merges them."""
    found = deepcopy(below)
    for name, value in above.items():
        inner = found.get(name)
        both = isinstance(value, dict) and isinstance(inner, dict)
        found[name] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return found


def test_the_values_fit_their_schema(values: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.validate(values, schema)
    jsonschema.validate(merged(values, EVERYTHING), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"unknown": 1},
        {"settings": {"PSP_API_KEY": "sk_live_1"}},
        {"settings": {"PORT": 8080}},
        {"gateway": {"replicas": "two"}},
        {"gateway": {"terminationGracePeriodSeconds": 5}},
        {"worker": {"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}}},
        {"ingress": {"enabled": True}},
        {"otel": {"ratio": "2"}},
        {"migration": {"distribute": "yes"}},
        {"secret": {"keys": ["psp_api_key"]}},
        {"networkPolicy": {"egressPorts": [0]}},
    ],
    ids=json.dumps,
)
def test_wrong_values_are_rejected(
    wrong: dict[str, Any], values: dict[str, Any], schema: dict[str, Any]
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged(values, wrong), schema)


def test_settings_and_secrets_are_settings_of_the_gateway(
    values: dict[str, Any], schema: dict[str, Any]
) -> None:
    assert {name.lower() for name in values["settings"]} <= set(Settings.model_fields)
    assert {*values["secret"]["keys"], *values["secret"]["migrationKeys"]} <= set(Settings.model_fields)
    kept_out = {name.lower() for name in schema["properties"]["settings"]["propertyNames"]["not"]["enum"]}
    secrets = {
        name
        for name, field in Settings.model_fields.items()
        if "Secret" in str(field.annotation) and name != "psp_publishable_key"
    }
    assert kept_out == secrets
    written = set(
        re.findall(r"name: NETWORKCORE_([A-Z_]+)\n", text_of(*TEMPLATES, CHART / "templates/_helpers.tpl"))
    )
    assert written
    assert {name.lower() for name in written} <= set(Settings.model_fields)


def text_of(*paths: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in paths)


def value_at(values: dict[str, Any], path: str) -> bool:
    """Whether a path of names leads to a value."""
    found: Any = values
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_templates_read_only_values_that_exist_and_close_what_they_open(
    path: Path, values: dict[str, Any]
) -> None:
    text = path.read_text(encoding="utf-8")
    depth = 0
    for action in ACTION.findall(text):
        if action.startswith("/*"):
            continue
        for name in re.findall(r"\.Values\.([A-Za-z0-9_.]+)", action):
            assert value_at(values, name), name
        depth += bool(OPENING.match(action)) - (action == "end")
        assert depth >= 0, action
    assert depth == 0
    assert text.count("{{") == text.count("}}")
    defined = set(re.findall(r'define "([^"]+)"', text_of(*ALL)))
    assert set(re.findall(r'include "([^"]+)"', text)) <= defined


def test_every_value_is_read_by_a_template(values: dict[str, Any]) -> None:
    text = text_of(*ALL)
    unread = [
        f"{part}.{name}"
        for part, inner in values.items()
        if isinstance(inner, dict) and part != "settings"
        for name in inner
        if f".Values.{part}.{name}" not in text and f"$values.{name}" not in text
    ]
    assert unread == []


def as_yaml(text: str) -> str:
    """A template with its actions replaced: enough to see whether the rest is YAML."""
    lines = []
    for number, line in enumerate(text.splitlines()):
        block = re.fullmatch(r"\s*\{\{-? (include \"([^\"]+)\"|toYaml) .*nindent (\d+) \}\}", line)
        if block is not None:
            item = f"- name: x{number}" if block[2] == "networkcore.env" else f"x{number}: y"
            lines.append(" " * int(block[3]) + item)
        elif not re.fullmatch(r"\s*\{\{.*\}\}", line):
            lines.append(ACTION.sub("x", line))
    return "\n".join(lines)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_without_its_actions_is_yaml_with_a_kind_and_a_name(path: Path) -> None:
    documents = [one for one in yaml.safe_load_all(as_yaml(path.read_text(encoding="utf-8"))) if one]
    assert documents
    for one in documents:
        assert {"apiVersion", "kind", "metadata"} <= set(one)
        assert one["metadata"]["name"]


def rendered(above: dict[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(above), encoding="utf-8")
    helm = shutil.which("helm") or "helm"
    for command in (["lint", "--strict"], ["template", "pay"]):
        done = subprocess.run(
            [helm, *command, str(CHART), "--values", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    yield from (one for one in yaml.safe_load_all(done.stdout) if one)


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed: nothing is rendered")
@pytest.mark.parametrize("above", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_what_helm_renders_is_whole_and_runs_without_privileges(
    above: dict[str, Any], tmp_path: Path
) -> None:
    documents = list(rendered(above, tmp_path))
    kinds = [one["kind"] for one in documents]
    expected = KINDS | ({"Ingress": 1} if above else {})
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    for one in documents:
        if one["kind"] not in {"Deployment", "Job"}:
            continue
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= {v["name"] for v in pod["volumes"]}
        assert not [env for env in container["env"] if "KEY" in env["name"] and "FILE" not in env["name"]]
