"""Inquiry: finding out whether the certificates of a verified chain are revoked.

Owns the order of sources (memory, database, responses that came along, OCSP, CRL), the allow-list, the
sharing of requests under way, and the refresh before expiry. Must not know HTTP or decisions; every
statement it keeps was verified by pnc.revocation. Nothing here runs inside a database transaction.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar
from urllib.parse import urlsplit

from pnc import store
from pnc.certificate import Certificate
from pnc.chain import ValidChain
from pnc.findings import Finding, Refusal
from pnc.ports import Executor, FetchError, RevocationFetcher
from pnc.revocation import (
    Source,
    Standing,
    Status,
    VerifiedCrl,
    look_up,
    ocsp_request,
    read_ocsp,
    verify_crl,
)
from pnc.store import Endpoints

Key = TypeVar("Key")
Value = TypeVar("Value")
_MEMORY: Final = 100_000
_CRL_MEMORY: Final = 256
_MAX_URLS: Final = 3
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class InquirySettings:
    """Bounds of an inquiry.

    `patience` bounds one whole look-up of one certificate; after a failure the same source is left alone for
    `rest`; a statement is refreshed once less than `lead` of it is left.
    """

    patience: timedelta = timedelta(seconds=3)
    rest: timedelta = timedelta(seconds=30)
    lead: timedelta = timedelta(hours=1)
    at_once: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One certificate to ask about, and where asking is allowed."""

    certificate: Certificate
    issuer: Certificate
    key: tuple[bytes, int]
    ocsp_urls: tuple[str, ...]
    crl_urls: tuple[str, ...]


class _Abandoned:
    """What is left for the others when the one who asked was cancelled."""


_Found = Status | Refusal | None


@dataclass(slots=True)
class _Failure:
    refusal: Refusal
    until: datetime


