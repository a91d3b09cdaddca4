"""Pricing JSON lines in constant memory: one result or one error a line, in the order of the input.

Owns the form of a line, the cache of compiled tariffs and the progress shown. Must not know how a price is
computed.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import msgspec
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from clearing.errors import ClearingError, MalformedDocumentError
from clearing.pricing.cdr import parse_any_cdr, parse_cdr
from clearing.pricing.compare import compare
from clearing.pricing.embedded import compile_raw, embedded_programs
from clearing.pricing.engine import PricingProgram, price
from clearing.pricing.json_document import MAX_DOCUMENT_BYTES, decode
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.tariff import recognize_tariff

CACHED_TARIFFS: Final = 256
CACHED_TARIFF_BYTES: Final = 64 * 2**10  # a longer tariff is compiled each time
MAX_LINE_BYTES: Final = 2 * MAX_DOCUMENT_BYTES
SHOW_EVERY: Final = 1000


class _Line(msgspec.Struct):
    cdr: msgspec.Raw
    id: Any = None  # given back as it came
    tariff: msgspec.Raw = msgspec.Raw()
    time_zone: str | None = None
    ocpi: OcpiVersion | None = None


class _Named(msgspec.Struct):
    id: Any = None


_DECODER: Final = msgspec.json.Decoder(_Line)
_NAME_DECODER: Final = msgspec.json.Decoder(_Named)
_ENCODER: Final = msgspec.json.Encoder()


class BatchPricer:
    """Prices lines one by one; keeps the compiled tariffs that were used last."""

    __slots__ = ("_programs", "_time_zone", "_version")

    def __init__(self, *, time_zone: str | None, version: OcpiVersion | None) -> None:
        self._time_zone = time_zone
        self._version = version
        self._programs: OrderedDict[tuple[bytes, OcpiVersion | None], PricingProgram] = OrderedDict()

    def run(self, reader: BinaryIO, writer: BinaryIO) -> tuple[int, int]:
        """Price every line; returns how many there were and how many were rejected."""
        count = rejected = 0
        for result in _shown(map(self.price_line, read_lines(reader))):
            count += 1
            rejected += "error" in result
            writer.write(_ENCODER.encode(result))
            writer.write(b"\n")
        writer.flush()
        return count, rejected

    def price_line(self, line: bytes | None) -> dict[str, Any]:
        """The result of one line, or its error; None stands for a line beyond the bound."""
        if line is None:
            return _error(None, MalformedDocumentError(document="line", path="$", problem="is too long"))
        try:
            read = decode(_DECODER, line, document="line")
        except ClearingError as error:
            return _error(_name(line), error)
        try:
            return {"id": read.id} | self._price(read)
        except ClearingError as error:
            return _error(read.id, error)

    def _price(self, read: _Line) -> dict[str, Any]:
        raw = bytes(read.cdr)
        version = read.ocpi or self._version
        zone = read.time_zone or self._time_zone
        cdr = parse_any_cdr(raw) if version is None else parse_cdr(raw, version=version, needs_id=False)
        content = bytes(read.tariff)
        if content in {b"", b"null"}:
            embedded = embedded_programs(cdr, compiler=self._compile)
            priced = price(embedded.main, cdr, time_zone=zone, others=embedded.others)
        else:
            program = self._compile(content, version)
            priced = price(program, cdr, time_zone=zone)
        return priced.to_dict() | {"cpo_total": compare(priced, cdr).to_dict()}

    def _compile(self, raw: bytes, version: OcpiVersion | None) -> PricingProgram:
        key = (raw, version)
        program = self._programs.get(key)
        if program is not None:
            self._programs.move_to_end(key)
            return program
        program = compile_raw(raw, version or recognize_tariff(raw))
        if len(raw) <= CACHED_TARIFF_BYTES:
            self._programs[key] = program
            if len(self._programs) > CACHED_TARIFFS:
                self._programs.popitem(last=False)
        return program


def read_lines(reader: BinaryIO, *, limit: int = MAX_LINE_BYTES) -> Iterator[bytes | None]:
    """Lines without their end; None for one beyond `limit` bytes, which is skipped without being kept."""
    while line := reader.readline(limit + 2):
        text = line.rstrip(b"\r\n")
        if len(text) <= limit:
            yield text
            continue
        while line and not line.endswith(b"\n"):
            line = reader.readline(limit)
        yield None


def _name(line: bytes) -> Any:
    """The id of a line that is otherwise wrong, if it has one."""
    try:
        return decode(_NAME_DECODER, line, document="line").id
    except ClearingError:
        return None


def _error(name: Any, error: ClearingError) -> dict[str, Any]:
    detail = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, MalformedDocumentError):
        detail |= {"document": error.document, "path": error.path, "problem": error.problem}
    return {"id": name, "error": detail}


def _shown(results: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass the results through; count them on standard error where a person watches."""
    if not sys.stderr.isatty():
        yield from results
        return
    columns = (TextColumn("{task.completed:,} lines"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        for place, result in enumerate(results, start=1):
            if place % SHOW_EVERY == 0:
                progress.update(task, completed=place)
            yield result
