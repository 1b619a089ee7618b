"""Structured logs through the standard library's logging, so that an application decides where they go.

`get_logger` gives a logger whose keyword arguments become fields. `configure_logs` is for the commands of `hip3`: it
sends the records to standard error, one JSON object a line, or aligned text when a person watches.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import Processor

_ROOT: Final = "hip3"
_FIELDS: Final[tuple[Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
)


def get_logger(part: str) -> BoundLogger:
    """The logger of one part of the executor."""
    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(f"{_ROOT}.{part}"),
        processors=[structlog.stdlib.filter_by_level, *_FIELDS, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=BoundLogger,
    )
    return logger


def configure_logs(level: int = logging.INFO) -> None:
    """Send all records of `level` and above to standard error, and the libraries' warnings with them."""
    person = sys.stderr.isatty()
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(sort_keys=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=list(_FIELDS)
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(_ROOT).setLevel(level)
