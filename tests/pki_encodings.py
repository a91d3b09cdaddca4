"""Certificates, OCSP responses and CRLs in the encodings that deployed authorities issue, signed anew.

Each builder changes the bytes of a good object of the sandbox and signs the result with its issuer's key, so
that the signature is good and only the encoding differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pnc.der import skip
from sandbox.pki.hierarchy import ContractPki, Issued, PrivateKey

BASIC_CONSTRAINTS = bytes.fromhex("551d13")
KEY_USAGE = bytes.fromhex("551d0f")
SUBJECT_KEY_ID = bytes.fromhex("551d0e")
AUTHORITY_KEY_ID = bytes.fromhex("551d23")
ALTERNATIVE_NAME = bytes.fromhex("551d11")
EXTENDED_USAGE = bytes.fromhex("551d25")
TRUE = bytes.fromhex("0101ff")
FALSE = bytes.fromhex("010100")
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
ECDSA_SHA256_NULL = bytes.fromhex("300c06082a8648ce3d0403020500")
_LONG_FORM = 0x80


def tlv(tag: int, *parts: bytes) -> bytes:
    """One DER element with its minimal, definite length."""
    body = b"".join(parts)
    if len(body) < _LONG_FORM:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM | len(length))) + length + body


def parts_of(der: bytes) -> list[bytes]:
    """The elements inside a constructed element, each with its tag and length."""
    at = len(der) - int.from_bytes(der[1:2], "big")
    if der[1] & _LONG_FORM:
        at = 2 + (der[1] & ~_LONG_FORM)
    found = []
    while at < len(der):
        end = skip(der, at)
        found.append(der[at:end])
        at = end
    return found


def extension(kind: bytes, value: bytes, *, critical: bytes = b"") -> bytes:
    """One Extension; `critical` is a whole BOOLEAN, or empty."""
    return tlv(0x30, tlv(0x06, kind), critical, tlv(0x04, value))


def extensions_of(der: bytes) -> dict[bytes, bytes]:
    """The extensions of a certificate by the content of their OIDs."""
    (explicit,) = (part for part in parts_of(parts_of(der)[0]) if part[0] == 0xA3)
    (listed,) = parts_of(explicit)
    return {parts_of(item)[0][2:]: item for item in parts_of(listed)}


def signed(tbs: bytes, key: PrivateKey, *, algorithm: bytes = ECDSA_SHA256) -> bytes:
    """`tbs` with its algorithm and a good signature."""
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return tlv(0x30, tbs, algorithm, tlv(0x03, b"\x00", signature))


def reissued(
    item: Issued,
    issuer: Issued,
    changes: Mapping[bytes, bytes | None],
    *,
    algorithm: bytes = ECDSA_SHA256,
    added: tuple[bytes, ...] = (),
) -> bytes:
    """The certificate with extensions exchanged (or dropped: None), added ones, and another algorithm."""
    fields = parts_of(parts_of(item.der)[0])
    kept = {**extensions_of(item.der), **changes}
    listed = tlv(0x30, *(part for part in kept.values() if part is not None), *added)
    tbs = tlv(0x30, *fields[:2], algorithm, *fields[3:7], tlv(0xA3, listed))
    return signed(tbs, issuer.key, algorithm=algorithm)


def as_issued(der: bytes, key: PrivateKey) -> Issued:
    """A certificate of these bytes with its key."""
    return Issued(certificate=x509.load_der_x509_certificate(der), key=key)


def basic_constraints(*fields: bytes, critical: bytes = TRUE) -> bytes:
    return extension(BASIC_CONSTRAINTS, tlv(0x30, *fields), critical=critical)


def key_usage(*octets: int) -> bytes:
    """Key usage from its unused-bits octet and its bits."""
    return extension(KEY_USAGE, tlv(0x03, bytes(octets)), critical=TRUE)


def authority_key_id(issuer: Issued, *, serial: int | None = None, name: bytes | None = None) -> bytes:
    """keyid, issuer and serial of an authority, as `openssl` writes them with keyid,issuer:always."""
    fields = parts_of(parts_of(issuer.der)[0])
    key_id = parts_of(extensions_of(issuer.der)[SUBJECT_KEY_ID])[-1][2:][2:]
    number = fields[1][2:] if serial is None else serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return extension(
        AUTHORITY_KEY_ID,
        tlv(
            0x30,
            tlv(0x80, key_id),
            tlv(0xA1, tlv(0xA4, fields[3] if name is None else name)),
            tlv(0x82, number),
        ),
    )


def leaf_encodings(pki: ContractPki, emaid: str) -> dict[str, bytes]:
    """Leaves in encodings that must be read, by what is special about each."""
    leaf = pki.issue(emaid)
    key_id = extensions_of(leaf.der)[SUBJECT_KEY_ID]
    value = parts_of(key_id)[-1][2:]
    name = tlv(0x30, tlv(0x82, b"example.test"))

    def of(changes: Mapping[bytes, bytes | None], **options: object) -> bytes:
        return reissued(leaf, pki.second, changes, **options)  # type: ignore[arg-type]

    return {
        "cA FALSE written out": of({BASIC_CONSTRAINTS: basic_constraints(FALSE)}),
        "cA FALSE written out, not critical": of({BASIC_CONSTRAINTS: basic_constraints(FALSE, critical=b"")}),
        "basicConstraints absent": of({BASIC_CONSTRAINTS: None}),
        "critical FALSE written out": of({SUBJECT_KEY_ID: extension(SUBJECT_KEY_ID, value, critical=FALSE)}),
        "ECDSA parameters NULL": of({}, algorithm=ECDSA_SHA256_NULL),
        "keyUsage with no unused bits and extra usages": of({KEY_USAGE: key_usage(0, 0xE8)}),
        "keyUsage with trailing zero bits": of({KEY_USAGE: key_usage(3, 0x88)}),
        "keyUsage in two octets": of({KEY_USAGE: key_usage(0, 0x80, 0x00)}),
        "subjectKeyIdentifier of 8 octets": of(
            {SUBJECT_KEY_ID: extension(SUBJECT_KEY_ID, tlv(0x04, bytes(range(8))))}
        ),
        "authorityKeyIdentifier with issuer and serial": of({AUTHORITY_KEY_ID: authority_key_id(pki.second)}),
        "an alternative name": of({}, added=(extension(ALTERNATIVE_NAME, name),)),
    }


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An encoding that must be refused, and the sentence that says why."""

    leaf: bytes
    sentence: str


