"""OpenSSL as the oracle, in both directions: what it accepts, strict, is refused only for a named reason.

The corpus: the encodings of deployed authorities, real contract certificates, and leaves whose bytes are
changed at random before they are signed anew, so that the signature is good and only encoding and profile
decide. A refusal of what OpenSSL accepts must be a rule of the profile, or one of the sentences listed here,
each an ambiguity that DER forbids.
"""

import os
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pnc.certificate import decode_block, parse_certificate
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.profile import ProfileRules
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.trust import AnchorPurpose, TrustAnchor, trust_of
from sandbox.pki.hierarchy import ContractPki, Suite, build_pki
from tests import pki as broken
from tests import pki_encodings as encoded
from tests.fakes.pnc_market import EMAID, NOW
from tests.pki_encodings import BASIC_CONSTRAINTS, FALSE, KEY_USAGE, TRUE, extension, extensions_of, tlv

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the oracle, openssl, is not installed"
)
FOLDER = os.environ.get("PNC_DIR")
CRL_POINTS = bytes.fromhex("551d1f")
SEED = 15118
MUTANTS = 900
# What OpenSSL reads and DER forbids, or RFC 5280 does: each has more than one meaning or reader.
DER_RULES = (
    "followed by other bytes",
    "neither 00 nor FF",
    "not definite and minimal",
    "needless first octet",
    "needless octet",
    "not whole",
    "unused bit",
    "repeats",
    "not X.509 version 3",
    "serial number is not positive",
    "lists no usage",
    "is no string",
    "the same tag in the other form",
    "the long form of a tag",
    # OpenSSL reads these two only when it asks for a status; we refuse what we could not ask about.
    "the extension 1.3.6.1.5.5.7.1.1 can't be read",
    "the extension 2.5.29.31 can't be read",
)
# OpenSSL, strict, wants both key identifiers; contract PKIs issue without, as the conformance cases list.
IDENTIFIERS = ("Missing Authority Key Identifier", "Missing Subject Key Identifier")


def judge(
    folder: Path, *, root: str, above: str, leaves: Sequence[str], at: datetime = NOW, strict: bool = True
) -> list[str]:
    """OpenSSL's verdict on each leaf: empty when it accepts, else what it printed."""
    (folder / "root.pem").write_text(root)
    (folder / "above.pem").write_text(above)
    names = [f"{place}.pem" for place in range(len(leaves))]
    for name, leaf in zip(names, leaves, strict=True):
        (folder / name).write_text(leaf)
    verdicts = []
    for start in range(0, len(names), 300):
        chunk = names[start : start + 300]
        command = ["openssl", "verify", *(["-x509_strict"] if strict else []), "-partial_chain"]
        command += ["-attime", str(int(at.timestamp())), "-CAfile", "root.pem", "-untrusted", "above.pem"]
        done = subprocess.run(
            [*command, *chunk], cwd=folder, capture_output=True, text=True, check=False, timeout=60
        )
        good = {line.removesuffix(": OK") for line in done.stdout.splitlines() if line.endswith(": OK")}
        said = _refusals(done.stderr)
        assert good.isdisjoint(said)
        verdicts += ["" if name in good else said.get(name, "can't be read") for name in chunk]
    return verdicts


def _refusals(printed: str) -> dict[str, str]:
    """What OpenSSL printed of each certificate that it refused: the lines that end with its name's."""
    found: dict[str, str] = {}
    lines: list[str] = []
    for line in printed.splitlines():
        named_here = re.fullmatch(r"error (\d+\.pem): verification failed", line)
        if named_here is None:
            lines.append(line)
            continue
        found[named_here[1]] = "\n".join(lines)
        lines = []
    return found


def _verifier(root: bytes, **rules: bool) -> ChainVerifier:
    anchor = TrustAnchor(certificate=parse_certificate(root), purpose=AnchorPurpose.MO_ROOT)
    return ChainVerifier(trust=trust_of(version=1, anchors=[anchor]), rules=ProfileRules(**rules))


def named(found: ValidChain | ContractRejection) -> bool:
    """Whether a refusal is a rule of the profile, or of DER by one of the listed sentences."""
    if isinstance(found, ValidChain):
        return True
    malformed = found.rejection_reason is RejectionReason.MALFORMED_BUNDLE
    return not malformed or any(re.search(rule, found.detail) for rule in DER_RULES)


