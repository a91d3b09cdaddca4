"""A settlement statement: its sums, seal, lines' arithmetic, CSV and page, without a store."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import ClearingInvariantViolation, StatementError
from clearing.fx import FxLock, convert
from clearing.language import Language
from clearing.ledger import hash_chain
from clearing.ledger.account_statement import StatementBatch, StatementEntry, batch_record
from clearing.ledger.journal_entry import Transfer
from clearing.settlement_statements.csv_export import (
    closing_rows,
    harmless,
    header_row,
    line_row,
    opening_row,
)
from clearing.settlement_statements.lines import DriverPrice, LineOrigin, OwnSupply, SettlementLine, own_part
from clearing.settlement_statements.page import PRINTED_LINES, Digest, StatementPage, statement_page
from clearing.settlement_statements.statement import (
    DisbursementStatus,
    Payout,
    Statement,
    StatementDocument,
    StatementWriter,
    canonical,
    later_minor,
    seal,
)
from clearing.settlement_statements.verification import check_following, verify_settlement_statement

AT = datetime(2026, 10, 15, 8, 0, tzinfo=UTC)
ACCOUNT = "cpo:NL-ABC:payable"
PAYMENT = UUID(int=7)
KEY = bytes(32)


def line(number: int, minor: int, origin: LineOrigin = LineOrigin.NEW, **changes: Any) -> SettlementLine:
    """A session whose part of its net is `minor`."""
    supply = OwnSupply(
        leg="to_dealer",
        made=True,
        counterparty="platform",
        net_minor=minor,
        vat_minor=0,
        vat_rate=Decimal(0),
        category="AE",
    )
    fields: dict[str, Any] = {
        "subject_id": UUID(int=number << 64 | number),
        "kind": "capture",
        "reference": "",
        "session": f"ses_{number}",
        "about": None,
        "booked_at": AT,
        "currency": "EUR",
        "event_minor": abs(minor) + 21,
        "price": DriverPrice(
            currency="EUR", net_minor=minor, vat_minor=21, vat_rate=Decimal(21), vat_of="NL"
        ),
        "part": own_part(
            [supply],
            psp_fee_minor=0,
            kind="capture",
            amount_minor=minor,
            lock=None,
            exchanged_minor=None,
        ),
        "deducted_minor": 0,
        "lock": None,
        "amount_minor": minor,
        "due_date": AT.date(),
        "origin": origin,
        "sale_at": AT - timedelta(days=2, minutes=number),
        "cdr_id": f"C{number}",
        "authorization_method": "card",
        "tax_jurisdiction": "NL",
        "energy_kwh": Decimal("10.50"),
    }
    return SettlementLine(**{**fields, **changes})


def statement(payout: int, *, opening: int = 0, closing: int = 0, **changes: Any) -> Statement:
    fields: dict[str, Any] = {
        "number": 3,
        "disbursement": "dis_1",
        "disbursement_id": PAYMENT,
        "party_id": "NL-ABC",
        "party_name": "NL-ABC B.V.",
        "country": "NL",
        "time_zone": "Europe/Amsterdam",
        "account": ACCOUNT,
        "currency": "EUR",
        "period": AT.date(),
        "opening_minor": opening,
        "closing_minor": closing,
        "payout": Payout(
            rail="psp",
            amount_minor=payout,
            end_to_end_id="NC1",
            rail_reference="tr_1",
            destination="…6819",
            file=None,
            planned_at=AT,
            paid_at=AT,
        ),
        "issued_at": AT,
    }
    return Statement(**{**fields, **changes})


def sealed(position: int, entries: list[tuple[UUID, str, int, str]], *, previous: bytes) -> StatementBatch:
    """A batch of the journal with one transfer an entry, each on the party's account."""
    shown, leaves = [], []
    for subject, kind, minor, cdr in entries:
        out = (ACCOUNT, "session:transit")
        debit, credit = out if minor < 0 else (out[1], out[0])
        transfer = Transfer(debit, credit, abs(minor), "EUR")
        (blind,) = hash_chain.blinds(KEY, subject_id=subject, kind=kind, reference="", count=1)
        about = hash_chain.entry_header(
            subject_id=subject, kind=kind, reference="", tariff_sha256="", cdr_id=cdr, legs_sha256=""
        )
        leaves.append(hash_chain.hash_entry(about, [transfer], [blind]))
        shown.append((subject, kind, transfer, blind, cdr))
    levels = hash_chain.merkle_levels(leaves)
    digest = hash_chain.batch_hash(
        previous=previous, root=hash_chain.merkle_root(leaves), chain=0, position=position, booked_at=AT
    )
    return StatementBatch(
        batch=UUID(int=position),
        chain=0,
        position=position,
        booked_at=AT,
        previous_hash=previous,
        hash=digest,
        entries=tuple(
            StatementEntry(
                subject_id=subject,
                kind=kind,
                reference="",
                tariff_sha256="",
                cdr_id=cdr,
                legs_sha256="",
                transfers=((transfer, blind),),
                path=tuple(hash_chain.merkle_path(levels, place)),
            )
            for place, (subject, kind, transfer, blind, cdr) in enumerate(shown)
        ),
    )


