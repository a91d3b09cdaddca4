"""Agreements as JSON.

Read with a clear error at the exact place, written canonically so that equal terms hash equally.

Owns: the JSON shape of an agreement. Must not know: what its numbers do. Money is integers, prices are
strings.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256

import msgspec

from clearing.errors import InvalidAgreementError
from clearing.parties.agreement import (
    Agreement,
    Deficit,
    LegalModel,
    Role,
    Share,
    Terms,
    Tier,
    UnregisteredSeller,
    VatSource,
)


class _TierJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    from_sessions: int
    basis_points: int


class _ShareJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    role: Role
    basis_points: int = 0
    fixed_minor: int = 0
    per_kwh: str = "0"
    floor_minor: int | None = None
    cap_minor: int | None = None
    tiers: Sequence[_TierJson] = ()


class _TermsJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    legal_model: LegalModel
    currency: str
    shares: Sequence[_ShareJson]
    deficit: Deficit = Deficit.CAP
    psp_cost_charged_to: Role = Role.PLATFORM
    refund_charged_to: Role | None = None
    dispute_charged_to: Role | None = None
    vat_source: VatSource = VatSource.TAX_JURISDICTION
    fx_markup_bps: int = 0
    # Left out where it is the default, so that the hash of terms stored before there was a choice stays the
    # same.
    unregistered_seller: UnregisteredSeller | msgspec.UnsetType = msgspec.UNSET


class _AgreementJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    version: int
    cpo_id: str
    valid_from: datetime
    terms: _TermsJson
    demand_partner_id: str | None = None
    valid_until: datetime | None = None


_agreement_decoder = msgspec.json.Decoder(_AgreementJson)
_terms_decoder = msgspec.json.Decoder(_TermsJson)
_encoder = msgspec.json.Encoder(order="sorted")


def parse_agreement(raw: bytes) -> Agreement:
    """An agreement from JSON. Raises InvalidAgreementError with the JSON path of what to mend."""
    try:
        read = _agreement_decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise _unreadable(error) from error
    return Agreement(
        id=read.id,
        version=read.version,
        cpo_id=read.cpo_id,
        demand_partner_id=read.demand_partner_id,
        valid_from=read.valid_from,
        valid_until=read.valid_until,
        terms=_terms(read.terms),
    )


def parse_terms(raw: bytes) -> Terms:
    """Terms from JSON, as stored. Raises InvalidAgreementError."""
    try:
        return _terms(_terms_decoder.decode(raw))
    except msgspec.DecodeError as error:
        raise _unreadable(error) from error


def encode_terms(terms: Terms) -> bytes:
    """Canonical JSON of terms: sorted keys, nothing that is the same in two ways."""
    shares = [
        _ShareJson(
            role=share.role,
            basis_points=share.basis_points,
            fixed_minor=share.fixed_minor,
            per_kwh=format(share.per_kwh.normalize(), "f"),
            floor_minor=share.floor_minor,
            cap_minor=share.cap_minor,
            tiers=[_TierJson(tier.from_sessions, tier.basis_points) for tier in share.tiers],
        )
        for share in terms.shares
    ]
    return _encoder.encode(
        _TermsJson(
            legal_model=terms.legal_model,
            currency=terms.currency,
            shares=shares,
            deficit=terms.deficit,
            psp_cost_charged_to=terms.psp_cost_charged_to,
            refund_charged_to=terms.refund_charged_to,
            dispute_charged_to=terms.dispute_charged_to,
            vat_source=terms.vat_source,
            fx_markup_bps=terms.fx_markup_bps,
            unregistered_seller=(
                msgspec.UNSET
                if terms.unregistered_seller is UnregisteredSeller.FLAG
                else terms.unregistered_seller
            ),
        )
    )


def terms_sha256(terms: Terms) -> str:
    """The hash that names these terms."""
    return sha256(encode_terms(terms)).hexdigest()


def _terms(read: _TermsJson) -> Terms:
    return Terms(
        legal_model=read.legal_model,
        currency=read.currency,
        shares=tuple(_share(share, place) for place, share in enumerate(read.shares)),
        deficit=read.deficit,
        psp_cost_charged_to=read.psp_cost_charged_to,
        refund_charged_to=read.refund_charged_to,
        dispute_charged_to=read.dispute_charged_to,
        vat_source=read.vat_source,
        unregistered_seller=read.unregistered_seller or UnregisteredSeller.FLAG,
        fx_markup_bps=read.fx_markup_bps,
    )


def _share(read: _ShareJson, place: int) -> Share:
    try:
        per_kwh = Decimal(read.per_kwh)
    except InvalidOperation:
        raise InvalidAgreementError(
            f"$.terms.shares[{place}].per_kwh", f"{read.per_kwh!r} is not a decimal number such as 0.02"
        ) from None
    return Share(
        role=read.role,
        basis_points=read.basis_points,
        fixed_minor=read.fixed_minor,
        per_kwh=per_kwh,
        floor_minor=read.floor_minor,
        cap_minor=read.cap_minor,
        tiers=tuple(
            Tier(from_sessions=tier.from_sessions, basis_points=tier.basis_points) for tier in read.tiers
        ),
    )


def _unreadable(error: msgspec.DecodeError) -> InvalidAgreementError:
    """The text of msgspec ends with the place: "Expected `int`, got `str` - at `$.terms.currency`"."""
    text, _, place = str(error).partition(" - at ")
    return InvalidAgreementError(place.strip("`") or "$", text)