def test_openssl_accepts_the_encodings_of_deployed_authorities_and_so_do_we(tmp_path: Path) -> None:
    pki = build_pki(suite=Suite.P256, now=NOW)
    above = pki.second.pem + pki.first.pem
    leaves = [broken.raw_pem(der) for der in encoded.leaf_encodings(pki, EMAID).values()]
    verdicts = judge(tmp_path, root=pki.root.pem, above=above, leaves=leaves)
    assert verdicts == [""] * len(leaves)
    for leaf in leaves:
        assert isinstance(_verifier(pki.root.der).verify(leaf + above, now=NOW), ValidChain)


def test_a_hierarchy_encoded_as_a_deployed_one_is_accepted_by_both(tmp_path: Path) -> None:
    pki = encoded.deployed_pki(build_pki(suite=Suite.P256, now=NOW))
    above, leaf = pki.second.pem + pki.first.pem, encoded.deployed_leaf(pki, EMAID)
    assert judge(tmp_path, root=pki.root.pem, above=above, leaves=[leaf.pem]) == [""]
    assert isinstance(_verifier(pki.root.der).verify(leaf.pem + above, now=NOW), ValidChain)


def test_a_tag_in_the_long_form_is_read_by_openssl_and_refused_by_name(tmp_path: Path) -> None:
    pki = build_pki(suite=Suite.P256, now=NOW, crl_url="http://crl.test/a")
    leaf = pki.issue(EMAID)
    value = encoded.parts_of(extensions_of(leaf.der)[CRL_POINTS])[-1]
    # 04 LENGTH becomes 1F 04 LENGTH: the number 4 in the form of those above 30.
    long_form = tlv(0x30, tlv(0x06, CRL_POINTS), b"\x1f" + value)
    changed = broken.raw_pem(encoded.reissued(leaf, pki.second, {CRL_POINTS: long_form}))
    above = pki.second.pem + pki.first.pem
    assert judge(tmp_path, root=pki.root.pem, above=above, leaves=[changed]) == [""]
    found = _verifier(pki.root.der).verify(changed + above, now=NOW)
    assert isinstance(found, ContractRejection)
    assert "the long form of a tag" in found.detail
    assert named(found)


@pytest.mark.parametrize(
    ("name", "by"),
    [
        (tlv(0x30, tlv(0x06, bytes.fromhex("550403")), tlv(0x0C, b"CRL 1")), {"openssl", "us"}),
        (tlv(0x86, b"http://crl.test/a"), set()),  # a general name in its place
        (b"", {"openssl"}),  # RFC 5280 appendix A.1: a set of at least one
    ],
)
def test_a_relative_name_of_a_crl_is_a_set_of_attributes(tmp_path: Path, name: bytes, by: set[str]) -> None:
    pki = build_pki(suite=Suite.P256, now=NOW)
    leaf = pki.issue(EMAID)
    points = tlv(0x30, tlv(0x30, tlv(0xA0, tlv(0xA1, name))))
    points_extension = extension(CRL_POINTS, points)
    changed = broken.raw_pem(encoded.reissued(leaf, pki.second, {}, added=(points_extension,)))
    above = pki.second.pem + pki.first.pem
    verdict = judge(tmp_path, root=pki.root.pem, above=above, leaves=[changed], strict=False)
    found = _verifier(pki.root.der).verify(changed + above, now=NOW)
    assert (verdict == [""]) == ("openssl" in by), verdict
    assert isinstance(found, ValidChain) == ("us" in by)
    assert named(found), found


