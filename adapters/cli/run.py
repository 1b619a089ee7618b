"""`hip3 run`: the executor as a process."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from adapters import process
from adapters.config import Config, ConfigError, load_config
from adapters.control import ControlUnusable, serve_socket, serve_stdin
from adapters.driver import ExecutorFailed
from adapters.executor import CloseReport, Executor, KeyNotAccepted
from adapters.exit_codes import ExitCode
from adapters.hyperliquid.signing import Signer
from adapters.journal import JournalError
from adapters.keys import KeyUnusable
from adapters.logs import configure_logs, get_logger
from adapters.outcomes import OUTCOME_NAMES
from adapters.verification.stamp import NotVerified, StampUnreadable, require_stamp
from machines.intent import Unknown

log = get_logger("run")

_CODES: dict[type[Exception], ExitCode] = {
    ConfigError: ExitCode.CONFIG,
    JournalError: ExitCode.JOURNAL,
    NotVerified: ExitCode.NOT_VERIFIED,
    KeyNotAccepted: ExitCode.KEY_NOT_ACCEPTED,
    ExecutorFailed: ExitCode.FAULT,
    ControlUnusable: ExitCode.ADDRESS_IN_USE,
}


def command(
    config: Annotated[Path, typer.Option(help="TOML file; docs/tutorial.md shows one.", show_default=False)],
    verbose: Annotated[bool, typer.Option("--verbose", help="Log debugging detail too.")] = False,
) -> None:
    """Run the executor until it is told to stop: by SIGINT, SIGTERM, or the end of its input.

    It takes one JSON object a line on standard input (or on control_socket, if the configuration names one) and
    answers on standard output. Its log goes to standard error.

    The machines that trade must have been verified (`hip3 verify`). If these exact ones were not, the quick levels run
    first, which takes half a minute. Where a check fails, mainnet is refused; elsewhere it is an error in the log.

    Before it connects it takes up what an earlier run left open: posts without an ending are settled, intents that
    were never sent end. Everything is in the journal before it takes effect; `hip3 journal` reads it.

    Stopping, it takes nothing new, sends queued cancels and reduce-only orders, and awaits open posts. What it could
    not finish it lists.

    Exit codes:

    - 0: all ended well
    - 1: something was not executed or is unknown; it was listed
    - 2: wrong usage
    - 3: unusable configuration
    - 4: unusable key
    - 5: key not accepted by the venue
    - 6: a fault of its own
    - 7: nowhere to take commands from, such as a control socket in use
    - 9: unusable journal, or another executor has it
    - 10: on mainnet: the machines are not verified
    """
    configure_logs(logging.DEBUG if verbose else logging.INFO)
    try:
        settings = load_config(config)
        _verify(settings)
        code = process.run(_run(settings, settings.key.load()))
    except KeyUnusable as error:
        _stop(error, ExitCode.KEY)
    except tuple(_CODES) as error:
        _stop(error, next(code for kind, code in _CODES.items() if isinstance(error, kind)))
    raise typer.Exit(code)


def _verify(config: Config) -> None:
    """See that the machines were verified (design.md, Checked before it drives).

    Raises:
        NotVerified: They are not, and it is mainnet.
    """
    try:
        stamp = require_stamp(lambda line: log.info("verifying", what=line))
    except (NotVerified, StampUnreadable, OSError) as error:
        if config.network == "mainnet":
            raise NotVerified(f"mainnet needs verified machines: {error}") from error
        log.error("not_verified", error=str(error))  # noqa: TRY400 - the message says it all
    else:
        log.info("verified", stamp=str(stamp))


def _stop(error: Exception, code: ExitCode) -> NoReturn:
    typer.echo(f"hip3 run: {error}", err=True)
    raise typer.Exit(code)


async def _run(config: Config, signer: Signer) -> ExitCode:
    executor = Executor(config, signer)
    log.info("starting", network=config.network, ws=config.endpoints[0], account=config.account, signer=signer.address)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    executor.start()
    work = [
        asyncio.create_task(_serve(executor, config)),
        asyncio.create_task(executor.wait_fault()),
        asyncio.create_task(stopped.wait()),
    ]
    try:
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            _raise_first(task)
    finally:
        report = await executor.close()
        for task in work:  # only now: what the shutdown brought is still told to whoever waits for it
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        _list_unfinished(report)
    if executor.driver.fault is not None:
        raise executor.driver.fault
    return ExitCode.OK if report.clean else ExitCode.UNFINISHED


def _raise_first(task: asyncio.Task[Any]) -> None:
    """Raise what ended a task; of a group of errors the first, which is the cause."""
    try:
        task.result()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _serve(executor: Executor, config: Config) -> None:
    """Take commands: on the socket from the start, on standard input once orders would be taken."""
    async with asyncio.TaskGroup() as tasks:
        serving = None
        if config.control_socket is not None:
            path = Path(config.control_socket).expanduser()
            serving = tasks.create_task(serve_socket(executor, path))
        await executor.wait_ready()
        log.info("ready")
        await (serve_stdin(executor) if serving is None else serving)


def _list_unfinished(report: CloseReport) -> None:
    for intent in (*report.not_executed, *report.unknown):
        outcome = intent.outcome or Unknown("the next run on this journal finds it out")
        name, reason = OUTCOME_NAMES[type(outcome)], getattr(outcome, "reason", "")
        log.warning("unfinished", cloid=intent.cloid, outcome=name, reason=reason)
    log.info("stopped", not_executed=len(report.not_executed), unknown=len(report.unknown))
