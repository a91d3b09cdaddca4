"""Client certificates of a party: bound, listed, retired.

Owns: the paths. Must not know TLS. While a party has a certificate in force, a stolen API key of its is worth
nothing without that certificate's key.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, whole
from gateway.api.field_types import fingerprint
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.api.problems import FieldError, ProblemError
from gateway.partners.client_certificate_repository import ClientCertificate
from gateway.partners.errors import UnfitCertificateError
from gateway.schemas import api_schemas

_CREATED: Final = 201
_NO_CONTENT: Final = 204


class ClientCertificateBody(WireModel):
    """A certificate that the party presents on its connections."""

    pem: Annotated[str, Field(min_length=64, max_length=32_768)]


class ClientCertificateSchema(api_schemas.PublicSchema):
    """A certificate bound to a party."""

    object: Literal["client_certificate"] = "client_certificate"
    sha256: str
    party: str
    subject: str
    not_after: api_schemas.Instant
    added: api_schemas.Instant
    retired: api_schemas.Instant | None


async def bind(call: ApiRequest) -> ApiResponse:
    """Bind a certificate: from now on the party's keys need one of its certificates."""
    try:
        bound = await call.services.client_certificates.bind(party_id=call.path["id"], pem=call.body.pem)
    except UnfitCertificateError as error:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"/pem: {error}.",
            errors=[FieldError(pointer="/pem", expected=str(error))],
        ) from None
    return ApiResponse(body=_shown(bound), status=_CREATED)


async def list_all(call: ApiRequest) -> ApiResponse:
    """A party's certificates, oldest first, retired ones too."""
    found = await call.services.client_certificates.list(party_id=own_party(call))
    return ApiResponse(body=whole([_shown(certificate) for certificate in found]))


async def retire(call: ApiRequest) -> ApiResponse:
    """Remove a certificate from the party. After the last one, the party's keys work alone again."""
    await call.services.client_certificates.retire(
        party_id=call.path["id"], sha256=fingerprint(call.path["sha256"])
    )
    return ApiResponse(body=None, status=_NO_CONTENT)


def _shown(certificate: ClientCertificate) -> ClientCertificateSchema:
    return ClientCertificateSchema(
        sha256=certificate.sha256.hex(),
        party=certificate.party_id,
        subject=certificate.subject,
        not_after=certificate.not_after,
        added=certificate.added_at,
        retired=certificate.retired_at,
    )


_PATH: Final = "/v1/parties/{id}/client-certificates"
ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path=_PATH,
        operation="bindClientCertificate",
        summary="Bind a client certificate",
        description=(
            "While a party has a certificate in force, its API keys work only over a connection that uses one"
            " of its certificates."
        ),
        tag="Parties",
        handler=bind,
        body=ClientCertificateBody,
        answers={201: ClientCertificateSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path=_PATH,
        operation="listClientCertificates",
        summary="List client certificates",
        tag="Parties",
        handler=list_all,
        answers={200: ClientCertificateSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="DELETE",
        path=_PATH + "/{sha256}",
        operation="removeClientCertificate",
        summary="Remove a client certificate",
        tag="Parties",
        handler=retire,
        answers={204: None},
        problems=(problems.NOT_FOUND,),
    ),
)
