"""Bank messages of our own making, for tests: a statement from lines, a status report from verdicts."""

import io
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from clearing.iso20022 import camt
from clearing.iso20022.bank_entry import BankBalance, BankEntry, BankLine, UnreadableEntry

IBAN = "CH9300762011623852957"


def stated(content: bytes) -> Iterator[BankLine | BankBalance | UnreadableEntry]:
    """What a statement states, its entries as their lines."""
    for one in camt.read(io.BytesIO(content)):
        if isinstance(one, BankEntry):
            yield from one.lines
        else:
            yield one


def detail(
    end_to_end_id: str | None,
    amount: str,
    *,
    currency: str = "EUR",
    direction: str = "DBIT",
    reason: str | None = None,
    reference: str | None = None,
) -> str:
    references = "" if reference is None else f"<AcctSvcrRef>{reference}</AcctSvcrRef>"
    if end_to_end_id is not None:
        references += f"<EndToEndId>{escape(end_to_end_id)}</EndToEndId>"
    returned = "" if reason is None else f"<RtrInf><Rsn><Cd>{reason}</Cd></Rsn></RtrInf>"
    return (
        f"<TxDtls><Refs>{references}</Refs><Amt Ccy='{currency}'>{amount}</Amt>"
        f"<CdtDbtInd>{direction}</CdtDbtInd>{returned}</TxDtls>"
    )


def entry(
    amount: str,
    *details: str,
    currency: str = "EUR",
    direction: str = "DBIT",
    day: str = "2026-10-15",
    reference: str = "",
    status: str = "<Sts><Cd>BOOK</Cd></Sts>",
    info: str = "",
) -> str:
    bank = f"<AcctSvcrRef>{reference}</AcctSvcrRef>" if reference else ""
    block = f"<NtryDtls>{''.join(details)}</NtryDtls>" if details else ""
    words = f"<AddtlNtryInf>{escape(info)}</AddtlNtryInf>" if info else ""
    return (
        f"<Ntry><Amt Ccy='{currency}'>{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>{status}"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>{bank}"
        f"<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>"
        f"{block}{words}</Ntry>"
    )


def statement(
    *entries: str, iban: str = IBAN, statement_id: str = "S1", balances: Sequence[tuple[str, str]] = ()
) -> bytes:
    reported = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy='EUR'>{amount}</Amt>"
        f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-10-15</Dt></Dt></Bal>"
        for code, amount in (balances or (("OPBD", "1000.00"), ("CLBD", "900.00")))
    )
    return (
        "<?xml version='1.0' encoding='UTF-8'?>"
        "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><BkToCstmrStmt>"
        "<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-10-15T20:00:00+02:00</CreDtTm></GrpHdr>"
        f"<Stmt><Id>{statement_id}</Id><ElctrncSeqNb>7</ElctrncSeqNb>"
        f"<CreDtTm>2026-10-15T20:00:00+02:00</CreDtTm><Acct><Id><IBAN>{iban}</IBAN></Id></Acct>{reported}"
        f"{''.join(entries)}</Stmt></BkToCstmrStmt></Document>"
    ).encode()


def status_report(
    message_id: str,
    *,
    group: str | None = None,
    group_reason: str | None = None,
    batches: Sequence[tuple[str, str | None, Sequence[tuple[str, str, str]]]] = (),
) -> bytes:
    """`batches`: (batch id, status, [(end_to_end_id, status, reason code)])."""
    blocks = "".join(
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{batch}</OrgnlPmtInfId>"
        + ("" if status is None else f"<PmtInfSts>{status}</PmtInfSts>")
        + "".join(
            f"<TxInfAndSts><OrgnlEndToEndId>{payment}</OrgnlEndToEndId><TxSts>{reported}</TxSts>"
            f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn><AddtlInf>reported by the bank</AddtlInf></StsRsnInf>"
            "</TxInfAndSts>"
            for payment, reported, reason in payments
        )
        + "</OrgnlPmtInfAndSts>"
        for batch, status, payments in batches
    )
    whole = "" if group is None else f"<GrpSts>{group}</GrpSts>"
    whole += "" if group_reason is None else f"<StsRsnInf><Rsn><Cd>{group_reason}</Cd></Rsn></StsRsnInf>"
    return (
        "<?xml version='1.0' encoding='UTF-8'?>"
        "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:pain.002.001.10'><CstmrPmtStsRpt>"
        "<GrpHdr><MsgId>R1</MsgId><CreDtTm>2026-10-15T09:00:00Z</CreDtTm></GrpHdr>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>{whole}"
        f"</OrgnlGrpInfAndSts>{blocks}</CstmrPmtStsRpt></Document>"
    ).encode()
