"""What the services of parties reject on purpose.

Owns the tree. Must not know HTTP status codes: the API's error mapping has them.

PartnerError                  a request about a party that can't be carried out
├── UnknownPartnerRecordError   no such party, key or certificate, or not this party's
├── UnknownAgreementPartyError  an agreement names a party that does not exist
├── PartnerRecordExistsError    another record has this id
├── PartnerConflictError        what is stored does not allow this
├── UnfitCertificateError       a client certificate that can't be used
├── ScopesNotGrantableError     a key's maker lacks a scope, or its party may not have it
└── KeyExpiryPastError          a key would end before it begins
"""


class PartnerError(Exception):
    """Base of what the services of parties reject on purpose."""


class UnknownPartnerRecordError(PartnerError):
    """No such record, or it is another party's: the same answer for both."""


class PartnerRecordExistsError(PartnerError):
    """Another record has this id."""


class PartnerConflictError(PartnerError):
    """What is stored does not allow this."""


class UnfitCertificateError(PartnerError):
    """A client certificate that can't be used; the text says what is expected."""


class ScopesNotGrantableError(PartnerError):
    """A key's maker lacks a scope that he would give, or it is the platform's and the party is not."""


class KeyExpiryPastError(PartnerError):
    """A key would end before it begins."""


class UnknownAgreementPartyError(PartnerError):
    """An agreement names a party that does not exist; `field` is where."""

    def __init__(self, *, field: str, party_id: str) -> None:
        super().__init__(f"{field}: there is no party {party_id}")
        self.field = field
