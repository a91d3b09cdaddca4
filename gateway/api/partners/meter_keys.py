"""Keys of a CPO's meters, and what its CDRs must carry: registered, decided on, ended.

Owns: the paths and the shapes. Must not know how a signature is verified. A key is registered by the CPO or
by the platform; another key for a known meter waits for a second person.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.errors import InvalidMeterKeyError
from clearing.meter_data.findings import MeterPolicy
from clearing.meter_data.registered_key import (
    MAX_NAME,
    MeterIdentity,
    MeterKeySource,
    MeterKeyState,
    MeterPolicyRecord,
    NewMeterKey,
    RegisteredKey,
)
from clearing.meter_data.service import KEY_PREFIX
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page, whole
from gateway.api.field_types import EmptyBody, InstantIn, ListQuery, before
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.ids import format_id
from gateway.partners.meter_key_service import MeterKeyCaller, MeterKeyService
from gateway.schemas import api_schemas

_CREATED: Final = 201
_Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class MeterKeyBody(WireModel):
    """A meter's public key and what it is registered for: a serial number, a charge point, or several."""

    meter_serial: _Name | None = Field(None, description="MS of the meter's OCMF records")
    gateway_serial: _Name | None = Field(None, description="GS of the meter's OCMF records")
    charge_point_id: _Name | None = Field(None, description="CI of the meter's OCMF records")
    public_key: Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^[^\x00]+$")] = Field(
        description="SubjectPublicKeyInfo or a bare point, in hex, base64 or PEM"
    )
    curve: Annotated[str, Field(max_length=40)] | None = Field(
        None, description="needed for a bare point", examples=["secp256r1"]
    )
    source: MeterKeySource = Field(MeterKeySource.CPO, description="where the key is from")
    valid_from: InstantIn | None = Field(None, description="now, unless it is given")
    valid_to: InstantIn | None = Field(None, description="exclusive; null: open")


class EndMeterKeyBody(WireModel):
    """When the key stops counting."""

    valid_to: InstantIn | None = Field(None, description="exclusive; now, unless it is given")


class MeterPolicyBody(WireModel):
    """`required`: a CDR without signed meter data waits; `checked`: what is there is checked; `ignored`."""

    policy: MeterPolicy = Field(description="what a CDR must carry")
    valid_from: InstantIn | None = Field(
        None, description="counts for CDRs that end from then on; now, unless it is given"
    )


class MeterKeysQuery(ListQuery):
    """Which keys to list, newest first."""

    state: MeterKeyState | None = Field(None, description="every state unless it is given")


class MeterKeySchema(api_schemas.PublicSchema):
    """A registered key of a meter. Only an active one verifies, from `valid_from` to before `valid_to`."""

    object: Literal["meter_key"] = "meter_key"
    id: str
    party: str = Field(description="the CPO")
    meter_serial: str | None = Field(description="MS of the meter's OCMF records")
    gateway_serial: str | None = Field(description="GS of the meter's OCMF records")
    charge_point_id: str | None = Field(description="CI of the meter's OCMF records")
    curve: str = Field(description="elliptic curve of the key")
    public_key: str = Field(description="SubjectPublicKeyInfo in hex")
    source: MeterKeySource = Field(description="where the key is from")
    state: MeterKeyState = Field(description="only an active key verifies")
    valid_from: api_schemas.Instant = Field(description="counts from then on")
    valid_to: api_schemas.Instant | None = Field(description="exclusive; null: open")
    entered_by: str = Field(description="who registered it")
    entered: api_schemas.Instant = Field(description="when it was registered")
    decided_by: str | None = Field(description="who accepted or rejected it")
    decided: api_schemas.Instant | None = Field(description="when it was accepted or rejected")


class DatedMeterPolicySchema(api_schemas.PublicSchema):
    """What a CPO's CDRs must carry from an instant on."""

    object: Literal["meter_policy"] = "meter_policy"
    party: str
    policy: MeterPolicy = Field(description="what a CDR must carry")
    valid_from: api_schemas.Instant = Field(description="counts from then on")
    set_by: str = Field(description="who set it")


async def register(call: ApiRequest) -> ApiResponse:
    """Register a key; the same key again is the one that is there."""
    body: MeterKeyBody = call.body
    new = NewMeterKey(
        identity=MeterIdentity(
            meter_serial=body.meter_serial,
            gateway_serial=body.gateway_serial,
            charge_point_id=body.charge_point_id,
        ),
        public_key=body.public_key,
        curve=body.curve,
        source=body.source,
        valid_from=body.valid_from or call.services.now(),
        valid_to=body.valid_to,
    )
    try:
        key = await _service(call).register(_caller(call), call.path["id"], new, key_id=call.resource_id)
    except InvalidMeterKeyError as error:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"{error}.",
            errors=[FieldError(pointer=f"/{error.field}", expected="a key that can be registered")],
        ) from None
    return ApiResponse(body=_shown(key), status=_CREATED)


