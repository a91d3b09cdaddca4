"""The tariffs that a CDR carries inside itself.

Owns: compiling them, and telling which the session started on. Must not know: where else tariffs come from.
A frozen snapshot always goes before an embedded tariff; these serve where nothing was frozen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clearing.errors import MalformedDocumentError
from clearing.pricing.cdr import DOCUMENT, Cdr
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.program import PricingProgram, compile_tariff
from clearing.pricing.tariff import parse_tariff

Compiler = Callable[[bytes, OcpiVersion], PricingProgram]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPrograms:
    """`main` prices the session; `others`, by lower-case id, the periods that name them."""

    main: PricingProgram
    others: Mapping[str, PricingProgram] = field(default_factory=dict)


def compile_raw(raw: bytes, version: OcpiVersion) -> PricingProgram:
    """Read and compile one tariff. Raises what parse_tariff raises."""
    return compile_tariff(parse_tariff(raw, version=version))


def embedded_programs(cdr: Cdr, *, compiler: Compiler = compile_raw) -> EmbeddedPrograms:
    """The CDR's own tariffs, compiled; the main one is that of the earliest period that names one.

    Raises MalformedDocumentError when the CDR carries none, or one that can't be read.
    """
    if not cdr.tariffs_raw:
        raise MalformedDocumentError(
            document=DOCUMENT, path="$.tariffs", problem="carries no tariff, and none was given beside it"
        )
    programs = [compiler(raw, cdr.version) for raw in cdr.tariffs_raw]
    by_id = {program.tariff_id.lower(): program for program in programs}
    named = [period for period in cdr.periods if period.tariff_id is not None]
    main = programs[0]
    if named:
        first = min(named, key=lambda period: period.start).tariff_id or ""
        main = by_id.get(first.lower(), main)
    others = {name: program for name, program in by_id.items() if program is not main}
    return EmbeddedPrograms(main=main, others=others)
