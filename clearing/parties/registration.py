"""Registering a party: its VAT ids in their one written form, or rejected.

Owns: which state's form each id must have. Must not know: whether a register knows it; that is evidence.
"""

from dataclasses import replace

from clearing.errors import InvalidPartyError, InvalidVatIdError
from clearing.parties.party import Party
from clearing.tax.vat_id import authority, normalize
from clearing.tax.vat_rates import VatRates


def normalized(party: Party, rates: VatRates) -> Party:
    """The party with every VAT id as it is written where it was given.

    Raises InvalidPartyError with the field where an id has a wrong form or check digit, UnclearableError for
    a tax jurisdiction that is not known.
    """
    if party.vat_evidence and party.vat_id is None and not party.vat_registrations:
        raise InvalidPartyError(party.id, "vat_id: there is evidence of a VAT id, but no VAT id")
    established_in = authority(rates.tax_jurisdiction(party.tax_jurisdiction))
    written: dict[str, str] = {}
    if party.vat_id is not None:
        written[party.vat_id] = _written(party, "vat_id", party.vat_id, established_in)
    registrations = []
    for place, one in enumerate(party.vat_registrations):
        of = authority(rates.tax_jurisdiction(one.tax_jurisdiction))
        vat_id = _written(party, f"vat_registrations[{place}].vat_id", one.vat_id, of)
        written[one.vat_id] = vat_id
        registrations.append(replace(one, vat_id=vat_id))
    evidence = []
    for place, found in enumerate(party.vat_evidence):
        known = written.get(found.vat_id)
        if known is None:  # of an earlier id of its place of establishment
            known = _written(party, f"vat_evidence[{place}].vat_id", found.vat_id, established_in)
        evidence.append(replace(found, vat_id=known))
    return replace(
        party,
        vat_id=None if party.vat_id is None else written[party.vat_id],
        vat_registrations=tuple(registrations),
        vat_evidence=tuple(evidence),
    )


def _written(party: Party, path: str, text: str, of: str) -> str:
    try:
        return normalize(text, tax_jurisdiction=of)
    except InvalidVatIdError as error:
        raise InvalidPartyError(party.id, f"{path}: {error}") from error