async def list_all(call: ApiRequest) -> ApiResponse:
    """A CPO's keys, newest first."""
    query: MeterKeysQuery = call.query
    found = await _service(call).list_keys(
        _caller(call),
        call.path["id"],
        state=query.state,
        before=before(query, KEY_PREFIX),
        limit=query.limit + 1,
    )
    return ApiResponse(body=page([_shown(one) for one in found], limit=query.limit))


async def end(call: ApiRequest) -> ApiResponse:
    """End a key, as when its meter was replaced."""
    key = await _service(call).end(_caller(call), call.path_id("id", KEY_PREFIX), valid_to=call.body.valid_to)
    return ApiResponse(body=_shown(key))


async def accept(call: ApiRequest) -> ApiResponse:
    """Make a proposed key active in place of the one before it."""
    key = await _service(call).decide(_caller(call), call.path_id("id", KEY_PREFIX), accepted=True)
    return ApiResponse(body=_shown(key))


async def reject(call: ApiRequest) -> ApiResponse:
    """Reject a proposed key."""
    key = await _service(call).decide(_caller(call), call.path_id("id", KEY_PREFIX), accepted=False)
    return ApiResponse(body=_shown(key))


async def set_policy(call: ApiRequest) -> ApiResponse:
    """Set what a CPO's CDRs must carry."""
    found = await _service(call).set_policy(
        _caller(call), call.path["id"], call.body.policy, valid_from=call.body.valid_from
    )
    return ApiResponse(body=_policy(found))


async def list_policies(call: ApiRequest) -> ApiResponse:
    """A CPO's policies, the latest first; without one, what its CDRs carry is checked."""
    found = await _service(call).list_policies(_caller(call), call.path["id"])
    return ApiResponse(body=whole([_policy(one) for one in found]))


def _service(call: ApiRequest) -> MeterKeyService:
    return call.services.meter_keys


def _caller(call: ApiRequest) -> MeterKeyCaller:
    return MeterKeyCaller(key=call.caller.key, party_id=call.own_party)


def _shown(key: RegisteredKey) -> MeterKeySchema:
    return MeterKeySchema(
        id=format_id(KEY_PREFIX, key.id),
        party=key.party_id,
        meter_serial=key.identity.meter_serial,
        gateway_serial=key.identity.gateway_serial,
        charge_point_id=key.identity.charge_point_id,
        curve=key.curve,
        public_key=key.der.hex(),
        source=key.source,
        state=key.state,
        valid_from=key.valid_from,
        valid_to=key.valid_to,
        entered_by=key.entered_by,
        entered=key.entered_at,
        decided_by=key.decided_by,
        decided=key.decided_at,
    )


def _policy(found: MeterPolicyRecord) -> DatedMeterPolicySchema:
    return DatedMeterPolicySchema(
        party=found.party_id, policy=found.policy, valid_from=found.valid_from, set_by=found.set_by
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/meter-keys",
        operation="registerMeterKey",
        summary="Register a meter's key",
        description="The first key of a meter is active at once. Another key for a known meter is proposed "
        "until a second person accepts or rejects it.",
        tag="Parties",
        handler=register,
        body=MeterKeyBody,
        answers={201: MeterKeySchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/meter-keys",
        operation="listMeterKeys",
        summary="List a CPO's meter keys",
        tag="Parties",
        handler=list_all,
        query=MeterKeysQuery,
        answers={200: MeterKeySchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/meter-keys/{id}/end",
        operation="endMeterKey",
        summary="End a meter's key",
        description="A record made from then on is not verified under it.",
        tag="Parties",
        handler=end,
        body=EndMeterKeyBody,
        answers={200: MeterKeySchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/meter-keys/{id}/accept",
        operation="acceptMeterKey",
        summary="Accept a changed meter key",
        description="The key before it ends where it begins. Not by the person who entered it.",
        tag="Parties",
        handler=accept,
        body=EmptyBody,
        body_required=False,
        answers={200: MeterKeySchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/meter-keys/{id}/reject",
        operation="rejectMeterKey",
        summary="Reject a changed meter key",
        description="Not by the person who entered it.",
        tag="Parties",
        handler=reject,
        body=EmptyBody,
        body_required=False,
        answers={200: MeterKeySchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="PUT",
        path="/v1/parties/{id}/meter-policy",
        operation="setMeterPolicy",
        summary="Set what a CPO's CDRs must carry",
        tag="Parties",
        handler=set_policy,
        body=MeterPolicyBody,
        answers={200: DatedMeterPolicySchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/meter-policy",
        operation="listMeterPolicies",
        summary="List a CPO's meter policies",
        description="The latest first. Without one, what its CDRs carry is checked.",
        tag="Parties",
        handler=list_policies,
        answers={200: DatedMeterPolicySchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
)
