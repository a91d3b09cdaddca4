"""What a tariff lint finds: the codes and the value that carries one.

Owns: the codes, which are stable. Must not know: how a finding is made.
"""

from enum import StrEnum
from typing import Any

import msgspec

from clearing.pricing.notes import NoteSeverity


class LintCode(StrEnum):
    """Stable codes: T1 reach, T2 gaps and overlaps, T3 prices, T4 tax, T5 AFIR, T6 wire form."""

    NEVER_REACHED = "T101"
    NEVER_TRUE = "T102"
    NOT_EVALUATED = "T103"
    NOT_RESERVABLE = "T104"
    RESTRICTS_NOTHING = "T105"
    FREE_GAP = "T201"
    DATES_OVERLAP = "T202"
    TOO_MANY_CELLS = "T203"
    NEGATIVE_PRICE = "T301"
    ABSURD_PRICE = "T302"
    LARGE_STEP = "T303"
    LIMITS_CROSS = "T304"
    PRICES_NOTHING = "T305"
    VALIDITY_REVERSED = "T306"
    STEP_WITHOUT_EFFECT = "T307"
    NOT_BY_USE = "T308"
    STEP_ZERO = "T309"
    TAX_UNSTATED = "T401"
    TAX_MIXED = "T402"
    VAT_IMPLAUSIBLE = "T403"
    TAX_NOT_SEPARABLE = "T404"
    AFIR_NO_ENERGY = "T501"
    AFIR_NOT_KWH_BASED = "T502"
    AFIR_STEP = "T503"
    WIRE = "T601"


class LintFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding: where (JSON path) and what."""

    code: LintCode
    severity: NoteSeverity
    path: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-able values."""
        return {"code": self.code.value, "severity": self.severity, "path": self.path, "text": self.text}


def warn(code: LintCode, path: str, text: str, severity: NoteSeverity = NoteSeverity.WARNING) -> LintFinding:
    """Return a finding."""
    return LintFinding(code=code, severity=severity, path=path, text=text)
