"""Entries of the bank: read one by one, divided where the bank tells, detailed by notifications."""

import io
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.bank_transfers.entry_matching import (
    FiledPayment,
    as_notice,
    by_entry,
    detailed_lines,
    match_notices,
    payment_lines,
    stored,
    sums,
)
from clearing.iso20022 import camt
from clearing.iso20022.bank_entry import BankEntry, UnreadableEntry
from clearing.iso20022.characters import CharacterSet, fold
from clearing.parties.bank_details import BankDetails, PostalAddress, is_payable_by_bank
from clearing.payouts.disbursement import DisbursementState
from clearing.payouts.netting import DueSum, HoldReason, hold_reason
from tests.fakes import bank
from tests.fakes import clearing_fixtures as world

DAY = date(2026, 10, 15)


def read(content: bytes) -> list[BankEntry]:
    return [one for one in camt.read(io.BytesIO(content)) if isinstance(one, BankEntry)]


def notification(*entries: str, iban: str = bank.IBAN) -> bytes:
    """The same entries as a camt.054."""
    content = bank.statement(*entries, iban=iban, statement_id="N1", balances=(("ITBD", "0"),))
    return (
        content.replace(b"camt.053.001.08", b"camt.054.001.08")
        .replace(b"BkToCstmrStmt", b"BkToCstmrDbtCdtNtfctn")
        .replace(b"Stmt>", b"Ntfctn>")
    )


def cases() -> Path:
    folder = os.environ.get("CASES_DIR")
    if not folder:
        pytest.skip("CASES_DIR is not set: the bank files of tests/data are not at hand")
    return Path(folder) / "bank"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("03-batch-tx-amount-only-instd", [("E1", -1000), ("E2", -2000)]),
        ("07-fx-batch-cntrval", [("E1", -940), ("E2", -1880)]),
        ("camt053-v02-batch-instdamt", [("NC-E1", -1000), ("NC-E2", -2000)]),
        ("18-nodates-one-of-two", [("E1", -1000), ("E2", -1100)]),
        ("camt053-two-accounts", [(None, -1000)]),
    ],
)
def test_every_case_of_the_field_is_divided_as_the_bank_tells(
    name: str, expected: list[tuple[str | None, int]]
) -> None:
    found = read((cases() / f"{name}.xml").read_bytes())
    assert [(line.end_to_end_id, line.amount_minor) for one in found for line in one.lines] == expected


def test_a_batch_without_details_names_our_batch() -> None:
    (entry,) = read((cases() / "02-batch-no-details-pmtinf.xml").read_bytes())
    assert (entry.itemized, entry.batch_ids) == (False, ["NC1-B1"])


def test_public_samples_of_every_version_are_read_without_a_fault() -> None:
    folder = os.environ.get("CAMT_DIR")
    if not folder:
        pytest.skip("CAMT_DIR is not set: the public samples are not at hand")
    files = sorted(Path(folder).glob("*.xml"))
    assert len(files) == 5
    for file in files:
        found = list(camt.read(io.BytesIO(file.read_bytes())))
        assert any(isinstance(one, BankEntry) for one in found), file.name
        assert not any(isinstance(one, UnreadableEntry) for one in found), file.name


# One entry


def detail(body: str, *, payment: str | None = None) -> str:
    refs = "" if payment is None else f"<Refs><EndToEndId>{payment}</EndToEndId></Refs>"
    return f"<TxDtls>{refs}{body}</TxDtls>"


def amount(kind: str, figure: str, currency: str = "EUR") -> str:
    return f"<AmtDtls><{kind}><Amt Ccy='{currency}'>{figure}</Amt></{kind}></AmtDtls>"


@pytest.mark.parametrize("kind", ["InstdAmt", "TxAmt", "CntrValAmt", "AnncdPstngAmt"])
def test_a_batch_is_divided_by_whichever_amount_is_in_its_currency_and_adds_up(kind: str) -> None:
    details = [detail(amount(kind, "10.00"), payment="A"), detail(amount(kind, "20.00"), payment="B")]
    (entry,) = read(bank.statement(bank.entry("30.00", *details)))
    assert [(one.end_to_end_id, one.amount_minor) for one in entry.lines] == [("A", -1000), ("B", -2000)]


