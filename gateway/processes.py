"""The two kinds of process: a gateway that serves HTTP, and a worker that runs the jobs.

Owns: what a process starts, in which order, and its graceful end. Must not know how anything is built.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Final

import structlog
from aiohttp import web

from gateway import outbound
from gateway.acts.act import JobAct, acting
from gateway.api.http_server import GatewayRunner
from gateway.api.process_metrics import ProcessMetrics
from gateway.api.server import EDGE_METRICS
from gateway.api.tls import server_context
from gateway.application import Application, build_web, jobs, open_application, prepare, secret_cipher
from gateway.config import Settings
from gateway.console.passing import pass_console, take_console
from gateway.console.rendering import prepare_templates
from gateway.database import is_distributed
from gateway.ids import SHARD_COUNT, new_id
from gateway.jobs.driver_documents import DOCUMENTS
from gateway.jobs.job_loops import JobLoops
from gateway.jobs.shard_job import ShardJob
from gateway.jobs.shard_ownership import ShardOwnership
from gateway.jobs.shard_worker import ShardWorker
from gateway.jobs.webhook_delivery import WebhookDeliveryJob
from gateway.jobs.work_notices import hear_notices, send_notices
from gateway.limits.shared_buckets import SharedBuckets
from gateway.process_group import GroupMember, MemberKind
from gateway.settings.operations import RecoveryMode
from gateway.task_kinds import TaskKind
from gateway.tracing import start_tracing
from gateway.webhooks.back_pressure import Limits
from gateway.webhooks.delivery import WebhookDelivery
from gateway.work_signal import WorkSignal, signal_requests
from gateway.worker import collect_garbage_less_often, run_jobs
from gateway.worker_health import health_server

_log = structlog.get_logger(__name__)
_DELIVERIES: Final = Limits()
_BATCHES_OF_A_DOCUMENTS_ROUND: Final = 2  # nobody waits for a document: under load a round takes more batches


async def run_gateway(settings: Settings, stop: asyncio.Event) -> None:
    """Serve HTTP until `stop`; with `workers_in_process` the jobs run here too."""
    tls = server_context(settings)
    with traced(settings, service="networkcore-gateway"):
        await _listen(settings, stop, tls)


async def _listen(settings: Settings, stop: asyncio.Event, tls: SSLContext | None) -> None:
    async with open_application(settings, application="gateway") as app:
        await _prepare(app)
        signal, served = WorkSignal(), build_web(app)
        prepare_templates()
        signal_requests(served, signal)
        runner = GatewayRunner(served, shutdown_timeout_seconds=settings.shutdown_grace_seconds)
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port, ssl_context=tls).start()
        _log.info("gateway_ready", url=settings.base_url)
        try:
            await _serve(app, stop, signal, with_jobs=_has_jobs(settings))
        finally:
            await runner.cleanup()


async def run_member(settings: Settings, stop: asyncio.Event, *, member: GroupMember) -> None:
    """Serve HTTP from the group's sockets until `stop`, or until the parent is gone.

    With `workers_in_process` the jobs run in the first process. A process of the console yields to all others
    and has connections of its own to the database, so that people never hold up those who charge.
    """
    kind = member.kind
    if kind is MemberKind.CONSOLE:
        settings = _of_console(settings)
        os.nice(settings.console_niceness)
    application = "gateway" if kind is MemberKind.API else "console"
    with traced(settings, service=f"networkcore-{application}"):
        await _listen_as_member(settings, stop, member, application=application)


def _of_console(settings: Settings) -> Settings:
    most = settings.console_database_pool_max
    fewest = min(settings.database_pool_min, most)
    return settings.model_copy(update={"database_pool_max": most, "database_pool_min": fewest})


def _build(app: Application, member: GroupMember, buckets: SharedBuckets) -> web.Application:
    """What a member serves."""
    served = build_web(app, buckets=buckets)
    if member.kind is MemberKind.CONSOLE:
        prepare_templates()
        take_console(served)
    elif not member.consoles:
        prepare_templates()
    else:
        pass_console(
            served,
            member.console_path,
            request_seconds=app.settings.request_timeout_seconds,
            tls=app.settings.tls_certificate_path is not None,
        )
    return served


async def _start_sites(runner: web.AppRunner, member: GroupMember, tls: SSLContext | None) -> None:
    for listening in member.sockets():
        inside = listening.family is socket.AF_UNIX  # of this user alone: nothing is encrypted there
        await web.SockSite(runner, listening, ssl_context=None if inside else tls).start()


async def _listen_as_member(
    settings: Settings, stop: asyncio.Event, member: GroupMember, *, application: str
) -> None:
    tls = server_context(settings)
    async with open_application(settings, application=application) as app:
        await _prepare(app)
        buckets = SharedBuckets(member.buckets_path)
        signal, served = WorkSignal(), _build(app, member, buckets)
        signal_requests(served, signal)
        edge = served[EDGE_METRICS]
        edge.group = ProcessMetrics(
            number=member.number, of=member.of, directory=member.directory, own=edge.own
        )
        runner = GatewayRunner(served, shutdown_timeout_seconds=settings.shutdown_grace_seconds)
        await runner.setup()
        try:
            async with edge.group.shared():
                parent = await member.wait_for_go(stop)
                if parent is None:
                    return
                await _start_sites(runner, member, tls)
                _log.info("gateway_process_ready", url=settings.base_url, serves=member.kind.value)
                watch = asyncio.ensure_future(_stop_at_end(parent, stop))
                try:
                    with_jobs = _has_jobs(settings) and member.number == 1
                    await _serve(app, stop, signal, with_jobs=with_jobs)
                finally:
                    watch.cancel()
        finally:
            await runner.cleanup()
            buckets.close()


async def _prepare(app: Application) -> None:
    with acting(JobAct(name="start")):
        await prepare(app)


def _has_jobs(settings: Settings) -> bool:
    """Whether the jobs run in the gateway; after a restore they rest until it is checked."""
    return settings.workers_in_process and settings.recovery_mode is not RecoveryMode.CLOSED


async def _stop_at_end(parent: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await parent.read()
    stop.set()


async def _serve(app: Application, stop: asyncio.Event, signal: WorkSignal, *, with_jobs: bool) -> None:
    if with_jobs:
        await work(app, stop, JobLoops(), signal)
    else:
        collect_garbage_less_often(serving=True)
        await send_notices(app.pool, signal, sender=str(new_id()), stop=stop)
    await stop.wait()


async def run_workers(settings: Settings, stop: asyncio.Event) -> None:
    """Run the jobs until `stop`."""
    with traced(settings, service="networkcore-worker"):
        await _work(settings, stop)


@contextmanager
def traced(settings: Settings, *, service: str) -> Iterator[None]:
    """Send traces while the block runs, where the settings ask for it. Raises ConfigurationError."""
    if not settings.tracing:
        yield
        return
    end = start_tracing(service=service)
    try:
        yield
    finally:
        end()


async def _work(settings: Settings, stop: asyncio.Event) -> None:
    async with open_application(settings, application="worker") as app:
        await _prepare(app)
        loops = JobLoops()
        async with health_server(
            loops.rounds, host=settings.worker_health_host, port=settings.worker_health_port
        ) as port:
            _log.info("worker_ready", health_port=port, recovery_mode=settings.recovery_mode.value)
            if settings.recovery_mode is RecoveryMode.CLOSED:
                await stop.wait()  # a restored database is checked first: nothing is sent to anybody
            else:
                await work(app, stop, loops, WorkSignal())


async def work(app: Application, stop: asyncio.Event, loops: JobLoops, signal: WorkSignal) -> None:
    """Run every job until `stop`, then give the shards back. `signal` says that this process left work."""
    collect_garbage_less_often()
    poll_s, gather_s = app.settings.worker_poll_ms / 1000, app.settings.worker_gather_ms / 1000
    gathered = {TaskKind.CLEAR_SESSION.value: gather_s, DOCUMENTS: _BATCHES_OF_A_DOCUMENTS_ROUND * gather_s}
    shards = ShardOwnership(pool=app.pool, clock=app.clock, signal=signal)
    every = jobs(app, owned=shards.fences)
    # Connections of their own: receivers that no longer answer take none from the OCPI peers.
    client = outbound.session(
        app.sandbox, connections=_DELIVERIES.all, connections_per_host=_DELIVERIES.per_endpoint
    )
    webhooks = WebhookDeliveryJob(
        delivery=WebhookDelivery(
            pool=app.pool,
            client=client,
            clock=app.clock,
            secrets=secret_cipher(app.settings),
            limits=_DELIVERIES,
            shards_per_statement=1 if is_distributed(app.pool) else SHARD_COUNT,
        )
    )
    by_shard = [job for job in every if isinstance(job, ShardJob)]
    others = [job for job in every if not isinstance(job, ShardJob)]
    worker = ShardWorker(shards=shards, webhooks=webhooks, jobs=by_shard, gathered=gathered, loops=loops)
    async with client, asyncio.TaskGroup() as group:
        group.create_task(worker.run(stop=stop), name="shard worker")
        running = run_jobs(others, stop=stop, poll_s=poll_s, loops=loops, signal=signal, gathered=gathered)
        group.create_task(running, name="jobs")
        sender = str(shards.owner)
        group.create_task(send_notices(app.pool, signal, sender=sender, stop=stop), name="notices sent")
        heard = hear_notices(app.settings.direct_url, signal, sender=sender, stop=stop)
        group.create_task(heard, name="notices heard")
