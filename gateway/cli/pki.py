"""`networkcore pki`: writes a Plug & Charge PKI for a developer's sandbox.

Owns the layout of the folder. Must not know how anything in it is verified. The keys are for sandboxes alone.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from pnc.certificate import parse_certificate
from pnc.emaid import parse_emaid
from pnc.errors import MalformedEmaidError
from pnc.hash_data import HashAlgorithm, as_ocpp, certificate_hash
from sandbox.pki.hierarchy import (
    ContractPki,
    Issued,
    Suite,
    broken_bundles,
    build_pki,
    cross_sign,
    sandbox_now,
)

_KEY_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


@click.command(name="pki")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("pki"),
    show_default=True,
    help="Folder to write to; it must be empty or absent.",
)
@click.option(
    "--suite",
    type=click.Choice([suite.value for suite in Suite]),
    default=Suite.P256.value,
    show_default=True,
    help="Keys: 15118-2 is P-256, 15118-20 is P-521, 15118-20-ed448 is Ed448.",
)
@click.option(
    "--emaid", "emaids", multiple=True, default=("DE8AAC12345678",), help="One contract each; repeat."
)
@click.option("--ocsp-url", default=None, help="OCSP responder named in the certificates.")
@click.option("--crl-url", default=None, help="CRL named in the certificates.")
@click.option(
    "--at",
    default=None,
    help="Made for this instant, such as 2026-10-29T08:00:00Z of `dev`; now if not given.",
)
def command(
    *,
    out: Path,
    suite: str,
    emaids: tuple[str, ...],
    ocsp_url: str | None,
    crl_url: str | None,
    at: str | None,
) -> None:
    """Make a root, two sub-authorities and contract certificates, cross-signed and broken ones.

    Each contract gets a folder with its certificate, its key, the chain as a vehicle presents it, and the
    OCPP AuthorizeRequest that goes with it, by certificate and by hash data. `broken/` holds requests that
    must be rejected, by what is wrong.
    """
    bodies = [_emaid(text) for text in emaids]
    if out.exists() and any(out.iterdir()):
        raise click.UsageError(f"--out: {out} is not empty; certificates are never overwritten")
    now = sandbox_now() if at is None else _instant(at)
    pki = build_pki(suite=Suite(suite), now=now, ocsp_url=ocsp_url, crl_url=crl_url)
    _folder(out)
    for name, item in (("root", pki.root), ("sub-1", pki.first), ("sub-2", pki.second)):
        _write_pair(out, name, item)
    _write_cross(out, pki)
    for body in bodies:
        _write_contract(out / body, pki, body)
    for name, bundle in broken_bundles(pki, bodies[0]).items():
        _write_json(_folder(out / "broken") / f"{name}.json", _pem_request(bodies[0], bundle))
    click.echo(
        f"{out}: trust {out / 'root.pem'} as an mo_root of your sandbox, "
        f"then send {out / bodies[0] / 'request.json'}"
    )


def _emaid(text: str) -> str:
    try:
        return parse_emaid(text).body
    except MalformedEmaidError as problem:
        raise click.UsageError(f"--emaid: {problem}") from None


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--at: {text!r} is not an instant such as 2026-10-29T08:00:00Z") from None
    if found.tzinfo is None:
        raise click.UsageError(f"--at: {text!r} needs a time zone, such as +02:00 or Z")
    return found


def _write_contract(folder: Path, pki: ContractPki, emaid: str) -> None:
    leaf = pki.issue(emaid)
    _folder(folder)
    _write_pair(folder, "contract", leaf)
    (folder / "chain.pem").write_text(pki.bundle(leaf))
    _write_json(folder / "request.json", _pem_request(emaid, pki.bundle(leaf)))
    name = certificate_hash(
        parse_certificate(leaf.der), parse_certificate(pki.second.der), HashAlgorithm.SHA256
    )
    by_hash = {
        "idToken": {"idToken": emaid, "type": "eMAID"},
        "iso15118CertificateHashData": [as_ocpp(name, responder_url=pki.ocsp_url or "")],
    }
    _write_json(folder / "request-by-hash.json", by_hash)


def _write_cross(out: Path, pki: ContractPki) -> None:
    """A second root that vouches for the first: trusting it and adding the cross certificate will do."""
    other = build_pki(suite=pki.suite, now=pki.now, name="Sandbox V2G")
    _write_pair(out, "cross-root", other.root)
    (out / "cross.pem").write_text(cross_sign(pki.root, by=other.root, now=pki.now).pem)


def _write_pair(folder: Path, name: str, item: Issued) -> None:
    (folder / f"{name}.pem").write_text(item.pem)
    key = folder / f"{name}.key"
    key.touch(mode=_KEY_MODE)
    key.write_text(item.key_pem())


def _pem_request(emaid: str, bundle: str) -> dict[str, object]:
    return {"idToken": {"idToken": emaid, "type": "eMAID"}, "certificate": bundle}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _folder(path: Path) -> Path:
    path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    return path
