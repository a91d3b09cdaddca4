"""An operator in the console's database: a connection with its handshake, a location, tariffs, rejections.

Its texts are hostile wherever an operator may write one.
"""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from clearing.pricing import json_document as document
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Pool, transaction
from gateway.ids import format_id, new_id, parse_id
from gateway.ocpi.locations import keep_location
from gateway.ocpi.repository import handshakes, objects, peers, pulls
from gateway.ocpi.repository.handshakes import HandshakeStep
from gateway.ocpi.repository.objects import NewTariff
from gateway.ocpi.repository.peers import PeerEndpoint, PeerRole, Registration
from gateway.webhooks.repository import SecretRecord
from pnc.authorization import AuthorizationDecision, AuthorizationDecisionState
from pnc.rejection_reasons import RejectionReason
from pnc.repository import decisions
from tests.fakes.api import START
from tests.fakes.console import HOSTILE
from tests.fakes.ocpi_objects import location, tariff

OPERATOR = "DE-ABC"
OWN = {"country_code": "DE", "party_id": "ABC"}


async def add_operator(pool: Pool) -> str:
    """All of it for the party DE-ABC; the id of the connection as the console writes it."""
    peer_id = new_id()
    async with transaction(pool) as connection:
        await peers.invite(
            connection,
            peer_id=peer_id,
            party_id=OPERATOR,
            parties=[],
            token_hash=peers.hash_token("token-a"),
            now=START,
        )
        steps = [
            _step("sent", "GET", 200, 1000, ""),
            _step("received", "POST", 200, 3001, HOSTILE),
        ]
        await handshakes.add_steps(connection, steps)
        await keep_location(
            connection,
            document.load(json.dumps(location(**OWN, name=HOSTILE)).encode(), document="location"),
            party=OPERATOR,
            version=OcpiVersion.V2_2_1,
            changed_at=START,
            now=START,
        )
        night = {"start_time": "22:00", "end_time": "06:00"}
        by_time = [
            {"price_components": [_energy(0.20)], "restrictions": night},
            {"price_components": [_energy(0.50)]},
        ]
        for name, elements in (("T1", by_time), ("by-minute", [{"price_components": [_time(6)]}])):
            await objects.save_tariff(connection, _tariff(name, elements), now=START)
        await objects.add_rejection(
            connection,
            party_id=OPERATOR,
            module="tariffs",
            object_id=HOSTILE[:30],
            version=OcpiVersion.V2_2_1,
            status_code=2001,
            reason=HOSTILE,
            raw=b"{}",
            url="/ocpi/2.2.1/tariffs/DE/ABC/x",
            now=START,
        )
    return format_id("ocp", peer_id)


URL = "https://cpo.example/ocpi/2.2.1"
READ_TO = START - timedelta(minutes=7)


async def add_traffic(pool: Pool, name: str) -> None:
    """What a registered connection has: modules, a list that was read, one that fails, and messages of ours.

    Of three messages one waits, one was refused, and one has stopped.
    """
    peer_id = parse_id("ocp", name)
    sealed = SecretRecord(key=None, content=b"theirs")
    async with transaction(pool) as connection:
        peer = await peers.load_peer(connection, peer_id=peer_id)
        assert peer is not None
        registration = Registration(
            version=OcpiVersion.V2_2_1,
            versions_url="https://cpo.example/ocpi/versions",
            outbound_raw=False,
            roles=[PeerRole(role="CPO", country_code="DE", party_code="ABC", name=HOSTILE)],
            endpoints=[
                PeerEndpoint(module="locations", role="SENDER", url=f"{URL}/locations"),
                PeerEndpoint(module="tariffs", role="SENDER", url=f"{URL}/tariffs"),
                PeerEndpoint(module="tokens", role="RECEIVER", url=f"{URL}/tokens"),
                PeerEndpoint(module="aheadofus", role="SENDER", url=f"{URL}/aheadofus"),
            ],
        )
        done = await peers.register(
            connection, peer=peer, registration=registration, sealed=sealed, token_hash=bytes(32), now=START
        )
        assert done
        modules = ("locations", "tariffs")
        await pulls.plan_peer(connection, peer_id=peer_id, modules=modules, now=START, due_at=START)
        read, failing = [await pulls.load(connection, peer_id=peer_id, module=one) for one in modules]
        assert read is not None
        assert failing is not None
        whole = replace(read, seen=41, total=42, rejected=1)
        await pulls.finish(connection, whole, since=READ_TO, due_at=START + timedelta(hours=1), now=START)
        await pulls.fail(
            connection,
            failing,
            reason="HTTP 503 from the operator",
            from_start=False,
            list_short=False,
            due_at=START + timedelta(minutes=1),
            now=START,
        )
        for number, (error, stopped) in enumerate(
            ((None, False), ("OCPI 2001: unknown token", False), ("HTTP 404", True))
        ):
            await connection.execute(
                "INSERT INTO gateway.ocpi_outbox (id, party_id, module, method, path, object_id, body, "
                "created_at, run_at, attempts, last_error, exception_at) "
                "VALUES ($1, $2, 'tokens', 'PUT', 'x', $3, '{}', $4, $4, $5, $6, $7)",
                new_id(),
                OPERATOR,
                f"token-{number}",
                START + timedelta(seconds=number),
                number,
                error,
                START if stopped else None,
            )


async def add_decision(pool: Pool, *, operator: str = OPERATOR) -> str:
    """A rejected decision of an operator's station; its id as the console writes it."""
    decision_id = new_id()
    decision = AuthorizationDecision(
        shard=decision_id.int & 63,
        id=decision_id,
        environment="sandbox",
        operator_id=operator,
        session_ref=f"tx-{decision_id.hex[-6:]}",
        evse_id="DE*ABC*E1",
        ocpp_version="2.0.1",
        emaid="NLNCOC12345678",
        digest=bytes(32),
        leaf_sha256=bytes(32),
        contract_id=None,
        state=AuthorizationDecisionState.REJECTED,
        rejection_reason=RejectionReason.REVOKED,
        detail=HOSTILE,
        notes="",
        trust_version=1,
        authorization_id=None,
        decided_at=START,
    )
    await decisions.insert_decision(pool, decision)
    return format_id("dec", decision_id)


def _step(direction: str, method: str, http: int, ocpi: int, message: str) -> HandshakeStep:
    return HandshakeStep(
        id=new_id(),
        party_id=OPERATOR,
        direction=direction,
        method=method,
        url="https://cpo.example/ocpi/versions",
        http_status=http,
        ocpi_status=ocpi,
        message=message,
        occurred_at=START,
    )


def _energy(price: float) -> dict[str, Any]:
    return {"type": "ENERGY", "price": price, "vat": 19.0, "step_size": 1}


def _time(price: float) -> dict[str, Any]:
    return {"type": "TIME", "price": price, "vat": 19.0, "step_size": 60}


def _tariff(name: str, elements: list[dict[str, Any]]) -> NewTariff:
    body = tariff(**OWN, id=name, elements=elements)
    return NewTariff(
        party_id=OPERATOR,
        tariff_id=name,
        version=OcpiVersion.V2_2_1,
        raw=json.dumps(body).encode(),
        type="AD_HOC_PAYMENT",
        valid_from=None,
        valid_until=None,
        last_updated=START,
    )
