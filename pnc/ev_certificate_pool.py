"""A contract certificate pool: where vehicles' contract certificates wait to be installed.

Owns the port, and what its answer means for a station's Get15118EVCertificate. Must not know HTTP, or what is
inside a vehicle's request: it is signed by the vehicle and answered by the pool, and passes through unread.
Source: OCPP 2.1 part 2, use cases M01 and M02; Hubject Open Plug & Charge Protocol 1.0.0, CCP interface.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from pnc.messages import EvCertificateRequest, OcppVersion, ev_certificate_response


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedContractData:
    """The pool's CertificateInstallationRes for the vehicle, in base64 of EXI."""

    exi_response: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractNotFound:
    """The pool has no contract for the vehicle; its answer for the vehicle may say so in EXI, or be empty."""

    exi_response: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractPoolFailure:
    """The pool gave no answer for the vehicle: `reason` in at most 20 characters, `detail` in a sentence."""

    reason: str
    detail: str


ContractPoolAnswer = SignedContractData | ContractNotFound | ContractPoolFailure
NO_POOL = ContractPoolFailure(
    reason="NoContractPool",
    detail="no contract certificate pool is configured here: set NETWORKCORE_CONTRACT_POOL_URL",
)


class ContractPool(Protocol):
    """One contract certificate pool."""

    async def get_signed_contract_data(self, request: EvCertificateRequest) -> ContractPoolAnswer:
        """Ask for the contract data of the vehicle that made a request. A failure is an answer too."""
        ...


async def answer_ev_certificate(
    pool: ContractPool | None, version: OcppVersion, request: EvCertificateRequest
) -> Mapping[str, Any]:
    """Return the Get15118EVCertificateResponse to a station's request."""
    answer = NO_POOL if pool is None else await pool.get_signed_contract_data(request)
    match answer:
        case SignedContractData(exi_response=found):
            return ev_certificate_response(version, exi_response=found, accepted=True)
        case ContractNotFound(exi_response=found):
            return ev_certificate_response(
                version,
                exi_response=found,
                accepted=False,
                reason="NoContract",
                detail="the contract certificate pool has no contract for this vehicle",
            )
        case ContractPoolFailure(reason=reason, detail=detail):
            return ev_certificate_response(
                version, exi_response="", accepted=False, reason=reason, detail=detail
            )
        case _:
            assert_never(answer)