def written(stated: Statement, lines: list[SettlementLine]) -> list[str]:
    """A whole statement, all of whose lines are of one batch."""
    writer = StatementWriter(stated)
    texts = [writer.opening(), *(writer.line(one) for one in lines)]
    first = sealed(
        1,
        [(one.subject_id, one.kind, one.amount_minor, one.cdr_id or "") for one in lines],
        previous=hash_chain.GENESIS,
    )
    second = sealed(2, [(PAYMENT, "disbursement", -stated.payout.amount_minor, "")], previous=first.hash)
    for batch in (first, second):
        record, _, _ = batch_record(batch, account=ACCOUNT, currency="EUR")
        texts.append(writer.batch(record))
    return [*texts, writer.payment(), writer.closing()]


MINOR = st.integers(-1_000_000, 1_000_000).filter(bool)
LINES = st.lists(st.tuples(MINOR, st.sampled_from(list(LineOrigin))), min_size=1, max_size=12)


@given(parts=LINES, opening=MINOR, closing=MINOR)
def test_what_is_proved_is_what_was_written_for_any_lines(
    parts: list[tuple[int, LineOrigin]], opening: int, closing: int
) -> None:
    lines = [line(number, minor, origin) for number, (minor, origin) in enumerate(parts, start=1)]
    payout = sum(minor for minor, _ in parts)
    texts = written(statement(payout or 1, opening=opening, closing=closing), lines) if payout else []
    if not texts:
        return
    proved = verify_settlement_statement(texts)
    assert (proved.opening_minor, proved.payout_minor, proved.closing_minor) == (opening, payout, closing)
    assert proved.lines == len(parts)
    proof = json.loads(texts[-1])["proof"]
    since = sum(minor for minor, origin in parts if origin is not LineOrigin.CARRIED_FORWARD)
    assert opening + since + proof["later_minor"] == payout + closing


@given(parts=LINES, by=MINOR)
def test_lines_that_are_not_the_disbursement_are_never_written(
    parts: list[tuple[int, LineOrigin]], by: int
) -> None:
    payout = sum(minor for minor, _ in parts)
    lines = [line(number, minor, origin) for number, (minor, origin) in enumerate(parts, start=1)]
    with pytest.raises(ClearingInvariantViolation, match="lines sum to"):
        written(statement(payout + by), lines)


@given(parts=LINES, place=st.integers(0, 30), data=st.data())
def test_any_character_that_is_changed_is_found_in_its_line(
    parts: list[tuple[int, LineOrigin]], place: int, data: st.DataObject
) -> None:
    payout = sum(minor for minor, _ in parts)
    if payout == 0:
        return
    texts = written(statement(payout), [line(number, *one) for number, one in enumerate(parts, start=1)])
    place %= len(texts)
    digits = [at for at, sign in enumerate(texts[place]) if sign.isdigit()]
    at = data.draw(st.sampled_from(digits))
    other = str((int(texts[place][at]) + 1) % 10)
    texts[place] = f"{texts[place][:at]}{other}{texts[place][at + 1 :]}"
    with pytest.raises(StatementError) as rejected:
        verify_settlement_statement(texts)
    assert rejected.value.line == place + 1


