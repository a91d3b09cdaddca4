"""The books of a month: computed a second time from its events, and exported in every form."""

import csv
import io
import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from xml.etree import ElementTree as ET

import pytest

from clearing.books import datev
from clearing.books.chart import bundled_chart
from clearing.books.journal import BooksForm, dialect
from clearing.books.journal_request import DatevClient, JournalProof, JournalRequest
from clearing.books.period import BooksPeriod, parse_monthly_rates, parse_period
from clearing.books.saft import NAMESPACE
from clearing.books.service import BooksService
from clearing.captured_session import FundingSource
from clearing.documents import invoice_service
from clearing.errors import ClearingInvariantViolation, InvalidBooksRequestError, RateUnavailableError
from clearing.iso20022.bank_entry import BankLine
from clearing.ledger import service as ledger_service
from clearing.parties.agreement import LegalModel, Role, Share
from clearing.payouts.disbursement import Disbursement
from clearing.reference_data import bundled_data
from clearing.settlement_statements.verification import verify_settlement_statement
from gateway.database import Pool, transaction
from gateway.jobs.driver_documents import DriverDocumentJob
from tests.fakes import bank
from tests.fakes import clearing_fixtures as world
from tests.fakes.market_month import RESERVE, Company, Month, Sale, compute, half_up
from tests.integration.test_bank_files import ACCOUNT, DUTCH, confirm
from tests.integration.test_buyers import buyer
from tests.integration.test_disbursements import System
from tests.integration.test_driver_documents import FixedClock
from tests.integration.test_settlement_statements import write

OCTOBER = BooksPeriod(first=date(2026, 10, 1), last=date(2026, 10, 31), time_zone="Europe/Zurich")
CLEARED_AT = datetime(2026, 10, 13, 15, 0, tzinfo=UTC)
COMPANIES = {
    "NL-ABC": Company(country="NL", currency="EUR"),
    "DE-XYZ": Company(country="DE", currency="EUR"),
    "CH-ALP": Company(country="CH", currency="CHF"),
    "hotel": Company(country="NL", currency="EUR"),
    "superapp": Company(country="DE", currency="EUR"),
    "parking": Company(country="CH", currency="CHF"),
}
CPOS = {"NL-ABC": world.NL_CPO, "DE-XYZ": world.DE_CPO, "CH-ALP": world.CH_CPO}
SHARES = (
    Share(role=Role.DEMAND_PARTNER, basis_points=800),
    Share(role=Role.PLATFORM, basis_points=1200),
    Share(role=Role.SITE_HOST, basis_points=500),
)
MODELS = {
    "NL-ABC": LegalModel.RESELLER,
    "DE-XYZ": LegalModel.DISCLOSED_AGENT,
    "CH-ALP": LegalModel.RESELLER,
}
FUNDS = 1_000_00
FUNDED = [("superapp", "EUR"), ("superapp", "CHF"), ("parking", "EUR"), ("parking", "CHF")]
VAT_PERCENT = {"NL": "21.0", "DE": "19.0", "CH": "8.1"}


def sales() -> list[Sale]:
    """Thirty sessions of three countries, two partners and a site host.

    Some were refunded, some disputed, some corrected by a credit CDR.
    """
    found = []
    for number in range(1, 31):
        cpo = list(CPOS)[number % 3]
        company = COMPANIES[cpo]
        net = 500 + 37 * number  # of 10 kWh
        vat = Fraction(VAT_PERCENT[company.country])
        gross = int(net * (100 + vat) / 100 + Fraction(1, 2))
        found.append(
            Sale(
                number=number,
                cpo=cpo,
                country=company.country,
                currency=company.currency,
                partner="parking" if number % 4 == 0 else "superapp",
                gross=gross,
                psp_fee=0 if number % 6 == 4 else 20 + number,
                site="hotel" if cpo == "NL-ABC" and number % 2 == 0 else "",
                refunds=_refunds(number, gross),
                corrected=111 if number % 10 == 2 else 0,
                by_cpo=cpo == "DE-XYZ",
                disputed=number % 10 == 7,
                prepaid=number % 6 == 4,
                business=number in {18, 24},
            )
        )
    return found


