"""Nothing is left that no package uses: what only a test calls is a missing capability, or to be deleted.

A count by name: a definition is used where its name is read anywhere in the packages outside its own body.
It misses dead code that shares a name with live code, and never accuses what is used.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "clearing", "pnc", "sandbox")
# What is called by name from outside Python, or by a framework: each with its caller.
CALLED_FROM_OUTSIDE: dict[str, str] = {
    "ids_from": "the simulator of payments (`make simulate`), whose seeds repeat their ids",
    "pop_webhooks": "a simulator that drives the sandbox PSP in its own process (docs/guides/sandbox-psp.md)",
    "requeue": "likewise",
}
# These decorators hand the function to whoever calls it.
HANDED_OVER_BY = {
    "command",
    "group",
    "override",
    "field_validator",
    "model_validator",
    "model_serializer",
    "field_serializer",
    "middleware",
    "property_schema",
    "overload",
}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def trees() -> list[tuple[str, ast.Module]]:
    return [
        (str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8")))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


def names_read(tree: ast.AST) -> Iterator[str]:
    """Every name that is read: variables, attributes, and text that is a name, as getattr takes it."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=found, ctx=ast.Load()) | ast.Attribute(attr=found, ctx=ast.Load()):
                yield found
            case ast.Constant(value=str(found)) if found.isidentifier():
                yield found
            case _:
                pass


def definitions(tree: ast.Module) -> Iterator[Definition]:
    """Functions and classes of a module and methods of its classes; not what is nested in a function."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Definition):
            yield node
        if isinstance(node, ast.ClassDef | ast.If | ast.Try):
            waiting += node.body


def is_handed_over(node: Definition) -> bool:
    called = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    names = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in called}
    return bool(names & HANDED_OVER_BY)


def test_every_function_method_and_class_is_used_by_a_package() -> None:
    reads = Counter(name for _, tree in trees() for name in names_read(tree))
    dead = []
    for file, tree in trees():
        for node in definitions(tree):
            if node.name.startswith("__") or is_handed_over(node) or node.name in CALLED_FROM_OUTSIDE:
                continue
            within = sum(name == node.name for name in names_read(node))
            if reads[node.name] - within <= 0:
                dead.append(f"{file}:{node.lineno} {node.name}")
    assert not dead, "\n".join(dead)