def test_a_session_worked_by_hand() -> None:
    # 6.05 captured in the Netherlands, 21 % VAT: 5.00 net; 80 % to the CPO, which bears the fee of 0.34.
    supply = OwnSupply(
        leg="to_dealer",
        made=True,
        counterparty="platform",
        net_minor=400,
        vat_minor=0,
        vat_rate=Decimal(0),
        category="AE",
    )
    part = own_part(
        [supply], psp_fee_minor=34, kind="capture", amount_minor=366, lock=None, exchanged_minor=None
    )
    assert (part.net_minor, part.owed_minor, part.other_minor) == (400, 366, 0)


def test_an_exchange_that_is_not_its_locks_is_a_bug() -> None:
    lock = FxLock(
        base="CHF",
        quote="EUR",
        rate=Decimal("1.0642"),
        source="ECB",
        rate_date=date(2026, 10, 13),
        markup_bps=50,
    )
    supply = OwnSupply(
        leg="commission",
        made=True,
        counterparty="platform",
        net_minor=40,
        vat_minor=3,
        vat_rate=Decimal("8.1"),
        category="S",
    )
    right = convert(43, lock)
    part = own_part(
        [supply], psp_fee_minor=0, kind="capture", amount_minor=right, lock=lock, exchanged_minor=43
    )
    assert part.owed_minor == 43
    with pytest.raises(ClearingInvariantViolation, match="is not the"):
        own_part(
            [supply], psp_fee_minor=0, kind="capture", amount_minor=right + 1, lock=lock, exchanged_minor=43
        )
    # What is reversed is the difference of two exchanges, each rounded: a unit beside it is right.
    back = own_part(
        [supply], psp_fee_minor=0, kind="refund", amount_minor=right + 1, lock=lock, exchanged_minor=None
    )
    assert back.owed_minor == 43


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        (" =x", "' =x"),
        ("|cmd", "'|cmd"),
        ("\uff1dx", "'\uff1dx"),
        ("C-1", "C-1"),
        ("", ""),
    ],
)
def test_no_text_is_run_as_a_formula(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_a_row_preserves_commas_quotes_and_breaks_and_figures_stay_figures() -> None:
    odd = line(1, -400, cdr_id='=HYPERLINK("x"),\r\n"y"', reference="@a")
    text = "\r\n".join([header_row(), line_row(odd, number=1, currency="EUR")])
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["cdr_id"], row["reference"]) == ('\'=HYPERLINK("x"),\r\n"y"', "'@a")
    assert (row["amount"], row["amount_minor"], row["energy_kwh"]) == ("-4.00", "-400", "10.50")


@given(parts=LINES, opening=MINOR, closing=MINOR)
def test_the_rows_of_a_table_sum_to_the_payment(
    parts: list[tuple[int, LineOrigin]], opening: int, closing: int
) -> None:
    lines = [line(number, *one) for number, one in enumerate(parts, start=1)]
    payout = sum(minor for minor, _ in parts)
    facts = statement(payout, opening=opening, closing=closing)
    writer = StatementWriter(facts)
    for one in lines:
        writer.line(one)
    text = "\r\n".join(
        [header_row(), opening_row(facts)]
        + [line_row(one, number=number, currency="EUR") for number, one in enumerate(lines, start=1)]
        + list(closing_rows(facts, writer.tally))
    )
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    by_type = {row["type"]: int(row["amount_minor"]) for row in rows if row["type"] != "line"}
    in_payment = sum(int(row["amount_minor"]) for row in rows if row["type"] == "line")
    since = sum(
        int(row["amount_minor"])
        for row in rows
        if row["type"] == "line" and row["origin"] != "carried_forward"
    )
    assert in_payment == payout == -by_type["payout"]
    assert by_type["opening"] + since + by_type["later"] + by_type["payout"] == by_type["closing"]
    assert all(Decimal(row["amount"]) * 100 == int(row["amount_minor"]) for row in rows)