@dataclass(slots=True)
class Inquiry:
    """Answers what is known about each certificate of a chain, asking outside only when it must."""

    fetcher: RevocationFetcher
    settings: InquirySettings = field(default_factory=InquirySettings)
    _known: OrderedDict[tuple[bytes, int], Status] = field(default_factory=OrderedDict)
    _failed: OrderedDict[tuple[bytes, int], _Failure] = field(default_factory=OrderedDict)
    _crls: OrderedDict[bytes, VerifiedCrl] = field(default_factory=OrderedDict)
    _under_way: dict[tuple[bytes, int], "asyncio.Future[_Found | _Abandoned]"] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.settings.at_once)

    async def statuses(
        self, executor: Executor, chain: ValidChain, *, endpoints: Endpoints, now: datetime,
        stapled: Sequence[bytes] = (), extra_urls: Sequence[str] = (),
    ) -> list[Status | Refusal | None]:  # fmt: skip
        """Return, for each certificate of the path in order, its statement, why there is none, or None.

        None means that the certificate names no source and none may be asked. `stapled` are OCSP responses
        that came with the request; `extra_urls` are responders the station named: both count only once
        verified, or allow-listed.
        """
        questions = [
            _question(chain, place, endpoints=endpoints, extra_urls=extra_urls)
            for place in range(len(chain.path))
        ]
        await self._recall(executor, questions)
        for question in questions:
            await self._accept_stapled(executor, question, stapled, now)
        found = {question.key: self._settled(question, now) for question in questions}
        open_ones = [question for question in questions if found[question.key] is None]
        if open_ones:
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(self._ask_shared(executor, item, now)) for item in open_ones]
            for question, task in zip(open_ones, asking, strict=True):
                found[question.key] = task.result()
        return [found[question.key] for question in questions]

    async def refresh(
        self, executor: Executor, chain: ValidChain, *, endpoints: Endpoints, now: datetime
    ) -> list[Status | Refusal | None]:
        """Ask again for every certificate of the chain whose statement ends within the lead time."""
        found: list[Status | Refusal | None] = []
        for place in range(len(chain.path)):
            question = _question(chain, place, endpoints=endpoints, extra_urls=())
            await self._recall(executor, [question])
            known = self._known.get(question.key)
            fresh = known is not None and known.usable_until > now + self.settings.lead
            found.append(known if fresh else await self._ask_shared(executor, question, now))
        return found

    async def keep_crl(
        self, executor: Executor, der: bytes, *, issuer: Certificate, now: datetime
    ) -> Refusal | None:
        """Verify a CRL of `issuer`, handed in by an administrator or fetched, and keep it for every process.

        Reading it is left to a thread: a long one must not hold up other decisions.
        """
        crl = await asyncio.to_thread(verify_crl, der, issuer=issuer, now=now)
        if isinstance(crl, Refusal):
            return crl
        authority = authority_id(issuer)
        await store.save_crl(
            executor, authority=authority, der=der, this_update=crl.this_update,
            usable_until=crl.usable_until, now=now,
        )  # fmt: skip
        serials = await asyncio.to_thread(lambda: [entry.serial_number for entry in crl.parsed])
        await store.revoke_listed(
            executor, authority=authority, serials=serials, this_update=crl.this_update, now=now
        )
        self._remember_crl(authority, crl)
        return None

    def _remember_crl(self, authority: bytes, crl: VerifiedCrl) -> None:
        known = self._crls.get(authority)
        if known is None or known.this_update <= crl.this_update:
            _remember(self._crls, authority, crl, _CRL_MEMORY)

    async def _recall(self, executor: Executor, questions: Sequence[_Question]) -> None:
        """Read what the database says of all, in one statement.

        A revocation that another process learned of stops the certificate here with the next decision.
        """
        keys = [item.key for item in questions]
        for key, status in (await store.load_statuses(executor, keys)).items():
            self._note(key, status)

    async def _accept_stapled(
        self, executor: Executor, question: _Question, stapled: Sequence[bytes], now: datetime
    ) -> None:
        for response in stapled:
            found = read_ocsp(response, certificate=question.certificate, issuer=question.issuer, now=now)
            known = isinstance(found, Status) and found.standing is not Standing.UNKNOWN
            if isinstance(found, Status) and known and self._note(question.key, found):
                await store.save_status(
                    executor, authority=question.key[0], serial=question.key[1], status=found, now=now
                )

    def _settled(self, question: _Question, now: datetime) -> Status | Refusal | None:
        """What memory says: a statement in force, or a failure too fresh to ask again; else None."""
        known = self._known.get(question.key)
        listed = self._listed(question, now)
        if isinstance(listed, Status) and listed.standing is Standing.REVOKED:
            return listed
        if known is not None and _usable(known, now):
            return known
        failure = self._failed.get(question.key)
        return failure.refusal if failure is not None and now < failure.until else None

    async def _ask_shared(
        self, executor: Executor, question: _Question, now: datetime
    ) -> Status | Refusal | None:
        """Ask outside, once for all who want to know the same at the same time."""
        while (under_way := self._under_way.get(question.key)) is not None:
            shared = await asyncio.shield(under_way)
            if not isinstance(shared, _Abandoned):
                return shared
        future: asyncio.Future[_Found | _Abandoned] = asyncio.get_running_loop().create_future()
        self._under_way[question.key] = future
        outcome: _Found | _Abandoned = _Abandoned()
        try:
            outcome = found = await self._ask(executor, question, now)
        finally:
            # Who asked may have been cancelled: then the next in line asks.
            del self._under_way[question.key]
            future.set_result(outcome)
        if isinstance(found, Status):
            self._failed.pop(question.key, None)
        elif found is not None:
            failure = _Failure(refusal=found, until=now + self.settings.rest)
            _remember(self._failed, question.key, failure, _MEMORY)
        return found

    async def _ask(self, executor: Executor, question: _Question, now: datetime) -> Status | Refusal | None:
        """OCSP first, then the issuer's CRL: stored, else fetched."""
        refusal: Refusal | None = None
        try:
            async with asyncio.timeout(self.settings.patience.total_seconds()), self._slots:
                for url in question.ocsp_urls:
                    found = await self._ask_responder(question, url, now)
                    if isinstance(found, Status):
                        await self._keep(executor, question, found, now)
                        return found
                    if found.finding is Finding.REVOCATION_UNKNOWN:
                        return found  # whoever issued it does not know it: no list makes that good
                    refusal = refusal or found
                from_list = await self._ask_list(executor, question, now)
        except TimeoutError:
            detail = "no revocation source answered in time"
            return refusal or Refusal(finding=Finding.REVOCATION_UNREACHABLE, detail=detail)
        if isinstance(from_list, Status):
            await self._keep(executor, question, from_list, now)
            return from_list
        return refusal or from_list

    async def _ask_responder(self, question: _Question, url: str, now: datetime) -> Status | Refusal:
        request = ocsp_request(question.certificate, question.issuer)
        try:
            response = await self.fetcher.fetch_ocsp(url, request)
        except FetchError as problem:
            return _unreachable("OCSP responder", url, problem)
        found = read_ocsp(response, certificate=question.certificate, issuer=question.issuer, now=now)
        if isinstance(found, Status) and found.standing is Standing.UNKNOWN:
            # Not kept like a statement: a new contract's responder may know it a minute later.
            detail = "the responder does not know the certificate"
            return Refusal(finding=Finding.REVOCATION_UNKNOWN, detail=detail)
        return found

    async def _ask_list(
        self, executor: Executor, question: _Question, now: datetime
    ) -> Status | Refusal | None:
        refusal = await self._recall_crl(executor, question, now)
        found = self._listed(question, now)
        if isinstance(found, Status):
            return found
        refusal = refusal or found
        for url in question.crl_urls:
            try:
                der = await self.fetcher.fetch_crl(url)
            except FetchError as problem:
                refusal = refusal or _unreachable("CRL", url, problem)
                continue
            problem_found = await self.keep_crl(executor, der, issuer=question.issuer, now=now)
            found = self._listed(question, now)
            if isinstance(found, Status):
                return found
            refusal = refusal or problem_found or found
        return refusal

    async def _recall_crl(self, executor: Executor, question: _Question, now: datetime) -> Refusal | None:
        """Take over a stored CRL that is newer than the one in memory."""
        stored = await store.load_crl(executor, authority=question.key[0])
        known = self._crls.get(question.key[0])
        if stored is None or (known is not None and known.this_update >= stored.this_update):
            return None
        crl = await asyncio.to_thread(verify_crl, stored.der, issuer=question.issuer, now=now)
        if isinstance(crl, Refusal):
            return crl
        self._remember_crl(question.key[0], crl)
        return None

    def _listed(self, question: _Question, now: datetime) -> Status | Refusal | None:
        crl = self._crls.get(question.key[0])
        return None if crl is None else look_up(crl, certificate=question.certificate, now=now)

    async def _keep(self, executor: Executor, question: _Question, status: Status, now: datetime) -> None:
        self._note(question.key, status)
        await store.save_status(
            executor, authority=question.key[0], serial=question.key[1], status=status, now=now
        )

    def _note(self, key: tuple[bytes, int], status: Status) -> bool:
        """Remember a statement unless a newer one is known; returns whether it was new.

        A revocation by CRL counts whatever its date: two sources that disagree are not a reason to charge.
        """
        known = self._known.get(key)
        listed = status.standing is Standing.REVOKED and status.source is Source.CRL
        if (
            known is not None
            and known.this_update >= status.this_update
            and not (listed and known.standing is not Standing.REVOKED)
        ):
            return False
        _remember(self._known, key, status, _MEMORY)
        return True


