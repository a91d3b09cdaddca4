"""Notes: what is odd in a tariff or a CDR, named instead of guessed at.

Owns: the codes, how grave each is, and the value that carries one with its JSON path.
Must not know: how a price is computed or who reads the note.
"""

from enum import StrEnum

import msgspec


class NoteSeverity(StrEnum):
    """How much a reader should care."""

    INFO = "info"  # worth knowing, changes nothing
    WARNING = "warning"  # the input is odd; the price follows the rule named in the text
    DISPUTE = "dispute"  # the input contradicts itself or the tariff: a person should look


class NoteCode(StrEnum):
    """Every oddity that pricing names; stable, safe to match on."""

    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_COMPONENT_TYPE = "unknown_component_type"
    UNKNOWN_RESTRICTION = "unknown_restriction"
    UNKNOWN_DIMENSION = "unknown_dimension"
    UNKNOWN_VALUE = "unknown_value"
    STEP_SIZE_MISSING = "step_size_missing"
    STEP_SIZE_ODD = "step_size_odd"
    TAX_MODE_MISSING = "tax_mode_missing"
    TAX_RATE_IGNORED = "tax_rate_ignored"
    TAX_UNKNOWN = "tax_unknown"
    LIMIT_SHAPE = "limit_shape"
    LIMIT_CONTRADICTS = "limit_contradicts"
    LIMIT_GROSS_DERIVED = "limit_gross_derived"
    END_OF_DAY_AS_24 = "end_of_day_as_24"
    TARIFF_EMPTY = "tariff_empty"
    TARIFF_NOT_IN_FORCE = "tariff_not_in_force"
    TARIFF_ID_DIFFERS = "tariff_id_differs"
    TARIFF_ID_MISSING = "tariff_id_missing"
    TARIFF_OWNER_DIFFERS = "tariff_owner_differs"
    CURRENCY_DIFFERS = "currency_differs"
    CREDIT_CDR = "credit_cdr"
    TIME_ZONE_ASSUMED = "time_zone_assumed"
    OFFSET_NOT_UTC = "offset_not_utc"
    PERIODS_OUT_OF_ORDER = "periods_out_of_order"
    PERIOD_OUTSIDE_SESSION = "period_outside_session"
    PERIOD_ZERO_LENGTH = "period_zero_length"
    PERIOD_SPANS_PRICE_CHANGE = "period_spans_price_change"
    SESSION_ENDS_BEFORE_START = "session_ends_before_start"
    SESSION_TIMES_UNKNOWN = "session_times_unknown"
    DIMENSION_REPEATED = "dimension_repeated"
    NEGATIVE_VOLUME = "negative_volume"
    NEGATIVE_TOTAL = "negative_total"
    TIME_EXCEEDS_PERIOD = "time_exceeds_period"
    POWER_INFERRED = "power_inferred"
    POWER_UNMEASURED = "power_unmeasured"
    DIMENSION_UNMEASURED = "dimension_unmeasured"
    TOTAL_ENERGY_DIFFERS = "total_energy_differs"
    TOTAL_TIME_DIFFERS = "total_time_differs"
    FLAT_CHANGED = "flat_changed"
    NOTHING_PRICED = "nothing_priced"
    RESERVATION_EXPIRED = "reservation_expired"


class Note(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One oddity: its code, its severity, its JSON path and a sentence."""

    code: NoteCode
    severity: NoteSeverity
    path: str
    text: str

    def to_dict(self) -> dict[str, str]:
        """The note as JSON-able values."""
        return {"code": self.code, "severity": self.severity, "path": self.path, "text": self.text}
