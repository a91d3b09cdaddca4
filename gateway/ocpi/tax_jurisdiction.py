"""The tax jurisdiction of a charge point: its country, unless its postal code lies where other rules hold.

Owns: the table of exceptions. Must not know: rates or regimes (clearing/rates/tax_jurisdictions.csv has
those).
Sources: Directive 2006/112/EC art. 6 and 7; Windsor Framework art. 8; MWSTG art. 4; Merverdiavgiftsloven §
1-2; postal codes of the national operators.
"""

import re
from typing import Final

# (country, postal code pattern, tax jurisdiction). The first match wins; spaces are removed, letters upper
# case.
_EXCEPTIONS: Final = tuple(
    (country, re.compile(pattern), tax_jurisdiction)
    for country, pattern, tax_jurisdiction in (
        ("AT", r"6691|699[1-3]", "AT-JU"),  # Jungholz and Mittelberg, with the German rate
        ("CH", r"7562|7563", "CH-SAMNAUN"),  # MWSTG art. 4: outside for goods, and electricity is one
        ("CH", r"94(8[5-9]|9[0-8])", "LI"),
        ("DE", r"78266", "DE-BUSINGEN"),
        ("DE", r"27498", "DE-HELGOLAND"),
        ("ES", r"3[58]\d{3}", "ES-CN"),
        ("ES", r"51\d{3}", "ES-CE"),
        ("ES", r"52\d{3}", "ES-ML"),
        ("FI", r"22\d{3}", "FI-AX"),
        ("FR", r"97[12345678]\d{2}|98[678]\d{2}", "FR-OUTRE-MER"),  # overseas: outside Union VAT, own rules
        ("FR", r"980\d{2}", "MC"),
        ("GB", r"BT\d.*", "XI"),
        ("GB", r"IM\d.*", "IM"),
        ("GB", r"JE\d.*", "JE"),
        ("GB", r"GY\d.*", "GG"),
        ("GR", r"6308[67]", "GR-69"),  # Mount Athos
        ("GR", r"8[1-3]\d{3}|85[2-9]\d{2}|68002", "GR-AEGEAN"),  # islands with lower rates of their own
        ("IT", r"23041", "IT-LIVIGNO"),
        ("IT", r"22061", "IT-CAMPIONE"),
        ("NO", r"917[0-9]|8099", "SJ"),  # Svalbard and Jan Mayen
        ("PT", r"9[0-4]\d{2}(-?\d{3})?", "PT-30"),  # Madeira
        ("PT", r"9[5-9]\d{2}(-?\d{3})?", "PT-20"),  # the Azores
    )
)
_NO_SPACE: Final = re.compile(r"\s+")
_COUNTRY_PREFIX: Final = re.compile(r"^[A-Z]{1,2}-(?=\d)")
# Countries of ISO 3166 that are tax jurisdictions of another's special kind.
_COUNTRY_IS: Final = {
    "AX": "FI-AX",
    "GF": "FR-OUTRE-MER",
    "GP": "FR-OUTRE-MER",
    "MQ": "FR-OUTRE-MER",
    "RE": "FR-OUTRE-MER",
    "YT": "FR-OUTRE-MER",
}


def tax_jurisdiction_of(country: str, postal_code: str) -> str:
    """The tax jurisdiction of a place.

    Args:
        country: ISO 3166-1 alpha-2, upper case.
        postal_code: as the CPO wrote it, possibly empty, with spaces, in lower case or with a `D-` before it.

    Returns:
        A code of clearing's tax jurisdictions, or of a place it has no rates for: then the
        session becomes an exception rather than guess a rate.
    """
    code = _COUNTRY_PREFIX.sub("", _NO_SPACE.sub("", postal_code).upper())
    for of_country, pattern, tax_jurisdiction in _EXCEPTIONS:
        if of_country == country and pattern.fullmatch(code):
            return tax_jurisdiction
    return _COUNTRY_IS.get(country, country)
