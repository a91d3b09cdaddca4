"""The tokens module as sender: the list of drivers' tokens, and real-time authorization.

Owns: the wire shapes of tokens and verdicts in each version. Must not know: how a payment is secured.
Source: OCPI mod_tokens, Sender Interface: an unknown token is HTTP 404 and 2004, a question without a
location is 2002; 2.1.1 has auth_id in place of contract_id and no authorization reference.
"""

from typing import Any, Final

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse, timestamp
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.pagination import answer_page, read_page
from gateway.ocpi.real_time_authorization import (
    AllowedType,
    TokenAuthorizationRequest,
    TokenAuthorizationResult,
)
from gateway.ocpi.repository import tokens as stored_tokens
from gateway.ocpi.repository.tokens import TokenRecord
from gateway.ocpi.request_bodies import Tree, identifier, shown
from gateway.ocpi.token_types import stored_types, stored_uid, type_on_wire
from gateway.ocpi.versions import module_url

_MAX_EVSES: Final = 50
_MAX_TYPE: Final = 20


async def list_tokens(call: OcpiRequest) -> OcpiResponse:
    """GET: tokens by last_updated, page by page."""
    page = read_page(call)
    async with call.services.pool.acquire() as connection:
        tokens, total = await stored_tokens.list_tokens(
            connection, date_from=page.date_from, date_to=page.date_to, offset=page.offset, limit=page.limit
        )
    url = module_url(call.services, version=call.version, module="tokens")
    objects = [token_object(token, version=call.version) for token in tokens]
    return answer_page(call, page, objects=objects, total=total, url=url)


async def authorize(call: OcpiRequest) -> OcpiResponse:
    """POST {uid}/authorize.

    May this token charge here? An answer ALLOWED means that the payment is secured.
    """
    token_type = call.request.query.get("type", "RFID").upper()[:_MAX_TYPE]
    token = await _find(call, token_type)
    authorizer = call.services.authorizer
    if token is None or authorizer is None:
        raise OcpiRejectionError(
            f"no token of type {shown(token_type)} with this uid",
            code=StatusCode.UNKNOWN_TOKEN,
            http_status=404,
        )
    place = call.body("location references").tree if call.raw.strip() else {}
    if not token.valid:
        return _answer(
            call, token, place, TokenAuthorizationResult(allowed=AllowedType.BLOCKED), evse_uid=None
        )
    evse_uids = _evse_uids(place)
    if place.get("location_id") is None:
        raise OcpiRejectionError(
            "location_id: missing; the payment is secured per location: name the driver's location",
            code=StatusCode.NOT_ENOUGH_INFORMATION,
        )
    result = await authorizer.authorize(
        TokenAuthorizationRequest(
            cpo_id=call.peer.parties[0] if len(call.peer.parties) == 1 else _requesting_party(call),
            token=token,
            location_id=identifier(place, "location_id", limit=39),
            evse_uids=evse_uids,
            requested_at=call.services.clock.now(),
        )
    )
    return _answer(call, token, place, result, evse_uid=result.evse_uid)


async def _find(call: OcpiRequest, token_type: str) -> TokenRecord | None:
    """The token that the request asks about, by the first of the types that its version may mean."""
    uid = call.segment("token_uid")
    async with call.services.pool.acquire() as connection:
        for stored in stored_types(token_type, version=call.version):
            key = stored_uid(uid, stored_type=stored)
            found = await stored_tokens.load_token(connection, uid=key, token_type=stored)
            if found is not None:
                return found
    return None


def _requesting_party(call: OcpiRequest) -> str:
    """The party of the platform that sent the request, by its routing headers."""
    headers = call.request.headers
    country, party = headers.get("OCPI-from-country-code", ""), headers.get("OCPI-from-party-id", "")
    if not country or not party:
        raise OcpiRejectionError(
            "a connection of several parties needs the OCPI-from headers here",
            code=StatusCode.NOT_ENOUGH_INFORMATION,
        )
    return call.own_party(country, party)


def _evse_uids(place: Tree) -> tuple[str, ...]:
    listed = place.get("evse_uids") or []
    if (
        not isinstance(listed, list)
        or len(listed) > _MAX_EVSES
        or not all(isinstance(uid, str) for uid in listed)
    ):
        raise OcpiRejectionError(
            f"$.evse_uids: expected a list of at most {_MAX_EVSES} EVSE uids, got {shown(listed)}"
        )
    return tuple(listed)


def _answer(
    call: OcpiRequest,
    token: TokenRecord,
    place: Tree,
    verdict: TokenAuthorizationResult,
    *,
    evse_uid: str | None,
) -> OcpiResponse:
    info: dict[str, Any] = {"allowed": verdict.allowed.value}
    if verdict.allowed is AllowedType.ALLOWED and place.get("location_id"):
        info["location"] = {
            "location_id": place["location_id"],
            **({"evse_uids": [evse_uid]} if evse_uid else {}),
        }
    if verdict.info is not None:
        info["info"] = {"language": token.language or "en", "text": verdict.info}
    if call.version is not OcpiVersion.V2_1_1:
        info["token"] = token_object(token, version=call.version)
        if verdict.authorization_reference is not None:
            info["authorization_reference"] = verdict.authorization_reference
    return OcpiResponse(data=info)


def token_object(token: TokenRecord, *, version: OcpiVersion) -> dict[str, Any]:
    """A token as the version writes it; optional fields that are unset stay out."""
    shown_as: dict[str, Any] = {
        "uid": token.uid,
        "type": type_on_wire(token.type, version=version),
        "visual_number": token.visual_number,
        "issuer": token.issuer,
        "valid": token.valid,
        "whitelist": token.whitelist,
        "language": token.language,
        "last_updated": timestamp(token.last_updated),
    }
    if version is OcpiVersion.V2_1_1:
        shown_as |= {"auth_id": token.contract_id}
    else:
        shown_as |= {
            "country_code": token.country_code,
            "party_id": token.party_code,
            "contract_id": token.contract_id,
            "group_id": token.group_id,
        }
    return {name: value for name, value in shown_as.items() if value is not None}