def page_of(lines: list[SettlementLine], **changes: Any) -> StatementPage:
    facts = statement(sum(one.amount_minor for one in lines))
    writer, digest = StatementWriter(facts), Digest()
    for one in lines:
        writer.line(one)
        digest.add(one)
    assert later_minor(facts, writer.tally) == 0
    return statement_page(
        facts,
        **{
            "status": DisbursementStatus(as_of=AT, state="paid"),
            "tally": writer.tally,
            "digest": digest,
            "seal": "0" * 64,
            "attached": True,
            **changes,
        },
    )


@pytest.mark.parametrize("language", list(Language))
def test_a_page_has_every_sum_and_only_the_first_lines(language: Language) -> None:
    page = page_of([line(number, 400) for number in range(1, 302)], language=language)
    assert len(page.lines) == PRINTED_LINES
    assert str(301 - PRINTED_LINES) in page.more
    assert page.payout[1] == "1204.00 EUR"
    assert list(page.contents_total)[1:] == ["301", "1204.00"]
    assert page.proof[0] == "0.00 + 1204.00 + 0.00 = 1204.00 + 0.00 EUR"
    assert "?" not in page.data()


def test_the_days_of_a_page_are_bounded_and_lose_nothing() -> None:
    lines = [line(number, 100, sale_at=AT - timedelta(days=number)) for number in range(1, 401)]
    page = page_of(lines)
    assert len(page.days) <= 70
    assert sum(Decimal(row[-1]) for row in page.days) == Decimal(400)


def test_a_returned_disbursement_is_named_on_its_page() -> None:
    status = DisbursementStatus(as_of=AT, state="returned", returned_at=AT, reason="AC04 closed account")
    assert (
        page_of([line(1, 400)], status=status).notice
        == "This payment came back on 2026-10-15: AC04 closed account"
    )
    assert page_of([line(1, 400)]).notice == ""
    named = replace(line(1, 400), kind="something_new", session=None)
    assert page_of([named]).contents[0][0] == "Other bookings (something_new)"


def test_the_form_is_the_one_that_others_would_write() -> None:
    # RFC 8785, for what occurs here: names in order, no spaces, integers, texts as they are.
    record = {"b": ["\u20ac", '"\\\n\t\x01', None, True], "a": -12, "\u00e4": {}}
    text = canonical(record)
    assert text == json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert text == '{"a":-12,"b":["\u20ac","\\"\\\\\\n\\t\\u0001",null,true],"\u00e4":{}}'


@given(text=st.text(max_size=30))
def test_any_text_has_one_form(text: str) -> None:
    record = {"text": text}
    assert canonical(record) == json.dumps(record, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    "bad",
    [
        "[]",
        "{",
        "1",
        "{}",
        '{"amount_minor":1.0,"sha256":""}',
        '{"amount_minor":NaN,"sha256":""}',
        f'{{"a":{"9" * 30},"sha256":""}}',
        "[" * 100_000,
        f'{{"a":{"[" * 5000}{"]" * 5000}}}',
    ],
)
def test_what_is_no_record_is_rejected_without_a_crash(bad: str) -> None:
    texts = written(statement(400), [line(1, 400)])
    with pytest.raises(StatementError) as rejected:
        verify_settlement_statement([texts[0], bad, *texts[1:]])
    assert rejected.value.line == 2
    with pytest.raises(StatementError):
        verify_settlement_statement([bad])


