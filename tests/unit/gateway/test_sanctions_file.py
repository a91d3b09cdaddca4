"""Sanctions lists with made-up names: the EU's XML and CSV, one's own CSV, and what is none."""

from datetime import date
from pathlib import Path

import pytest

from clearing.errors import UnreadableMessageError
from gateway.adapters.sanctions_file import SanctionsFile, parse_sanctions_list

XML = """<?xml version="1.0" encoding="UTF-8"?>
<export xmlns="http://eu.europa.ec/fpi/fsd/export" generationDate="2026-11-01T12:00:00.000+01:00">
  <sanctionEntity logicalId="13" euReferenceNumber="EU.1.1">
    <nameAlias firstName="Zorp" lastName="Testov" wholeName="Zorp Testov" strong="true"/>
    <nameAlias wholeName="Зорп Тестов" strong="true"/>
    <nameAlias wholeName="Zorp Testov"/>
    <address street="Nowhere 1"/>
  </sanctionEntity>
  <sanctionEntity logicalId="14"><nameAlias wholeName="Quux Holding"/></sanctionEntity>
</export>"""
EU_CSV = (
    "\ufefffileGenerationDate;Entity_LogicalId;Entity_EU_ReferenceNumber;NameAlias_WholeName\r\n"
    "01/11/2026;13;EU.1.1;Zorp Testov\r\n"
    "01/11/2026;13;EU.1.1;Зорп Тестов\r\n"
    "01/11/2026;13;EU.1.1;\r\n"
    "01/11/2026;14;EU.1.2;Quux Holding\r\n"
)
OWN_CSV = (
    "published_on,entry_id,name\n2026-11-01,13,Zorp Testov\n2026-11-01,13,Зорп Тестов\n"
    "2026-11-01,14,Quux Holding\n"
)


@pytest.mark.parametrize("text", [XML, EU_CSV, OWN_CSV])
def test_each_format_gives_the_same_list(text: str) -> None:
    found = parse_sanctions_list(text.encode())
    assert found.published_on == date(2026, 11, 1)
    assert {one.id: list(one.names) for one in found.entries} == {
        "13": ["Zorp Testov", "Зорп Тестов"],
        "14": ["Quux Holding"],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column"),
        ("published_on,entry_id,name\n", "has no published_on"),
        ("published_on,entry_id,name\n2026-11-01,1,\n", "names nobody"),
        ("published_on,entry_id,name\nsoon,1,Zorp\n", "is no day"),
        ("entry_id,name\n1,Zorp\n", "no column published_on"),
        ("<export><sanctionEntity/></export>", "generationDate"),
        (XML.replace("wholeName", "other"), "names nobody"),
        (XML.replace("</export>", ""), "XML"),
        (XML.replace("<export", "<!DOCTYPE x [<!ENTITY a 'b'>]><export", 1), "document type|DTD|entit"),
    ],
)
def test_what_is_no_list_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(UnreadableMessageError, match=said):
        parse_sanctions_list(text.encode())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMessageError, match=r"list\.xml can't be read"):
        SanctionsFile(path=tmp_path / "list.xml").load()
    (tmp_path / "list.xml").write_text(XML, encoding="utf-8")
    assert len(SanctionsFile(path=tmp_path / "list.xml").load().entries) == 2
