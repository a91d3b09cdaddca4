"""What a driver gets of a session's signed meter data: the check, the key, and the file for other software.

Owns: the values of a receipt. Must not know: where keys are kept, what a receipt looks like.
"""

from dataclasses import dataclass

from clearing.meter_data.check import MeterCheck
from clearing.meter_data.transparency_xml import transparency_xml


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEvidence:
    """What a driver may check of a session: the records, what they measure, and the key that verifies them.

    `public_key` is SubjectPublicKeyInfo: the registered key, else the one that the CDR claims.
    """

    check: MeterCheck
    public_key: bytes | None
    url: str | None

    def transparency_xml(self) -> bytes:
        """The records as the file of the transparency software."""
        return transparency_xml(self.check.records, public_key=self.public_key)