def resealed(texts: list[str], change: Any) -> list[str]:
    """What a forger would write: records changed, every seal made again."""
    before, found = "", []
    for text in texts:
        record = change(json.loads(text))
        record.pop("sha256")
        before = seal(before, record)
        found.append(canonical({**record, "sha256": before}))
    return found


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "line",
            {"amount_minor": 401, "owed_minor": 401, "other_minor": 1, "deducted_minor": -1},
            "the journal has 400",
        ),
        ("line", {"price": {"gross_minor": 1, "net_minor": 400, "vat_minor": 21}}, "gross price"),
        ("line", {"cdr_id": "C9"}, "but the journal has 400 for 'C1'"),
        ("line", {"booked_at": "2026-10-01T00:00:00+00:00"}, "but the journal has 400"),
        ("line", {"part_minor": 399}, "sum of its supplies"),
        ("line", {"owed_minor": 399}, "less its costs"),
        ("line", {"deducted_minor": 1}, "deducts"),
        ("line", {"psp_fee_minor": 1, "owed_minor": 399}, "is netted"),
        ("line", {"line": 2}, "expected 1"),
        ("line", {"origin": "elsewhere"}, "not a record"),
        ("line", {"type": "note"}, "unknown type"),
        ("payment", {"amount_minor": 500}, "the journal has -400"),
        ("closing", {"lines": 2}, "says lines"),
        ("statement", {"opening_minor": 5}, "says opening"),
        ("statement", {"disbursement_id": "x"}, "the journal has None"),
        ("statement", {"format": "other"}, "expected format"),
        ("statement", {"account": "cpo:OTHER:payable"}, "journal has"),
    ],
)
def test_a_seal_made_again_is_found(kind: str, changes: dict[str, Any], message: str) -> None:
    texts = written(statement(400), [line(1, 400)])

    def change(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, **changes} if record["type"] == kind else record

    assert verify_settlement_statement(resealed(texts, lambda record: record)).lines == 1
    with pytest.raises(StatementError, match=message):
        verify_settlement_statement(resealed(texts, change))


def test_proof_terms_that_do_not_add_up_are_found() -> None:
    texts = written(statement(400, closing=70), [line(1, 400)])

    def change(record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] == "closing":
            record["proof"]["later_minor"] = 69
        return record

    with pytest.raises(StatementError, match="do not sum to the payout and the closing balance"):
        verify_settlement_statement(resealed(texts, change))


def test_statements_follow_each_other_without_a_gap() -> None:
    first = verify_settlement_statement(written(statement(400, number=1, closing=70), [line(1, 400)]))
    read = verify_settlement_statement(written(statement(500, number=2, opening=70), [line(1, 500)]))
    second = replace(read, heads={0: (4, "aa")})
    check_following(first, second)
    for other, message in (
        (replace(second, number=3), "would follow"),
        (replace(second, currency="CHF"), "would follow"),
        (replace(second, opening_minor=69), "closed with 70"),
        (replace(second, heads={0: (2, "ff")}), "another batch 2"),
    ):
        with pytest.raises(StatementError, match=message):
            check_following(first, other)


def test_what_became_of_the_payment_is_sealed_but_no_part_of_the_statement() -> None:
    facts = statement(400)
    texts = written(facts, [line(1, 400)])
    writer = StatementWriter(facts)
    writer.seal = json.loads(texts[-1])["sha256"]
    status = writer.status(DisbursementStatus(as_of=AT, state="returned", returned_at=AT, reason="AC04"))
    proved = verify_settlement_statement([*texts, status])
    assert (proved.status, proved.sha256) == ("returned", verify_settlement_statement(texts).sha256)
    with pytest.raises(StatementError, match="altered"):
        verify_settlement_statement([*texts, status.replace("AC04", "AC06")])
    with pytest.raises(StatementError):
        verify_settlement_statement([*texts, status, status])


def test_many_documents_are_counted_where_not_all_are_named() -> None:
    named = [
        StatementDocument(number=f"SB-{n}", type_code=389, gross_minor=1, currency="EUR", issued_at=AT)
        for n in range(50)
    ]
    facts = statement(400, documents=named, documents_total=61)
    digest, writer = Digest(), StatementWriter(facts)
    writer.line(line(1, 400))
    page = statement_page(
        facts,
        status=DisbursementStatus(as_of=AT, state="paid"),
        tally=writer.tally,
        digest=digest,
        seal="",
        attached=False,
    )
    assert page.more_documents.startswith("11 further documents")
    assert json.loads(StatementWriter(facts).opening())["documents_total"] == 61
