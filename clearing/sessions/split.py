"""The split: one session's net into exact parts by the agreed shares, rounded once.

Owns: percentages, fixed and per-kWh parts, tiers, floors, caps, order of deduction, deficits, largest
remainder.
Must not know: VAT, exchange, who plays a role, where parts are posted.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from clearing.errors import UnclearableError
from clearing.money import EXACT, allocate, distribute, exponent
from clearing.parties.agreement import BASIS_POINTS, Deficit, Role, Share, Terms

_ZERO: Final = Decimal(0)


def split(
    net_minor: int,
    *,
    energy_kwh: Decimal,
    terms: Terms,
    currency: str,
    present: Collection[Role],
    sessions_before: int = 0,
) -> dict[Role, int]:
    """Minor units of `net_minor` for each present role with a share, and for the CPO what remains.

    Shares of roles that no party plays in this session go to the CPO. Parts sum to the net exactly: exact
    values are floored and the missing units go to the largest remainders, ties to the role that comes
    earlier (the CPO first). A negative net mirrors the positive one. `sessions_before` are those of the month
    under this agreement.
    Raises UnclearableError when fixed amounts are agreed in another currency than `currency`.
    """
    if net_minor < 0:
        mirrored = split(
            -net_minor,
            energy_kwh=energy_kwh,
            terms=terms,
            currency=currency,
            present=present,
            sessions_before=sessions_before,
        )
        return {role: -minor for role, minor in mirrored.items()}
    shares = [share for share in terms.shares if share.role in present]
    if currency != terms.currency and any(_has_amounts(share) for share in shares):
        raise UnclearableError(
            "agreement_currency",
            f"the agreement's fixed amounts are in {terms.currency}, the session is in {currency}; "
            f"agree on {currency} amounts",
        )
    whole = _percentages(shares)
    if whole is not None:
        return whole.of(net_minor)
    exact = _deduct(
        net_minor,
        shares,
        energy_kwh=energy_kwh,
        terms=terms,
        currency=currency,
        sessions_before=sessions_before,
    )
    parts = distribute(net_minor, [value for _, value in exact])
    return {role: part for (role, _), part in zip(exact, parts, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentages:
    """A split that integers alone can do, the CPO first with what the shares leave."""

    roles: tuple[Role, ...]
    weights: tuple[int, ...]

    def of(self, net_minor: int) -> dict[Role, int]:
        """Minor units of `net_minor` (0 or more) for each role; they sum to it exactly.

        Raises InvalidAmountError when the shares are more than the whole.
        """
        return dict(zip(self.roles, allocate(net_minor, self.weights), strict=True))


def percentages(terms: Terms, *, present: Collection[Role]) -> Percentages | None:
    """The split of `terms` among those present, where percentages are all that was agreed; else None."""
    return _percentages([share for share in terms.shares if share.role in present])


def _percentages(shares: Sequence[Share]) -> Percentages | None:
    if not all(_is_percentage(share) for share in shares):
        return None
    weights = [share.basis_points for share in shares]
    return Percentages(
        roles=(Role.CPO, *(share.role for share in shares)), weights=(BASIS_POINTS - sum(weights), *weights)
    )


def _is_percentage(share: Share) -> bool:
    """Whether integers alone can split it: by far the most agreements."""
    return not (share.tiers or share.cap_minor is not None or _has_amounts(share))


def _has_amounts(share: Share) -> bool:
    return bool(share.fixed_minor or share.per_kwh or share.floor_minor or share.cap_minor is not None)


def _deduct(
    net_minor: int,
    shares: Sequence[Share],
    *,
    energy_kwh: Decimal,
    terms: Terms,
    currency: str,
    sessions_before: int,
) -> list[tuple[Role, Decimal]]:
    """Exact parts in their order, the CPO first with the rest.

    Fees above the net are cut or carried as agreed.
    """
    left = Decimal(net_minor)
    parts: list[tuple[Role, Decimal]] = []
    for share in shares:
        wanted = _wanted(
            share, net_minor, energy_kwh=energy_kwh, currency=currency, sessions_before=sessions_before
        )
        if terms.deficit is Deficit.CAP:
            wanted = min(wanted, left)
        parts.append((share.role, wanted))
        left = EXACT.subtract(left, wanted)
    return [(Role.CPO, left), *parts]


def _wanted(
    share: Share, net_minor: int, *, energy_kwh: Decimal, currency: str, sessions_before: int
) -> Decimal:
    points = share.basis_points
    for tier in share.tiers:
        if sessions_before + 1 >= tier.from_sessions:
            points = tier.basis_points
    value = Decimal(net_minor * points).scaleb(-4, context=EXACT) if points else _ZERO
    if share.fixed_minor:
        value += share.fixed_minor
    if share.per_kwh:
        per_kwh_minor = share.per_kwh.scaleb(exponent(currency), context=EXACT)
        value = EXACT.add(value, EXACT.multiply(per_kwh_minor, energy_kwh))
    if share.floor_minor is not None:
        value = max(value, Decimal(share.floor_minor))
    if share.cap_minor is not None:
        value = min(value, Decimal(share.cap_minor))
    return value
