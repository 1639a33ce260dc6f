"""The command line: every verb with its settings as flags, and the commands that run the app, worker and demo.

All commands take --workspace DIR and --json: one JSON object on stdout, logs on stderr; exit 0, 1 failed, 2 misuse.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from . import __version__
from .errors import CarsError, SettingError
from .verbs import VERBS, Verb

COMMANDS = {
    "app": "Serve the app on this workspace.",
    "worker": "Run the jobs of a workspace, one at a time, until stopped.",
    "jobs": "List the jobs of a workspace, or cancel one.",
    "job-run": "Run one job record (what the worker starts).",
    "demo": "Build the demo workspace and serve the app on it.",
    "doctor": "Check this machine: packages, GPU, weights, disk.",
    "verify": "Check a workspace: tables, films, index, splits, provenance.",
    "decide": "Accept or reject an edit, or undo the last decision.",
    "sets": "List, save or remove attribute sets: attributes, values and a filter under a name.",
}
WORKSPACE = click.Option(
    ["--workspace", "-w"], default="workspace", envvar="CARS_WORKSPACE", show_default=True, help="The workspace folder."
)
AS_JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object on stdout; logs go to stderr.")


@contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Turn CARS errors into one short message and an exit status: 2 for misuse, 1 for anything else."""
    try:
        yield
    except CarsError as error:
        status = 2 if isinstance(error, SettingError) else 1
        if as_json:
            click.echo(json.dumps({"error": error.message, "hint": error.hint, "kind": type(error).__name__}))
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        sys.exit(status)
    except KeyboardInterrupt:
        click.echo("Stopped. Run the same command again to go on from here.", err=True)
        sys.exit(1)


@contextmanager
def progress_bar(name: str, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A rich progress bar on stderr, as a `progress(done, total, message)`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[verb]}"), BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=1, verb=name)

        def progress(done: int, total: int, message: str = "") -> None:
            bar.update(task, completed=done, total=max(total, 1), description=message)

        yield progress


def emit(result: dict[str, Any], as_json: bool) -> None:
    """Print a verb's result: one JSON object, or aligned lines for people (long lists as their length)."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, default=str))
        return
    for key, value in result.items():
        if isinstance(value, (list, dict)) and len(json.dumps(value, default=str)) > 160:
            value = f"{len(value)} (use --json to see them)"
        click.echo(f"{key:>16}  {value}")


def option_of(cls: type, field: dataclasses.Field[Any]) -> click.Parameter:
    """One field of a settings dataclass as a click option or argument. Defaults stay None: config.resolve has them."""
    from .config import field_type

    kind, _ = field_type(cls, field.name)
    meta = field.metadata
    if meta.get("argument"):
        return click.Argument([field.name], required=field.default is dataclasses.MISSING)
    flag = "--" + field.name.replace("_", "-")
    default = "" if field.default in (None, dataclasses.MISSING, "") else f"  [default: {field.default}]"
    text = (meta.get("help") or "") + default
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", field.name], default=None, help=text)
    choices = meta.get("choices")
    names: dict[type, Any] = {int: click.INT, float: click.FLOAT}
    click_type = click.Choice(choices) if choices else names.get(kind, click.STRING)
    return click.Option([flag, field.name], type=click_type, default=None, help=text)


def verb_command(verb: Verb) -> click.Command:
    """The command of a verb, its flags made from the fields of its settings."""
    from .config import resolve
    from .workspace import Workspace

    function, settings_class = verb.load()

    def run(workspace: str, as_json: bool, **flags: Any) -> None:
        with reported(as_json):
            folder = Workspace(workspace)
            settings = resolve(settings_class, verb.name, flags, folder.file_settings)
            opened = Workspace.create(workspace) if verb.creates else Workspace.open(workspace)
            with progress_bar(verb.name, as_json) as progress:
                result = function(opened, settings, progress)
            if result:  # a helping process of `torchrun` has nothing to tell
                emit(result, as_json)

    fields = dataclasses.fields(settings_class)
    parameters = [option_of(settings_class, f) for f in fields] + [WORKSPACE, AS_JSON]
    epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in verb.examples)
    return click.Command(verb.name, callback=run, params=parameters, help=verb.help, epilog=epilog)


class Cars(click.Group):
    """Loads a command's module only when that command is used, so that `cars --help` stays fast."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*VERBS, *(name for name in COMMANDS if name != "job-run")]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in VERBS:
            return verb_command(VERBS[name])
        return getattr(sys.modules[__name__], name.replace("-", "_"), None) if name in COMMANDS else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs, in the order of the path"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in COMMANDS if name != "job-run"])