@pytest.mark.skipif(FOLDER is None, reason="PNC_DIR names no folder with contract certificates")
def test_real_contract_certificates_are_accepted_by_both_and_their_mutants_by_neither(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    at = datetime(2023, 6, 1, tzinfo=UTC)
    for path in sorted(Path(FOLDER or "").glob("*.pem")):
        blocks = re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END", path.read_text(), re.DOTALL)
        leaf, second, first = (decode_block(block) for block in blocks)
        mutants = [_flip(rng, leaf) for _ in range(100)]
        leaves = [broken.raw_pem(item) for item in (leaf, *mutants)]
        above = broken.raw_pem(second)
        verdicts = judge(tmp_path, root=broken.raw_pem(first), above=above, leaves=leaves, at=at)
        assert verdicts[0] == ""
        verifier = _verifier(first)
        for place, (pem, verdict) in enumerate(zip(leaves, verdicts, strict=True)):
            ours = isinstance(verifier.verify(pem + above, now=at), ValidChain)
            assert ours is (place == 0), pem
            assert not ours or verdict == ""


def test_a_refusal_of_what_openssl_accepts_has_a_name_and_nothing_more_is_accepted(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    pki = build_pki(suite=Suite.P256, now=NOW, ocsp_url="http://ocsp.test", crl_url="http://crl.test/a")
    above = pki.second.pem + pki.first.pem
    leaves = [broken.raw_pem(_mutant(rng, pki)) for _ in range(MUTANTS)]
    verdicts = judge(tmp_path, root=pki.root.pem, above=above, leaves=leaves)
    verifier = _verifier(pki.root.der)
    tally: Counter[tuple[bool, bool]] = Counter()
    unlike: list[str] = []
    for leaf, verdict in zip(leaves, verdicts, strict=True):
        found = verifier.verify(leaf + above, now=NOW)
        ours = isinstance(found, ValidChain)
        tally[ours, not verdict] += 1
        if ours and verdict:
            unlike.append(leaf)
            assert any(name in verdict for name in IDENTIFIERS), f"{verdict}\n{leaf}"
        if not verdict:
            assert named(found), f"{found}\n{leaf}"
    assert set(judge(tmp_path, root=pki.root.pem, above=above, leaves=unlike, strict=False)) <= {""}
    # Neither direction may be empty.
    assert tally[True, True] > 100
    assert tally[False, True] > 50
    assert tally[False, False] > 100


def _mutant(rng: random.Random, pki: ContractPki) -> bytes:
    """A leaf with one or two changes, signed anew by its issuer."""
    leaf = pki.issue(EMAID, key_agreement=rng.random() < 0.5)
    if rng.random() < 0.5:
        kind = rng.choice(list(extensions_of(leaf.der)))
        kind, change = rng.choice(
            [
                (kind, _other_critical),
                (kind, _other_value),
                (BASIC_CONSTRAINTS, _other_constraints),
                (KEY_USAGE, _other_usage),
            ]
        )
        changed = encoded.reissued(leaf, pki.second, {kind: change(rng, leaf.der, kind)})
        if rng.random() < 0.7:
            return changed
        tbs = encoded.parts_of(changed)[0]
    else:
        tbs = encoded.parts_of(leaf.der)[0]
    return encoded.signed(_flip(rng, tbs), pki.second.key)


def _flip(rng: random.Random, der: bytes) -> bytes:
    place = rng.randrange(len(der))
    return der[:place] + bytes([der[place] ^ (1 << rng.randrange(8))]) + der[place + 1 :]


def _other_critical(rng: random.Random, der: bytes, kind: bytes) -> bytes:
    value = encoded.parts_of(extensions_of(der)[kind])[-1]
    critical = rng.choice([TRUE, FALSE, b"", bytes.fromhex("010101"), bytes.fromhex("0102ffff")])
    return tlv(0x30, tlv(0x06, kind), critical, value)


def _other_value(rng: random.Random, der: bytes, kind: bytes) -> bytes:
    value = encoded.parts_of(extensions_of(der)[kind])[-1][2:]
    return extension(kind, _flip(rng, value), critical=rng.choice([TRUE, b""]))


def _other_constraints(rng: random.Random, _: bytes, kind: bytes) -> bytes:
    fields = rng.choice(["", "010100", "0101ff", "010100020100", "0101ff020100", "020100", "0101ff0201ff"])
    return extension(kind, tlv(0x30, bytes.fromhex(fields)), critical=rng.choice([TRUE, FALSE, b""]))


def _other_usage(rng: random.Random, _: bytes, kind: bytes) -> bytes:
    return extension(
        kind,
        tlv(0x03, bytes([rng.randrange(9), *(rng.randrange(256) for _ in range(rng.randrange(3)))])),
        critical=rng.choice([TRUE, FALSE, b""]),
    )
