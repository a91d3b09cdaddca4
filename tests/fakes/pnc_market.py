"""A small Plug & Charge market for tests: a PKI, a trusted root, a contract, and a scripted responder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.x509 import ocsp

from gateway.database import Pool
from pnc import contract_administration, trust_administration
from pnc.certificate import parse_certificate
from pnc.contract import NewContract, PaymentKind
from pnc.hash_data import HashAlgorithm, as_ocpp, certificate_hash
from pnc.ports import FetchError
from pnc.revocation_checker import RevocationChecker, RevocationCheckSettings
from pnc.service import DecisionResult, PlugAndChargeService, PlugAndChargeSettings
from pnc.trust import AnchorPurpose, RevocationPolicy, TrustChange
from sandbox.pki.hierarchy import ContractPki, Issued, Suite, build_pki, ocsp_answer

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EMAID = "DE8AAC12345678"
OCSP_URL = "http://ocsp.sandbox.test/mo"
CRL_URL = "http://crl.sandbox.test/mo.crl"
ACTOR = "ops@platform"
CHANGE = TrustChange(actor=ACTOR, reason="test", now=NOW)


@dataclass(slots=True)
class ScriptedFetcher:
    """Answers OCSP requests from the issuers it knows; all is good unless the script says else."""

    issuers: list[Issued] = field(default_factory=list)
    certificates: dict[int, Issued] = field(default_factory=dict)
    script: dict[int, bytes | FetchError] = field(default_factory=dict)
    lists: dict[str, bytes] = field(default_factory=dict)
    now: datetime = NOW
    asked: list[str] = field(default_factory=list)

    def know(self, issuer: Issued, *issued: Issued) -> None:
        self.issuers.append(issuer)
        for item in issued:
            self.certificates[item.certificate.serial_number] = item

    async def fetch_ocsp(self, url: str, request: bytes) -> bytes:
        self.asked.append(url)
        serial = ocsp.load_der_ocsp_request(request).serial_number
        scripted = self.script.get(serial)
        if isinstance(scripted, FetchError):
            raise scripted
        if scripted is not None:
            return scripted
        certificate = self.certificates[serial].certificate
        issuer = next(item for item in self.issuers if item.certificate.subject == certificate.issuer)
        return ocsp_answer(certificate, issuer=issuer.certificate, responder=issuer, now=self.now)

    async def fetch_crl(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.lists:
            raise FetchError(f"{url} has nothing")
        return self.lists[url]


class NoFetcher:
    """Fetches nothing: for tests of what is cached."""

    async def fetch_ocsp(self, url: str, request: bytes) -> bytes:
        """Reject."""
        raise FetchError(f"{url} is not requested: this system sends no requests ({len(request)} bytes)")

    async def fetch_crl(self, url: str) -> bytes:
        """Reject."""
        raise FetchError(f"{url} is not requested: this system sends no requests")


@dataclass(slots=True)
class Market:
    pool: Pool
    pki: ContractPki
    leaf: Issued
    fetcher: ScriptedFetcher
    service: PlugAndChargeService
    environment: str = "live"

    def pem_request(self, *, emaid: str = EMAID, bundle: str | None = None) -> dict[str, Any]:
        certificate = self.pki.bundle(self.leaf) if bundle is None else bundle
        return {"idToken": {"idToken": emaid, "type": "eMAID"}, "certificate": certificate}

    def hash_request(
        self,
        *,
        emaid: str = EMAID,
        leaf: Issued | None = None,
        algorithm: HashAlgorithm = HashAlgorithm.SHA256,
    ) -> dict[str, Any]:
        return {
            "idToken": {"idToken": emaid, "type": "eMAID"},
            "iso15118CertificateHashData": [self.hash_entry(leaf or self.leaf, algorithm=algorithm)],
        }

    def hash_entry(
        self, leaf: Issued, *, algorithm: HashAlgorithm = HashAlgorithm.SHA256, url: str = OCSP_URL
    ) -> dict[str, str]:
        issuer = parse_certificate(self.pki.second.der)
        return as_ocpp(certificate_hash(parse_certificate(leaf.der), issuer, algorithm), responder_url=url)

    async def put(self, new: NewContract) -> contract_administration.ContractWriteResult:
        verifier, _ = await self.service.load_trust(self.pool, environment=self.environment)
        async with self.pool.acquire() as connection:
            return await contract_administration.put_contract(
                connection, new, environment=self.environment, verifier=verifier, actor=ACTOR, now=NOW
            )

    async def ask(
        self,
        request: Mapping[str, Any],
        *,
        session_ref: str = "tx-1",
        operator_id: str = "NL-ABC",
        now: datetime = NOW,
        stapled: tuple[bytes, ...] = (),
        evse_id: str = "NL*ABC*E1",
    ) -> DecisionResult:
        return await self.service.decide(
            self.pool,
            environment=self.environment,
            operator_id=operator_id,
            session_ref=session_ref,
            evse_id=evse_id,
            ocpp_version="2.0.1",
            request=request,
            now=now,
            stapled=stapled,
        )


async def open_market(
    pool: Pool,
    *,
    suite: Suite = Suite.P256,
    policy: RevocationPolicy = RevocationPolicy.REQUIRE,
    ocsp_url: str | None = OCSP_URL,
    crl_url: str | None = None,
    settings: PlugAndChargeSettings | None = None,
    purpose: AnchorPurpose = AnchorPurpose.MO_ROOT,
    pki: ContractPki | None = None,
    now: datetime = NOW,
) -> Market:
    """A market with one trusted root and one active contract whose certificate is good by OCSP."""
    pki = pki or build_pki(suite=suite, now=now, ocsp_url=ocsp_url, crl_url=crl_url)
    leaf = pki.issue(EMAID)
    fetcher = ScriptedFetcher(now=now)
    fetcher.know(pki.root, pki.first)
    fetcher.know(pki.first, pki.second)
    fetcher.know(pki.second, leaf)
    service = PlugAndChargeService(
        revocation_checker=RevocationChecker(
            fetcher=fetcher, settings=RevocationCheckSettings(timeout=timedelta(seconds=2))
        ),
        settings=settings or PlugAndChargeSettings(),
    )
    async with pool.acquire() as connection:
        await trust_administration.add_anchor(
            connection,
            environment="live",
            certificate=pki.root.pem,
            purpose=purpose,
            policy=policy,
            policy_reason="test" if policy is RevocationPolicy.SOFT else "",
            change=CHANGE,
        )
        for kind, url in (("ocsp", OCSP_URL), ("crl", CRL_URL)):
            await trust_administration.allow_endpoint(
                connection, environment="live", authority=pki.root.pem, kind=kind, url=url, change=CHANGE
            )
    market = Market(pool=pool, pki=pki, leaf=leaf, fetcher=fetcher, service=service)
    await market.put(contract())
    return market


def contract(emaid: str = EMAID, **changes: Any) -> NewContract:
    values: dict[str, Any] = {
        "emaid": emaid,
        "party": "superapp",
        "payment_kind": PaymentKind.PSP_MANDATE,
        "payment_reference": "pm_card_1",
        "valid_from": NOW - timedelta(days=1),
    }
    return NewContract(**{**values, **changes})
