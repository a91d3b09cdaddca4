"""The Prometheus rules and Grafana dashboards of deploy: they parse, say what to do, name what exists."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.guides import ROOT, anchors, text_of
from tests.watched_metrics import DASHBOARDS, RULES, expressions, selectors

PROMTOOL = shutil.which("promtool")
DURATION = re.compile(r"[1-9][0-9]*[smhd]")
# Labels that Prometheus adds to what it scrapes.
TARGET_LABELS = {"job", "instance"}


def alerts() -> list[dict[str, Any]]:
    found = yaml.safe_load(text_of(RULES))
    return [rule for group in found["groups"] for rule in group["rules"]]


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text_of(path))["panels"]
    return found


def labels_in_the_code() -> dict[str, set[str]]:
    """Each metric that the code names, with its labels."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "gateway/api").glob("*metrics.py")):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"networkcore_[a-z_]+[a-z]", str(node.value)):
                found.setdefault(str(node.value), set())
        for call in (node for node in ast.walk(ast.parse(text_of(path))) if isinstance(node, ast.Call)):
            match call.args:
                case [ast.Constant(value=str(name)), _, ast.Tuple(elts=names), *_]:
                    found[name] = set(map(ast.literal_eval, names))
                case [_, ast.Constant(value=str(name)), _, ast.List(elts=names), _]:
                    found[f"networkcore_{name}"] = set(map(ast.literal_eval, names))
                case [ast.Name(id="registry"), ast.Constant(value=str(name)), _, _]:
                    found[f"networkcore_{name}"] = set()
                case _:
                    pass
    return found


def metric_of(name: str) -> str:
    """The metric of a series: a counter's and a histogram's series have an ending of their own."""
    return re.sub(r"_(total|bucket|sum|count)$", "", name)


def test_an_alert_says_how_urgent_it_is_what_it_means_and_where_to_read_on() -> None:
    assert len(alerts()) > 20
    for rule in alerts():
        name = rule["alert"]
        assert re.fullmatch(r"([A-Z][a-z]+)+", name), name
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert DURATION.fullmatch(rule["for"]), name
        for text in ("summary", "description"):
            assert rule["annotations"][text].strip(), f"{name}: {text}"
        assert "\n" not in rule["annotations"]["summary"], name
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))


def test_a_page_wakes_somebody_and_a_ticket_does_not() -> None:
    groups = {group["name"]: group["rules"] for group in yaml.safe_load(text_of(RULES))["groups"]}
    assert {rule["labels"]["severity"] for rule in groups["networkcore-pages"]} == {"page"}
    assert {rule["labels"]["severity"] for rule in groups["networkcore-alerts"]} == {"ticket"}


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_the_runbook_of_an_alert_is_a_heading_of_the_operators_book(rule: dict[str, Any]) -> None:
    page, _, heading = rule["annotations"]["runbook"].partition("#")
    assert page.startswith("docs/operations/")
    assert heading in anchors(ROOT / page)


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=lambda value: value[:60])
def test_every_expression_is_promql_over_metrics_of_ours_by_labels_of_theirs(
    where: str, expression: str
) -> None:
    promql_parser.parse(expression)
    known = labels_in_the_code()
    for name, labels in selectors(expression):
        if name == "up":
            continue
        assert metric_of(name) in known, f"{where}: {name}"
        allowed = known[metric_of(name)] | TARGET_LABELS | ({"le"} if name.endswith("_bucket") else set())
        assert labels <= allowed, f"{where}: {name}{labels}"
    grouped = {label for text in re.findall(r"\bby \(([^)]+)\)", expression) for label in text.split(", ")}
    everywhere = set.union(*(known.get(metric_of(name), set()) for name, _ in selectors(expression)))
    assert grouped <= everywhere | {"le"}, where


def test_no_expression_adds_up_what_every_gateway_shows() -> None:
    """A figure of the database is the same on each gateway; only rates of this process's counters add up."""
    for where, expression in expressions():
        for inner in re.findall(r"sum(?: by \([^)]*\))? \((.*)", expression) + re.findall(
            r"sum\((.*)", expression
        ):
            assert inner.startswith(
                ("rate(networkcore_http", "rate(networkcore_request_log_lost", "max by (")
            ), f"{where}: {expression}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_panel_has_a_title_a_unit_a_description_and_the_data_source_that_the_reader_chooses(
    path: Path,
) -> None:
    board = json.loads(text_of(path))
    (variable,) = board["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    assert board["uid"]
    assert board["title"].startswith("networkcore: ")
    for panel in panels(path):
        title = panel["title"]
        assert title
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"] == source, title
        assert panel["targets"], title
        assert all(target["datasource"] == source for target in panel["targets"]), title
    ids = [panel["id"] for panel in panels(path)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_no_panel_covers_another(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        at = panel["gridPos"]
        cells = set(squares(at))
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def squares(at: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(at["x"], at["x"] + at["w"]):
        for y in range(at["y"], at["y"] + at["h"]):
            yield x, y


def test_every_metric_of_ours_is_in_a_rule_or_on_a_dashboard() -> None:
    shown = {metric_of(name) for _, expression in expressions() for name, _ in selectors(expression)}
    assert set(labels_in_the_code()) - shown == set()


def test_the_configuration_loads_the_rules_and_names_the_job_that_they_name() -> None:
    settings = yaml.safe_load(text_of(RULES.with_name("prometheus.yml")))
    assert settings["rule_files"] == [RULES.name]
    assert [one["job_name"] for one in settings["scrape_configs"]] == ["networkcore"]
    for _, expression in expressions():
        assert set(re.findall(r'job="([^"]+)"', expression)) <= {"networkcore"}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_accepts_the_rules() -> None:
    checked = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
