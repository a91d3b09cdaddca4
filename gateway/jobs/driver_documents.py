"""Drivers' documents, issued as sessions are cleared.

Owns: when. Must not know: what makes a document right, its number, its content. Safe to repeat and to run
side by side: what is issued stays as it is, and a transaction that fails uses no number.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from clearing.documents import driver_document_service
from clearing.documents.driver_document_service import DriverDocumentSources
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.documents.session_originals_repository import StoredSessionOriginals
from gateway.ids import SHARD_COUNT, every_shard

DOCUMENTS: Final = "driver_documents"
_PENDING_SHARD: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDocumentJob:
    """Follows the journal: the chains in turn, a transaction for the next batches of each.

    A chain is followed by the worker that owns the shard of its number, what is pending by that of shard 0:
    so no two wait for each other. What lacked something is tried again once its seller's data have changed.
    """

    pool: Pool
    clock: Clock
    owned: Callable[[], Collection[int]] = every_shard
    sources: DriverDocumentSources = field(
        default_factory=lambda: DriverDocumentSources(originals=StoredSessionOriginals())
    )
    name: str = DOCUMENTS

    async def run_once(self) -> int:
        """The next batches of each chain, and what is pending. Returns how many chains and sellers went on.

        A batch that can't be documented delays its own chain only; its error is raised after the others are
        done.
        """
        owned = self.owned()
        if not owned:
            return 0
        async with self.pool.acquire() as connection:
            chains = await driver_document_service.list_undocumented_chains(connection)
        done = 0
        failed: Exception | None = None
        for chain in chains:
            if chain % SHARD_COUNT not in owned:
                continue
            try:
                async with transaction(self.pool) as connection:
                    issued = await driver_document_service.issue_next(
                        connection, chain=chain, now=self.clock.now(), sources=self.sources
                    )
                done += issued is not None
            except Exception as error:  # noqa: BLE001 - the boundary of one chain; raised after the others
                failed = failed or error
        if _PENDING_SHARD in owned:
            done += await self._issue_pending()
        if failed is not None:
            raise failed
        return done

    async def _issue_pending(self) -> int:
        """Some pending documents of each seller whose data have changed. Returns how many sellers."""
        async with self.pool.acquire() as connection:
            suppliers = await driver_document_service.list_suppliers_to_retry(
                connection, now=self.clock.now()
            )
        done = 0
        for supplier_id in suppliers:
            async with transaction(self.pool) as connection:
                issued = await driver_document_service.issue_pending(
                    connection, supplier_id=supplier_id, now=self.clock.now(), sources=self.sources
                )
            done += issued > 0
        return done
