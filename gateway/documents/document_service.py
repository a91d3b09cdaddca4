"""Documents: a driver's of a session, and those between parties, as values, PDF or XML.

Owns: the transaction of each, and that a file that was handed out stays the same bytes. Must not know: HTTP,
what makes a document right.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from clearing.documents import driver_document_service, service
from clearing.documents.document import DocumentFile, DocumentRecord, DocumentSummary
from clearing.documents.driver_document_service import ReadDocument
from clearing.documents.printed_page import driver_page
from clearing.language import Language
from gateway.clock import Clock
from gateway.database import Pool
from gateway.errors import RecordConflictError, RecordNotFoundError
from gateway.payments.service import PaymentService
from gateway.pdf_renderer import render


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentService:
    """Raises RecordNotFoundError where there is no such document, or it is another party's.

    RecordConflictError: the document does not exist in that form.
    """

    pool: Pool
    clock: Clock
    payments: PaymentService

    async def list_by_session(
        self, session_id: UUID, *, party_id: str, admin: bool
    ) -> Sequence[ReadDocument]:
        """A session's documents in the order of issue, for a caller who may see the session.

        Raises NotFoundError where the caller may not, ClearingConflictError while none is issued.
        """
        await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        async with self.pool.acquire() as connection:
            return await driver_document_service.list_by_session(connection, session_id)

    async def driver_xml(self, one: ReadDocument) -> bytes:
        """A driver's document as EN 16931 in UBL 2.1."""
        name, content = one.document.name, one.ubl
        if content is None:
            raise RecordConflictError(
                f"{name} is proof of payment and has no XML: {one.document.no_invoice_because}"
            )

        async def make() -> bytes:
            return content

        return await self._kept(DocumentFile(name=name, format="xml"), make)

    async def driver_pdf(self, one: ReadDocument, *, language: Language) -> bytes:
        """A driver's document as PDF; an invoice carries its CII (Factur-X)."""
        shown = driver_page(one.document, one.ruling, language=language)
        make = partial(render, shown, cii=one.cii, issued_at=one.document.issued_at)
        return await self._kept(DocumentFile(name=one.document.name, format="pdf", language=language), make)

    async def list(
        self, *, party_id: str | None, before: str | None, limit: int
    ) -> Sequence[DocumentSummary]:
        """Documents that a party issued or received, the latest first; `party_id` None: of all parties."""
        async with self.pool.acquire() as connection:
            return await service.list_documents(connection, party_id=party_id, before=before, limit=limit)

    async def get(self, name: str, *, party_id: str | None) -> DocumentRecord:
        """One document that the party issued or received; `party_id` None: any party's."""
        async with self.pool.acquire() as connection:
            found = await service.find_document(connection, name=name, party_id=party_id)
        if found is None:
            raise RecordNotFoundError("There is no such document")
        return found

    async def pdf(self, found: DocumentRecord, *, language: Language) -> bytes:
        """A document between parties as PDF with its CII (Factur-X)."""
        name, shown = found.summary.number, found.pages.get(language)
        if shown is None:
            raise RecordConflictError(f"{name} was issued before documents were printed; request its XML")
        make = partial(render, shown, cii=found.cii, issued_at=found.summary.issued_at)
        return await self._kept(DocumentFile(name=name, format="pdf", language=language), make)

    async def _kept(self, file: DocumentFile, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The bytes that were handed out first, and from then on."""
        async with self.pool.acquire() as connection:
            return await service.store_file(connection, file, make, now=self.clock.now())