@pytest.mark.parametrize(
    "charges",
    [
        "<Chrgs><Rcrd><Amt Ccy='EUR'>0.50</Amt><CdtDbtInd>DBIT</CdtDbtInd></Rcrd></Chrgs>",
        "<Chrgs><Amt Ccy='EUR'>0.50</Amt></Chrgs>",  # version 02
        "<Chrgs><TtlChrgsAndTaxAmt Ccy='EUR'>0.50</TtlChrgsAndTaxAmt></Chrgs>",
    ],
)
def test_charges_in_an_entry_are_a_line_of_their_own(charges: str) -> None:
    details = [detail(amount("InstdAmt", "10.00"), payment="A"), detail(amount("InstdAmt", "20.00"))]
    whole = bank.entry("30.50", *details).replace("<BkTxCd>", f"{charges}<BkTxCd>", 1)
    (entry,) = read(bank.statement(whole))
    assert [one.amount_minor for one in entry.lines] == [-1000, -2000, -50]
    assert entry.lines[2].end_to_end_id is None
    assert entry.lines[2].remittance == "bank charges"
    one = detail(amount("InstdAmt", "30.00"), payment="A")
    (single,) = read(bank.statement(bank.entry("30.50", one).replace("<BkTxCd>", f"{charges}<BkTxCd>", 1)))
    assert [(line.end_to_end_id, line.amount_minor) for line in single.lines] == [("A", -3000), (None, -50)]


def test_the_instruction_id_stands_for_an_end_to_end_id_that_the_bank_leaves_out() -> None:
    one = detail("<Refs><EndToEndId>NOTPROVIDED</EndToEndId><InstrId>NC1</InstrId></Refs>")
    (entry,) = read(bank.statement(bank.entry("30.00", one)))
    assert (entry.lines[0].end_to_end_id, entry.itemized) == ("NC1", True)


def undated(figure: str, payment: str, reference: str = "") -> str:
    whole = bank.entry(figure, detail("", payment=payment), reference=reference)
    start, end = whole.index("<BookgDt>"), whole.index("</ValDt>") + len("</ValDt>")
    return whole[:start] + whole[end:]


def test_an_entry_without_dates_has_the_day_of_its_statement_in_the_banks_country() -> None:
    content = bank.statement(undated("1.00", "A", "R1"))
    (entry,) = read(content.replace(b"2026-10-15T20:00:00+02:00", b"2026-10-15T22:30:00Z"))
    assert (entry.booked_on, entry.dated) == (date(2026, 10, 16), False)
    period = (
        b"</ElctrncSeqNb><CreDtTm>2026-10-20T08:00:00Z</CreDtTm><FrToDt>"
        b"<FrDtTm>2026-10-15T00:00:00</FrDtTm><ToDtTm>2026-10-16T00:00:00</ToDtTm></FrToDt>"
    )
    (entry,) = read(content.replace(b"</ElctrncSeqNb>", period, 1))
    assert entry.booked_on == DAY  # the period ends at midnight: its last day is the one before


def test_an_entry_without_dates_is_the_same_in_a_statement_of_another_day() -> None:
    first = bank.statement(undated("1.00", "A", "R1"))
    later = first.replace(b"2026-10-15T20", b"2026-10-17T20")
    assert read(first)[0].entry_id == read(later)[0].entry_id
    assert read(first)[0].lines[0].line_id == read(later)[0].lines[0].line_id


@pytest.mark.parametrize(
    ("iban", "time", "expected"),
    [
        ("DE89370400440532013000", "2026-10-14T22:30:00Z", DAY),
        ("DE89370400440532013000", "2026-10-15T00:30:00", DAY),
        ("GB82WEST12345698765432", "2026-10-15T00:30:00+02:00", date(2026, 10, 14)),
        ("FI2112345600000785", "2026-12-14T22:00:00Z", date(2026, 12, 15)),
        ("SOME-ACCOUNT", "2026-10-15T23:30:00Z", DAY),
    ],
)
def test_a_time_is_the_day_of_the_banks_country(iban: str, time: str, expected: date) -> None:
    whole = bank.entry("1.00").replace("<Dt>2026-10-15</Dt>", f"<DtTm>{time}</DtTm>")
    (entry,) = read(bank.statement(whole, iban=iban))
    assert entry.booked_on == expected