@click.command(cls=Cars, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cars")
def cars() -> None:
    """CARS shows which clinical attribute combinations a chest-radiograph data set lacks, fills the gaps with
    anatomy-preserving edits of real films, and measures whether that helps.

    \b
    First steps:
      cars demo                                             the whole path on a phantom, no data needed
      cars ingest mimic-cxr-jpg /data/mimic-cxr-jpg -w ws   your own copy of MIMIC-CXR-JPG
      cars app -w ws                                        browse it
    """


@click.command(help=COMMANDS["app"])
@click.option("--port", default=8501, show_default=True, help="The port to serve on.")
@click.option("--address", default="127.0.0.1", show_default=True, help="The address to bind; loopback by default.")
@click.option("--insecure", is_flag=True, help="Allow a public address without a login: anyone sees the films.")
@click.option("--workspace", "-w", default="workspace", envvar="CARS_WORKSPACE", show_default=True)
def app(workspace: str, port: int, address: str, insecure: bool) -> None:
    with reported(False):
        from .serve import serve

        sys.exit(serve(Path(workspace), port, address, insecure))


@click.command(help=COMMANDS["worker"])
@click.option("--workspace", "-w", default="workspace", envvar="CARS_WORKSPACE", show_default=True)
def worker(workspace: str) -> None:
    with reported(False):
        from .jobs import run_worker
        from .workspace import Workspace

        run_worker(Workspace.open(workspace))


@click.command(help=COMMANDS["jobs"])
@click.option("--workspace", "-w", default="workspace", envvar="CARS_WORKSPACE", show_default=True)
@click.option("--cancel", "cancel_id", help="Cancel the job of this id.")
@click.option("--retry", "retry_id", help="Queue a failed or cancelled job again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def jobs(workspace: str, cancel_id: str | None, retry_id: str | None, as_json: bool) -> None:
    with reported(as_json):
        from . import jobs as running
        from .workspace import Workspace

        opened = Workspace.open(workspace)
        if cancel_id:
            running.cancel(opened, cancel_id)
        if retry_id:
            running.retry(opened, retry_id)
        table = running.jobs(opened)
        if as_json:
            emit({"jobs": json.loads(table.to_json(orient="records"))}, True)
            return
        for row in table.itertuples():
            click.echo(f"{row.job_id}  {row.verb:<16} {row.state:<10} {row.done}/{row.total}  {row.message}")


@click.command(name="job-run", hidden=True, help=COMMANDS["job-run"])
@click.argument("job_id")
@click.option("--workspace", "-w", required=True)
def job_run(job_id: str, workspace: str) -> None:
    from .jobs import run_job
    from .workspace import Workspace

    try:
        sys.exit(0 if run_job(Workspace.open(workspace), job_id, VERBS) else 1)
    except CarsError:
        traceback.print_exc()
        sys.exit(1)


@click.command(help=COMMANDS["demo"])
@click.option("--workspace", "-w", default="data/demo", show_default=True, help="Where the demo workspace lies.")
@click.option("--films", default=1500, show_default=True, help="How many phantom films.")
@click.option("--port", default=8501, show_default=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="The address to bind.")
@click.option("--insecure", is_flag=True, help="Allow a public address without a login (the phantom holds no patient).")
@click.option("--no-app", is_flag=True, help="Build the workspace here and now, without serving the app.")
@click.option("--json", "as_json", is_flag=True, help="With --no-app: print one JSON object on stdout.")
def demo(workspace: str, films: int, port: int, address: str, insecure: bool, no_app: bool, as_json: bool) -> None:
    with reported(as_json):
        from . import demo as module

        if no_app:
            with progress_bar("demo", as_json) as progress:
                emit(module.build(Path(workspace), films, progress), as_json)
            return
        from .serve import check_address, check_port, has_login, serve

        check_address(address, insecure, has_login())
        check_port(address, port)
        module.queue(Path(workspace), films)
        sys.exit(serve(Path(workspace), port, address, insecure))


@click.command(help=COMMANDS["doctor"])
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def doctor(as_json: bool) -> None:
    with reported(as_json):
        from .doctor import examine

        checks = examine()
        if as_json:
            emit({"checks": checks, "ok": all(c["ok"] for c in checks)}, True)
        else:
            for check in checks:
                click.echo(f"{'ok ' if check['ok'] else 'NO '} {check['what']:<28} {check['found']}")
                if not check["ok"]:
                    click.echo(f"    {check['hint']}")
        sys.exit(0 if all(c["ok"] for c in checks) else 1)


@click.command(help=COMMANDS["verify"])
@click.option("--workspace", "-w", default="workspace", envvar="CARS_WORKSPACE", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def verify(workspace: str, as_json: bool) -> None:
    with reported(as_json):
        from .doctor import verify as check
        from .workspace import Workspace

        problems = check(Workspace.open(workspace))
        emit({"problems": problems, "ok": not problems}, as_json)
        sys.exit(1 if problems else 0)


@click.command(help=COMMANDS["decide"])
@click.argument("edit_id")
@click.argument("decision", type=click.Choice(["accept", "reject", "undo"]))
@click.option("--note", default=None, help="Why; without it the edit keeps the note that it has.")
@click.option("--workspace", "-w", default="workspace", envvar="CARS_WORKSPACE", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def decide(edit_id: str, decision: str, note: str | None, workspace: str, as_json: bool) -> None:
    with reported(as_json):
        from .workspace import Workspace

        Workspace.open(workspace).records.decide(edit_id, decision, note)
        emit({"edit_id": edit_id, "decision": decision}, as_json)


@click.command(help=COMMANDS["sets"])
@click.option("--save", "name", help="Save a set under this name; one of the same name is superseded.")
@click.option("--attributes", default="sex,age_band,view,findings", show_default=True, help="With --save.")
@click.option("--values", default="present", show_default=True, help="With --save: as `cars gaps --values`.")
@click.option("--where", default="", help="With --save: only these films, for example `view:PA,AP; sex:F`.")
@click.option("--remove", help="List the set of this name no more.")
@click.option("--workspace", "-w", default="workspace", envvar="CARS_WORKSPACE", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def sets(
    name: str | None, attributes: str, values: str, where: str, remove: str | None, workspace: str, as_json: bool
) -> None:
    with reported(as_json):
        from .coverage.sets import AttributeSet, attribute_sets, remove_set, save_set
        from .workspace import Workspace

        opened = Workspace.open(workspace)
        if name is not None:
            save_set(opened, AttributeSet(name, attributes, values, where))
        if remove:
            remove_set(opened, remove)
        found = [dataclasses.asdict(one) for one in attribute_sets(opened).values()]
        if as_json:
            emit({"sets": found}, True)
            return
        for one in found:
            only = f", where {one['where']}" if one["where"] else ""
            click.echo(f"{one['name']}: {one['attributes']}, {one['values']}{only}")


def main() -> None:
    """The `cars` command."""
    cars(prog_name="cars")
