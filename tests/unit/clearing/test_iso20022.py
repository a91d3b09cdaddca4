"""Bank messages: what we write passes the official schema, what we read is safe, exact and bounded."""

import html
import io
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import as_file, files
from pathlib import Path

import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st

import clearing
from clearing.errors import (
    ClearingConflictError,
    CurrencyMismatchError,
    InvalidPaymentError,
    UnreadableMessageError,
)
from clearing.iso20022 import camt, pain002, safe_xml
from clearing.iso20022.bank_entry import (
    BankBalance,
    BankEntry,
    BankLine,
    BankLineState,
    UnreadableEntry,
)
from clearing.iso20022.characters import CharacterSet, fold, has_letter_or_digit, is_identifier, is_permitted
from clearing.iso20022.creditor_reference import (
    CreditorReference,
    ReferenceKind,
    is_qr_iban,
    parse_reference,
    qrr_check_digit,
)
from clearing.iso20022.message_kind import kind_of
from clearing.iso20022.pain001 import CreditTransfer, PaymentBatch, PaymentFile, Service, write
from clearing.iso20022.pain002 import CreditTransferOutcome
from clearing.parties.bank_details import (
    TRANSITIONS,
    BankDetails,
    DetailsEvent,
    DetailsState,
    PostalAddress,
    advance,
    check_second_person,
    masked,
)
from tests.fakes import bank

NOW = datetime(2026, 10, 14, 9, 30, tzinfo=UTC)
QR_IBAN = "CH4431999123000889012"
HOME = PostalAddress(street="Bahnhofstrasse", building="1", post_code="8001", town="Zürich", country="CH")
DEBTOR = BankDetails(name="Platform AG", iban="CH9300762011623852957", bic="POFICHBEXXX", address=HOME)
DUTCH = BankDetails(
    name="Laadpunt & Zonen B.V.",
    iban="NL91ABNA0417164300",
    bic="ABNANL2A",
    address=PostalAddress(street="Kade", building="1", post_code="1011AB", town="Amsterdam", country="NL"),
)
SWISS = BankDetails(name="Müller Ladestrom Ş", iban="CH9300762011623852957", address=HOME)


def qr_reference(digits: str) -> CreditorReference:
    """Up to 26 digits, padded on the left, with their check digit."""
    body = digits.rjust(26, "0")
    return CreditorReference(kind=ReferenceKind.QRR, text=f"{body}{qrr_check_digit(body)}")


@pytest.fixture(scope="module")
def schema() -> xmlschema.XMLSchema:
    with as_file(files("sepaxml") / "schemas" / "pain.001.001.09.xsd") as path:
        return xmlschema.XMLSchema(str(path))


def transfer(number: int = 1, **changes: object) -> CreditTransfer:
    fields: dict[str, object] = {
        "end_to_end_id": f"NC{number:032x}",
        "amount_minor": 123_45,
        "currency": "EUR",
        "creditor": DUTCH,
        "remittance": "Sessions of 2026-10-13",
    }
    return CreditTransfer(**{**fields, **changes})  # type: ignore[arg-type]


def payment_file(*batches: PaymentBatch) -> PaymentFile:
    return PaymentFile(message_id="MSG-1", created_at=NOW, debtor=DEBTOR, batches=batches)


def sepa(*transfers: CreditTransfer, service: Service = Service.SEPA, batch_id: str = "B1") -> PaymentBatch:
    return PaymentBatch(
        id=batch_id,
        service=service,
        currency=transfers[0].currency,
        execution_date=date(2026, 10, 15),
        transfers=transfers,
    )


def all_services() -> PaymentFile:
    qr = replace(SWISS, iban=QR_IBAN)
    scor = CreditorReference(kind=ReferenceKind.SCOR, text="RF18539007547034")
    return payment_file(
        sepa(transfer(1), transfer(2, amount_minor=1)),
        sepa(transfer(3), service=Service.SEPA_INSTANT, batch_id="B2"),
        sepa(
            transfer(4, currency="CHF", creditor=SWISS, reference=scor),
            transfer(5, currency="CHF", creditor=qr, reference=qr_reference("210000000003139471430009")),
            transfer(6, currency="CHF", creditor=SWISS, remittance="Zähler Ł €"),
            service=Service.SWISS,
            batch_id="B3",
        ),
    )


