"""The API as one aiohttp application: routes, and the boundary around them.

Owns: the middlewares (request id, log line, errors to problems) and how a server listens. Must not know
what a resource does. Nothing leaves here as a traceback.
"""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway import tracing
from gateway.api import problems
from gateway.api.capture.psp_webhooks import psp_webhook_routes
from gateway.api.dispatch import RATE_HEADERS, REQUEST_ID, Dispatcher
from gateway.api.documentation import documentation_routes
from gateway.api.endpoint import ApiEndpoint
from gateway.api.error_mapping import problem_for
from gateway.api.health import health_routes
from gateway.api.key_use import key_use_context
from gateway.api.metrics import EdgeMetrics, metrics_routes, route_of
from gateway.api.plug_and_charge.contract_pools import contract_pool_routes
from gateway.api.problems import ProblemDetails, ProblemError
from gateway.api.recovery import recovery_middlewares
from gateway.api.request_log import RequestLog
from gateway.api.routes import endpoints
from gateway.api.security_headers import security_headers
from gateway.api.services import ApiOptions, ApiServices
from gateway.api.versioning import headers_of_answer
from gateway.card_numbers import holds_card_number, mask_card_numbers
from gateway.errors import RateLimitExceededError
from gateway.ids import format_id, new_id
from gateway.live_streams import end_streams_at_shutdown
from gateway.logs import first_line

EDGE_METRICS: Final = web.AppKey("edge_metrics", EdgeMetrics)
REQUEST_LOG: Final = web.AppKey("request_log", RequestLog)
SERVICES: Final = web.AppKey("services", ApiServices)
REQUEST_ID_HEADER: Final = "X-Request-Id"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SERVER_ERROR: Final = 500
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_log = structlog.get_logger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_api(services: ApiServices) -> web.Application:
    """The application: every endpoint, documentation, health, the PSP's webhooks.

    The caller may add sub-applications (OCPI) before it is started; they get request ids and the boundary.
    """
    dispatcher = Dispatcher(services)
    metrics = EdgeMetrics()
    request_log = RequestLog(services, count_lost=metrics.count_lost)
    app = web.Application(
        middlewares=[
            _boundary(dispatcher, metrics, request_log, services.options),
            *recovery_middlewares(services.options.recovery_mode),
        ],
        client_max_size=services.options.max_body_bytes,
    )
    app[SERVICES] = services
    app[EDGE_METRICS] = metrics
    app[REQUEST_LOG] = request_log
    app.cleanup_ctx.append(key_use_context(services))
    app.cleanup_ctx.append(request_log.context())
    end_streams_at_shutdown(app)
    described = endpoints(sandbox=services.options.sandbox)
    add_endpoints(app, dispatcher, described)
    app.add_routes(psp_webhook_routes(services))
    app.add_routes(contract_pool_routes(services))
    app.add_routes(health_routes(services))
    app.add_routes(metrics_routes(services, metrics))
    app.add_routes(documentation_routes(services, described))
    return app


def add_endpoints(app: web.Application, dispatcher: Dispatcher, described: Sequence[ApiEndpoint]) -> None:
    """Route every endpoint to its handler."""
    for endpoint in described:
        app.router.add_route(endpoint.method, endpoint.path, dispatcher.handler(endpoint))


def _boundary(
    dispatcher: Dispatcher, metrics: EdgeMetrics, request_log: RequestLog, options: ApiOptions
) -> Middleware:
    secure, versions = security_headers(tls=options.own_tls), options.versions

    @web.middleware
    async def boundary(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path in _QUIET:
            return await served(request, handler)
        with tracing.request_span(request.headers, method=request.method) as traced:
            response = await served(request, handler)
            tracing.finish_request(
                traced, method=request.method, route=route_of(request), status=response.status
            )
            return response

    async def served(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        fits = _REQUEST_ID.fullmatch(given) and not holds_card_number(given)
        request_id = given if fits else format_id("req", new_id())
        request[REQUEST_ID] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        try:
            _check_encoding(request)
            response = await handler(request)
        except web.HTTPException as error:
            response = _routing_problem(dispatcher, request, error)
        except Exception as error:  # noqa: BLE001 - the process boundary: no caller sees a traceback
            response = _problem(dispatcher, request, error)
        response.headers.setdefault(REQUEST_ID_HEADER, request_id)  # OCPI gives back what it was sent
        response.headers["Server"] = "networkcore"
        for name, value in secure.items():
            response.headers.setdefault(name, value)
        for name, value in headers_of_answer(request, versions).items():
            response.headers[name] = value
        for name, value in request.get(RATE_HEADERS, {}).items():
            response.headers[name] = value
        seconds = time.perf_counter() - started
        metrics.observe(request, status=response.status, seconds=seconds)
        if request.path not in _QUIET:
            request_log.note(
                request, response, request_id=request_id, route=route_of(request), seconds=seconds
            )
            _log.info(
                "request",
                method=request.method,
                route=route_of(request),
                status=response.status,
                duration_ms=round(seconds * 1000),
            )
        return response

    return boundary


def _check_encoding(request: web.Request) -> None:
    """Reject a compressed body before a byte of it is read: a few bytes of it unpack to very many."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding != "identity":
        raise ProblemError(
            problems.UNSUPPORTED_MEDIA_TYPE,
            "The body is compressed; send it without Content-Encoding.",
            headers={"Accept-Encoding": "identity", "Connection": "close"},
        )


def _problem(dispatcher: Dispatcher, request: web.Request, error: Exception) -> web.Response:
    rejection = problem_for(error)
    if rejection is None:
        _log.error("request_failed", method=request.method, route=route_of(request), exc_info=error)
        rejection = ProblemDetails(
            kind=problems.INTERNAL_ERROR, detail="The error is logged under this instance."
        )
    elif rejection.kind.status >= _SERVER_ERROR:
        _log.warning("request_unavailable", route=route_of(request), reason=first_line(error))
    return _response(dispatcher, request, rejection)


def _routing_problem(
    dispatcher: Dispatcher, request: web.Request, error: web.HTTPException
) -> web.StreamResponse:
    path = mask_card_numbers(request.path)
    try:
        dispatcher.addresses.check(request)
    except RateLimitExceededError as exceeded:
        return _problem(dispatcher, request, exceeded)
    dispatcher.addresses.count(request)
    match error:
        case web.HTTPNotFound():
            rejection = ProblemDetails(kind=problems.NOT_FOUND, detail=f"There is nothing at {path}.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            rejection = ProblemDetails(
                kind=problems.METHOD_NOT_ALLOWED,
                detail=f"{path} supports {allowed}.",
                headers={"Allow": allowed},
            )
        case web.HTTPRequestEntityTooLarge():
            rejection = ProblemDetails(
                kind=problems.BODY_TOO_LARGE, detail="The body is above this server's limit."
            )
        case _:
            return error
    return _response(dispatcher, request, rejection)


def _response(dispatcher: Dispatcher, request: web.Request, rejection: ProblemDetails) -> web.Response:
    work = dispatcher.reject(rejection, request)
    return web.Response(status=work.status, headers=work.headers, body=work.body)