def _refunds(number: int, gross: int) -> tuple[int, ...]:
    """The whole, a third in one step, or two uneven parts."""
    return {3: (gross,), 5: (gross // 3,), 9: (101, gross // 2)}.get(number % 10, ())


class MonthOfMarket(System):
    """A month in clearing, and the same month computed without it."""

    async def open(self) -> None:
        """Every party agreed to self-billing, and every CPO to share with a site host."""
        reference_data = self.service.reference_data
        async with transaction(self.pool) as connection:
            await reference_data.import_bundled_rates(connection, now=CLEARED_AT)
            for party in world.PARTIES.values():
                agreed = replace(party, self_billing_since=OCTOBER.first)
                await reference_data.register_party(connection, agreed, now=CLEARED_AT)
            for cpo in CPOS.values():
                await reference_data.put_agreement(
                    connection,
                    world.agreement(cpo, shares=SHARES, legal_model=MODELS[cpo.id]),
                    now=CLEARED_AT,
                )

    async def play(self) -> Month:
        await self.open()
        await self.terms(world.NL_CPO, reserve_bps=1000, reserve_days=5)
        await confirm(self, DUTCH)
        await self._fund()
        for sale in sales():
            await self._sell(sale)
        for sale in sales():
            await self._give_back(sale)
        await self._name_business()
        month = compute(sales(), COMPANIES, _rates())
        for partner, currency in FUNDED:
            month.balances[f"partner:{partner}:funds", currency] += FUNDS
            month.balances["psp:stripe:receivable", currency] -= FUNDS
        return month

    async def _fund(self) -> None:
        """The partners pay in advance for the sessions that they bring without a card."""
        async with transaction(self.pool) as connection:
            for partner, currency in FUNDED:
                await ledger_service.record_partner_funding(
                    connection,
                    partner_id=partner,
                    minor=FUNDS,
                    currency=currency,
                    reference=f"{partner}-{currency}",
                    now=CLEARED_AT,
                )

    async def _name_business(self) -> None:
        """A business says after clearing that it bought some sessions."""
        async with transaction(self.pool) as connection:
            await self.service.reference_data.register_party(connection, buyer("NL"), now=CLEARED_AT)
            for sale in sales():
                if sale.business:
                    await self.service.sessions.change_buyer(
                        connection,
                        world.session_id(sale.number),
                        buyer_id=buyer("NL").id,
                        now=CLEARED_AT + timedelta(hours=2),
                    )

    async def _sell(self, sale: Sale) -> None:
        cpo = CPOS[sale.cpo]
        price = Decimal(500 + 37 * sale.number) / 1000  # of a kWh
        session = world.session(
            sale.number,
            cpo,
            demand_partner_id=sale.partner,
            site_host_id=sale.site or None,
            captured_minor=sale.gross,
            psp_fee_minor=sale.psp_fee or None,
            psp_fee_currency=sale.currency if sale.psp_fee else None,
            funding=FundingSource.PARTNER_ACCOUNT if sale.prepaid else FundingSource.PSP,
            psp_object_id=None if sale.prepaid else f"pi_{sale.number}",
            tariff_json=world.tariff_json(cpo, price=f"{price:f}", vat=VAT_PERCENT[sale.country]),
        )
        async with transaction(self.pool) as connection:
            batch = await self.service.sessions.clear_batch(
                connection, [session], now=CLEARED_AT, batch_id=world.session_id(10_000 + sale.number)
            )
        assert len(batch.cleared) == 1, batch.uncleared

    async def _give_back(self, sale: Sale) -> None:
        now = CLEARED_AT + timedelta(hours=1)
        identifier = world.session_id(sale.number)
        async with transaction(self.pool) as connection:
            refunds = [(f"re_{sale.number}_{part}", minor) for part, minor in enumerate(sale.refunds)]
            # What a credit CDR takes off is given back as a refund is, under the CDR's name.
            corrected = [(f"CREDIT-{sale.number}", sale.corrected)] if sale.corrected else []
            for reference, minor in [*refunds, *corrected]:
                await self.service.sessions.refund(
                    connection, identifier, minor=minor, reference=reference, now=now
                )
            if sale.disputed:
                await self.service.sessions.open_dispute(
                    connection,
                    identifier,
                    minor=sale.gross,
                    fee_minor=0,
                    reference=f"du_{sale.number}",
                    now=now,
                )

    async def export(self, **changes: object) -> tuple[bytes, JournalProof]:
        request = JournalRequest(
            period=OCTOBER, form=BooksForm.CSV, chart=bundled_chart(), dialect=dialect("rfc4180")
        )
        found = bytearray()

        async def keep(content: bytes) -> None:
            found.extend(content)

        async with transaction(self.pool, isolation="repeatable_read") as connection:
            proof = await self.books.write_journal(
                connection,
                replace(request, **changes),
                keep,
                now=CLEARED_AT,  # type: ignore[arg-type]
            )
        return bytes(found), proof

    async def bank_file(self, now: datetime) -> list[int]:
        """The amounts of the payment file of a day, in minor units."""
        async with transaction(self.pool) as connection:
            made = await self.service.bank_transfers(debtor=ACCOUNT).create_payment_file(
                connection, execution_date=now.date(), now=now
            )
        assert made.file is not None
        root = ET.fromstring(made.file.content)  # noqa: S314 - our own file
        return [int(Decimal(one.text or "") * 100) for one in root.iter() if one.tag.endswith("InstdAmt")]

    async def bank_books(self, payment: Disbursement, now: datetime, *, direction: str = "DBIT") -> None:
        """The bank's statement of a day has the payment, or (CRDT) its return."""
        amount = f"{Decimal(payment.amount_minor) / 100:f}"
        item = bank.detail(
            payment.end_to_end_id,
            amount,
            direction=direction,
            reason="AC04" if direction == "CRDT" else None,
        )
        content = bank.statement(bank.entry(amount, item, direction=direction, day=f"{now:%Y-%m-%d}"))
        lines = [line for line in bank.stated(content) if isinstance(line, BankLine)]
        async with transaction(self.pool) as connection:
            await self.service.bank_transfers(debtor=ACCOUNT).import_statement(connection, lines, now=now)

    async def lift_holds(self, now: datetime) -> None:
        """Somebody has looked at the party's account."""
        async with transaction(self.pool) as connection:
            for row in await connection.fetch("SELECT id FROM clearing.payout_hold WHERE lifted_at IS NULL"):
                await self.payouts.lift_hold(connection, row["id"], by="anna", now=now)

    @property
    def books(self) -> BooksService:
        return BooksService(self.service.reference_data)


def _rates() -> dict[tuple[str, str], Fraction]:
    """The ECB's rate of the day of sale, as published: one euro in francs."""
    found = [
        one
        for one in bundled_data.ecb_reference_rates()
        if one.quote == "CHF" and one.rate_date <= world.SALE_AT.date()
    ]
    francs = Fraction(max(found, key=lambda one: one.rate_date).rate)
    # A rate is used with the digits that it is stored with.
    inverse = Fraction(round(1 / francs * 10**10), 10**10)
    return {("EUR", "CHF"): francs, ("CHF", "EUR"): inverse}


@pytest.fixture
async def market(pool: Pool) -> MonthOfMarket:
    return MonthOfMarket(pool)


async def test_a_month_computed_a_second_time_is_the_ledger_and_the_vat_return(market: MonthOfMarket) -> None:
    expected = await market.play()
    async with transaction(market.pool, isolation="repeatable_read") as connection:
        balances = await ledger_service.list_balances(connection)
        found = await market.books.vat_return(connection, OCTOBER)
        trial = await market.books.trial_balance(connection, OCTOBER, bundled_chart())
    booked = {(one.account, one.currency): one.minor for one in balances if one.minor}
    assert booked == {key: minor for key, minor in expected.balances.items() if minor}
    figures: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in found.figures:
        if one.side in {"output", "input", "acquisition", "outside"}:
            figures[one.side, one.country, one.currency][0] += one.base_minor
            figures[one.side, one.country, one.currency][1] += one.tax_minor
    assert dict(figures) == dict(expected.vat)
    assert [one for one in found.proof if one.difference_minor] == []
    assert {(one.account, one.currency) for one in found.proof} >= {
        ("vat:NL:output", "EUR"),
        ("vat:CH:input", "CHF"),
        ("vat:CH:acquisition", "EUR"),
    }
    # Debit positive for debit accounts: the PSP holds our money, the VAT is owed.
    closing = {(one.path, one.currency): one.closing_minor for one in trial}
    assert closing["psp:stripe:receivable", "EUR"] == -expected.balances["psp:stripe:receivable", "EUR"] > 0
    assert closing["vat:NL:output", "EUR"] == expected.balances["vat:NL:output", "EUR"] > 0
    for currency in ("EUR", "CHF"):
        of_currency = [one for one in trial if one.currency == currency]
        assert sum(one.debit_minor for one in of_currency) == sum(one.credit_minor for one in of_currency)
    await market.proved()


async def test_the_documents_of_the_month_state_what_was_computed_a_second_time(
    market: MonthOfMarket,
) -> None:
    expected = await market.play()
    async with transaction(market.pool) as connection:
        issued, rejected = await invoice_service.issue(
            connection, start=OCTOBER.first, end=OCTOBER.last, now=datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
        )
    assert list(rejected) == []
    stated: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in issued:
        sign = -1 if one.type.is_credit else 1
        stated[one.supplier_id, one.currency][0] += sign * one.net_minor
        stated[one.supplier_id, one.currency][1] += sign * one.vat_minor
    assert dict(stated) == dict(expected.documents)


async def test_the_drivers_documents_of_the_month_state_what_was_computed_a_second_time(
    market: MonthOfMarket,
) -> None:
    expected = await market.play()
    job = DriverDocumentJob(pool=market.pool, clock=FixedClock(CLEARED_AT + timedelta(days=1)))
    while await job.run_once():
        pass
    async with market.pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT supplier_id, currency, sum(net_minor) AS net, sum(vat_minor) AS vat, count(*) AS number "
            "FROM clearing.driver_document GROUP BY 1, 2"
        )
        waiting = await connection.fetch("SELECT reason FROM clearing.pending_driver_document")
    assert [row["reason"] for row in waiting] == []
    stated = {(row["supplier_id"], row["currency"]): [row["net"], row["vat"]] for row in rows}
    assert stated == dict(expected.drivers)
    refunds = sum(len(sale.refunds) + bool(sale.corrected) for sale in sales())
    renamed = sum(sale.business for sale in sales())
    assert sum(row["number"] for row in rows) == len(sales()) + refunds + 2 * renamed


async def test_what_is_owed_is_what_bank_files_and_statements_pay_whatever_the_bank_returns(
    market: MonthOfMarket,
) -> None:
    expected = await market.play()
    reserve = half_up(expected.owed["NL-ABC", "EUR"] * RESERVE)
    first_day = datetime(2026, 10, 15, 6, 0, tzinfo=UTC)
    planned = await market.plan(first_day)
    owed = {key: minor for key, minor in expected.owed.items() if minor > 0}
    owed["NL-ABC", "EUR"] -= reserve
    assert {(one.party_id, one.currency): one.amount_minor for one in planned} == owed
    for one in planned:
        if one.rail == "psp":
            await market.pay(one, first_day)
    (by_bank,) = [one for one in planned if one.rail == "bank"]
    returned = by_bank
    assert await market.bank_file(first_day) == [owed["NL-ABC", "EUR"]]
    await market.bank_books(by_bank, first_day)
    # The bank sends it back: it is owed again, paid again whole, and the reserve comes later.
    await market.bank_books(by_bank, first_day + timedelta(days=1), direction="CRDT")
    await market.lift_holds(first_day + timedelta(days=1))
    for later, minor in ((timedelta(days=1, hours=3), owed["NL-ABC", "EUR"]), (timedelta(days=5), reserve)):
        (by_bank,) = await market.plan(first_day + later)
        assert await market.bank_file(first_day + later) == [minor]
        await market.bank_books(by_bank, first_day + later)
        planned.append(by_bank)
    stated: dict[tuple[str, str], int] = defaultdict(int)
    for one in planned:
        proved = verify_settlement_statement(await write(market, one, now=first_day + timedelta(days=7)))
        assert proved.payout_minor == one.amount_minor
        stated[one.party_id, one.currency] += 0 if one.id == returned.id else proved.payout_minor
    assert dict(stated) == {key: minor for key, minor in expected.owed.items() if minor > 0}
    async with transaction(market.pool) as connection:
        trial = await market.books.trial_balance(connection, OCTOBER, bundled_chart())
    for line in trial:
        if line.path.endswith(":payable") or line.path.startswith("reserve:"):
            assert line.closing_minor == 0, line
    await market.proved()


async def test_every_form_has_every_transfer_and_the_same_sums(market: MonthOfMarket) -> None:
    await market.play()
    content, proof = await market.export()
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert len(rows) == proof.transfers > 200
    assert [int(row["line"]) for row in rows] == list(range(1, len(rows) + 1))
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row["currency"]] += Decimal(row["amount"])
    assert {currency: int(total * 100) for currency, total in sums.items()} == dict(proof.sums_minor)
    assert proof.verified
    assert proof.chains[0].previous_hash == "0" * 64
    json_content, json_proof = await market.export(form=BooksForm.JSON, reporting_currency="CHF")
    lines = [json.loads(line) for line in json_content.splitlines()]
    assert (len(lines), json_proof.sums_minor) == (proof.transfers, proof.sums_minor)
    assert [line["debit_path"] for line in lines] == [row["debit_path"] for row in rows]
    converted = sum(line["reporting_minor"] for line in lines)
    csv_content, _ = await market.export(reporting_currency="CHF", dialect=dialect("de"))
    assert csv_content.startswith("\ufeff".encode())
    german = list(csv.DictReader(io.StringIO(csv_content.decode("utf-8-sig")), delimiter=";"))
    total = sum(Decimal(row["reporting_amount"].replace(",", ".")) for row in german)
    assert int(total * 100) == converted
    assert all("," in row["amount"] for row in german)
    await _check_saft(market, transfers=proof.transfers, converted=converted)
    await _check_datev(market, converted=converted)