def faulty_leaves(pki: ContractPki, emaid: str) -> dict[str, Fault]:
    """Leaves whose encodings are ambiguous: two values, trailing data, lengths or booleans of BER."""
    leaf = pki.issue(emaid)
    usage = extensions_of(leaf.der)[KEY_USAGE]

    def of(sentence: str, changes: Mapping[bytes, bytes | None], added: tuple[bytes, ...] = ()) -> Fault:
        return Fault(leaf=reissued(leaf, pki.second, changes, added=added), sentence=sentence)

    constraints = tlv(0x30, FALSE) + b"\x00"
    return {
        "a repeated extension": of("the extension 2.5.29.15 repeats", {}, (usage,)),
        "bytes after an extension": of(
            "followed by other bytes",
            {BASIC_CONSTRAINTS: extension(BASIC_CONSTRAINTS, constraints, critical=TRUE)},
        ),
        "a boolean of BER": of(
            "neither 00 nor FF", {BASIC_CONSTRAINTS: basic_constraints(bytes.fromhex("010101"))}
        ),
        "a length of BER": of(
            "not definite and minimal",
            {KEY_USAGE: extension(KEY_USAGE, bytes.fromhex("0381020780"), critical=TRUE)},
        ),
        "an unused bit that is set": of("unused bit", {KEY_USAGE: key_usage(7, 0x81)}),
        "a field too many": of(
            "more than their two fields", {BASIC_CONSTRAINTS: basic_constraints(FALSE, FALSE)}
        ),
        "a negative path length": of(
            "path length is negative", {BASIC_CONSTRAINTS: basic_constraints(bytes.fromhex("0201ff"))}
        ),
        "an alternative name without a name": of(
            "lists no name", {}, (extension(ALTERNATIVE_NAME, tlv(0x30)),)
        ),
    }