# What we write


def test_a_file_of_every_service_passes_the_official_schema(schema: xmlschema.XMLSchema) -> None:
    written = write(all_services())
    schema.validate(io.BytesIO(written.content))
    assert written.count == 6
    assert written.control_sum == Decimal("123.45") * 5 + Decimal("0.01")


@settings(max_examples=40, deadline=None)
@given(
    name=st.text(min_size=1, max_size=140).filter(lambda text: text.strip()),
    remittance=st.text(max_size=300),
    minor=st.integers(1, 99_999_999_999),
)
def test_no_text_or_amount_breaks_the_schema(
    schema: xmlschema.XMLSchema, name: str, remittance: str, minor: int
) -> None:
    creditor = replace(DUTCH, name=name)
    file = payment_file(sepa(transfer(creditor=creditor, remittance=remittance, amount_minor=minor)))
    if not has_letter_or_digit(fold(name, characters=CharacterSet.SEPA, limit=70)):
        with pytest.raises(InvalidPaymentError, match="name or town"):
            write(file)
        return
    written = write(file)
    schema.validate(io.BytesIO(written.content))
    assert written.control_sum.scaleb(2) == minor


def test_the_same_values_are_the_same_bytes() -> None:
    assert write(all_services()).sha256 == write(all_services()).sha256


@pytest.mark.parametrize(
    ("file", "field"),
    [
        (payment_file(sepa(transfer(1), transfer(1))), "twice"),
        (payment_file(sepa(transfer(1)), sepa(transfer(2))), "batch.id"),
        (payment_file(), "payments"),
        (payment_file(sepa(transfer(amount_minor=0))), "more than 0"),
        (payment_file(sepa(transfer(end_to_end_id="/leading"))), "end_to_end_id"),
        (payment_file(sepa(transfer(amount_minor=100_000_000_000))), "at most"),
        (replace(payment_file(sepa(transfer())), message_id="ä"), "message_id"),
        (replace(payment_file(sepa(transfer())), created_at=datetime(2026, 1, 1)), "created_at"),  # noqa: DTZ001
        (payment_file(sepa(transfer(), service=Service.SWISS)), "account in CH or LI"),
        (
            payment_file(
                sepa(transfer(creditor=replace(DUTCH, iban="TR330006100519786457841326", bic=None)))
            ),
            "outside SEPA",
        ),
    ],
)
def test_what_a_bank_would_reject_is_never_written(file: PaymentFile, field: str) -> None:
    with pytest.raises(InvalidPaymentError, match=field):
        write(file)


def test_a_batch_has_one_currency() -> None:
    with pytest.raises(CurrencyMismatchError):
        write(payment_file(sepa(transfer(1), transfer(2, currency="CHF", creditor=SWISS))))


def test_a_qr_iban_and_a_qr_reference_go_together_only() -> None:
    qr = replace(SWISS, iban=QR_IBAN)
    reference = qr_reference("1")
    for changes in (
        {"creditor": qr, "reference": None},
        {"creditor": SWISS, "reference": reference},
        {"creditor": qr, "reference": CreditorReference(kind=ReferenceKind.SCOR, text="RF18539007547034")},
    ):
        with pytest.raises(InvalidPaymentError, match="QR"):
            write(payment_file(sepa(transfer(currency="CHF", **changes), service=Service.SWISS)))


