"""VAT ids: one written form, right check digits, and EL for Greece."""

import pytest

from clearing.errors import InvalidVatIdError
from clearing.tax.vat_id import normalize


@pytest.mark.parametrize(
    ("tax_jurisdiction", "text", "written"),
    [
        ("NL", "NL 0044.95.445.B01", "NL004495445B01"),
        ("NL", "004495445B01", "NL004495445B01"),
        ("DE", "de136695976", "DE136695976"),
        ("GR", "EL 094259216", "EL094259216"),
        ("GR", "GR 094259216", "EL094259216"),
        ("FR", "FR 40 303 265 045", "FR40303265045"),
        ("MC", "FR 40 303 265 045", "FR40303265045"),
        ("CH", "CHE-107.787.577 MWST", "CHE107787577MWST"),
        ("NO", "NO 995 525 828 MVA", "NO995525828MVA"),
        ("GB", "GB 980 7806 84", "GB980780684"),
    ],
)
def test_an_id_has_one_written_form(tax_jurisdiction: str, text: str, written: str) -> None:
    assert normalize(text, tax_jurisdiction=tax_jurisdiction) == written
    assert normalize(written, tax_jurisdiction=tax_jurisdiction) == written


@pytest.mark.parametrize(
    ("tax_jurisdiction", "text"),
    [
        ("DE", "DE136695977"),  # check digit
        ("NL", "NL12"),
        ("CH", "CHE-107.787.578 MWST"),
        ("GB", "GB 802311781"),
        ("DE", "NL004495445B01"),  # of another country
        ("FR", ""),
    ],
)
def test_a_wrong_id_is_rejected_with_its_tax_jurisdiction(tax_jurisdiction: str, text: str) -> None:
    with pytest.raises(InvalidVatIdError, match=tax_jurisdiction):
        normalize(text, tax_jurisdiction=tax_jurisdiction)