@pytest.mark.parametrize(
    ("bad", "minor"),
    [
        (bank.entry("1.00", day="2026-13-01"), -100),
        (bank.entry("1.00", direction="BOTH"), 0),
        (bank.entry("1.00", currency="XXQ"), 0),
        (bank.entry("1.001"), 0),
    ],
)
def test_one_bad_entry_spoils_no_other_and_counts_as_far_as_it_can_be_read(bad: str, minor: int) -> None:
    good = bank.entry("2.00", bank.detail("A", "2.00"))
    found = [
        one
        for one in camt.read(io.BytesIO(bank.statement(good, bad, good)))
        if isinstance(one, BankEntry | UnreadableEntry)
    ]
    assert [type(one) for one in found] == [BankEntry, UnreadableEntry, BankEntry]
    assert isinstance(found[1], UnreadableEntry)
    assert (found[1].amount_minor, found[1].where, found[1].on) == (minor, "Ntry[2]", DAY)
    again = [one for one in camt.read(io.BytesIO(bank.statement(good, bad))) if one == found[1]]
    assert len(again) == 1


def test_a_bad_balance_is_reported_and_a_bad_notification_is_no_money() -> None:
    balance = bank.statement(bank.entry("2.00")).replace(b"1000.00", b"1e3")
    (fault,) = [one for one in camt.read(io.BytesIO(balance)) if isinstance(one, UnreadableEntry)]
    assert (fault.where, fault.amount_minor) == ("Bal", 0)
    (fault,) = [
        one
        for one in camt.read(io.BytesIO(notification(bank.entry("1.00", day="2026-13-01"))))
        if isinstance(one, UnreadableEntry) and one.where == "Ntry[1]"
    ]
    assert fault.amount_minor == 0


# Notifications


def pair(
    entry: str, *notices: str, day: str = "2026-10-15"
) -> tuple[BankEntry, dict[str, list[tuple[str | None, int]]]]:
    (found,) = read(bank.statement(entry))
    details = [as_notice(one, message="m") for one in read(notification(*notices))]
    matched = match_notices([stored(found)], details)
    lines = {
        entry_id: [
            (line.end_to_end_id, line.amount_minor) for line in detailed_lines(stored(found), ones) or ()
        ]
        for entry_id, ones in matched.items()
    }
    return found, lines


@pytest.mark.parametrize(
    ("entry", "notice"),
    [
        (
            bank.entry("11.32", reference="BK-1"),
            bank.entry("11.32", bank.detail("NC1", "11.32", reference="BK-1-1"), reference="BK-1"),
        ),
        (  # other references for the same movement, on the same day
            bank.entry("11.32", reference="BK-1"),
            bank.entry("11.32", bank.detail("NC1", "11.32"), reference="OTHER"),
        ),
        (  # the day differs, a reference is shared
            bank.entry("11.32", reference="BK-1"),
            bank.entry("11.32", bank.detail("NC1", "11.32", reference="BK-1"), day="2026-10-13"),
        ),
        (  # the notification has no day of its own
            bank.entry("11.32", day="2026-10-16"),
            undated("11.32", "NC1"),
        ),
    ],
)
def test_a_notification_details_the_entry_of_its_movement(entry: str, notice: str) -> None:
    found, lines = pair(entry, notice)
    assert lines == {found.entry_id: [("NC1", -1132)]}


@pytest.mark.parametrize(
    "notice",
    [
        bank.entry("11.33", bank.detail("NC1", "11.33"), reference="BK-1"),
        bank.entry("11.32", bank.detail("NC1", "11.32"), day="2026-10-13"),
        bank.entry("11.32", bank.detail("NC1", "11.32", direction="CRDT"), direction="CRDT"),
    ],
)
def test_a_notification_of_another_movement_details_nothing(notice: str) -> None:
    _, lines = pair(bank.entry("11.32", reference="BK-1"), notice)
    assert lines == {}


def test_several_notifications_detail_one_collective_entry() -> None:
    found, lines = pair(
        bank.entry("30.00", reference="COLL"),
        bank.entry("10.00", bank.detail("A", "10.00"), reference="X1"),
        bank.entry("20.00", bank.detail("B", "20.00"), reference="X2"),
    )
    assert lines == {found.entry_id: [("A", -1000), ("B", -2000)]}


