"""Public objects of the exceptions queue, in answers and in events.

Owns: their fields and descriptions. Must not know: where a value comes from.
"""

from typing import Literal

from pydantic import Field

from gateway.exception_kinds import ExceptionEventKind, ExceptionKind, ExceptionState
from gateway.schemas.api_schemas import Instant, PublicSchema


class ExceptionEventSchema(PublicSchema):
    """One line of an exception's history."""

    at: Instant
    kind: ExceptionEventKind = Field(description="what happened to the exception")
    actor: str = Field(description="the person who did it, or `system`")
    note: str = Field(description="the reason or remark")


class ExceptionNextStepSchema(PublicSchema):
    """The next step that a person takes."""

    text: str = Field(description="what to do, in words")
    command: str = Field(description="the command or request that does it")
    retry: str | None = Field(
        description="what resolving does; null where only the command, or a reason, ends it"
    )


class ExceptionSchema(PublicSchema):
    """Something that stopped and waits for a person. `history` is in the answer about one exception only."""

    id: str
    object: Literal["exception"] = "exception"
    kind: ExceptionKind = Field(description="what stopped")
    title: str = Field(description="the kind in words")
    subject: str = Field(description="id or name of what stopped, unique in its kind")
    state: ExceptionState = Field(description="open while its cause exists")
    owner: str = Field(description="the owner of this kind of exception")
    assignee: str | None = Field(description="the person assigned to it")
    party: str | None = Field(description="the party concerned")
    amount: int | None = Field(description="the amount concerned, minor units of `currency`")
    currency: str | None = Field(description="ISO 4217 code of `amount`")
    reason: str = Field(description="why, as a code")
    detail: str = Field(description="why, in words")
    since: Instant = Field(description="when its cause arose")
    due_at: Instant = Field(description="by when it is to be handled: the age limit of its kind")
    opened_at: Instant = Field(description="when it entered the queue")
    resolved_at: Instant | None = Field(description="when its cause ended; null while open")
    next_step: ExceptionNextStepSchema = Field(description="what to do about it")
    history: list[ExceptionEventSchema] | None = Field(description="its history; null in lists and events")


class ExceptionAgeLimitSchema(PublicSchema):
    """An age limit that a person set."""

    kind: ExceptionKind
    hours: int = Field(description="from when an exception of the kind is overdue, counted from its `since`")
    set_by: str = Field(description="the API key's principal, or a person at the command line")
    set_at: Instant


class ExceptionAgeLimitsSchema(PublicSchema):
    """From which age exceptions of each kind are overdue."""

    object: Literal["exception_age_limits"] = "exception_age_limits"
    hours: dict[ExceptionKind, int] = Field(description="in force, of every kind: as set, else the default")
    own: list[ExceptionAgeLimitSchema] = Field(description="those that were set; the others are defaults")
