"""Pulling the lists of peers: what was missed while a connection was down arrives all the same.

Owns: the run of a pull, page by page, and how it resumes. Must not know: what is done with what was kept. A
page's objects and the place of the next page are committed together, so a crash repeats at most one page,
and a repetition has no second effect. One unfit object never holds up the others: it is kept as rejected.
Source: OCPI transport_and_format, Pull and Push, Pagination (date_from inclusive, date_to exclusive).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import structlog

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, transaction
from gateway.ocpi.cdrs import keep_cdr, read_cdr
from gateway.ocpi.client import PeerCaller
from gateway.ocpi.credentials_client import caller_of
from gateway.ocpi.errors import ListShortError, OcpiError, OcpiRejectionError, PeerRejectedError
from gateway.ocpi.hub_clients import read_client_info
from gateway.ocpi.list_pages import ListComplete, ListProgress, ListShort, NextPage, after_page
from gateway.ocpi.locations import keep_location
from gateway.ocpi.repository import objects, peers, pulls
from gateway.ocpi.repository.hub_clients import save_client
from gateway.ocpi.repository.peers import PeerRecord
from gateway.ocpi.repository.pulls import PullRecord
from gateway.ocpi.request_bodies import Body, encode, last_updated, read_object, reject_card_numbers
from gateway.ocpi.services import HUB_CLIENTS, OcpiServices
from gateway.ocpi.sessions import keep_session, read_session
from gateway.ocpi.tariffs import read_tariff
from gateway.retry_policy import RetryPolicy

_log = structlog.get_logger(__name__)
EVERY: Final = timedelta(hours=1)  # the specification advises hours, not minutes
OVERLAP: Final = timedelta(minutes=5)  # clocks differ; what is read twice has no second effect
LEASE: Final = timedelta(minutes=5)
RETRY: Final = RetryPolicy.doubling(timedelta(seconds=30), longest=timedelta(hours=6))
_UNKNOWN_PAGE: Final = range(400, 500)
_ID_KEPT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSync:
    """Reads one list of one peer from where it was left, and plans when it is read next."""

    services: OcpiServices
    every: timedelta = EVERY

    async def run(self, pull: PullRecord, *, pages: int) -> int:
        """Read up to `pages` pages of a claimed list.

        Returns the objects read, at least 1; 0 if the peer has left.
        """
        async with self.services.pool.acquire() as connection:
            peer = await peers.load_peer(connection, peer_id=pull.peer_id)
            url = await peers.find_endpoint_url(
                connection, peer_id=pull.peer_id, module=pull.module, role="SENDER"
            )
        if peer is None or peer.outbound is None:
            return 0
        try:
            if url is None:
                raise PeerRejectedError(
                    f"the peer offers no {pull.module} to read", http_status=404, code=None
                )
            return await self._run(pull, peer, url, pages=pages)
        except OcpiError as error:
            await self._postpone(pull, error)
            return 1

    async def _run(self, pull: PullRecord, peer: PeerRecord, url: str, *, pages: int) -> int:
        clock = self.services.clock
        run = pull if pull.next_url is not None else self._begin(pull, url)
        before = run.seen
        caller = caller_of(self.services, peer)
        reader = _Reader(services=self.services, peer=peer, module=run.module)
        for _ in range(pages):
            run = await self._page(run, caller, reader)
            if run.next_url is None:
                break
        else:
            async with transaction(self.services.pool) as connection:
                await pulls.advance(connection, run, due_at=clock.wall_now(), now=clock.now())
        _log.info(
            "ocpi_pulled", party_id=peer.party_id, module=run.module, seen=run.seen, rejected=run.rejected
        )
        return max(1, run.seen - before)

    def _begin(self, pull: PullRecord, url: str) -> PullRecord:
        """A run reads what changed in [since, now).

        Sessions require date_from, so the first run names 1970.
        """
        until = self.services.clock.now()
        since = pull.since.strftime("%Y-%m-%dT%H:%M:%SZ") if pull.since else "1970-01-01T00:00:00Z"
        query = {"date_from": since, "date_to": until.strftime("%Y-%m-%dT%H:%M:%SZ"), "limit": 100}
        first = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"
        return replace(pull, run_until=until, next_url=first, seen=0, total=None, rejected=0)

    async def _page(self, run: PullRecord, caller: PeerCaller, reader: "_Reader") -> PullRecord:
        """Read one page and keep it, together with the place of the next.

        Raises:
            ListShortError: the list ends before its end; the page is kept all the same.
        """
        url = run.next_url
        if url is None or run.run_until is None:
            return run
        page = await caller.page(url, routed=run.module != HUB_CLIENTS)
        step = after_page(ListProgress(seen=run.seen, total=run.total), page, url=url)
        async with transaction(self.services.pool) as connection:
            rejected = await reader.keep(connection, page.objects, url=url)
            following = step.url if isinstance(step, NextPage) else None
            read = replace(
                run,
                next_url=following,
                seen=step.progress.seen,
                total=step.progress.total,
                rejected=run.rejected + rejected,
            )
            await self._record(connection, read, step)
        if isinstance(step, ListShort):
            raise ListShortError(f"the list of {run.module} is short: {step.reason}")
        return read

    async def _record(
        self, connection: Connection, read: PullRecord, step: NextPage | ListComplete | ListShort
    ) -> None:
        """Record how far the run has come; `since` moves on only when the list was read whole."""
        clock = self.services.clock
        match step:
            case ListComplete() if read.run_until is not None:
                since = read.run_until.replace(microsecond=0) - OVERLAP
                due_at = clock.wall_now() + self.every
                await pulls.finish(connection, read, since=since, due_at=due_at, now=clock.now())
            case NextPage():
                await pulls.advance(connection, read, due_at=clock.wall_now() + LEASE, now=clock.now())
            case _:
                return  # the failure is recorded by whoever catches the error

    async def _postpone(self, pull: PullRecord, error: OcpiError) -> None:
        """Resume later, at growing intervals; a page that the peer no longer knows is not requested again."""
        clock = self.services.clock
        delay = RETRY.delay_after(pull.failures + 1) or EVERY
        restart = isinstance(error, ListShortError) or (
            isinstance(error, PeerRejectedError)
            and (error.http_status in _UNKNOWN_PAGE or error.http_status == 200)  # noqa: PLR2004 - answered, with a no
        )
        _log.warning(
            "ocpi_pull_failed", module=pull.module, error=str(error), retry_in_s=delay.total_seconds()
        )
        async with transaction(self.services.pool) as connection:
            await pulls.fail(
                connection,
                pull,
                reason=str(error)[:500],
                from_start=restart,
                list_short=isinstance(error, ListShortError),
                due_at=clock.wall_now() + delay,
                now=clock.now(),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Keeps the objects of a page as if they had been pushed."""

    services: OcpiServices
    peer: PeerRecord
    module: str

    async def keep(self, connection: Connection, objects: Sequence[Any], *, url: str) -> int:
        """Keep what can be kept; returns how many were rejected, each of which is kept as rejected."""
        rejected = 0
        for tree in objects:
            raw = b""
            try:
                reject_card_numbers(tree)
                raw = encode(tree, name=self.module)
                async with connection.transaction():
                    await self._keep_one(connection, read_object(raw, name=self.module), raw)
            except OcpiRejectionError as rejection:
                rejected += 1
                await self._reject(connection, tree, raw, rejection, url=url)
        return rejected

    async def _keep_one(self, connection: Connection, body: Body, raw: bytes) -> None:
        if self.module == HUB_CLIENTS:
            await self._client(connection, body)
            return
        party, version = self._owner(body), self.peer.version or OcpiVersion.V2_2_1
        keepers: dict[str, Callable[..., Awaitable[None]]] = {
            "locations": self._location,
            "tariffs": self._tariff,
            "sessions": self._session,
            "cdrs": self._cdr,
        }
        await keepers[self.module](connection, body, raw, party=party, version=version)

    async def _client(self, connection: Connection, body: Body) -> None:
        """A client of a hub, which need not be a party of ours."""
        if self.peer.hub_party_id is None:
            raise OcpiRejectionError("the peer's credentials name no hub")
        now = self.services.clock.now()
        client = read_client_info(body.tree, now=now)
        await save_client(connection, client, peer_id=self.peer.id, now=now)

    async def _location(
        self, connection: Connection, body: Body, _raw: bytes, *, party: str, version: OcpiVersion
    ) -> None:
        now = self.services.clock.now()
        changed_at = last_updated(body.tree, version=version, now=now)
        await keep_location(
            connection, body.tree, party=party, version=version, changed_at=changed_at, now=now
        )

    async def _tariff(
        self, connection: Connection, body: Body, raw: bytes, *, party: str, version: OcpiVersion
    ) -> None:
        now = self.services.clock.now()
        tariff = read_tariff(body, raw=raw, party=party, version=version, now=now)
        await objects.save_tariff(connection, tariff, now=now)

    async def _session(
        self, connection: Connection, body: Body, _raw: bytes, *, party: str, version: OcpiVersion
    ) -> None:
        now = self.services.clock.now()
        changed_at = last_updated(body.tree, version=version, now=now)
        update = read_session(body.tree, party=party, version=version, changed_at=changed_at)
        await keep_session(connection, update, clock=self.services.clock)

    async def _cdr(
        self, connection: Connection, body: Body, raw: bytes, *, party: str, version: OcpiVersion
    ) -> None:
        cdr = read_cdr(body, raw=raw, party=party, version=version)
        clock = self.services.clock
        await keep_cdr(connection, cdr, now=clock.now(), wall_now=clock.wall_now())

    def _owner(self, body: Body) -> str:
        """The object's party; an object of a party that the peer doesn't speak for is rejected."""
        if self.peer.version is OcpiVersion.V2_1_1:
            return self.peer.parties[0]
        slug = f"{body.tree.get('country_code')}-{body.tree.get('party_id')}".upper()
        if slug not in self.peer.parties:
            raise OcpiRejectionError(f"{slug[:10]} is not a party of this connection")
        return slug

    async def _reject(
        self, connection: Connection, tree: Any, raw: bytes, rejection: OcpiRejectionError, *, url: str
    ) -> None:
        named = tree.get("id") if isinstance(tree, dict) else None
        owner = f"{tree.get('country_code')}-{tree.get('party_id')}".upper() if isinstance(tree, dict) else ""
        await objects.add_rejection(
            connection,
            party_id=owner if owner in self.peer.parties else self.peer.party_id,
            module=self.module,
            object_id=named.replace("\x00", "")[:_ID_KEPT] if isinstance(named, str) and named else None,
            version=self.peer.version or OcpiVersion.V2_2_1,
            status_code=int(rejection.code),
            reason=rejection.text.replace("\x00", "")[:2000],
            raw=raw[:262_144],
            url=url,
            pulled=True,
            now=self.services.clock.now(),
        )
