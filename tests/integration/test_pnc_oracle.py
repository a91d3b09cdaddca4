"""OpenSSL as the oracle: over thousands of mutated chains we never accept what it rejects.

Chains are mutated before signing, so that the signatures are good and only the rules decide; and after
signing, byte by byte, so that the parsers decide. The seed is fixed; each run sees the same chains.
"""

import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pnc.certificate import parse_certificate
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.trust import AnchorPurpose, TrustAnchor, trust_of
from sandbox.pki.hierarchy import Issued, Suite, Template, authority_template, build_pki, issue, new_key
from tests import pki as broken
from tests.fakes.pnc_market import EMAID, NOW

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the oracle, openssl, is not installed"
)
AUTHORITY_PAIRS = 24
LEAVES_PER_PAIR = 60
FLIPPED_LEAVES = 1_500
SEED = 15118
CRITICAL = (broken.UNKNOWN_CRITICAL, True)
HARMLESS = (broken.UNKNOWN_CRITICAL, False)


def oracle(folder: Path, *, root: Issued, above: Sequence[str], leaves: Sequence[str]) -> list[bool]:
    """Whether OpenSSL, strict, accepts each leaf with the certificates above it, in one process."""
    (folder / "root.pem").write_text(root.pem)
    (folder / "above.pem").write_text("".join(above))
    names = []
    for place, leaf in enumerate(leaves):
        (folder / f"{place}.pem").write_text(leaf)
        names.append(f"{place}.pem")
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-attime",
        str(int(NOW.timestamp())),
        "-CAfile",
        "root.pem",
        "-untrusted",
        "above.pem",
        *names,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    good = {line.removesuffix(": OK") for line in done.stdout.splitlines() if line.endswith(": OK")}
    return [name in good for name in names]


def _dates(rng: random.Random) -> dict[str, Any]:
    match rng.randrange(8):
        case 0:
            return {"not_after": NOW - timedelta(seconds=rng.choice([1, 3600]))}
        case 1:
            return {"not_before": NOW + timedelta(seconds=rng.choice([1, 3600]))}
        case _:
            return {}


def odd_leaf(rng: random.Random, template: Template) -> Template:
    changes: dict[str, Any] = _dates(rng)
    if rng.random() < 0.1:
        changes["is_authority"] = True
    if rng.random() < 0.1:
        changes["key_cert_sign"] = True
    if rng.random() < 0.3:
        changes["extra"] = rng.choice([(CRITICAL,), (HARMLESS,), ()])
    return replace(template, **changes)


def odd_authority(rng: random.Random, template: Template) -> Template:
    changes: dict[str, Any] = _dates(rng)
    changes["path_length"] = rng.choice([template.path_length, template.path_length, None, 0, 1, 5])
    if rng.random() < 0.15:
        changes["is_authority"] = False
        changes["path_length"] = None
    if rng.random() < 0.15:
        changes["key_cert_sign"] = False
    if rng.random() < 0.15:
        changes["extra"] = (rng.choice([CRITICAL, HARMLESS]),)
    return replace(template, **changes)


def _verifier(root: Issued) -> ChainVerifier:
    anchor = TrustAnchor(certificate=parse_certificate(root.der), purpose=AnchorPurpose.MO_ROOT)
    return ChainVerifier(trust=trust_of(version=1, anchors=[anchor]))


def test_no_signed_chain_is_accepted_that_openssl_rejects(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    pki = build_pki(suite=Suite.P256, now=NOW)
    verifier = _verifier(pki.root)
    both = neither = 0
    for pair in range(AUTHORITY_PAIRS):
        wild = pair % 3 > 0
        first_template = authority_template("First", now=NOW, path_length=1)
        second_template = authority_template("Second", now=NOW, path_length=0)
        if wild:
            first_template = odd_authority(rng, first_template)
            second_template = odd_authority(rng, second_template)
        first = issue(first_template, issuer=pki.root, key=new_key(pki.suite))
        second = issue(
            second_template, issuer=rng.choice([first, first, first, pki.root]), key=new_key(pki.suite)
        )
        strangers = [pki.root, first, second, pki.second]
        leaves = [
            issue(
                odd_leaf(rng, pki.leaf_template(EMAID)),
                issuer=rng.choice([second, second, second, *strangers]),
                key=new_key(pki.suite),
            ).pem
            for _ in range(LEAVES_PER_PAIR)
        ]
        above = [second.pem, first.pem]
        verdicts = oracle(tmp_path, root=pki.root, above=above, leaves=leaves)
        for leaf, openssl in zip(leaves, verdicts, strict=True):
            ours = isinstance(verifier.verify(leaf + "".join(above), now=NOW), ValidChain)
            assert openssl or not ours, leaf + "".join(above)
            both += ours and openssl
            neither += not ours and not openssl
    assert both > 100  # the comparison must not be empty on either side
    assert neither > 100


def test_no_flipped_byte_is_accepted_that_openssl_rejects(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    pki = build_pki(suite=Suite.P256, now=NOW)
    verifier = _verifier(pki.root)
    leaf = pki.issue(EMAID)
    mutated = [broken.raw_pem(_mutate(rng, leaf.der)) for _ in range(FLIPPED_LEAVES)]
    above = [pki.second.pem, pki.first.pem]
    for pem, openssl in zip(
        mutated, oracle(tmp_path, root=pki.root, above=above, leaves=mutated), strict=True
    ):
        ours = isinstance(verifier.verify(pem + "".join(above), now=NOW), ValidChain)
        assert openssl or not ours, pem


def test_a_mutated_authority_is_never_accepted(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    pki = build_pki(suite=Suite.P256, now=NOW)
    leaf = pki.issue(EMAID)
    for _ in range(FLIPPED_LEAVES):
        bent = broken.raw_pem(_mutate(rng, pki.second.der))
        verifier = _verifier(pki.root)
        assert not isinstance(verifier.verify(leaf.pem + bent + pki.first.pem, now=NOW), ValidChain)


def _mutate(rng: random.Random, der: bytes) -> bytes:
    """Change the bytes for sure: flip a bit, drop, double or insert."""
    place = rng.randrange(len(der))
    match rng.randrange(4):
        case 0:
            return der[:place] + bytes([der[place] ^ (1 << rng.randrange(8))]) + der[place + 1 :]
        case 1:
            return der[:place] + der[place + 1 :]
        case 2:
            return der[:place] + bytes([rng.randrange(256)]) + der[place:]
        case _:
            return der + bytes([rng.randrange(256)])


def test_the_oracle_itself_accepts_the_good_chain_and_rejects_a_stranger(tmp_path: Path) -> None:
    pki = build_pki(suite=Suite.P256, now=NOW)
    stranger = build_pki(suite=Suite.P256, now=NOW, name="Stranger")
    above = [pki.second.pem, pki.first.pem]
    leaves = [pki.issue(EMAID).pem, stranger.issue(EMAID).pem]
    assert oracle(tmp_path, root=pki.root, above=above, leaves=leaves) == [True, False]
