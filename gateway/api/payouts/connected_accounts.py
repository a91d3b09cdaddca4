"""Connected accounts: where the PSP pays a party, created or attached, onboarded by link, followed.

Owns: the wire form. Must not know how the PSP is asked, what a payout hold prevents. A link is a bearer
secret for one visit: no answer with one is kept.
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page
from gateway.api.field_types import MAX_PAGE, NO_STORE, Email, ReturnUrl, Slug
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.payouts.account_presenter import account_object
from gateway.schemas import api_schemas
from gateway.schemas.accounts import ConnectedAccountSchema

_CREATED: Final = 201


def _web_page(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError("expected the https address of a web page")
    return text


PageUrl = Annotated[ReturnUrl, AfterValidator(_web_page)]
AccountToken = Annotated[
    str,
    Field(
        pattern=r"^acct_[A-Za-z0-9_-]{1,250}$",
        description="connected account, the PSP's id",
        examples=["acct_1OpQ"],
    ),
]


class ConnectedAccountBody(WireModel):
    """Where the party's business is, and whom the PSP may write to. The PSP asks the party for the rest."""

    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = Field(
        None, description="ISO 3166-1; by default the party's country", examples=["DE"]
    )
    email: Email | None = Field(None, description="the party's e-mail address, for the PSP alone")


class AttachAccountBody(WireModel):
    """An account that is connected to the platform's own at the PSP."""

    psp_account: AccountToken


class OnboardingLinkBody(WireModel):
    """Where the party's browser goes after the PSP's form, and where it gets another link."""

    return_url: PageUrl = Field(description="page for when the party leaves the form, finished or not")
    refresh_url: PageUrl = Field(
        description="page that asks for another link and goes there: a link opens the form once"
    )


class OnboardingLinkSchema(api_schemas.PublicSchema):
    """The PSP's form for a party: for one visit, within a few minutes."""

    object: Literal["onboarding_link"] = "onboarding_link"
    party: str
    url: str = Field(description="send the party's browser there; a secret, never log, store or mail it")
    expires: api_schemas.Instant


class ConnectedAccountsQuery(QueryModel):
    """A page of accounts, by party."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Slug | None = Field(None, description="next_cursor of the page before")
    payable: bool | None = Field(None, description="only those that the PSP can pay, or only the others")


async def create(call: ApiRequest) -> ApiResponse:
    """Create an account for a party that has none."""
    body: ConnectedAccountBody = call.body
    record = await call.services.connected_accounts.create(
        own_party(call),
        account_id=call.resource_id,
        country=body.country,
        email=body.email,
        key=call.caller.key,
    )
    return ApiResponse(body=account_object(record), status=_CREATED, version=record.version)


async def attach(call: ApiRequest) -> ApiResponse:
    """Pay a party to an account that exists."""
    record = await call.services.connected_accounts.attach(
        own_party(call), psp_account=call.body.psp_account, key=call.caller.key
    )
    return ApiResponse(body=account_object(record), version=record.version)


async def get(call: ApiRequest) -> ApiResponse:
    """A party's account as it was last read."""
    record = await call.services.connected_accounts.get(own_party(call))
    return ApiResponse(body=account_object(record), version=record.version)


async def list_all(call: ApiRequest) -> ApiResponse:
    """Every party's account."""
    query: ConnectedAccountsQuery = call.query
    found = await call.services.connected_accounts.list(
        payable=query.payable, after=query.cursor or "", limit=query.limit + 1
    )
    shown = [account_object(one) for one in found]
    return ApiResponse(body=page(shown, limit=query.limit, cursor=lambda one: str(one.party)))


async def create_link(call: ApiRequest) -> ApiResponse:
    """A link to the PSP's form."""
    party_id = own_party(call)
    link = await call.services.connected_accounts.create_link(
        party_id,
        link_id=call.resource_id,
        return_url=call.body.return_url,
        refresh_url=call.body.refresh_url,
    )
    shown = OnboardingLinkSchema(party=party_id, url=link.url, expires=link.expires_at)
    return ApiResponse(body=shown, status=_CREATED, headers=NO_STORE, keep=False)


_PSP_PROBLEMS: Final = (
    problems.NOT_FOUND,
    problems.STATE_CONFLICT,
    problems.PSP_CONFIGURATION,
    problems.UNAVAILABLE,
)
ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/connected-account",
        operation="createConnectedAccount",
        summary="Create a party's connected account",
        description="The PSP pays the party there once the party has proved to the PSP who it is: create an "
        "onboarding link. Until then, and whenever the PSP can't pay the account, the party has a payout "
        "hold that ends by itself. A second person must lift the hold of a new account.",
        tag="Payouts",
        handler=create,
        body=ConnectedAccountBody,
        body_required=False,
        answers={201: ConnectedAccountSchema},
        etag=True,
        key_rule=KeyRule.REQUIRED,
        problems=_PSP_PROBLEMS,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/connected-account/attach",
        operation="attachConnectedAccount",
        summary="Attach an existing connected account",
        description="Pays the party to an account that is connected to the platform's own. Another account "
        "than before puts the party's payouts on hold until another principal lifts the hold.",
        tag="Payouts",
        handler=attach,
        body=AttachAccountBody,
        answers={200: ConnectedAccountSchema},
        etag=True,
        key_rule=KeyRule.OPTIONAL,
        problems=_PSP_PROBLEMS,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/connected-account",
        operation="getConnectedAccount",
        summary="Get a party's connected account",
        description="As the PSP last said, which is followed by its events: whether it can be paid, and what "
        "the PSP still wants to know.",
        tag="Payouts",
        handler=get,
        answers={200: ConnectedAccountSchema},
        etag=True,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/connected-account/links",
        operation="createOnboardingLink",
        summary="Create an onboarding link",
        description="Leads the party's browser to the PSP's form, once. The return to `return_url` proves "
        "nothing: read the account, or wait for `connected_account.updated`.",
        tag="Payouts",
        handler=create_link,
        body=OnboardingLinkBody,
        answers={201: OnboardingLinkSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=_PSP_PROBLEMS,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/connected-accounts",
        operation="listConnectedAccounts",
        summary="List connected accounts",
        tag="Payouts",
        handler=list_all,
        query=ConnectedAccountsQuery,
        answers={200: ConnectedAccountSchema},
        listed=True,
    ),
)