async def _check_saft(market: MonthOfMarket, *, transfers: int, converted: int) -> None:
    content, proof = await market.export(form=BooksForm.SAFT, reporting_currency="CHF")
    assert proof.transfers == transfers
    root = ET.fromstring(content)  # noqa: S314 - our own file
    spaces = {"s": NAMESPACE}
    entries = root.find("s:GeneralLedgerEntries", spaces)
    assert entries is not None
    assert entries.findtext("s:NumberOfEntries", None, spaces) == str(
        len(entries.findall("s:Journal/s:Transaction", spaces))
    )
    debits = sum(Decimal(one.text or "0") for one in entries.iterfind(".//s:DebitAmount/s:Amount", spaces))
    credited = sum(Decimal(one.text or "0") for one in entries.iterfind(".//s:CreditAmount/s:Amount", spaces))
    assert debits == credited == Decimal(entries.findtext("s:TotalDebit", "0", spaces))
    assert int(debits * 100) == converted
    balance = Decimal(0)
    for account in root.iterfind(".//s:Account", spaces):
        for name, sign in (("Debit", 1), ("Credit", -1)):
            balance += sign * Decimal(account.findtext(f"s:Closing{name}Balance", "0", spaces))
    assert balance == 0


async def _check_datev(market: MonthOfMarket, *, converted: int) -> None:
    client = DatevClient(adviser=29098, client=55003, account_length=4)
    content, proof = await market.export(form=BooksForm.DATEV, reporting_currency="CHF", datev=client)
    header, columns, *postings = content.decode("cp1252").split("\r\n")[:-1]
    assert header.startswith('"EXTF";700;21;"Buchungsstapel";13;')
    assert len(header.split(";")) == 31
    assert len(columns.split(";")) == 125
    for posting in postings:
        assert len(posting.split(";")) == 125
    # Sums of a day are converted once: within half a unit for each posting of the sums of every transfer.
    total = sum(Decimal(posting.split(";")[0].replace(",", ".")) for posting in postings)
    assert abs(int(total * 100) - converted) <= proof.transfers
    assert proof.left_out == 0
    with pytest.raises(InvalidBooksRequestError, match="name the one currency"):
        await market.export(form=BooksForm.DATEV, datev=client)
    single = replace(client, each_transfer=True)
    content, each = await market.export(form=BooksForm.DATEV, reporting_currency="CHF", datev=single)
    postings = content.decode("cp1252").split("\r\n")[2:-1]
    assert (each.transfers, len(postings) + each.left_out) == (proof.transfers, proof.transfers)
    assert sum(Decimal(one.split(";")[0].replace(",", ".")) for one in postings) * 100 == converted
    documents = {tuple(one.split(";")[10:12]) for one in postings}
    assert len(documents) > len({document for document, _ in documents}) > 1  # by subject, then by kind