def deployed_pki(pki: ContractPki) -> ContractPki:
    """The hierarchy encoded as a deployed one: 8-octet key identifiers, wide usages, `cA FALSE` to come.

    Its root answers OCSP itself: it has that usage and a policy; no domainComponent tells a role.
    """
    root_extras = (
        extension(EXTENDED_USAGE, tlv(0x30, tlv(0x06, bytes.fromhex("2b06010505070309")))),
        extension(bytes.fromhex("551d20"), tlv(0x30, tlv(0x30, tlv(0x06, bytes.fromhex("2a03"))))),
    )
    root_id, first_id, second_id = (bytes((number,)) * 8 for number in (1, 2, 3))
    root = _with_ids(pki.root, pki.root, root_id, None, added=root_extras)
    first = _with_ids(pki.first, root, first_id, root_id, usage=key_usage(1, 0xC6))
    second = _with_ids(pki.second, root, second_id, first_id, usage=key_usage(1, 0xC6), signer=first)
    return replace(pki, root=root, first=first, second=second)


def deployed_leaf(pki: ContractPki, emaid: str, *, defaults_written: bool = True) -> Issued:
    """A contract certificate under `deployed_pki`, as its authorities encode it.

    `defaults_written` False leaves `cA FALSE` out, for a reader that refuses it.
    """
    leaf = pki.issue(emaid, domain_component=None)
    changes: dict[bytes, bytes | None] = {
        BASIC_CONSTRAINTS: basic_constraints(*((FALSE,) if defaults_written else ())),
        SUBJECT_KEY_ID: extension(SUBJECT_KEY_ID, tlv(0x04, b"\x04" * 8)),
        AUTHORITY_KEY_ID: extension(AUTHORITY_KEY_ID, tlv(0x30, tlv(0x80, b"\x03" * 8))),
        KEY_USAGE: key_usage(0, 0xE8),
    }
    return as_issued(reissued(leaf, pki.second, changes), leaf.key)


def _with_ids(
    item: Issued,
    issuer: Issued,
    own: bytes,
    above: bytes | None,
    *,
    usage: bytes | None = None,
    added: tuple[bytes, ...] = (),
    signer: Issued | None = None,
) -> Issued:
    changes: dict[bytes, bytes | None] = {SUBJECT_KEY_ID: extension(SUBJECT_KEY_ID, tlv(0x04, own))}
    if above is not None:
        changes[AUTHORITY_KEY_ID] = extension(AUTHORITY_KEY_ID, tlv(0x30, tlv(0x80, above)))
    if usage is not None:
        changes[KEY_USAGE] = usage
    return as_issued(reissued(item, signer or issuer, changes, added=added), item.key)


def unknown_extension(*, critical: bool) -> bytes:
    return extension(bytes.fromhex("2a030405"), b"\x05\x00", critical=TRUE if critical else b"")


def nonce(*, critical: bool) -> bytes:
    value = tlv(0x04, b"\x07" * 16)
    return extension(bytes.fromhex("2b0601050507300102"), value, critical=TRUE if critical else b"")


def ocsp_response(
    responses: tuple[bytes, ...],
    signer: Issued,
    *,
    of_response: tuple[bytes, ...] = (),
    of_singles: tuple[bytes, ...] = (),
    enclosed: bytes | None = None,
    algorithm: bytes = ECDSA_SHA256,
) -> bytes:
    """One OCSP response with the statements of several, extensions on either level, signed anew."""
    outer = parts_of(responses[0])
    kind = parts_of(parts_of(outer[1])[0])[0]
    datas = [_response_data(item) for item in responses]
    singles = [single for data in datas for single in parts_of(data[-1])]
    if of_singles:
        listed = tlv(0xA1, tlv(0x30, *of_singles))
        singles = [tlv(0x30, *parts_of(single), listed) for single in singles]
    extensions = (tlv(0xA1, tlv(0x30, *of_response)),) if of_response else ()
    data = tlv(0x30, *datas[0][:-1], tlv(0x30, *singles), *extensions)
    fields = parts_of(signed(data, signer.key, algorithm=algorithm))
    if enclosed is not None:
        fields.append(tlv(0xA0, tlv(0x30, enclosed)))
    return tlv(0x30, outer[0], tlv(0xA0, tlv(0x30, kind, tlv(0x04, tlv(0x30, *fields)))))


def _response_data(response: bytes) -> list[bytes]:
    """The fields of a response's data: responder, producedAt, statements."""
    (answer,) = parts_of(parts_of(response)[1])
    octets = parts_of(answer)[1]
    size = (
        octets[1] if octets[1] < _LONG_FORM else int.from_bytes(octets[2 : 2 + octets[1] - _LONG_FORM], "big")
    )
    return parts_of(parts_of(octets[len(octets) - size :])[0])
