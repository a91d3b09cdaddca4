"""`networkcore meter verify`, run as a person runs it."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.clearing.meter_builders import public_der, record, signed_cdr

KEY = public_der().hex()


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "meter", "verify", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    text = record()
    xml = f"<values><value><signedData>{text}</signedData><publicKey>{KEY}</publicKey></value></values>"
    contents = {
        "text": text.encode(),
        "base64": base64.b64encode(text.encode()),
        "xml": xml.encode(),
        "cdr": signed_cdr(text, key=public_der()),
        "other_cdr": signed_cdr(text, energy="12", key=public_der()),
        "forged": text.replace("110.5", "111.5").encode(),
        "binary": b"\xff\xfe\x00",
        "broken_xml": b"<values",
        "other_xml": b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><value/></Document>',
        "entities": b'<!DOCTYPE values [<!ENTITY x "y">]><values>&x;</values>',
        "broken_json": b'{"id": ',
        "plain": b"a text that nobody signed",
        "key": public_der().hex().encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


@pytest.mark.parametrize("kind", ["text", "base64", "xml", "cdr"])
def test_each_kind_of_file_is_verified_under_the_given_key(files: dict[str, str], kind: str) -> None:
    status, out, err = run(files[kind], "--key", KEY)
    assert (status, err) == (0, "")
    assert out.startswith("VERIFIED: verified\nmeter   1EMH0012345678")
    assert "energy  10.0 kWh, to 0.1 kWh" in out


def test_the_key_may_be_a_file_and_the_data_standard_input(files: dict[str, str]) -> None:
    assert run("-", "--key", files["key"], stdin=record().encode())[0] == 0


@pytest.mark.parametrize("kind", ["xml", "cdr"])
def test_under_the_key_in_the_file_nothing_is_verified(files: dict[str, str], kind: str) -> None:
    status, out, _ = run(files[kind])
    assert status == 1
    assert out.startswith("NOT VERIFIED: self_asserted\n")


@pytest.mark.parametrize(
    ("kind", "verdict", "codes"),
    [
        ("forged", "bad", ["signature_bad"]),
        ("other_cdr", "energy_differs", ["energy_differs", "energy_differs"]),
        ("plain", "bad", ["ocmf_malformed"]),
    ],
)
def test_what_does_not_verify_says_why(
    files: dict[str, str], kind: str, verdict: str, codes: list[str]
) -> None:
    status, out, _ = run(files[kind], "--key", KEY, "--json")
    answer = json.loads(out)
    assert (status, answer["verdict"], [one["code"] for one in answer["findings"]]) == (1, verdict, codes)


@pytest.mark.parametrize("kind", ["binary", "broken_xml", "other_xml", "entities", "broken_json", "nothing"])
def test_what_can_not_be_read_is_one_line_and_status_2(files: dict[str, str], kind: str) -> None:
    status, out, err = run(files.get(kind, "there-is-no-such-file"), "--key", KEY)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "bank message" not in err
    assert ("S.A.F.E. XML file" in err) is (kind in {"broken_xml", "other_xml", "entities"})


def test_the_records_of_a_cdr_are_written_for_the_transparency_software(
    files: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out.xml"
    assert run(files["cdr"], "--key", KEY, "--xml", str(out))[0] == 0
    assert run(str(out), "--key", KEY)[0] == 0
    assert run(str(out))[1].startswith("NOT VERIFIED: self_asserted")
    for source, target in (("plain", out), ("cdr", tmp_path / "none" / "out.xml")):
        status, _, err = run(files[source], "--xml", str(target))
        assert (status, len(err.splitlines())) == (2, 1)


def test_a_key_that_is_none_is_one_line_and_status_2(files: dict[str, str]) -> None:
    for key in ("zz", "", files["binary"]):
        status, _, err = run(files["text"], "--key", key)
        assert status == 2
        assert "--key: the public key" in err
