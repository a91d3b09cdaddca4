"""What the Prometheus rules and Grafana dashboards of deploy read: expressions and the series in them.

Owns: how the files are read. Must not know which metrics there are.
"""

import json

import promql_parser
import yaml

from tests.guides import ROOT, text_of

RULES = ROOT / "deploy/prometheus/rules.yml"
DASHBOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))


def expressions() -> list[tuple[str, str]]:
    """Each expression with the alert or panel that it belongs to."""
    rules = [
        (rule["alert"], rule["expr"])
        for group in yaml.safe_load(text_of(RULES))["groups"]
        for rule in group["rules"]
    ]
    return rules + [
        (f"{path.stem}: {panel['title']}", target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(text_of(path))["panels"]
        for target in panel["targets"]
    ]


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """The series that an expression selects, each with the labels that it selects by."""
    found: list[tuple[str, set[str]]] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((str(node.name), {matcher.name for matcher in node.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found