@pytest.mark.parametrize("each_transfer", [False, True])
async def test_a_period_with_more_postings_than_a_batch_of_datev_takes_is_rejected(
    market: MonthOfMarket, monkeypatch: pytest.MonkeyPatch, *, each_transfer: bool
) -> None:
    await market.play()
    monkeypatch.setattr(datev, "MAX_LINES", 3)
    client = DatevClient(adviser=29098, client=55003, account_length=4, each_transfer=each_transfer)
    with pytest.raises(InvalidBooksRequestError, match="at most 3 postings; export a shorter period"):
        await market.export(form=BooksForm.DATEV, reporting_currency="CHF", datev=client)


async def test_prescribed_monthly_rates_count_instead_of_daily_ones(market: MonthOfMarket) -> None:
    await market.play()
    rates = parse_monthly_rates("month,currency,rate,source\n2026-10,EUR,0.9350,ESTV\n")
    content, _ = await market.export(form=BooksForm.JSON, reporting_currency="CHF", monthly_rates=rates)
    lines = [json.loads(line) for line in content.splitlines()]
    euro = next(line for line in lines if line["currency"] == "EUR")
    assert (euro["rate"], euro["rate_source"]) == ("0.9350", "ESTV 2026-10")
    wrong = parse_monthly_rates("month,currency,rate,source\n2026-09,EUR,0.9350,ESTV\n")
    for form in (BooksForm.JSON, BooksForm.CSV, BooksForm.SAFT):
        with pytest.raises(RateUnavailableError, match="no monthly rate of EUR for 2026-10"):
            await market.export(form=form, reporting_currency="CHF", monthly_rates=wrong)