@settings(max_examples=40, deadline=None)
@given(
    name=st.text(min_size=1, max_size=140).filter(lambda text: text.strip()),
    words=st.tuples(st.text(max_size=70), st.text(max_size=300)),
    minor=st.integers(1, 999_999_999_999),
    currency=st.sampled_from(["CHF", "EUR"]),
)
def test_no_text_or_amount_breaks_the_schema_of_a_swiss_file(
    schema: xmlschema.XMLSchema, name: str, words: tuple[str, str], minor: int, currency: str
) -> None:
    creditor = replace(SWISS, name=name, address=replace(HOME, street=words[0]))
    swiss = transfer(creditor=creditor, remittance=words[1], amount_minor=minor, currency=currency)
    if not has_letter_or_digit(fold(name, characters=CharacterSet.SWISS, limit=70)):
        with pytest.raises(InvalidPaymentError, match="name or town"):
            write(payment_file(sepa(swiss, service=Service.SWISS)))
        return
    written = write(payment_file(sepa(swiss, service=Service.SWISS)))
    schema.validate(io.BytesIO(written.content))
    for text in re.findall(r">([^<\n]+)<", written.content.decode()):
        assert all(is_permitted(character, CharacterSet.SWISS) for character in html.unescape(text)), text


@settings(max_examples=30, deadline=None)
@given(
    digits=st.text("0123456789", min_size=1, max_size=26),
    scor=st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=21),
    service=st.sampled_from([Service.SEPA, Service.SEPA_INSTANT]),
)
def test_every_reference_passes_the_schema(
    schema: xmlschema.XMLSchema, digits: str, scor: str, service: Service
) -> None:
    rf = CreditorReference(kind=ReferenceKind.SCOR, text=iso11649_of(scor))
    qr = replace(SWISS, iban=QR_IBAN)
    file = payment_file(
        sepa(transfer(1, reference=rf), service=service),
        sepa(
            transfer(2, currency="CHF", creditor=qr, reference=qr_reference(digits)),
            transfer(3, currency="CHF", creditor=SWISS, reference=rf),
            service=Service.SWISS,
            batch_id="B2",
        ),
    )
    written = write(file)
    schema.validate(io.BytesIO(written.content))
    assert written.content.count(b"<Prtry>QRR</Prtry>") == 1
    assert written.content.count(b"<Cd>SCOR</Cd>") == 2


def iso11649_of(body: str) -> str:
    """A reference with its check digits by ISO 7064 mod 97-10, worked out apart from the code under test."""
    digits = "".join(str(int(character, 36)) for character in f"{body}RF00")
    return f"RF{98 - int(digits) % 97:02d}{body}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"currency": "USD"}, "CHF or EUR"),
        ({"currency": "GBP"}, "CHF or EUR"),
        ({"creditor": DUTCH}, "account in CH or LI"),
        ({"amount_minor": 1_000_000_000_000}, "at most 9999999999.99"),
    ],
)
def test_what_swiss_banks_reject_is_never_written(changes: dict[str, object], message: str) -> None:
    one = transfer(**{"currency": "CHF", "creditor": SWISS, **changes})
    with pytest.raises(InvalidPaymentError, match=message):
        write(payment_file(sepa(one, service=Service.SWISS)))


def test_a_qr_iban_never_pays() -> None:
    debtor = replace(DEBTOR, iban=QR_IBAN, bic=None)
    with pytest.raises(InvalidPaymentError, match="QR-IBAN") as rejected:
        write(replace(payment_file(sepa(transfer())), debtor=debtor))
    assert QR_IBAN not in str(rejected.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("21 00000 00003 13947 14300 09017", ReferenceKind.QRR),
        ("rf18 5390 0754 7034", ReferenceKind.SCOR),
    ],
)
def test_a_reference_is_read_as_it_is_printed(text: str, kind: ReferenceKind) -> None:
    assert parse_reference(text).kind is kind


@pytest.mark.parametrize(
    "text", ["", "RF", "RF19539007547034", "210000000003139471430009018", "INV-1", "٢" * 27]
)
def test_an_invalid_reference_is_named(text: str) -> None:
    with pytest.raises(InvalidPaymentError, match="reference"):
        parse_reference(text)


@pytest.mark.parametrize("kind", ["pain.002.001.10", "camt.052.001.08", "camt.053.001.04", "camt.054.001.08"])
def test_a_message_is_recognized_by_its_first_element(kind: str) -> None:
    content = f"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:{kind}'><a>".encode()
    assert kind_of(io.BytesIO(content)) == kind[:8]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_recognition_of_a_message(content: bytes) -> None:
    with pytest.raises(UnreadableMessageError):
        kind_of(io.BytesIO(content))


