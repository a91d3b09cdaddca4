"""Greek and Cyrillic letters in basic Latin ones, letter by letter.

Owns: the two tables. Must not know: messages, which scheme permits which character. Sources: EPC217-08,
conversion table (Greek; the Bulgarian alphabet). The EPC's table has no row for the letters of Serbian,
Macedonian, Montenegrin, Moldovan, Ukrainian and Russian names, whose countries joined SEPA later or whose
citizens have accounts in it: those rows follow the romanization that each country prints in passports,
without accents.
"""

from types import MappingProxyType
from typing import Final

# EPC217-08. A letter with an accent has the row of the letter without it.
_GREEK: Final = {
    **dict(zip("ΑΒΓΔΕΖΗΙΚΛΜΝΞΟΠΡΣΤΥΦΩ", "AVGDEZIIKLMNXOPRSTYFO", strict=True)),
    **dict(zip("αβγδεζηικλμνξοπρσςτυφω", "avgdeziiklmnxoprsstyfo", strict=True)),
    **dict(zip("ΆΈΉΊΌΎΏΪΫ", "AEIIOYOIY", strict=True)),
    **dict(zip("άέήίόύώϊϋΐΰ", "aeiioyoiyiy", strict=True)),
    "Θ": "TH",
    "\u03a7": "CH",
    "Ψ": "PS",
    "θ": "th",
    "χ": "ch",
    "ψ": "ps",
}
# EPC217-08.
_BULGARIAN: Final = {
    **dict(zip("АБВГДЕЗИЙКЛМНОПРСТУФХЪЬ", "ABVGDEZIYKLMNOPRSTUFHAY", strict=True)),
    **dict(zip("абвгдезийклмнопрстуфхъь", "abvgdeziyklmnoprstufhay", strict=True)),
    "Ж": "ZH",
    "Ц": "TS",
    "Ч": "CH",
    "Ш": "SH",
    "Щ": "SHT",
    "Ю": "YU",
    "Я": "YA",
    "ж": "zh",
    "ц": "ts",
    "ч": "ch",
    "ш": "sh",
    "щ": "sht",
    "ю": "yu",
    "я": "ya",
}
# Not in the EPC's table, which would give a full stop for each.
_OTHER_CYRILLIC: Final = {
    **dict(zip("ЋЂЈЃЌЀЍЁЫЭІЇЄҐЎ", "CDJGKEIEYEIIEGU", strict=True)),
    **dict(zip("ћђјѓќѐѝёыэіїєґў", "cdjgkeieyeiiegu", strict=True)),
    "Љ": "LJ",
    "Њ": "NJ",
    "Џ": "DZ",
    "\u0405": "DZ",
    "љ": "lj",
    "њ": "nj",
    "џ": "dz",
    "\u0455": "dz",
}
LETTERS: Final = MappingProxyType({**_GREEK, **_BULGARIAN, **_OTHER_CYRILLIC})