@settings(deadline=None, max_examples=60)
@given(
    minors=st.lists(st.integers(1, 3), min_size=1, max_size=8),
    references=st.sampled_from(["same", "none"]),
    order=st.randoms(use_true_random=False),
)
def test_each_notification_belongs_to_one_entry_at_most_and_sums_to_it(
    minors: list[int], references: str, order: object
) -> None:
    keep = references == "same"
    entries = [bank.entry(f"{minor}.00", reference=f"S{n}" if keep else "") for n, minor in enumerate(minors)]
    notices = [
        bank.entry(f"{minor}.00", bank.detail(f"P{n}", f"{minor}.00"), reference=f"S{n}" if keep else "")
        for n, minor in enumerate(minors)
    ]
    getattr(order, "shuffle")(notices)  # noqa: B009 - Hypothesis types it as object
    stored_entries = [stored(one) for one in read(bank.statement(*entries))]
    details = [as_notice(one, message="m") for one in read(notification(*notices))]
    assert {one.amount_minor for one in stored_entries} <= sums(details)
    matched = match_notices(stored_entries, details)
    assert len(matched) == len(minors)
    used = [one.notice_id for ones in matched.values() for one in ones]
    assert sorted(used) == sorted(one.notice_id for one in details)
    for entry in stored_entries:
        assert sum(one.amount_minor for one in matched[entry.entry_id]) == entry.amount_minor
        if keep:
            (only,) = matched[entry.entry_id]
            assert only.references & entry.references


# Two equal payments of one day


def apart(first: bytes, second: bytes) -> bool:
    (one,), (two,) = read(first), read(second)
    assert not {line.line_id for line in one.lines} & {line.line_id for line in two.lines} or (
        one.entry_id == two.entry_id
    )
    return one.entry_id != two.entry_id


def named(payment: str | None) -> list[str]:
    return [] if payment is None else [detail(amount("TxAmt", "4.00"), payment=payment)]


@pytest.mark.parametrize("payments", [("NC1", "NC2"), (None, None), ("NC1", None)])
def test_equal_entries_of_two_statements_of_a_day_are_two_without_any_reference(
    payments: tuple[str | None, str | None],
) -> None:
    first, second = (
        bank.statement(
            bank.entry(
                "4.00", *([] if payment is None else [detail(amount("TxAmt", "4.00"), payment=payment)])
            ),
            statement_id=f"S{number}",
        )
        for number, payment in enumerate(payments)
    )
    assert apart(first, second)
    assert not apart(first, first.replace(b"<MsgId>M1</MsgId>", b"<MsgId>M2</MsgId>"))  # sent again


def test_equal_entries_of_one_statement_are_two_and_stay_two_when_it_is_sent_again() -> None:
    content = bank.statement(bank.entry("4.00"), bank.entry("4.00"))
    assert len({one.entry_id for one in read(content) + read(content)}) == 2
    assert len({line.line_id for one in read(content) + read(content) for line in one.lines}) == 2


def test_equal_notifications_that_name_two_payments_are_two_and_one_sent_again_is_one() -> None:
    first, second = (
        notification(bank.entry("4.00", detail(amount("TxAmt", "4.00"), payment=payment)))
        for payment in ("NC1", "NC2")
    )
    assert apart(first, second)
    assert not apart(first, first.replace(b"<Id>N1</Id>", b"<Id>N2</Id>"))  # the next intraday report


def test_an_entry_that_lacks_its_details_comes_before_one_that_has_them() -> None:
    has, lacks = (
        stored(one)
        for one in read(
            bank.statement(
                bank.entry("4.00", detail(amount("TxAmt", "4.00"), payment="NC1"), reference="A"),
                bank.entry("4.00", reference="B"),
            )
        )
    )
    (notice,) = read(notification(bank.entry("4.00", bank.detail("NC2", "4.00"), reference="C")))
    matched = match_notices([has, lacks], [as_notice(notice, message="m")])
    assert set(matched) == {lacks.entry_id}


# Our own payments


def filed(number: int, minor: int, *, batch: str = "M-1", state: str = "requested") -> FiledPayment:
    return FiledPayment(
        batch_id=batch,
        message_id="M",
        end_to_end_id=f"NC{number}",
        amount_minor=minor,
        currency="EUR",
        state=DisbursementState(state),
    )


