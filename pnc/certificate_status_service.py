"""Certificate status on behalf of a station: OCPP's GetCertificateStatus.

Owns which responder may be asked and what is handed back. Must not know HTTP or OCPP's wording. The response
goes to the station, which holds the certificates and verifies it: here only the address, the size and the
certificate that it speaks about are checked.
Source: OCPP 2.1 part 2, use case M06; RFC 6960 section 4.1.
"""

from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from pnc.errors import MalformedCertificateError
from pnc.hash_data import HashAlgorithm, HashEntry
from pnc.ocsp_response import ResponderOutcome, parse_ocsp_response
from pnc.ports import FetchError, RevocationFetcher
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.revocation_endpoints import RevocationEndpoints, origin_of

_HASHES: Final = {
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


async def fetch_certificate_status(
    fetcher: RevocationFetcher, entry: HashEntry, *, endpoints: RevocationEndpoints
) -> bytes | ContractRejection:
    """Ask the responder that the station names about a certificate.

    Returns its OCSP response in DER, or the rejection: the responder is not on the allow-list, does not
    answer, or answers about another certificate.
    """
    origin = origin_of(entry.responder_url)
    if origin is None or not endpoints.lists(kind="ocsp", origin=origin):
        return _rejected(RejectionReason.REVOCATION_UNREACHABLE, "the responder is not on the allow-list")
    name = entry.certificate
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name.issuer_name_hash, name.issuer_key_hash, name.serial, _HASHES[name.algorithm]
    )
    request = builder.build().public_bytes(serialization.Encoding.DER)
    try:
        response = await fetcher.fetch_ocsp(entry.responder_url, request)
        parsed = parse_ocsp_response(response)
    except FetchError:
        return _rejected(RejectionReason.REVOCATION_UNREACHABLE, f"the responder at {origin} does not answer")
    except MalformedCertificateError as problem:
        return _rejected(RejectionReason.REVOCATION_UNVERIFIED, f"an OCSP response can't be read: {problem}")
    if parsed.outcome is not ResponderOutcome.SUCCESSFUL:
        detail = f"the OCSP responder answered {parsed.outcome.value}"
        return _rejected(RejectionReason.REVOCATION_UNREACHABLE, detail)
    if all(single.serial != name.serial for single in parsed.singles):
        return _rejected(
            RejectionReason.REVOCATION_UNVERIFIED, "an OCSP response is about another certificate"
        )
    return response


def _rejected(rejection_reason: RejectionReason, detail: str) -> ContractRejection:
    return ContractRejection(rejection_reason=rejection_reason, detail=detail)