@pytest.mark.parametrize(
    "odd", ['=cmd|"x"!A1', "a;b,c", "two\r\nlines", "\x01\x02quoted", "-1", "plain-1/2", ""]
)
async def test_a_row_of_csv_is_read_as_it_was_meant_whatever_an_id_holds(
    market: MonthOfMarket, odd: str
) -> None:
    await market.play()
    async with transaction(market.pool) as connection:
        await connection.execute("UPDATE clearing.entry SET cdr_id = $1, psp_object_id = $1", odd)
    shown = odd.replace("\r\n", "  ").replace("\x01\x02", "  ")
    shown = f"'{shown}" if shown.startswith(("=", "-")) else shown
    for name in ("rfc4180", "de"):
        content, proof = await market.export(verified=False, dialect=dialect(name))
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        rows = list(csv.DictReader(text, delimiter=dialect(name).delimiter))
        assert len(rows) == proof.transfers
        assert {(row["cdr_id"], row["psp_object"]) for row in rows} == {(shown, shown)}
        assert all(int(row["position"]) > 0 and Decimal(row["amount"].replace(",", ".")) for row in rows)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE clearing.transfer SET amount_minor = amount_minor + 1 WHERE ordinal = 0",
        "DELETE FROM clearing.transfer WHERE ordinal = 1",
        "UPDATE clearing.transfer SET debit_account = 'suspense' WHERE ordinal = 0",
    ],
)
async def test_a_journal_that_is_not_what_was_sealed_is_never_written_as_proved(
    market: MonthOfMarket, change: str
) -> None:
    await market.play()
    async with transaction(market.pool) as connection:
        await connection.execute(change)
    with pytest.raises(ClearingInvariantViolation):
        await market.export()


async def test_a_period_has_its_own_days_in_the_platforms_zone(market: MonthOfMarket) -> None:
    await market.play()
    _, october = await market.export()
    _, september = await market.export(period=parse_period("2026-09", time_zone="Europe/Zurich"))
    assert (september.transfers, september.sums_minor) == (0, {"CHF": 0, "EUR": 0}) or not september.transfers
    _, days = await market.export(period=parse_period("2026-10-13/2026-10-13", time_zone="Europe/Zurich"))
    assert days.transfers == october.transfers
