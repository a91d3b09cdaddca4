"""Operators as the API shows them: connections, handshakes, lists, rejections, locations, tariffs, prices.

Owns: the public shapes. Must not know how they are read, or whose they are to see.
"""

from typing import Literal

from pydantic import Field

from gateway.schemas import api_schemas


class OcpiConnectionSchema(api_schemas.PublicSchema):
    """A platform that is invited, registered or gone."""

    id: str = Field(examples=["ocp_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["ocpi_connection"] = "ocpi_connection"
    party: str = Field(description="the party that was invited")
    parties: list[str] = Field(description="every party whose objects it may push")
    state: str = Field(description="invited, registered or ended", examples=["registered"])
    ocpi_version: str | None = Field(description="the version that was agreed on", examples=["2.2.1"])
    versions_url: str | None = Field(description="where the platform lists its versions")
    hub_party: str | None = Field(description="the hub's own party, where the platform is a hub")
    stale_pushes: int = Field(description="messages that were older than what was here, and changed nothing")
    invited: api_schemas.Instant = Field(description="when its party was invited")
    registered: api_schemas.Instant | None = Field(description="when its handshake ended well")
    ended: api_schemas.Instant | None = Field(description="when it was unregistered")


class HandshakeStepSchema(api_schemas.PublicSchema):
    """One call of a handshake, with how it was answered; without any token."""

    direction: str = Field(description="received or sent")
    method: str
    url: str
    http_status: int | None = Field(description="null: there was no answer")
    ocpi_status: int | None = Field(description="`status_code` of the answer", examples=[1000])
    message: str = Field(description="`status_message` of the answer")
    occurred: api_schemas.Instant = Field(description="when the call was made")


class OcpiModuleSchema(api_schemas.PublicSchema):
    """A module that the platform offers in a role."""

    module: str = Field(description="the module of OCPI", examples=["locations"])
    role: str = Field(description="SENDER or RECEIVER, as in OCPI", examples=["SENDER"])
    url: str


class OcpiPullSchema(api_schemas.PublicSchema):
    """How far a list of the platform has been read."""

    module: str = Field(description="the module of OCPI", examples=["tariffs"])
    since: api_schemas.Instant | None = Field(description="objects changed since then are asked for")
    due: api_schemas.Instant = Field(description="when it is read next")
    running: bool = Field(description="whether it is being read now")
    seen: int = Field(description="objects of the list that were read")
    total: int | None = Field(description="how many the platform says there are")
    rejected: int = Field(description="objects that were rejected")
    failures: int = Field(description="rounds in a row that failed")
    list_short: bool = Field(description="whether the list held fewer objects than the platform said")
    last_error: str | None
    updated: api_schemas.Instant = Field(description="when a page of it was read last")


class OcpiReceivedSchema(api_schemas.PublicSchema):
    """The objects of a module that are here."""

    module: str = Field(description="the module of OCPI", examples=["locations"])
    objects: int = Field(description="how many")
    last: api_schemas.Instant | None = Field(description="when one came last")


class OcpiPendingPushSchema(api_schemas.PublicSchema):
    """A message to the platform that is not delivered yet."""

    module: str = Field(description="the module of OCPI", examples=["tokens"])
    method: str
    object_id: str
    created: api_schemas.Instant
    next_attempt: api_schemas.Instant = Field(description="when it is sent again")
    attempts: int
    last_error: str | None
    stopped: api_schemas.Instant | None = Field(description="since when it waits for a person")


class OcpiConnectionDetailsSchema(OcpiConnectionSchema):
    """A connection with its handshakes, modules, lists and messages."""

    handshake: list[HandshakeStepSchema] = Field(description="the calls of its handshakes, newest first")
    modules: list[OcpiModuleSchema] = Field(description="what the platform offers")
    pulls: list[OcpiPullSchema] = Field(description="the lists that are read from it")
    received: list[OcpiReceivedSchema] = Field(description="what came over it, by module")
    pending_pushes: list[OcpiPendingPushSchema] = Field(description="messages that wait, 50 at most")


class OcpiRejectionSchema(api_schemas.PublicSchema):
    """A message of an operator that was rejected, with the reason that it was given."""

    id: str = Field(examples=["orp_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["ocpi_rejection"] = "ocpi_rejection"
    party: str
    module: str = Field(description="the module of OCPI", examples=["cdrs"])
    object_id: str | None = Field(description="the object's id, where it could be read")
    ocpi_version: str = Field(description="the version in which it came")
    ocpi_status: int = Field(description="`status_code` of the answer", examples=[2001])
    reason: str
    pulled: bool = Field(description="whether it was read from a list; else it was pushed")
    received: api_schemas.Instant


class OcpiConnectorSchema(api_schemas.PublicSchema):
    """A connector with its EVSE."""

    name: str = Field(description="what names it in a question for a price", examples=["l1/E1/1"])
    evse_uid: str = Field(description="`uid` of the EVSE, as in OCPI")
    evse_id: str | None
    connector: str = Field(description="the connector's id within its EVSE")
    status: str = Field(description="of the EVSE, as in OCPI", examples=["AVAILABLE"])
    standard: str = Field(description="as in OCPI", examples=["IEC_62196_T2_COMBO"])
    power_w: int | None = Field(description="the most that it gives; null: unknown")
    tariffs: list[str] = Field(description="ids of the tariffs that it names, in lower case")
    time_zone: str | None


class OcpiLocationSchema(api_schemas.PublicSchema):
    """A location of an operator with its connectors."""

    object: Literal["ocpi_location"] = "ocpi_location"
    party: str
    location: str = Field(description="the operator's id of it")
    name: str
    address: str
    ocpi_version: str = Field(description="the version in which it came")
    last_updated: api_schemas.Instant = Field(description="as the operator says")
    received: api_schemas.Instant
    connectors: list[OcpiConnectorSchema] = Field(description="its connectors by EVSE")


class TariffFindingSchema(api_schemas.PublicSchema):
    """What a check of a tariff found."""

    code: str = Field(examples=["T12"])
    severity: str = Field(description="info, warning or error", examples=["warning"])
    path: str = Field(description="where in the tariff (JSON path)")
    text: str = Field(description="what was found, in words")


class OcpiTariffSchema(api_schemas.PublicSchema):
    """The version of a tariff that stands now."""

    object: Literal["ocpi_tariff"] = "ocpi_tariff"
    party: str
    tariff: str = Field(description="the operator's id of it")
    type: str | None = Field(description="as in OCPI", examples=["AD_HOC_PAYMENT"])
    currency: str | None
    ocpi_version: str = Field(description="the version in which it came")
    valid_from: api_schemas.Instant | None
    valid_until: api_schemas.Instant | None
    received: api_schemas.Instant
    prices: list[str] = Field(description="the prices as a driver reads them")
    findings: list[TariffFindingSchema] = Field(description="what the checks of it found")
    problem: str | None = Field(description="why it can't be read; null: it can")


class AfirCheckSchema(api_schemas.PublicSchema):
    """Whether a tariff fits article 5(4) of Regulation (EU) 2023/1804."""

    fits: bool = Field(description="whether no finding is more than information")
    applies: bool = Field(description="whether a connector that names it gives 50 kW or more")
    power_kw: str | None = Field(description="the greatest power of these connectors; null: unknown")
    findings: list[TariffFindingSchema]


class OcpiTariffDetailsSchema(OcpiTariffSchema):
    """A tariff with its check by AFIR and where it is used."""

    afir: AfirCheckSchema = Field(description="its check by article 5(4) of AFIR")
    connectors: list[OcpiConnectorSchema] = Field(description="those that name it, 200 at most")


class TariffPriceSchema(api_schemas.PublicSchema):
    """What an expected session costs by a tariff."""

    object: Literal["tariff_price"] = "tariff_price"
    party: str
    tariff: str
    currency: api_schemas.Currency
    excl_vat: api_schemas.Minor
    incl_vat: api_schemas.Minor
    hold: api_schemas.Minor = Field(description="what is reserved for it")
    time_zone: str = Field(description="in which the tariff's hours are read")
    lines: list[api_schemas.PriceLineSchema]