def authority_id(authority: Certificate) -> bytes:
    """Name an authority by its name and key: the same whichever certificate vouches for it."""
    return hashlib.sha256(authority.subject + authority.key_info).digest()


def origin_of(url: str) -> str | None:
    """Return `scheme://host[:port]` of an address in lower case, or None when it may never be asked.

    Only http and https, with a host, without user information; a scheme's own port is left out.
    """
    if not url.isascii() or any(character.isspace() or character == "\\" for character in url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port is None or port == _PORTS[parts.scheme] else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _question(chain: ValidChain, place: int, *, endpoints: Endpoints, extra_urls: Sequence[str]) -> _Question:
    certificate, issuer = chain.path[place], chain.issuer_of(place)
    issuer_name = authority_id(issuer)
    authorities = (issuer_name, authority_id(chain.anchor.certificate))

    def allowed(kind: str, urls: Sequence[str]) -> tuple[str, ...]:
        found = []
        for url in urls:
            origin = origin_of(url)
            if origin is not None and endpoints.allows(authorities=authorities, kind=kind, origin=origin):
                found.append(url)
        return tuple(dict.fromkeys(found))[:_MAX_URLS]

    facts = certificate.extensions
    return _Question(
        certificate=certificate,
        issuer=issuer,
        key=(issuer_name, certificate.serial),
        ocsp_urls=allowed("ocsp", (*facts.ocsp_urls, *extra_urls)),
        crl_urls=allowed("crl", facts.crl_urls),
    )


def _unreachable(what: str, url: str, problem: FetchError) -> Refusal:
    detail = f"the {what} at {origin_of(url)} could not be had"
    return Refusal(finding=Finding.REVOCATION_UNREACHABLE, detail=detail, cause=str(problem))


def _usable(status: Status | None, now: datetime) -> bool:
    """A revocation is always usable; any other statement until it ends."""
    return status is not None and (status.standing is Standing.REVOKED or now <= status.usable_until)


def _remember(memory: OrderedDict[Key, Value], key: Key, value: Value, size: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > size:
        memory.popitem(last=False)
