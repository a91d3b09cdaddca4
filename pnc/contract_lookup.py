"""Contract look-up: under which body a contract is stored whose eMAID was written in the DIN form.

Owns that one choice. Must not know certificates or decisions. Two mappings of the DIN form are published;
whoever stored the contract used one of them.
"""

from msgspec.structs import replace

from pnc.emaid import Emaid
from pnc.errors import ConflictingRecordError
from pnc.ports import Executor
from pnc.repository import contracts as repository


async def resolve_emaid(executor: Executor, emaid: Emaid, *, environment: str) -> Emaid:
    """Return the eMAID with the body under which its contract is stored, or unchanged when there is none.

    Raises:
        ConflictingRecordError: a contract is stored under each of the two mappings.
    """
    if emaid.alternative is None:
        return emaid
    stored = await repository.list_stored_emaids(executor, environment=environment, emaids=emaid.bodies)
    if len(stored) > 1:
        raise ConflictingRecordError("this DIN eMAID names two contracts; write it in the ISO form")
    if stored == [emaid.alternative]:
        return replace(emaid, body=emaid.alternative, alternative=emaid.body)
    return emaid
