"""Which scope each operation of the API needs: the whole of it, in one table.

Owns: that answer. Must not know what an operation does, who holds a scope, or whose objects the caller sees.
An operation under two scopes needs one of them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.scopes import Scope

# These need no key: what their path names is the proof.
WITHOUT_KEY: Final = frozenset(
    {
        "getBuyerPage",
        "getDriverReceipt",
        "getNamedInvoice",
        "getNamedInvoices",
        "listWebhookKeys",  # public keys
        "nameBuyer",
    }
)

OPERATIONS: Final[Mapping[Scope, frozenset[str]]] = MappingProxyType(
    {
        Scope.CAPTURE_READ: frozenset(
            {
                "createQuote",
                "getAuthorization",
                "getBooking",
                "getBuyer",
                "getCapture",
                "getCdrLimits",
                "getClientConfiguration",
                "getCustomer",
                "getDispute",
                "getDoubleTapPolicy",
                "getEvse",
                "getEvseQrCode",
                "getMissingCdrPolicy",
                "getOcpiConnection",
                "getOcpiTariff",
                "getOcpiTariffPrice",
                "getOcpiToken",
                "getPartnerAccount",
                "getPaymentMethod",
                "getRefund",
                "getSession",
                "getSessionPrice",
                "getSessionReceipt",
                "getSetup",
                "getTerminalLocation",
                "listAuthorizations",
                "listBookingLocations",
                "listBuyers",
                "listCaptures",
                "listCustomers",
                "listDisputes",
                "listEvses",
                "listOcpiConnections",
                "listOcpiLocations",
                "listOcpiRejections",
                "listOcpiTariffs",
                "listOcpiTokens",
                "listPaymentMethods",
                "listReaders",
                "listRefunds",
                "listSessions",
                "listTerminalLocations",
            }
        ),
        Scope.CAPTURE_WRITE: frozenset(
            {
                "bookSession",
                "cancelBooking",
                "cancelReservation",
                "cancelSetup",
                "completeSession",
                "createAuthorization",
                "createBuyer",
                "createBuyerLink",
                "createConnectionToken",
                "createCustomer",
                "createRefund",
                "createSetup",
                "createTerminalLocation",
                "incrementAuthorization",
                "presentCard",
                "registerReader",
                "releaseAuthorization",
                "removePaymentMethod",
                "reserveSession",
                "setChargingPreferences",
                "setDoubleTapPolicy",
                "setSessionBuyer",
                "startSession",
                "stopSession",
                "unlockConnector",
            }
        ),
        Scope.PLUG_AND_CHARGE_READ: frozenset(
            {"getPlugAndChargeCost", "getPlugAndChargeSettlement", "listRootChanges", "listTrustedRoots"}
        ),
        Scope.PLUG_AND_CHARGE_WRITE: frozenset(
            {
                "authorizePlugAndCharge",
                "authorizePlugAndChargeBare",
                "getPlugAndChargeCertificateStatus",
                "getPlugAndChargeEvCertificate",
                "namePlugAndChargeTransaction",
                "notifyPlugAndChargeSettlement",
                "refuseOcppMessage",
                "transferPlugAndCharge",
            }
        ),
        Scope.CONTRACTS_READ: frozenset(
            {
                "getContract",
                "getContractHistory",
                "listContractCertificates",
                "listContractChanges",
                "listContractPoolEvents",
                "listContractPoolFeeds",
                "listContracts",
            }
        ),
        Scope.CONTRACTS_WRITE: frozenset(
            {
                "applyContractPoolEvent",
                "blockCertificate",
                "blockContract",
                "cancelContract",
                "dismissContractPoolEvent",
                "importContracts",
                "putContract",
                "putContractPoolFeed",
                "unblockContract",
            }
        ),
        Scope.SETTLEMENT_READ: frozenset(
            {
                "getConnectedAccount",
                "getDisbursement",
                "getDisbursementStatement",
                "getDocument",
                "getForecast",
                "getPayoutTerms",
                "getSession",
                "getSessionPrice",
                "listBankDetails",
                "listDisbursements",
                "listDocuments",
                "listForecastDays",
                "listMeterKeys",
                "listMeterPolicies",
                "listPartyChecks",
                "listPayables",
                "listPayoutHolds",
                "listSessions",
            }
        ),
        Scope.SETTLEMENT_WRITE: frozenset(
            {
                "createConnectedAccount",
                "createOnboardingLink",
                "endMeterKey",
                "registerMeterKey",
                "submitBankDetails",
            }
        ),
        Scope.WEBHOOKS_READ: frozenset(
            {"getWebhookEndpoint", "listDeliveries", "listDeliveryAttempts", "listWebhookEndpoints"}
        ),
        Scope.WEBHOOKS_WRITE: frozenset(
            {
                "changeWebhookEndpoint",
                "createWebhookEndpoint",
                "deleteWebhookEndpoint",
                "replayEvents",
                "retryDelivery",
                "rotateWebhookSecret",
                "testWebhookEndpoint",
            }
        ),
        Scope.EVENTS_READ: frozenset({"getEvent", "listEvents"}),
        Scope.KEYS_READ: frozenset(
            {"getRequest", "listApiKeys", "listClientCertificates", "listPeople", "listRequests"}
        ),
        Scope.KEYS_WRITE: frozenset(
            {
                "changeApiKey",
                "createApiKey",
                "createPersonLink",
                "invitePerson",
                "revokeApiKey",
                "revokePerson",
                "rotateApiKey",
            }
        ),
        Scope.PARTIES_READ: frozenset({"getDriverPage", "getParty", "getPartyVat", "listParties"}),
        Scope.PARTIES_WRITE: frozenset(
            {
                "bindClientCertificate",
                "createAgreement",
                "createOcpiRegistration",
                "createParty",
                "removeClientCertificate",
                "removeDriverPage",
                "setCdrLimits",
                "setDriverPage",
                "setMissingCdrPolicy",
                "setOcpiToken",
                "setSiteHost",
            }
        ),
        Scope.TRUST_READ: frozenset(
            {
                "listContractAuthorities",
                "listCrossCertificates",
                "listProviders",
                "listRevocationSources",
                "listTrustAnchors",
                "listTrustChanges",
            }
        ),
        Scope.TRUST_WRITE: frozenset(
            {
                "acceptMeterKey",
                "addCrossCertificate",
                "addTrustAnchor",
                "allowContractAuthority",
                "allowRevocationSource",
                "disableContractPayment",
                "enableContractPayment",
                "importTrustList",
                "refreshRevocationStatus",
                "registerProvider",
                "rejectMeterKey",
                "removeContractAuthority",
                "removeProvider",
                "removeRevocationSource",
                "retireCrossCertificate",
                "retireTrustAnchor",
                "setMeterPolicy",
                "setRevocationPolicy",
                "uploadRevocationList",
            }
        ),
        Scope.SUPPORT_READ: frozenset(
            {
                "exportPersonalData",
                "findPersonalData",
                "getDisputeEvidence",
                "getException",
                "getExceptionAgeLimits",
                "listErasures",
                "listExceptions",
            }
        ),
        Scope.SUPPORT_WRITE: frozenset(
            {
                "acceptDispute",
                "assignException",
                "erasePersonalData",
                "resolveException",
                "retryClearing",
                "setExceptionAgeLimits",
                "submitDisputeEvidence",
            }
        ),
        Scope.FINANCE_READ: frozenset(
            {
                "downloadPaymentFile",
                "getClosingCheck",
                "getDifferenceEvidence",
                "getJournal",
                "getReconciliation",
                "getReconciliationDifference",
                "getTopup",
                "getTrialBalance",
                "getVatReturn",
                "listApprovalLimits",
                "listApprovalRequests",
                "listBankMessages",
                "listConnectedAccounts",
                "listDifferenceEvidence",
                "listDisbursementsAwaitingApproval",
                "listPaymentFiles",
                "listReceivables",
                "listReconciliationDifferences",
                "listSuspense",
                "listTopups",
                "listTreasuryBalances",
            }
        ),
        Scope.FINANCE_WRITE: frozenset(
            {
                "addDifferenceEvidence",
                "approveBankDetails",
                "approveDisbursement",
                "approveRequest",
                "attachConnectedAccount",
                "clearSuspense",
                "closeBooks",
                "confirmPartyCheck",
                "createPayoutHold",
                "endSetOffConsent",
                "fundPartnerAccount",
                "importBankMessage",
                "liftPayoutHold",
                "markPaymentFileSent",
                "offsetSuspense",
                "putPayoutTerms",
                "recordPartyCheck",
                "recordSetOffConsent",
                "rejectBankDetails",
                "rejectRequest",
                "rescheduleDueDates",
                "resolveReconciliationDifference",
                "returnDisbursement",
                "runDisbursements",
                "setApprovalLimit",
                "setCreditLimit",
                "setOffReceivable",
                "topUpTreasury",
                "writeOffReceivable",
            }
        ),
        Scope.ACTS_READ: frozenset({"listAdministrativeActs", "listPersonActs"}),
        Scope.CLOCK_READ: frozenset({"getMarketClock"}),
        Scope.CLOCK_WRITE: frozenset({"setMarketClock"}),
        Scope.METRICS_READ: frozenset({"scrapeMetrics"}),
        Scope.STATUS_READ: frozenset({"getSummary"}),
    }
)


# Under these scopes a session is charged and paid: no act of administration, but for what is named below.
_OF_SESSIONS: Final = frozenset({Scope.CAPTURE_WRITE, Scope.PLUG_AND_CHARGE_WRITE})
_ADMINISTRATIVE_BESIDES: Final = frozenset({"setDoubleTapPolicy"})


def _by_operation() -> dict[str, frozenset[Scope]]:
    found: dict[str, set[Scope]] = {}
    for scope, operations in OPERATIONS.items():
        for operation in operations:
            found.setdefault(operation, set()).add(scope)
    return {operation: frozenset(scopes) for operation, scopes in found.items()}


_REQUIRED: Final[Mapping[str, frozenset[Scope]]] = MappingProxyType(_by_operation())


def scopes_of(operation: str) -> frozenset[Scope]:
    """The scopes of which a caller needs one; none for an operation that needs no key.

    Raises:
        KeyError: the table does not name the operation.
    """
    return frozenset() if operation in WITHOUT_KEY else _REQUIRED[operation]


def is_administrative(operation: str) -> bool:
    """Whether what the operation changes is an administrative act, of the platform or of a party."""
    if operation in _ADMINISTRATIVE_BESIDES:
        return True
    scopes = scopes_of(operation)
    return any(scope.value.endswith(":write") for scope in scopes) and scopes.isdisjoint(_OF_SESSIONS)
