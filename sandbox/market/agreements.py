"""How a session's revenue is shared: one agreement per operator and demand partner.

Pure data. The operator sells to the platform, which sells to the driver (reseller), except to the mobility
provider's drivers in the Netherlands: to them the operator sells itself (disclosed agent). Shares are basis
points of the net price, and a few minor units per session for the platform.
Must not know how a split is computed.
"""

from typing import Any, Final

from sandbox.market.participants import CPOS, DEMAND_PARTNERS, MOBILITY, Cpo

VALID_FROM: Final = "2026-10-01T00:00:00Z"
_PLATFORM_POINTS: Final = 400
_PARTNER_POINTS: Final = 800
_PLATFORM_FIXED_MINOR: Final = 5
_AGENCY: Final = ("NL-POL", MOBILITY.party_id)


def agreements() -> tuple[dict[str, Any], ...]:
    """The body of each POST /v1/agreements."""
    return tuple(_agreement(cpo, partner.party_id) for cpo in CPOS for partner in DEMAND_PARTNERS)


def _agreement(cpo: Cpo, partner_id: str) -> dict[str, Any]:
    return {
        "id": f"{cpo.party_id}-{partner_id}",
        "version": 1,
        "cpo": cpo.party_id,
        "demand_partner": partner_id,
        "valid_from": VALID_FROM,
        "terms": {
            "legal_model": "disclosed_agent" if (cpo.party_id, partner_id) == _AGENCY else "reseller",
            "currency": cpo.currency,
            "shares": [
                {"role": "platform", "basis_points": _PLATFORM_POINTS, "fixed": _PLATFORM_FIXED_MINOR},
                {"role": "demand_partner", "basis_points": _PARTNER_POINTS},
            ],
            "deficit": "cap",
            "psp_cost_charged_to": "platform",
        },
    }
