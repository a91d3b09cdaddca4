"""The operator of this system as a party, as it is registered at the first start.

Owns: these first values. Must not know when they are registered; the admin API changes them.
"""

from clearing.parties.party import PLATFORM_ID, Party, PartyKind


def platform_party() -> Party:
    """This system's operator, established in Switzerland unless the admin API changes it."""
    return Party(
        id=PLATFORM_ID,
        kind=PartyKind.PLATFORM,
        name="Platform",
        country="CH",
        tax_jurisdiction="CH",
        taxable_dealer=True,
        settlement_currency="CHF",
        time_zone="Europe/Zurich",
    )
