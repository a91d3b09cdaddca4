"""`networkcore pki`: what it writes verifies, what it writes as broken does not, keys are private."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.pki import command
from pnc.certificate import parse_certificate, split_bundle
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.messages import OcppVersion, validate_authorize_request
from pnc.rejection_reasons import ContractRejection
from pnc.trust import AnchorPurpose, Trust, TrustAnchor, trust_of
from sandbox.pki.hierarchy import Suite

EMAID = "DE8AAC12345678"


def trust(root: Path, *bridges: Path) -> Trust:
    def read(path: Path) -> bytes:
        return split_bundle(path.read_text())[0]

    anchor = TrustAnchor(certificate=parse_certificate(read(root)), purpose=AnchorPurpose.MO_ROOT)
    return trust_of(
        version=1, anchors=[anchor], cross_certificates=[parse_certificate(read(path)) for path in bridges]
    )


@pytest.mark.parametrize("suite", list(Suite))
def test_what_it_writes_verifies_and_the_broken_ones_do_not(tmp_path: Path, suite: Suite) -> None:
    out = tmp_path / "pki"
    done = CliRunner().invoke(command, ["--out", str(out), "--suite", suite.value])
    assert done.exit_code == 0, done.output
    now = datetime.now(UTC)
    good = json.loads((out / EMAID / "request.json").read_text())
    for trusted in (trust(out / "root.pem"), trust(out / "cross-root.pem", out / "cross.pem")):
        chain = ChainVerifier(trust=trusted).verify(good["certificate"], now=now)
        assert isinstance(chain, ValidChain), chain
    broken = sorted((out / "broken").iterdir())
    assert len(broken) >= 10
    for path in broken:
        request = json.loads(path.read_text())
        validate_authorize_request(OcppVersion.V2_1, request)
        found = ChainVerifier(trust=trust(out / "root.pem")).verify(request["certificate"], now=now)
        assert isinstance(found, ContractRejection), path
    for key in out.rglob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "root.key").write_text("precious")
    done = CliRunner().invoke(command, ["--out", str(tmp_path)])
    assert done.exit_code == 2
    assert (tmp_path / "root.key").read_text() == "precious"


def test_a_text_that_is_no_emaid_is_rejected_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["--out", str(tmp_path / "pki"), "--emaid", "nonsense"])
    assert done.exit_code == 2
    assert "--emaid" in done.output


def test_certificates_can_be_made_for_the_business_time_of_dev(tmp_path: Path) -> None:
    out = tmp_path / "pki"
    done = CliRunner().invoke(command, ["--out", str(out), "--at", "2026-10-29T08:00:00Z"])
    assert done.exit_code == 0, done.output
    good = json.loads((out / EMAID / "request.json").read_text())
    verifier = ChainVerifier(trust=trust(out / "root.pem"))
    assert isinstance(
        verifier.verify(good["certificate"], now=datetime(2026, 10, 29, 8, tzinfo=UTC)), ValidChain
    )


@pytest.mark.parametrize("at", ["tomorrow", "2026-10-29T08:00:00"])
def test_a_wrong_instant_is_rejected_before_anything_is_written(tmp_path: Path, at: str) -> None:
    done = CliRunner().invoke(command, ["--out", str(tmp_path / "pki"), "--at", at])
    assert done.exit_code == 2
    assert not (tmp_path / "pki").exists()
