"""`networkcore price` and `networkcore tariff`, run as a person runs them."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clearing.pricing.json_document import MAX_DOCUMENT_BYTES
from gateway.cli.price_batch import BatchPricer, read_lines
from tests.unit.clearing.pricing_builders import Number, cdr_tree, component, element, encode, tariff_tree

TARIFF = tariff_tree(element(component("ENERGY", "0.50", vat="20"), component("FLAT", "1", vat="20")))
CDR = cdr_tree((0, {"ENERGY": "10"}), total_cost={"excl_vat": Number("6.00"), "incl_vat": Number("7.20")})


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    found = {}
    for name, tree in (("tariff", TARIFF), ("cdr", CDR), ("whole", CDR | {"tariffs": [TARIFF]})):
        path = tmp_path / f"{name}.json"
        path.write_bytes(encode(tree))
        found[name] = str(path)
    return found


def test_a_cdr_is_priced_by_a_tariff_file(files: dict[str, str]) -> None:
    status, out, err = run("price", files["tariff"], files["cdr"])
    assert (status, err) == (0, "")
    assert "Energy: 10 kWh x 0.50 EUR/kWh = 5.00 EUR" in out
    assert "Total: 7.20 EUR" in out
    assert "The CPO's total: agrees" in out


def test_a_cdr_is_priced_by_the_tariff_inside_it_as_json(files: dict[str, str]) -> None:
    status, out, _ = run("price", files["whole"], "--json")
    answer = json.loads(out)
    assert status == 0
    assert (answer["excl_vat"], answer["incl_vat"], answer["currency"]) == ("6.00", "7.20", "EUR")
    assert len(answer["lines"]) == 2
    assert answer["notes"] == []
    assert answer["cpo_total"]["verdict"] == "agrees"


def test_a_price_needs_no_id(files: dict[str, str]) -> None:
    nameless = encode({name: value for name, value in CDR.items() if name != "id"})
    for options in ((), ("--ocpi", "2.2.1")):
        status, out, _ = run("price", files["tariff"], "-", "--json", *options, stdin=nameless)
        assert (status, json.loads(out)["incl_vat"]) == (0, "7.20")


def test_a_byte_order_mark_is_no_fault(files: dict[str, str]) -> None:
    path = Path(files["whole"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run("price", str(path))[0] == 0


def test_standard_input_is_a_dash(files: dict[str, str]) -> None:
    status, out, _ = run("price", files["tariff"], "-", "--json", stdin=encode(CDR))
    assert (status, json.loads(out)["incl_vat"]) == (0, "7.20")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["price"], "expected TARIFF and CDR"),
        (["price", "{tariff}", "{missing}"], "No such file"),
        (["price", "{cdr}"], "carries no tariff"),
        (["price", "{cdr}", "{tariff}"], "$"),
        (["price", "{tariff}", "{cdr}", "--time-zone", "Mars/Base"], "'Mars/Base' is not a time zone"),
        (["price", "{tariff}", "{cdr}", "--tolerance", "some"], "--tolerance"),
        (["price", "{tariff}", "{cdr}", "--ocpi", "9.9"], "9.9"),
        (["price", "{tariff}", "{cdr}", "--output", "x"], "--output goes with --batch"),
        (["price", "--batch", "{missing}"], "No such file"),
        (["price", "--batch", "{cdr}", "{cdr}"], "--batch takes"),
        (["tariff", "lint"], "FILE"),
        (["tariff", "lint", "{missing}"], "No such file"),
        (["tariff", "lint", "{tariff}", "--power", "NaN"], "--power"),
        (["tariff", "show", "{cdr}"], "'elements'"),
        (["tariff", "quote", "{tariff}", "--energy", "x", "--minutes", "60"], "--energy"),
        (["tariff", "quote", "{tariff}", "--energy", "1", "--minutes", "60", "--start", "noon"], "--start"),
        (
            ["tariff", "quote", "{tariff}", "--energy", "1", "--minutes", "60", "--start", "2026-01-01"],
            "--start",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_two(
    files: dict[str, str], arguments: list[str], words: str, tmp_path: Path
) -> None:
    names = files | {"missing": str(tmp_path / "missing.json")}
    status, out, err = run(*(argument.format(**names) for argument in arguments))
    assert (status, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_fault_names_file_path_and_what_is_expected(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(encode(tariff_tree(element(component("ENERGY", "true")))))
    status, _, err = run("tariff", "lint", str(bad))
    assert status == 2
    assert f"{bad}: $.elements[0].price_components[0].price: Expected" in err


def batch(lines: list[bytes], tmp_path: Path, *, to_file: bool) -> list[dict[str, Any]]:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n".join(lines) + b"\n")
    arguments = ["price", "--batch", str(source)] + (["--output", str(target)] if to_file else [])
    status, out, err = run(*arguments)
    assert status == 0, err
    text = target.read_text() if to_file else out
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("to_file", [True, False])
def test_a_batch_gives_one_line_each_in_order_with_errors_in_their_place(
    tmp_path: Path, *, to_file: bool
) -> None:
    good = {"tariff": TARIFF, "cdr": CDR, "time_zone": "Europe/Amsterdam"}
    lines = [
        encode({"id": "a"} | good),
        b"{",
        b"",
        encode({"id": "b", "cdr": CDR | {"tariffs": [TARIFF]}}),
        encode({"id": "c"} | good | {"time_zone": "Nowhere"}),
        encode({"id": "d", "tariff": None, "cdr": CDR}),
        encode({"id": 5} | good | {"cdr": {"id": 1}}),
        encode({"id": "e"} | good | {"cdr": CDR | {"end_date_time": "late"}}),
        encode({"id": "f"} | good),
    ]
    found = batch(lines, tmp_path, to_file=to_file)
    assert [line["id"] for line in found] == ["a", None, None, "b", "c", "d", 5, "e", "f"]
    assert ["error" in line for line in found] == [False, True, True, False, True, True, True, True, False]
    assert {line["incl_vat"] for line in found if "error" not in line} == {"7.20"}
    assert found[6]["error"]["path"] == "$.id"
    assert "Nowhere" in found[4]["error"]["message"]


def test_a_batch_rejects_to_overwrite_its_input(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"{}\n")
    status, _, err = run("price", "--batch", str(source), "--output", str(source))
    assert (status, source.read_bytes()) == (2, b"{}\n")
    assert "input file itself" in err


def test_a_line_beyond_the_bound_is_an_error_in_its_place() -> None:
    source = io.BytesIO(b"one\r\n" + b"x" * 50_000 + b"\ntwo\n" + b"y" * 11 + b"\nlast")
    assert list(read_lines(source, limit=10)) == [b"one", None, b"two", None, b"last"]
    found = BatchPricer(time_zone=None, version=None).price_line(None)
    assert found["error"]["problem"] == "is too long"


def test_a_tariff_used_again_is_compiled_once() -> None:
    pricer = BatchPricer(time_zone=None, version=None)
    lines = [encode({"tariff": TARIFF, "cdr": CDR | {"id": str(number)}}) for number in range(5)]
    assert all("error" not in pricer.price_line(line) for line in lines)
    assert len(pricer._programs) == 1


def test_lint_prints_a_line_a_finding_and_status_one_on_a_warning(
    tmp_path: Path, files: dict[str, str]
) -> None:
    assert run("tariff", "lint", files["tariff"])[0] == 0
    bad = tmp_path / "bad.json"
    bad.write_bytes(encode(tariff_tree(element(component("ENERGY", "-1", vat="20")))))
    status, out, _ = run("tariff", "lint", files["tariff"], str(bad))
    assert status == 1
    assert f"{bad}: $.elements[0].price_components[0].price: warning T301" in out
    status, out, _ = run("tariff", "lint", str(bad), "--json", "--power", "50")
    assert json.loads(out)["findings"][0]["code"] == "T301"


def test_show_and_quote_speak_the_driver_s_language(files: dict[str, str]) -> None:
    assert run("tariff", "show", files["tariff"], "--locale", "fr")[1].splitlines()[0] == (
        "0,60 EUR par kWh (TVA 20 % comprise)"
    )
    status, out, _ = run(
        "tariff", "quote", files["tariff"], "--energy", "20", "--minutes", "60", "--locale", "de"
    )
    assert (status, out.splitlines()[-2:]) == (0, ["Gesamt: 13,20 EUR", "Hold: 1320 minor units of EUR"])


def test_a_body_beyond_the_bound_is_rejected(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)
    status, _, err = run("price", str(large))
    assert status == 2
    assert "larger than" in err
