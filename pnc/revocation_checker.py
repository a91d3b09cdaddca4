"""Revocation checker: whether the certificates of a verified chain are revoked.

Owns the order of sources (memory, database, stapled responses, OCSP, CRL), the use of the allow-list, the
sharing of requests in progress, and the refresh before expiry. Must not know HTTP or decisions; every
statement it stores was verified by pnc.revocation_evidence. Nothing here runs inside a database transaction.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from pnc.certificate import Certificate
from pnc.certificate_chain import ValidChain
from pnc.ocsp_response import RevocationStatus
from pnc.ports import Executor, FetchError, RevocationFetcher
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.repository import revocation as repository
from pnc.revocation_endpoints import RevocationEndpoints, authority_id, origin_of
from pnc.revocation_evidence import (
    RevocationRecord,
    RevocationSource,
    VerifiedCrl,
    look_up,
    ocsp_request,
    read_ocsp,
    verify_crl,
)

Key = TypeVar("Key")
Value = TypeVar("Value")
_MEMORY: Final = 100_000
_CRL_MEMORY: Final = 256
_MAX_URLS: Final = 3
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationCheckSettings:
    """Limits of a revocation checker.

    `timeout` bounds the whole check of one certificate; after a failure the certificate is not checked again
    for `retry_after`; a statement is refreshed `refresh_before` its end; at most `max_concurrent`
    certificates are checked at once.
    """

    timeout: timedelta = timedelta(seconds=3)
    retry_after: timedelta = timedelta(seconds=30)
    refresh_before: timedelta = timedelta(hours=1)
    max_concurrent: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _RevocationQuery:
    """One certificate, and where its status may be requested."""

    certificate: Certificate
    issuer: Certificate
    key: tuple[bytes, int]
    ocsp_urls: tuple[str, ...]
    crl_urls: tuple[str, ...]


class _Cancelled:
    """The result for waiting callers when the caller that sent the request was cancelled."""


_Found = RevocationRecord | ContractRejection | None


@dataclass(slots=True)
class _Failure:
    rejection: ContractRejection
    until: datetime


@dataclass(slots=True)
class RevocationChecker:
    """Returns the status of each certificate of a chain.

    Sends a request only where no stored status will do.
    """

    fetcher: RevocationFetcher
    settings: RevocationCheckSettings = field(default_factory=RevocationCheckSettings)
    _known: OrderedDict[tuple[bytes, int], RevocationRecord] = field(default_factory=OrderedDict)
    _failed: OrderedDict[tuple[bytes, int], _Failure] = field(default_factory=OrderedDict)
    _crls: OrderedDict[bytes, VerifiedCrl] = field(default_factory=OrderedDict)
    _in_progress: dict[tuple[bytes, int], "asyncio.Future[_Found | _Cancelled]"] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.settings.max_concurrent)

    async def find_statuses(
        self,
        executor: Executor,
        chain: ValidChain,
        *,
        endpoints: RevocationEndpoints,
        now: datetime,
        stapled: Sequence[bytes] = (),
        extra_urls: Sequence[str] = (),
    ) -> list[RevocationRecord | ContractRejection | None]:
        """Return, for each certificate of the path in order, its statement, why there is none, or None.

        None means that there is no source that may be used. `stapled` are OCSP responses
        that came with the request; `extra_urls` are responders that the station named. Responses count only
        once verified, addresses only if allow-listed.
        """
        queries = [
            _query(chain, place, endpoints=endpoints, extra_urls=extra_urls)
            for place in range(len(chain.path))
        ]
        await self._load_statuses(executor, queries)
        for query in queries:
            await self._accept_stapled(executor, query, stapled, now)
        found = {query.key: self._from_memory(query, now) for query in queries}
        unanswered = [query for query in queries if found[query.key] is None]
        if unanswered:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._request_shared(executor, item, now)) for item in unanswered]
            for query, task in zip(unanswered, tasks, strict=True):
                found[query.key] = task.result()
        return [found[query.key] for query in queries]

    async def refresh(
        self, executor: Executor, chain: ValidChain, *, endpoints: RevocationEndpoints, now: datetime
    ) -> list[RevocationRecord | ContractRejection | None]:
        """Refresh the status of every certificate of the chain whose statement ends soon."""
        found: list[RevocationRecord | ContractRejection | None] = []
        for place in range(len(chain.path)):
            query = _query(chain, place, endpoints=endpoints, extra_urls=())
            await self._load_statuses(executor, [query])
            known = self._known.get(query.key)
            fresh = known is not None and known.usable_until > now + self.settings.refresh_before
            found.append(known if fresh else await self._request_shared(executor, query, now))
        return found

    async def store_crl(
        self, executor: Executor, der: bytes, *, issuer: Certificate, now: datetime
    ) -> ContractRejection | None:
        """Verify a CRL of `issuer`, uploaded or fetched, and store it for every process.

        It is parsed in a thread: a long one must not delay other decisions.
        """
        crl = await asyncio.to_thread(verify_crl, der, issuer=issuer, now=now)
        if isinstance(crl, ContractRejection):
            return crl
        authority = authority_id(issuer)
        await repository.save_crl(
            executor,
            authority=authority,
            der=der,
            this_update=crl.this_update,
            usable_until=crl.usable_until,
            now=now,
        )
        serials = list(crl.revoked)
        await repository.revoke_listed(
            executor, authority=authority, serials=serials, this_update=crl.this_update, now=now
        )
        self._remember_crl(authority, crl)
        return None

    def _remember_crl(self, authority: bytes, crl: VerifiedCrl) -> None:
        known = self._crls.get(authority)
        if known is None or known.this_update <= crl.this_update:
            _remember(self._crls, authority, crl, _CRL_MEMORY)

    async def _load_statuses(self, executor: Executor, queries: Sequence[_RevocationQuery]) -> None:
        """Read the stored statements of all certificates at once.

        So a revocation that another process stored applies here with the next decision.
        """
        keys = [item.key for item in queries]
        for key, status in (await repository.load_statuses(executor, keys)).items():
            self._remember_status(key, status)

    async def _accept_stapled(
        self, executor: Executor, query: _RevocationQuery, stapled: Sequence[bytes], now: datetime
    ) -> None:
        for response in stapled:
            found = read_ocsp(response, certificate=query.certificate, issuer=query.issuer, now=now)
            known = isinstance(found, RevocationRecord) and found.status is not RevocationStatus.UNKNOWN
            if isinstance(found, RevocationRecord) and known and self._remember_status(query.key, found):
                await repository.save_status(
                    executor, authority=query.key[0], serial=query.key[1], record=found, now=now
                )

    def _from_memory(
        self, query: _RevocationQuery, now: datetime
    ) -> RevocationRecord | ContractRejection | None:
        """What memory holds: a usable statement, or a failure that is too recent to retry; else None."""
        known = self._known.get(query.key)
        listed = self._from_crl(query, now)
        if isinstance(listed, RevocationRecord) and listed.status is RevocationStatus.REVOKED:
            return listed
        if known is not None and _usable(known, now):
            return known
        failure = self._failed.get(query.key)
        return failure.rejection if failure is not None and now < failure.until else None

    async def _request_shared(
        self, executor: Executor, query: _RevocationQuery, now: datetime
    ) -> RevocationRecord | ContractRejection | None:
        """Send one request for all callers that need the same status at the same time."""
        while (in_progress := self._in_progress.get(query.key)) is not None:
            shared = await asyncio.shield(in_progress)
            if not isinstance(shared, _Cancelled):
                return shared
        future: asyncio.Future[_Found | _Cancelled] = asyncio.get_running_loop().create_future()
        self._in_progress[query.key] = future
        outcome: _Found | _Cancelled = _Cancelled()
        try:
            outcome = found = await self._request(executor, query, now)
        finally:
            # If the sender was cancelled, the next waiting caller sends the request.
            del self._in_progress[query.key]
            future.set_result(outcome)
        if isinstance(found, RevocationRecord):
            self._failed.pop(query.key, None)
        elif found is not None:
            failure = _Failure(rejection=found, until=now + self.settings.retry_after)
            _remember(self._failed, query.key, failure, _MEMORY)
        return found

    async def _request(
        self, executor: Executor, query: _RevocationQuery, now: datetime
    ) -> RevocationRecord | ContractRejection | None:
        """OCSP first, then the issuer's CRL: stored, else fetched."""
        rejection: ContractRejection | None = None
        try:
            async with asyncio.timeout(self.settings.timeout.total_seconds()), self._slots:
                for url in query.ocsp_urls:
                    found = await self._request_ocsp(query, url, now)
                    if isinstance(found, RevocationRecord):
                        await self._store(executor, query, found, now)
                        return found
                    if found.rejection_reason is RejectionReason.REVOCATION_UNKNOWN:
                        return found  # its own issuer does not know it: no CRL outweighs that
                    rejection = rejection or found
                from_list = await self._request_crl(executor, query, now)
        except TimeoutError:
            detail = "no revocation source answered in time"
            return rejection or ContractRejection(
                rejection_reason=RejectionReason.REVOCATION_UNREACHABLE, detail=detail
            )
        if isinstance(from_list, RevocationRecord):
            await self._store(executor, query, from_list, now)
            return from_list
        return rejection or from_list

    async def _request_ocsp(
        self, query: _RevocationQuery, url: str, now: datetime
    ) -> RevocationRecord | ContractRejection:
        request = ocsp_request(query.certificate, query.issuer)
        try:
            response = await self.fetcher.fetch_ocsp(url, request)
        except FetchError as problem:
            return _unreachable("OCSP responder", url, problem)
        found = read_ocsp(response, certificate=query.certificate, issuer=query.issuer, now=now)
        if isinstance(found, RevocationRecord) and found.status is RevocationStatus.UNKNOWN:
            # Not stored as a statement: a new contract's responder may know it a minute later.
            detail = "the responder does not know the certificate"
            return ContractRejection(rejection_reason=RejectionReason.REVOCATION_UNKNOWN, detail=detail)
        return found

    async def _request_crl(
        self, executor: Executor, query: _RevocationQuery, now: datetime
    ) -> RevocationRecord | ContractRejection | None:
        rejection = await self._load_newer_crl(executor, query, now)
        found = self._from_crl(query, now)
        if isinstance(found, RevocationRecord):
            return found
        rejection = rejection or found
        for url in query.crl_urls:
            try:
                der = await self.fetcher.fetch_crl(url)
            except FetchError as problem:
                rejection = rejection or _unreachable("CRL", url, problem)
                continue
            problem_found = await self.store_crl(executor, der, issuer=query.issuer, now=now)
            found = self._from_crl(query, now)
            if isinstance(found, RevocationRecord):
                return found
            rejection = rejection or problem_found or found
        return rejection

    async def _load_newer_crl(
        self, executor: Executor, query: _RevocationQuery, now: datetime
    ) -> ContractRejection | None:
        """Load the stored CRL if it is newer than the one in memory."""
        stored = await repository.load_crl(executor, authority=query.key[0])
        known = self._crls.get(query.key[0])
        if stored is None or (known is not None and known.this_update >= stored.this_update):
            return None
        crl = await asyncio.to_thread(verify_crl, stored.der, issuer=query.issuer, now=now)
        if isinstance(crl, ContractRejection):
            return crl
        self._remember_crl(query.key[0], crl)
        return None

    def _from_crl(
        self, query: _RevocationQuery, now: datetime
    ) -> RevocationRecord | ContractRejection | None:
        crl = self._crls.get(query.key[0])
        return None if crl is None else look_up(crl, certificate=query.certificate, now=now)

    async def _store(
        self, executor: Executor, query: _RevocationQuery, status: RevocationRecord, now: datetime
    ) -> None:
        self._remember_status(query.key, status)
        await repository.save_status(
            executor, authority=query.key[0], serial=query.key[1], record=status, now=now
        )

    def _remember_status(self, key: tuple[bytes, int], status: RevocationRecord) -> bool:
        """Remember a statement unless a newer one is known; returns whether it was new.

        A revocation by CRL counts whatever its date: when two sources disagree, the vehicle may not charge.
        """
        known = self._known.get(key)
        listed = status.status is RevocationStatus.REVOKED and status.source is RevocationSource.CRL
        if (
            known is not None
            and known.this_update >= status.this_update
            and not (listed and known.status is not RevocationStatus.REVOKED)
        ):
            return False
        _remember(self._known, key, status, _MEMORY)
        return True


def _query(
    chain: ValidChain, place: int, *, endpoints: RevocationEndpoints, extra_urls: Sequence[str]
) -> _RevocationQuery:
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

    extensions = certificate.extensions
    return _RevocationQuery(
        certificate=certificate,
        issuer=issuer,
        key=(issuer_name, certificate.serial),
        ocsp_urls=allowed("ocsp", (*extensions.ocsp_urls, *extra_urls)),
        crl_urls=allowed("crl", extensions.crl_urls),
    )


def _unreachable(what: str, url: str, problem: FetchError) -> ContractRejection:
    detail = f"the {what} at {origin_of(url)} is unreachable"
    return ContractRejection(
        rejection_reason=RejectionReason.REVOCATION_UNREACHABLE, detail=detail, cause=str(problem)
    )


def _usable(status: RevocationRecord | None, now: datetime) -> bool:
    """A revocation is always usable; any other statement until it ends."""
    return status is not None and (status.status is RevocationStatus.REVOKED or now <= status.usable_until)


def _remember(memory: OrderedDict[Key, Value], key: Key, value: Value, size: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > size:
        memory.popitem(last=False)
