"""How fast are edits made, where does the time go, and how many sampling steps do they need?

    python benchmarks/synth.py [--parts speed,batch,network,steps] [--edits 16] [--films 2] [--side 256] [--json]

speed: `cars synth` from plan to files, against a plain loop with the same network: one film, one attempt and one
forward pass at a time (benchmarks/_plain_walk.py). The share of the time that is spent in the UNet's forward passes is
printed beside both. batch: the same films edited 1, 2, 4, 8 and 16 at once. network: one forward pass, channels last
and compiled. steps: share of phantom edits that pass all gates after 5, 10, 20 and 50 sampling steps, with Wilson's 95%
interval; --films of each finding and direction.

Wall time says what a user waits; CPU time is what can be compared on a machine that does other work as well.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _plain_walk import PlainGenerator
from counterfactual import _seen, case, wilson

from cars.generators.cars_unet import CarsGenerator
from cars.imaging import decode, save_png
from cars.ingest import IngestSettings, ingest
from cars.phantom.tree import write_tree
from cars.schema import EDITABLE
from cars.segmenters import SEGMENTERS
from cars.synth import synth
from cars.synth.editing import Models, Source, edit_films
from cars.synth.judge import Judge
from cars.synth.planning import plan
from cars.synth.run import source_of
from cars.synth.settings import PlanSettings, SynthSettings
from cars.workspace import Workspace

EDITS = ("Cardiomegaly", "Edema", "Pleural Effusion", "Pneumothorax")
BATCHES = (1, 2, 4, 8, 16)
STEPS = (5, 10, 20, 50)
#: The steps that the default takes; the other numbers are compared with it.
DEFAULT_STEPS = 20


@dataclass
class Clock:
    """Wall and CPU seconds of something, and of the UNet's forward passes within it (with how many rows they had)."""

    wall: float = 0.0
    cpu: float = 0.0
    unet_wall: float = 0.0
    unet_cpu: float = 0.0
    rows: int = 0

    @property
    def share(self) -> float:
        """Of the CPU time in forward passes."""
        return self.unet_cpu / self.cpu

    @property
    def share_wall(self) -> float:
        """Of the wall time in forward passes."""
        return self.unet_wall / self.wall


@contextmanager
def clocked(net: Any) -> Iterator[Clock]:
    """Times a block and every forward pass of the network in it."""
    clock, real = Clock(), net.forward
    on_gpu = next(net.parameters()).is_cuda

    def forward(x: Any, *rest: Any) -> Any:
        start = time.perf_counter(), time.process_time()
        found = real(x, *rest)
        if on_gpu:  # the call returns before the work is done
            import torch

            torch.cuda.synchronize()
        clock.unet_wall += time.perf_counter() - start[0]
        clock.unet_cpu += time.process_time() - start[1]
        clock.rows += len(x)
        return found

    net.forward = forward
    start = time.perf_counter(), time.process_time()
    try:
        yield clock
    finally:
        clock.wall, clock.cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        net.forward = real


def row(what: str, ours: float, reference: float | None, unit: str, **more: Any) -> dict[str, Any]:
    ratio = ours / reference if reference else None
    return {"what": what, "ours": ours, "reference": reference, "ratio": ratio, "unit": unit, **more}


