"""What of evidence is accepted: the type by its content, the size, a name that is safe anywhere."""

from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.reconciliation.comparison import difference_id
from clearing.reconciliation.evidence import (
    MOST_BYTES,
    MOST_CHARACTERS,
    EvidenceRejectedError,
    check_file,
    check_reference,
)


@pytest.mark.parametrize(
    ("name", "content", "kept", "content_type"),
    [
        ("letter.pdf", b"%PDF-1.7", "letter.pdf", "application/pdf"),
        ("letter.exe", b"%PDF-1.7", "letter.pdf", "application/pdf"),
        ("page.html", b"\x89PNG\r\n\x1a\n..", "page.png", "image/png"),
        ("", b"\xff\xd8\xff\xe0", "evidence.jpg", "image/jpeg"),
        ("../../etc/pass wd.CSV", b"a;b\r\n1;2", "pass wd.csv", "text/plain"),
        ("C:\\bank\\x.html", "<script>ü".encode(), "x.txt", "text/plain"),
        ('a"b\r\n.txt', b"x", "a_b__.txt", "text/plain"),
    ],
)
def test_a_files_type_is_read_from_its_content(
    name: str, content: bytes, kept: str, content_type: str
) -> None:
    found = check_file(name, content)
    assert (found.name, found.content_type) == (kept, content_type)
    assert found.sha256 == sha256(content).hexdigest()


@pytest.mark.parametrize(
    "content", [b"", b"x" * (MOST_BYTES + 1), b"MZ\x90\x00", b"PK\x03\x04", b"\xff\xfe<", b"a\x00b"]
)
def test_what_is_no_known_type_or_too_large_is_rejected(content: bytes) -> None:
    with pytest.raises(EvidenceRejectedError, match="expected"):
        check_file("a.pdf", content)


@given(st.text(max_size=300))
def test_no_name_leaves_its_folder_or_breaks_a_header(name: str) -> None:
    kept = check_file(name, b"%PDF-").name
    assert 0 < len(kept) <= 140
    assert not set(kept) & set('/\\"\r\n;')
    assert kept.endswith(".pdf")


@pytest.mark.parametrize("text", ["", "  ", "x" * (MOST_CHARACTERS + 1), "a\x00b"])
def test_a_reference_is_a_line(text: str) -> None:
    with pytest.raises(EvidenceRejectedError, match="printable"):
        check_reference(text)
    assert check_reference(" file  12/26 ").reference == "file 12/26"


def test_a_differences_id_is_the_md5_of_its_key() -> None:
    # As the generated column of clearing.reconciliation_difference; test_console_money compares the two.
    found = difference_id(pair="book_psp", reference="adj_1", currency="EUR")
    assert found == UUID("d41a91ab-4f96-0d12-44f6-4146129d78da")
