"""Plug & Charge: chains verified a second on one core, beside the signature checks that each needs.

Cold is a chain that the verifier has never seen, whose authorities' keys and extensions this process has read
before; warm is a fresh contract certificate under authorities verified before. The
baseline is `cryptography`'s own verification of the same signatures, with keys loaded and nothing parsed,
measured in turns with the chains, so that other load affects both.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from typing import Final

from benchmarks.pnc_authorize import run_decisions
from benchmarks.pnc_http import run_over_http
from benchmarks.table import Row
from pnc.certificate import Certificate, load_public_key, parse_certificate, verify_signature
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.errors import PncInvariantViolation
from pnc.trust import AnchorPurpose, Trust, TrustAnchor, trust_of
from sandbox.pki.hierarchy import ContractPki, Suite, build_pki

COLD_GOAL: Final = 0.6
WARM_GOAL: Final = 0.8
_SIGNATURES: Final = 3  # leaf and two sub-authorities
_LEAVES: Final = 64
_NAMES: Final = {Suite.P256: "P-256", Suite.P521: "P-521", Suite.ED448: "Ed448"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """One suite's hierarchy, its leaves as bundles, and the raw work behind one leaf."""

    now: datetime
    trust: Trust
    bundles: tuple[str, ...]
    leaf: Certificate
    issuer: Certificate


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for suite in Suite:
        rows += _rows(suite, _bench(suite), quick=quick)
    return rows + run_decisions(quick=quick) + run_over_http(quick=quick)


def _bench(suite: Suite) -> _Bench:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    pki: ContractPki = build_pki(suite=suite, now=now, ocsp_url="http://ocsp.sandbox.test/mo")
    leaves = [pki.issue(f"DE8AAC{number:08d}") for number in range(_LEAVES)]
    root = parse_certificate(pki.root.der)
    anchor = TrustAnchor(certificate=root, purpose=AnchorPurpose.MO_ROOT)
    return _Bench(
        now=now,
        trust=trust_of(version=1, anchors=[anchor]),
        bundles=tuple(pki.bundle(leaf) for leaf in leaves),
        leaf=parse_certificate(leaves[0].der),
        issuer=parse_certificate(pki.second.der),
    )


def _rows(suite: Suite, bench: _Bench, *, quick: bool) -> list[Row]:
    warm_verifier = ChainVerifier(trust=bench.trust)
    warm_verifier.verify(bench.bundles[0], now=bench.now)
    key = load_public_key(bench.issuer)
    signature, data = bench.leaf.signature, bench.leaf.tbs
    bundles = cycle(bench.bundles)

    def raw() -> None:
        good = verify_signature(
            key=key, kind=bench.issuer.key, scheme=bench.leaf.scheme, signature=signature, data=data
        )
        _expect(good)

    def warm() -> None:
        _expect(isinstance(warm_verifier.verify(next(bundles), now=bench.now), ValidChain))

    def cold() -> None:
        verifier = ChainVerifier(trust=bench.trust)
        _expect(isinstance(verifier.verify(next(bundles), now=bench.now), ValidChain))

    raw_rate, warm_rate, cold_rate = _rates((raw, warm, cold), quick=quick)
    name = _NAMES[suite]
    bound = raw_rate / _SIGNATURES
    return [
        Row(
            name=f"Plug & Charge chain, cold, {name}",
            value=cold_rate,
            unit="chains/s",
            baseline_name=f"{_SIGNATURES} bare signature checks",
            baseline_value=bound,
            ratio=cold_rate / bound,
            goal=COLD_GOAL * bound,
        ),
        Row(
            name=f"Plug & Charge chain, warm, {name}",
            value=warm_rate,
            unit="chains/s",
            baseline_name="1 bare signature check",
            baseline_value=raw_rate,
            ratio=warm_rate / raw_rate,
            goal=WARM_GOAL * raw_rate,
        ),
    ]


def _rates(works: tuple[Callable[[], None], ...], *, quick: bool) -> list[float]:
    """Calls a second of each work, in turns: the best of many short rounds; other load only slows."""
    calls, rounds = (20, 20) if quick else (100, 60)
    best = [float("inf")] * len(works)
    for _ in range(rounds):
        for place, work in enumerate(works):
            began = time.perf_counter()
            for _ in range(calls):
                work()
            best[place] = min(best[place], time.perf_counter() - began)
    return [calls / elapsed for elapsed in best]


def _expect(good: bool) -> None:  # noqa: FBT001 - one fact
    if not good:
        raise PncInvariantViolation("a benchmark measured rejections")