def test_no_error_repeats_a_whole_iban() -> None:
    for reported in (masked("NL91ABNA0417164300"), masked("X")):
        assert "ABNA0417" not in reported
    with pytest.raises(InvalidPaymentError) as rejected:
        replace(DUTCH, iban="NL91ABNA0417164301")
    assert "ABNA0417164301" not in str(rejected.value)


# Characters and references


def test_letters_keep_their_sound_and_the_rest_is_shown_as_a_stop() -> None:
    sepa_text = "Müller & Søn\tGmbH \u2013 Łódź \u201cΩ\u201d 中\r\n5€"
    assert fold(sepa_text, characters=CharacterSet.SEPA, limit=70) == "Muller + Son GmbH - Lodz 'O' . 5EUR"
    assert fold("Zähler Ł € Ω", characters=CharacterSet.SWISS, limit=70) == "Zähler Ł € O"


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from(CharacterSet), st.integers(1, 140))
def test_whatever_comes_in_only_permitted_characters_go_out(
    text: str, characters: CharacterSet, limit: int
) -> None:
    folded = fold(text, characters=characters, limit=limit)
    assert len(folded) <= limit
    assert all(is_permitted(character, characters) for character in folded)
    assert fold(folded, characters=characters, limit=limit) == folded


@pytest.mark.parametrize("text", ["", "/a", "a/", "a//b", "ä", "a" * 36, "a\nb"])
def test_identifiers_that_banks_reject(text: str) -> None:
    assert not is_identifier(text)


def test_the_check_digit_of_the_swiss_guidelines_example() -> None:
    # Implementation Guidelines QR-bill: reference 21 00000 00003 13947 14300 09017.
    assert qrr_check_digit("21000000000313947143000901") == 7
    assert qr_reference("21000000000313947143000901").text == "210000000003139471430009017"
    with pytest.raises(InvalidPaymentError):
        CreditorReference(kind=ReferenceKind.QRR, text="210000000003139471430009018")
    with pytest.raises(InvalidPaymentError):
        CreditorReference(kind=ReferenceKind.SCOR, text="RF19539007547034")


def test_qr_ibans_are_those_of_banks_30000_to_31999() -> None:
    assert is_qr_iban(QR_IBAN)
    assert not is_qr_iban("CH9300762011623852957")
    assert not is_qr_iban("DE89370400440532013000")


# Bank details


@pytest.mark.parametrize(
    ("iban", "bic", "field"),
    [
        ("NL92ABNA0417164300", None, "iban"),
        ("NL91 ABNA 0417 1643 00", None, "iban"),
        ("nl91abna0417164300", None, "iban"),
        ("XX91ABNA0417164300", None, "iban"),
        ("NL91ABNA0417164300", "ABNA", "bic"),
        ("NL91ABNA0417164300", "DEUTDEFF", "bic"),
        ("NL91ABNA0417164300", "abnanl2a", "bic"),
    ],
)
def test_a_wrong_iban_or_bic_is_named(iban: str, bic: str | None, field: str) -> None:
    with pytest.raises(InvalidPaymentError) as rejected:
        BankDetails(name="X", iban=iban, bic=bic, address=HOME)
    assert rejected.value.field == field


@pytest.mark.parametrize(
    "changes", [{"town": " "}, {"country": "Nl"}, {"street": "x" * 71}, {"country": "NLD"}]
)
def test_an_address_has_a_town_and_a_country(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidPaymentError, match="address"):
        replace(HOME, **changes)


def test_the_submitter_of_bank_details_does_not_approve_them() -> None:
    with pytest.raises(ClearingConflictError):
        check_second_person("Anna", "anna")
    assert advance(DetailsState.PENDING, DetailsEvent.APPROVE) is DetailsState.APPROVED
    with pytest.raises(ClearingConflictError):
        advance(DetailsState.REJECTED, DetailsEvent.APPROVE)


