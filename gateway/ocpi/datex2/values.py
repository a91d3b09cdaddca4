"""OCPI's enumerations in the words of DATEX II.

Owns: the tables. Must not know: objects, prices. What has no counterpart is absent here and left out.
Sources: OCPI mod_locations (Status, ConnectorType, Capability); DATEX II profile AFIR Energy Infrastructure
01-00-00, enumerations of the packages AfirEnergyInfrastructure and AfirFacilities.
"""

from collections.abc import Mapping
from typing import Final

STATUSES: Final[Mapping[str, str]] = {
    "AVAILABLE": "available",
    "BLOCKED": "blocked",
    "CHARGING": "charging",
    "INOPERATIVE": "inoperative",
    "OUTOFORDER": "outOfOrder",
    "PLANNED": "planned",
    "RESERVED": "reserved",
}
CONNECTORS: Final[Mapping[str, str]] = {
    "CHADEMO": "chademo",
    **{f"DOMESTIC_{letter}": f"domestic{letter}" for letter in "ABCDEFGHIJKLMNO"},
    "IEC_60309_2_SINGLE_16": "iec60309x2single16",
    "IEC_60309_2_THREE_16": "iec60309x2three16",
    "IEC_60309_2_THREE_32": "iec60309x2three32",
    "IEC_60309_2_THREE_64": "iec60309x2three64",
    "IEC_62196_T1": "iec62196T1",
    "IEC_62196_T1_COMBO": "iec62196T1COMBO",
    "IEC_62196_T2": "iec62196T2",
    "IEC_62196_T2_COMBO": "iec62196T2COMBO",
    "IEC_62196_T3A": "iec62196T3A",
    "IEC_62196_T3C": "iec62196T3C",
    "MCS": "mcs",
    "PANTOGRAPH_BOTTOM_UP": "pantographBottomUp",
    "PANTOGRAPH_TOP_DOWN": "pantographTopDown",
    "TESLA_R": "teslaR",
    "TESLA_S": "teslaS",
}
PAYMENT_MEANS: Final[Mapping[str, str]] = {
    "CREDIT_CARD_PAYABLE": "paymentCreditCard",
    "DEBIT_CARD_PAYABLE": "paymentDebitCard",
    "CHIP_CARD_SUPPORT": "emv",
    "CONTACTLESS_CARD_SUPPORT": "nfc",
}
AUTHENTICATION: Final[Mapping[str, str]] = {
    "CREDIT_CARD_PAYABLE": "creditCard",
    "DEBIT_CARD_PAYABLE": "debitCard",
    "CONTACTLESS_CARD_SUPPORT": "nfc",
    "PED_TERMINAL": "pinpad",
    "REMOTE_START_STOP_CAPABLE": "apps",
    "RFID_READER": "rfid",
}