def workspace_of(folder: Path, edits: int, side: int) -> Workspace:
    """A workspace of phantom films enlarged to `side` pixels, with a plan of as many edits as can be spread evenly."""
    write_tree(folder / "tree", n_films=max(120, 4 * edits), seed=91, size=256, workers=1)
    if side != 256:
        for path in (folder / "tree" / "files").rglob("*.jpg"):
            with Image.open(path) as image:
                image.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=95)
    workspace = Workspace.create(folder / "ws")
    ingest(workspace, IngestSettings("phantom", str(folder / "tree"), workers=1))
    asked = ",".join(f"{direction}:{finding}" for finding in EDITS for direction in ("insert", "delete"))
    plan(workspace, PlanSettings(screen=False, balanced=max(1, edits // (2 * len(EDITS))), edits=asked))
    return workspace


def plainly(workspace: Workspace, models: Models, settings: SynthSettings, folder: Path) -> int:
    """The plain loop: each film of the plan is read, edited, gated and written before the next."""
    films = workspace.read("films").set_index("dicom_id", drop=False)
    items = workspace.records.plan_items(workspace.records.plans()["plan_id"].iloc[0]).to_dict("records")
    for n, item in enumerate(items):
        about = films.loc[item["source_dicom_id"]]
        source = source_of(decode(about["path"]), about, item["findings"], item["seed"])
        [outcome] = edit_films([source], models, replace(settings, batch=1))
        for name in ("edited", "roi", "sham"):
            if outcome.error is None:
                save_png(folder / f"{n}.{name}.png", getattr(outcome, name))
    return len(items)


def speed(models: Models, plain: Models, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Edits per second from plan to files, and the share of the UNet."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = workspace_of(folder, options.edits, options.side)
        settings = SynthSettings(generator=models.generator, segmenter=models.segmenter, judge=models.judge)
        with clocked(models.generator.net) as ours:
            told = synth(workspace, settings)
        with clocked(plain.generator.net) as theirs:
            count = plainly(workspace, plain, settings, folder / "plain")
    many = told["requested"]
    what = f"{many} edits of {options.side} px films, plan to files"
    return [
        row(f"{what}: edits per second, wall", many / ours.wall, count / theirs.wall, "1/s"),
        row(f"{what}: edits per second, CPU", many / ours.cpu, count / theirs.cpu, "1/s"),
        row(f"{what}: share of UNet forwards, wall", ours.share_wall, theirs.share_wall, "share"),
        row(f"{what}: share of UNet forwards, CPU", ours.share, theirs.share, "share"),
        row(f"{what}: rows through the UNet per edit", ours.rows / many, theirs.rows / count, "rows"),
        row(f"{what}: CPU seconds outside the UNet per edit", (ours.cpu - ours.unet_cpu) / many,
            (theirs.cpu - theirs.unet_cpu) / count, "s"),
    ]  # fmt: skip


def cases(judge: Any, films: int, findings: tuple[str, ...] = EDITABLE) -> list[Source]:
    """Phantom sources of each finding and direction that the judge sees as drawn, `films` of each where there are."""
    found = []
    for finding in findings:
        for direction in ("insert", "delete"):
            drawn = (case(finding, direction, 5_000 + n).source for n in range(4 * films))
            found += [source for source in drawn if _seen(judge, source)][:films]
    return found


def batches(models: Models) -> list[dict[str, Any]]:
    """CPU seconds of an edit in batches of several sizes; the reference is one at a time."""
    sources = cases(models.judge, 2, EDITS)[: max(BATCHES)]
    rows: list[dict[str, Any]] = []
    for batch in BATCHES:
        with clocked(models.generator.net) as clock:
            edit_films(sources, models, SynthSettings(batch=batch))
        per_second = len(sources) / clock.cpu
        rows.append(
            row(f"{len(sources)} edits, {batch} at once: edits per second, CPU", per_second,
                rows[0]["ours"] if rows else per_second, "1/s", wall=len(sources) / clock.wall,
                unet_rows_per_second=clock.rows / clock.unet_cpu)
        )  # fmt: skip
    return rows


def forward_cost(run: Callable[[], Any], rows: int) -> float:
    """CPU milliseconds a row of one forward pass: the least of five."""
    run()
    least = float("inf")
    for _ in range(5):
        start = time.process_time()
        run()
        least = min(least, time.process_time() - start)
    return 1000 * least / rows


def network(generator: Any) -> list[dict[str, Any]]:
    """One forward pass in the memory format that is used, against the plain one."""
    import torch

    net = generator.net
    device = next(net.parameters()).device
    rows = []
    for count in (1, 8, 32):
        side, channels = net.size // net.codec.factor, net.codec.channels
        x = torch.randn(count, channels, side, side, device=device)
        context = torch.zeros(count, channels + 4, side, side, device=device)
        steps = torch.full((count,), 500, device=device)
        tokens = torch.zeros(count, 17, dtype=torch.long, device=device)
        cost = {}
        with torch.inference_mode():
            for layout in (torch.contiguous_format, torch.channels_last):
                net.to(memory_format=layout)
                cost[layout] = forward_cost(lambda x=x, s=steps, t=tokens, c=context: net(x, s, t, c), count)
        rows.append(
            row(f"UNet, {count} rows: channels last against contiguous weights", cost[torch.channels_last],
                cost[torch.contiguous_format], "ms CPU/row")
        )  # fmt: skip
    return rows


def few_steps(models: Models, films: int) -> list[dict[str, Any]]:
    """Share of edits through all gates by the number of sampling steps, on the same films."""
    sources = cases(models.judge, films)
    shares = {}
    for steps in STEPS:
        with clocked(models.generator.net) as clock:
            outcomes = edit_films(sources, models, SynthSettings(steps=steps))
        made = [outcome for outcome in outcomes if outcome.error is None]
        shares[steps] = sum(outcome.passed for outcome in made), len(made), clock.cpu
        print(f"{steps} steps: {shares[steps][0]} of {len(made)}, {clock.cpu:.0f} CPU s", file=sys.stderr, flush=True)
    k, n, _ = shares[DEFAULT_STEPS]
    return [
        row(f"{steps} steps: share of edits through all gates", k_here / n_here, k / n, "share",
            n=n_here, **dict(zip(("low", "high"), wilson(k_here, n_here))), cpu_per_edit=cpu / n_here)
        for steps, (k_here, n_here, cpu) in shares.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="speed,batch,network,steps", help="which tables, by commas")
    parser.add_argument("--edits", type=int, default=16, help="edits of the run from plan to files")
    parser.add_argument("--side", type=int, default=256, help="side of its films, pixels")
    parser.add_argument("--films", type=int, default=1, help="films per finding and direction for the steps")
    parser.add_argument("--editor", type=Path, help="an editor's folder; default: the packaged one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    generator = CarsGenerator(options.editor).load(options.device)
    segmenter, judge = SEGMENTERS.get("cars")().load(options.device), Judge.load(device=options.device)
    models = Models(generator, segmenter, judge)
    plain = Models(PlainGenerator(options.editor).load(options.device), segmenter, judge)
    edit_films(cases(judge, 1, EDITS[:1]), models, SynthSettings(steps=1))  # the first pass of a process is slower
    tables = {
        "speed": lambda: speed(models, plain, options),
        "batch": lambda: batches(models),
        "network": lambda: network(generator),
        "steps": lambda: few_steps(models, options.films),
    }
    rows = []
    for part in options.parts.split(","):
        for each in tables[part]():
            rows.append(each)
            more = f" [{each['low']:.2f}, {each['high']:.2f}] n = {each['n']}" if "low" in each else ""
            reference = "–" if each["reference"] is None else f"{each['reference']:.3g}"
            ratio = "–" if each["ratio"] is None else f"{each['ratio']:.2f}"
            line = f"{each['what']}: {each['ours']:.3g} {each['unit']}{more}, reference {reference}, ratio {ratio}"
            print(line, file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        revisions = {"editor": generator.revision, "judge": judge.revision, "segmenter": segmenter.revision}
        print(json.dumps({"name": "synth", "rows": rows, "revisions": revisions, "device": options.device}))


if __name__ == "__main__":
    main()