def test_bank_details_have_one_set_of_states_in_code_schema_and_diagram() -> None:
    home = Path(clearing.__file__).parent
    schema = (home / "sql/migrations/0001_schema.sql").read_text()
    table = schema.split("CREATE TABLE clearing.bank_details")[1].split("state IN (", 1)[1].split(")", 1)[0]
    assert {name.strip(" '") for name in table.split(",")} == set(DetailsState)
    page = (home.parent / "docs/state_machines.md").read_text()
    drawn = page.split("## Bank details", 1)[1].split("```mermaid", 1)[1].split("```", 1)[0]
    steps = {line.strip() for line in drawn.splitlines() if "-->" in line and "[*]" not in line}
    assert steps == {f"{state} --> {after}: {event}" for (state, event), after in TRANSITIONS.items()}


# What we read


def lines(content: bytes) -> list[BankLine]:
    return [one for one in bank.stated(content) if isinstance(one, BankLine)]


def entries(content: bytes) -> list[BankEntry | UnreadableEntry]:
    return [one for one in camt.read(io.BytesIO(content)) if not isinstance(one, BankBalance)]


def test_a_statement_gives_balances_and_one_line_for_each_payment() -> None:
    content = bank.statement(
        bank.entry("30.00", bank.detail("NC1", "10.00"), bank.detail("NC2", "20.00"), reference="E1"),
        bank.entry("5.00", bank.detail("NOTPROVIDED", "5.00", direction="CRDT"), direction="CRDT"),
        bank.entry("7.00", info="account fee"),
    )
    found = list(camt.read(io.BytesIO(content)))
    balances = [one for one in found if isinstance(one, BankBalance)]
    assert [(one.code, one.amount_minor) for one in balances] == [("OPBD", 100000), ("CLBD", 90000)]
    assert balances[0].sequence == 7
    reported = [(line.end_to_end_id, line.amount_minor, line.iban) for line in lines(content)]
    assert reported == [
        ("NC1", -1000, bank.IBAN),
        ("NC2", -2000, bank.IBAN),
        (None, 500, bank.IBAN),
        (None, -700, bank.IBAN),
    ]
    assert lines(content)[3].remittance == "account fee"


def test_a_line_has_the_same_id_in_any_statement_and_order() -> None:
    one = bank.entry("10.00", bank.detail("NC1", "10.00"), reference="E1")
    two = bank.entry("20.00", bank.detail("NC2", "20.00"), reference="E2")
    first = {line.line_id for line in lines(bank.statement(one, two))}
    again = {line.line_id for line in lines(bank.statement(two, one, statement_id="S2"))}
    assert first == again
    assert len(first) == 2


def test_two_equal_lines_in_one_statement_are_two() -> None:
    one = bank.entry("10.00")
    assert len({line.line_id for line in lines(bank.statement(one, one))}) == 2


def test_details_that_do_not_add_up_leave_one_line_for_the_entry() -> None:
    content = bank.statement(bank.entry("30.00", bank.detail("A", "10.00"), bank.detail("B", "19.99")))
    assert [(line.end_to_end_id, line.amount_minor) for line in lines(content)] == [(None, -3000)]


def test_a_return_has_its_reason_and_a_pending_line_does_not_count() -> None:
    content = bank.statement(
        bank.entry("10.00", bank.detail("NC1", "10.00", direction="CRDT", reason="AC04"), direction="CRDT"),
        bank.entry("1.00", status="<Sts>PDNG</Sts>"),
    )
    returned, pending = lines(content)
    assert (returned.return_reason, returned.amount_minor) == ("AC04", 1000)
    assert pending.state is BankLineState.PENDING


@pytest.mark.parametrize(
    "amount", ["1.001", "-1.00", "NaN", "Infinity", "1e5000", "", "abc", "1" * 30, "1_0", "\u0661"]
)
def test_an_amount_is_exact_or_rejected(amount: str) -> None:
    first, unreadable, last = entries(
        bank.statement(bank.entry("1.00"), bank.entry(amount), bank.entry("2.00"))
    )
    assert isinstance(unreadable, UnreadableEntry)
    assert (unreadable.where, unreadable.amount_minor) == ("Ntry[2]", 0)
    assert "Ntry[2]/Amt" in unreadable.problem
    assert [one.amount_minor for one in (first, last)] == [-100, -200]


