"""What the services of people reject on purpose.

Owns the tree. Must not know HTTP status codes: the API's error mapping has them.

PeopleError                 a request about people that can't be carried out
├── PersonNotFoundError       no such person, or one of another party
├── PersonExistsError         somebody with this e-mail address may sign in already
├── RoleNotGrantableError     the maker lacks a scope of the role, so he can't give it
├── SavedViewError            a view of a list that can't be saved, or is not there
└── SignInRejectedError       a link, a session or a provider's answer that signs nobody in
"""

from gateway.errors import GatewayError


class PeopleError(GatewayError):
    """Base of what the services of people reject on purpose."""


class PersonNotFoundError(PeopleError):
    """No such person, or one of another party: the same answer for both."""


class PersonExistsError(PeopleError):
    """Somebody with this e-mail address may sign in already."""


class RoleNotGrantableError(PeopleError):
    """The maker lacks a scope of the role, so he can't give it, nor a link to somebody who has it."""


class SavedViewError(PeopleError):
    """A view of a list that can't be saved, or is not there; the message says why."""


class SignInRejectedError(PeopleError):
    """A link, a session or a provider's answer that signs nobody in; it never says which part was wrong."""
