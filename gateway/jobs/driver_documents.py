"""Drivers' documents, issued as sessions are cleared.

Owns: when. Must not know: what makes a document right, its number, its content. Safe to repeat and to run
side by side: what is issued stays as it is, and a transaction that fails uses no number.
"""

from dataclasses import dataclass

from clearing.documents import driver_document_service
from gateway.clock import Clock
from gateway.database import Pool, transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDocumentJob:
    """Follows the journal: a transaction for each batch, the chains in turn."""

    pool: Pool
    clock: Clock
    name: str = "driver_documents"

    async def run_once(self) -> int:
        """One batch of each chain. Returns how many batches were documented.

        A batch that can't be documented delays its own chain only; its error is raised after the others are
        done.
        """
        async with self.pool.acquire() as connection:
            chains = await driver_document_service.list_undocumented_chains(connection)
        done = 0
        failed: Exception | None = None
        for chain in chains:
            try:
                async with transaction(self.pool) as connection:
                    issued = await driver_document_service.issue_next(
                        connection, chain=chain, now=self.clock.now()
                    )
                done += issued is not None
            except Exception as error:  # noqa: BLE001 - the boundary of one chain; raised after the others
                failed = failed or error
        if failed is not None:
            raise failed
        return done
