"""An invoice as EN 16931 XML, in both of its syntaxes: UBL 2.1 and UN/CEFACT CII D16B.

Owns: the two ways to write a document. Must not know: which element a business term becomes.
"""

from datetime import date

from clearing.documents.cii_syntax import write_cii
from clearing.documents.invoice import Invoice
from clearing.documents.semantic_model import semantic_invoice
from clearing.documents.ubl_syntax import write_ubl


def ubl(invoice: Invoice, *, number: str, issued_on: date) -> bytes:
    """The document as UBL 2.1: an Invoice, or a CreditNote for types 381 and 261."""
    return write_ubl(semantic_invoice(invoice, number=number, issued_on=issued_on))


def cii(invoice: Invoice, *, number: str, issued_on: date) -> bytes:
    """The document as a UN/CEFACT Cross Industry Invoice, the XML that Factur-X carries."""
    return write_cii(semantic_invoice(invoice, number=number, issued_on=issued_on))