BOMB = (
    b"<?xml version='1.0'?><!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]>"
    b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><BkToCstmrStmt>&b;"
    b"</BkToCstmrStmt></Document>"
)
XXE = BOMB.replace(b"'aaaa'", b"SYSTEM 'file:///etc/hostname'")


@pytest.mark.parametrize(
    "content",
    [
        BOMB,
        XXE,
        b"",
        b"<",
        b"plain",
        b"\xff\xfe",
        b"<Document/>",
        b"<a>" * 100,
        b"<Document xmlns='urn:other'><Ntry/></Document>",
        b"<?xml version='1.0' encoding='nonsense'?><a/>",
        bank.statement().replace(b"</Stmt>", b""),
    ],
)
def test_hostile_or_broken_statements_are_rejected_with_a_reason(content: bytes) -> None:
    with pytest.raises(UnreadableMessageError):
        list(camt.read(io.BytesIO(content)))
    with pytest.raises(UnreadableMessageError):
        pain002.read(io.BytesIO(content))


def test_bounds_in_bytes_and_text_hold() -> None:
    content = bank.statement(bank.entry("1.00", info="x" * (safe_xml.MAX_TEXT + 1)))
    with pytest.raises(UnreadableMessageError, match="characters"):
        lines(content)
    with pytest.raises(UnreadableMessageError, match="larger"):
        list(safe_xml.subtrees(io.BytesIO(b"<a>" + b" " * 200 + b"</a>"), names=("a",), max_bytes=100))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 600))
def test_no_garbage_passes_the_reader(garbage: bytes, at: int) -> None:
    content = bank.statement(bank.entry("1.00", bank.detail("NC1", "1.00")))
    try:
        for found in camt.read(io.BytesIO(content[:at] + garbage + content[at:])):
            assert isinstance(found, BankEntry | BankBalance | UnreadableEntry)
    except UnreadableMessageError:
        pass


def test_a_statement_of_many_entries_is_read_in_little_memory() -> None:
    import tracemalloc  # noqa: PLC0415

    content = bank.statement(*(bank.entry("1.00", bank.detail(f"NC{n}", "1.00")) for n in range(5_000)))
    tracemalloc.start()
    count = sum(1 for _ in camt.read(io.BytesIO(content)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_002
    assert peak < 4_000_000


# Status reports


def test_only_settled_or_rejected_ends_a_transfer() -> None:
    report = pain002.read(
        io.BytesIO(
            bank.status_report(
                "MSG-1",
                group="ACTC",
                batches=[
                    ("B1", "ACSP", [("NC1", "RJCT", "AC04"), ("NC2", "ACSC", "")]),
                    ("B2", "RJCT", []),
                    ("B3", None, []),
                ],
            )
        )
    )
    assert report.original_message_id == "MSG-1"
    assert report.outcome_of(end_to_end_id="NC1", batch_id="B1") == (
        CreditTransferOutcome.REJECTED,
        "AC04 reported by the bank",
    )
    assert report.outcome_of(end_to_end_id="NC2", batch_id="B1") == (
        CreditTransferOutcome.SETTLED,
        "reported by the bank",
    )
    assert report.outcome_of(end_to_end_id="NC9", batch_id="B1") == (CreditTransferOutcome.PENDING, "")
    assert report.outcome_of(end_to_end_id="NC9", batch_id="B2") == (CreditTransferOutcome.REJECTED, "")
    assert report.outcome_of(end_to_end_id="NC9", batch_id="B3") == (CreditTransferOutcome.PENDING, "")
    assert pain002.outcome_of_status("WHAT") is CreditTransferOutcome.PENDING
    assert pain002.outcome_of_status("ACCP") is CreditTransferOutcome.PENDING
