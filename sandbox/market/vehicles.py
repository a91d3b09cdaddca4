"""The day's vehicles: contract certificates from a test PKI made for the day, and their status answers.

Owns: issuing (through sandbox/pki/hierarchy.py), the AuthorizeRequest a station sends for a vehicle, and the
responses of the mobility operator's OCSP responder and its CRLs. Must not know how a vehicle is authorized.
Made once per day and kept in a checkpoint, because keys are random: a resumed day shows the same
certificates.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp

from pnc.emaid import iso_check_digit
from sandbox.market.plan import DAY_START
from sandbox.pki.hierarchy import ContractPki, Issued, Suite, build_pki, ocsp_answer, revocation_list

_ISSUED_AT: Final = DAY_START - timedelta(days=1)
_STATUS_LASTS: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vehicle:
    """A vehicle's contract: its eMAID and the PEM chain it presents, leaf first."""

    emaid: str
    chain_pem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleFleet:
    """All vehicles, the root to trust, and status answers: OCSP by serial number, CRLs by issuer."""

    root_pem: str
    vehicles: tuple[Vehicle, ...]
    ocsp_answers: Mapping[str, bytes]
    crls: Mapping[str, bytes]

    def to_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {
            "root_pem": self.root_pem,
            "vehicles": [[vehicle.emaid, vehicle.chain_pem] for vehicle in self.vehicles],
            "ocsp": {serial: base64.b64encode(der).decode() for serial, der in self.ocsp_answers.items()},
            "crls": {name: base64.b64encode(der).decode() for name, der in self.crls.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From the checkpoint."""
        return cls(
            root_pem=stored["root_pem"],
            vehicles=tuple(Vehicle(emaid=emaid, chain_pem=chain) for emaid, chain in stored["vehicles"]),
            ocsp_answers={serial: base64.b64decode(text) for serial, text in stored["ocsp"].items()},
            crls={name: base64.b64decode(text) for name, text in stored["crls"].items()},
        )


def emaid_of(number: int) -> str:
    """The contract identifier of a vehicle: country, provider, instance, check digit (ISO 15118-1)."""
    body = f"NLVOLC{number:08d}"
    return body + iso_check_digit(body)


def build_fleet(*, vehicles: int, revoked: frozenset[int], status_url: str) -> VehicleFleet:
    """Issue a contract certificate per vehicle; `revoked` ones are on the CRL and revoked by OCSP.

    `status_url` is the mobility operator's own server, with /ocsp and /crl/{name}.
    """
    pki = build_pki(
        suite=Suite.P256,
        now=_ISSUED_AT,
        name="Volta MO",
        ocsp_url=f"{status_url}/ocsp",
        crl_url=f"{status_url}/crl/contracts",
    )
    leaves = [pki.issue(emaid_of(number)) for number in range(1, vehicles + 1)]
    return VehicleFleet(
        root_pem=pki.root.pem,
        vehicles=tuple(
            Vehicle(emaid=emaid_of(number), chain_pem=pki.bundle(leaf))
            for number, leaf in enumerate(leaves, start=1)
        ),
        ocsp_answers=_ocsp_answers(pki, leaves, revoked),
        crls=_crls(pki, [leaves[number].certificate.serial_number for number in sorted(revoked)]),
    )


def authorize_request(vehicle: Vehicle) -> dict[str, Any]:
    """The OCPP 2.0.1 AuthorizeRequest of a vehicle with its contract certificate."""
    return {"idToken": {"idToken": vehicle.emaid, "type": "eMAID"}, "certificate": vehicle.chain_pem}


def _ocsp_answers(pki: ContractPki, leaves: list[Issued], revoked: frozenset[int]) -> dict[str, bytes]:
    issued = [(pki.first, pki.root, False), (pki.second, pki.first, False)]
    issued += [(leaf, pki.second, number in revoked) for number, leaf in enumerate(leaves)]
    return {
        str(subject.certificate.serial_number): ocsp_answer(
            subject.certificate,
            issuer=issuer.certificate,
            responder=issuer,
            now=_ISSUED_AT,
            valid_for=_STATUS_LASTS,
            status=ocsp.OCSPCertStatus.REVOKED if is_revoked else ocsp.OCSPCertStatus.GOOD,
        )
        for subject, issuer, is_revoked in issued
    }


def _crls(pki: ContractPki, serials: list[int]) -> dict[str, bytes]:
    listed = {"root": (pki.root, []), "first": (pki.first, []), "contracts": (pki.second, serials)}
    return {
        name: revocation_list(issuer, now=_ISSUED_AT, serials=numbers, valid_for=_STATUS_LASTS)
        for name, (issuer, numbers) in listed.items()
    }


def status_answer(fleet: VehicleFleet, request_der: bytes) -> bytes:
    """The OCSP response; an unknown certificate is 'unauthorized' (RFC 6960 section 2.3)."""
    serial = str(ocsp.load_der_ocsp_request(request_der).serial_number)
    answer = fleet.ocsp_answers.get(serial)
    if answer is not None:
        return answer
    rejected = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    return rejected.public_bytes(serialization.Encoding.DER)
