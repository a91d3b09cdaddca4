"""Documents: a driver's of a session, and those between parties, as values, PDF or XML.

Owns: the transaction of each, and that a file that was handed out stays the same bytes. Must not know: HTTP,
what makes a document right, how meter data are verified.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final
from uuid import UUID

from clearing.documents import driver_document_service, service
from clearing.documents.document import DocumentFile, DocumentRecord, DocumentSummary
from clearing.documents.driver_document_service import ReadDocument
from clearing.documents.printed_page import driver_page
from clearing.errors import ClearingConflictError, ClearingError
from clearing.language import Language
from clearing.meter_data import service as meter_service
from clearing.meter_data.evidence import MeterEvidence
from clearing.parties.party import PLATFORM_ID
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.errors import RecordConflictError, RecordNotFoundError
from gateway.ids import format_id
from gateway.partners import buyer_repository
from gateway.payments.records import DisputeRecord, SessionRecord
from gateway.payments.service import PaymentService
from gateway.pdf_renderer import render

_SALES: Final = frozenset({"capture", "sale_reissued"})
_MOST_TEXT: Final = 20_000  # characters of one field of evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReceipt:
    """A session's documents in the order of issue, and what its meter signed, None where it did not."""

    session_id: UUID
    documents: Sequence[ReadDocument]
    meter: MeterEvidence | None

    @property
    def standing(self) -> ReadDocument:
        """The document of the sale: the latest, where it was issued anew to another buyer."""
        sales = [one for one in self.documents if one.document.supply.kind in _SALES]
        return sales[-1] if sales else self.documents[0]

    def of_buyer(self, buyer_id: str) -> Sequence[ReadDocument]:
        """Those in the name of one business."""
        return [
            one
            for one in self.documents
            if one.document.charged.buyer is not None and one.document.charged.buyer.id == buyer_id
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerDocuments:
    """What of a session is in the name of one business: none before it is issued."""

    documents: Sequence[ReadDocument]
    meter: MeterEvidence | None


class DisputeDocument(StrEnum):
    """What we have ourselves against a dispute. The receipt shows what the meter signed."""

    RECEIPT = "receipt"
    CDR = "cdr"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentService:
    """Raises RecordNotFoundError where there is no such document, or it is another party's.

    RecordConflictError: the document does not exist in that form.
    """

    pool: Pool
    clock: Clock
    payments: PaymentService

    async def get_receipt(
        self, session_id: UUID, *, party_id: str, admin: bool, with_documents: bool = True
    ) -> SessionReceipt:
        """A session's documents and what its meter signed, for a caller who may see the session.

        Raises NotFoundError where the caller may not, ClearingConflictError while no document is issued. The
        meter's data exist before the documents: `with_documents` False reads them alone.
        """
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        async with self.pool.acquire() as connection:
            meter = await self._find_evidence(connection, view.session)
            documents = (
                await driver_document_service.list_by_session(connection, session_id)
                if with_documents
                else ()
            )
        return SessionReceipt(session_id=session_id, documents=documents, meter=meter)

    async def get_by_link(self, session_id: UUID, *, token: str) -> BuyerDocuments:
        """A session's documents in the name of the business that its driver named, by the link of it.

        None are issued until the session is cleared. Raises RecordNotFoundError where the link is none of
        ours.
        """
        async with self.pool.acquire() as connection:
            link = await buyer_repository.find_invoice_link(connection, session_id)
        if link is None or not hmac.compare_digest(link.token.encode(), token.encode()):
            raise RecordNotFoundError("There is no such invoice")
        try:
            receipt = await self.get_receipt(session_id, party_id="", admin=True)
        except ClearingConflictError:  # none is issued yet
            return BuyerDocuments(documents=(), meter=None)
        return BuyerDocuments(documents=receipt.of_buyer(link.buyer_id), meter=receipt.meter)

    async def answer_dispute(
        self,
        dispute_id: UUID,
        *,
        evidence: Mapping[str, str],
        documents: AbstractSet[DisputeDocument],
        submit: bool,
    ) -> DisputeRecord:
        """Stage or submit evidence with documents of ours: the receipt as a file, the CDR as a text.

        Raises RecordConflictError where there is no such document; errors of the payment services.
        """
        disputes = self.payments.dispute_evidence
        given = dict(evidence)
        if documents:
            dispute = await self.payments.disputes.get(party_id=None, dispute_id=dispute_id)
            view = await self.payments.get_session(
                party_id=PLATFORM_ID, session_id=dispute.session_id, admin=True
            )
            if DisputeDocument.CDR in documents:
                given.setdefault("access_log", _cdr_text(view.session))
            if DisputeDocument.RECEIPT in documents:
                receipt = await self.get_receipt(dispute.session_id, party_id=PLATFORM_ID, admin=True)
                sale = receipt.standing
                content = await self.driver_pdf(sale, language=Language.ENGLISH, meter=receipt.meter)
                given["receipt"] = await disputes.upload(
                    dispute_id, name=f"{sale.document.name}.pdf", content=content
                )
        return await disputes.respond(dispute_id, evidence=given, submit=submit)

    def meter_data_xml(self, receipt: SessionReceipt) -> bytes:
        """What the meter signed, as the file of the S.A.F.E. transparency software."""
        if receipt.meter is None:
            raise RecordConflictError(
                f"No meter has signed the session {format_id('ses', receipt.session_id)}"
            )
        return receipt.meter.transparency_xml()

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

    async def driver_pdf(
        self, one: ReadDocument, *, language: Language, meter: MeterEvidence | None
    ) -> bytes:
        """A driver's document as PDF, with what the meter signed; an invoice carries its CII (Factur-X)."""
        shown = driver_page(one.document, one.ruling, language=language, meter=meter)
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

    async def _find_evidence(self, connection: Connection, session: SessionRecord) -> MeterEvidence | None:
        """What the meter signed about a session, None where its CDR carries no record."""
        if session.cdr is None or session.cdr_version is None:
            return None
        try:
            cdr = self.payments.tariffs.read_cdr(session.cdr, version=session.cdr_version)
        except ClearingError:
            return None
        return await meter_service.find_evidence(connection, cdr, raw=session.cdr, party_id=session.cpo_id)

    async def _kept(self, file: DocumentFile, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The bytes that were handed out first, and from then on."""
        async with self.pool.acquire() as connection:
            return await service.store_file(connection, file, make, now=self.clock.now())


def _cdr_text(session: SessionRecord) -> str:
    """The operator's CDR as it was received. Raises RecordConflictError where it can't be given as a text."""
    if session.cdr is None:
        raise RecordConflictError(f"Session {format_id('ses', session.id)} has no CDR")
    text = session.cdr.decode(errors="replace")
    if len(text) > _MOST_TEXT:
        raise RecordConflictError(
            f"The CDR has more than {_MOST_TEXT} characters: name what matters of it in access_log"
        )
    return text