def collective(figure: str, btch: str) -> BankEntry:
    (entry,) = read(bank.statement(bank.entry(figure, f"<Btch>{btch}</Btch>")))
    return entry


def test_a_collective_entry_is_what_we_put_into_the_batch_or_file_that_it_names() -> None:
    payments = [filed(1, 1000), filed(2, 2000), filed(3, 500, batch="M-2"), filed(4, 70, state="failed")]
    for figure, btch, expected in (
        ("30.70", "<PmtInfId>M-1</PmtInfId>", ["NC1", "NC2", "NC4"]),
        ("30.00", "<PmtInfId>M-1</PmtInfId>", ["NC1", "NC2"]),
        ("35.00", "<MsgId>M</MsgId>", ["NC1", "NC2", "NC3"]),
        ("30.00", "<MsgId>M</MsgId><PmtInfId>M-1</PmtInfId>", ["NC1", "NC2"]),
    ):
        entry = collective(figure, btch)
        lines = payment_lines(entry, payments)
        assert lines is not None, (figure, btch)
        assert [one.end_to_end_id for one in lines] == expected
        assert sum(one.amount_minor for one in lines) == entry.amount_minor
    assert payment_lines(collective("30.01", "<PmtInfId>M-1</PmtInfId>"), payments) is None


def test_payments_named_without_amounts_have_those_that_we_requested() -> None:
    details = [detail("", payment="NC1"), detail("", payment="NC2")]
    (entry,) = read(bank.statement(bank.entry("30.00", *details)))
    lines = payment_lines(entry, [filed(1, 1000), filed(2, 2000)])
    assert lines is not None
    assert [(one.end_to_end_id, one.amount_minor) for one in lines] == [("NC1", -1000), ("NC2", -2000)]
    assert payment_lines(entry, [replace(filed(1, 1000), currency="CHF"), filed(2, 2000)]) is None


def test_our_payments_explain_one_entry_at_most() -> None:
    one = collective("30.00", "<PmtInfId>M-1</PmtInfId>")
    two = replace(one, entry_id="other")
    found = by_entry([filed(1, 1000), filed(2, 2000)], [one, two])
    assert set(found) == {one.entry_id}


# What a bank takes


@pytest.mark.parametrize(
    ("name", "latin"),
    [
        ("Ηλεκτρική Θεσσαλονίκης", "Ilektriki THessalonikis"),
        ("Ψυχή Χανίων", "PSychi CHanion"),
        ("Енерго Щит ЕООД Южен Жълъд", "Energo SHTit EOOD YUzhen ZHalad"),
        ("Електромрежа Љубљана", "Elektromrezha LJubljana"),
        ("Ёлка, Київ", "Elka, Kiiv"),
    ],
)
def test_greek_and_cyrillic_names_are_transliterated_by_the_table_of_the_epc(name: str, latin: str) -> None:
    assert fold(name, characters=CharacterSet.SEPA, limit=70) == latin


@pytest.mark.parametrize("currency", ["SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "GBP"])
def test_currencies_with_a_national_scheme_are_not_paid_by_our_files(currency: str) -> None:
    assert not is_payable_by_bank(currency, "SE4550000000058398257466")


def test_euro_goes_to_sepa_and_francs_to_switzerland_only() -> None:
    assert is_payable_by_bank("EUR", "NL91ABNA0417164300")
    assert is_payable_by_bank("EUR", "CH9300762011623852957")
    assert is_payable_by_bank("CHF", "CH9300762011623852957")
    assert not is_payable_by_bank("CHF", "NL91ABNA0417164300")
    assert not is_payable_by_bank("EUR", "TR330006100519786457841326")


def test_a_sum_that_no_file_can_pay_is_never_planned_and_says_why() -> None:
    account = BankDetails(
        name="Laddning AB",
        iban="SE4550000000058398257466",
        address=PostalAddress(town="Stockholm", country="SE"),
    )
    party = replace(
        world.NL_CPO,
        settlement_currency="SEK",
        payout_terms=replace(world.NL_CPO.payout_terms, bank=account),
    )
    due = DueSum(party_id=party.id, currency="SEK", period=DAY, amount_minor=100_00, count=1)
    assert hold_reason(due, party) is HoldReason.CURRENCY
    assert hold_reason(replace(due, currency="EUR"), party) is None
