"""Make data/weights/segmenter: the command that made the shipped weights.

    python data/weights/train_segmenter.py --minutes 12 [--shapes] [--real SOURCE --real-is TEXT] [--start FOLDER]

Stage 1 learns on phantom films, whose masks are exact, under strong changes of appearance and shape; with --shapes most
of them are bent so that their lungs take the shapes of real ones (cars/phantom/drawn_lungs.py).

Stage 2, only with --real (a folder in MIMIC-CXR-JPG's layout), lets the network outline the films of its *train*
patients, averaging over changes of each film, and goes on with those outlines that it is sure of and that stay put
under the changes, beside the phantom ("noisy student", Xie et al. 2020, arXiv 1911.04252). Films of validate and test
patients are not read. With --start and --real there is no stage 1: the films are outlined by the segmenter that it goes
on from.

Run it with your own films to fit the segmenter to them, and name the folder: `cars synth --segmenter cars:FOLDER`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cars import phantom, provenance
from cars.nets.segmenter import SIZE, SegmenterNet, load, save, to_input, torch
from cars.phantom.drawn_lungs import bend, drawn_shapes
from cars.segmenters import dice
from cars.segmenters._shape import to_masks
from cars.workspace import write_text

F = torch.nn.functional
#: Confidence from which the network's own outline of a real film is trained on.
SURE = 0.75
#: Dice of each organ between the outlines of a film and those of each of its changes, from which it is trained on.
STEADY = 0.9


def phantom_films(n: int, seed: int, shapes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """n frontal films, a third without findings, the rest with one to three: uint8 (n, S, S) and masks (n, 3, S, S).

    shapes: (K, 2, P, 2) of drawn_shapes; every film is then bent to one of them, save those that none of ten fits.
    """
    rng = np.random.default_rng(seed)
    images, masks = np.zeros((n, SIZE, SIZE), np.uint8), np.zeros((n, 3, SIZE, SIZE), bool)
    for k in range(n):
        anatomy = phantom.sample_anatomy(rng, "FM"[int(rng.integers(2))], int(rng.integers(18, 92)))
        spec = phantom.sample_film(rng, anatomy, "PA" if rng.random() < 0.6 else "AP")
        for finding in rng.permutation(phantom.DRAWABLE)[: int(rng.integers(0, 4))]:
            spec = phantom.with_finding(spec, phantom.draw_finding(rng, str(finding), anatomy))
        film = phantom.render(spec, SIZE, masks=False)
        images[k], masks[k] = film.image, film.masks
        for shape in () if shapes is None else shapes[rng.integers(len(shapes), size=10)]:
            if bent := bend(film.image, film.masks, spec, shape):
                images[k], masks[k] = bent
                break
    return images, masks


def strange_films(n: int, seed: int, frontal: np.ndarray) -> np.ndarray:
    """n images without an upright frontal chest, uint8 (n, S, S), whose masks are empty: the network must say "no".

    A half lateral phantom films, a third frontal films turned or inverted, the rest blank, noise and clouds.
    """
    rng = np.random.default_rng(seed)
    images = np.zeros((n, SIZE, SIZE), np.uint8)
    for k in range(n):
        draw = rng.random()
        if draw < 0.5:
            anatomy = phantom.sample_anatomy(rng, "FM"[int(rng.integers(2))], int(rng.integers(18, 92)))
            images[k] = phantom.render(phantom.sample_film(rng, anatomy, "LATERAL"), SIZE, masks=False).image
        elif draw < 0.83:
            film = frontal[int(rng.integers(len(frontal)))]
            images[k] = (film[::-1], np.rot90(film), np.rot90(film, 3), 255 - film)[int(rng.integers(4))]
        else:
            noise = gaussian_filter(rng.standard_normal((SIZE, SIZE)), rng.choice([0, 2, 6, 16]))
            images[k] = np.clip(rng.integers(256) + rng.choice([0, 60]) * noise / noise.std(), 0, 255)
    return images


class Changes:
    """Random changes of a batch on one torch generator. Images are (B, 1, S, S) in [0, 1], masks (B, 3, S, S)."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0):
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def field(self, n: int, channels: int, cells: int):
        """Smooth random fields (n, channels, S, S) of about unit spread, `cells` waves across."""
        coarse = torch.randn(n, channels, cells, cells, generator=self.generator)
        return F.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=True)

    def grid(self, n: int, strength: float = 1.0):
        """Sampling grids (n, S, S, 2): turn, stretch, shear, shift, and a smooth warp of the shapes."""
        turn = 0.16 * strength * torch.randn(n, generator=self.generator).clamp(-2, 2)
        zoom = torch.exp(strength * self.uniform(n, low=-0.38, high=0.22))
        aspect = torch.exp(strength * self.uniform(n, low=-0.16, high=0.16))
        shear = strength * self.uniform(n, low=-0.1, high=0.1)
        cos, sin = torch.cos(turn), torch.sin(turn)
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = zoom * aspect * cos, -zoom * sin + shear
        theta[:, 1, 0], theta[:, 1, 1] = zoom * sin, zoom / aspect * cos
        theta[:, :, 2] = strength * self.uniform(n, 2, low=-0.2, high=0.2)
        warp = self.field(n, 2, 5).permute(0, 2, 3, 1) * 0.045 * strength
        return F.affine_grid(theta, (n, 1, SIZE, SIZE), align_corners=False) + warp

    def look(self, x, sides):
        """Another exposure, processing, noise, blur, overlay and frame. x: (B, 1, S, S) in [0, 1]. sides: both lungs,
        (B, 2, S, S) in {0, 1}. Returns: the film, and where no frame covers it, (B, 1, S, S) in {0, 1}."""
        n = len(x)
        lungs = sides.amax(dim=1, keepdim=True)

        def some(share: float):
            return (torch.rand(n, 1, 1, 1, generator=self.generator) < share).float()

        # a monotone curve through random knots: other look-up tables of other vendors
        knots = torch.cumsum(self.uniform(n, 9, low=0.02, high=1.0) ** 1.5, dim=1)
        knots = (knots - knots[:, :1]) / (knots[:, -1:] - knots[:, :1])
        place = (x * 7.999).clamp(0, 7.999)
        low = place.floor().long()
        left = knots.gather(1, low.view(n, -1)).view_as(x)
        right = knots.gather(1, (low + 1).view(n, -1)).view_as(x)
        x = x + some(0.7) * (left + (right - left) * (place - low) - x)
        x = x.clamp(1e-4, 1) ** torch.exp(self.uniform(n, 1, 1, 1, low=-0.7, high=0.7))
        # the mediastinum and abdomen of many real films are nearly white: brighten what is broad and bright
        broad = F.interpolate(F.avg_pool2d(x, 16), (SIZE, SIZE), mode="bilinear")
        broad = broad - broad.mean(dim=(2, 3), keepdim=True)
        x = x + some(0.6) * self.uniform(n, 1, 1, 1, low=-0.5, high=0.8) * broad
        # an ill or under-exposed lung is paler than the air beside the shoulders: darkness alone must not mean lung
        haze = F.avg_pool2d(lungs, 9, stride=1, padding=4)
        x = x + some(0.35) * self.uniform(n, 1, 1, 1, high=0.45) * haze
        x = self._whiten(x, sides, some(0.22))
        x = x + some(0.6) * 0.10 * self.field(n, 1, 4) + some(0.4) * x * 0.15 * self.field(n, 1, 3)
        x = x + some(0.4) * 0.06 * self.field(n, 1, 14)
        for _ in range(2):  # shadows in front of the lungs: breasts, devices, opacities, folds
            x = x + some(0.35) * self.uniform(n, 1, 1, 1, low=-0.15, high=0.35) * self._ellipse(n)
        x = x + some(0.3) * self.uniform(n, 1, 1, 1, low=0.2, high=0.8) * self._line(n)
        blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        x = x + self.uniform(n, 1, 1, 1, low=-1.0, high=1.2) * (x - blurred) * some(0.7)
        x = x + some(0.5) * self.uniform(n, 1, 1, 1, high=0.07) * torch.randn(x.shape, generator=self.generator)
        contrast, base = self.uniform(n, 1, 1, 1, low=0.45, high=1.3), self.uniform(n, 1, 1, 1, low=-0.15, high=0.2)
        x = ((x - 0.5) * contrast + 0.5 + base).clamp(0, 1)
        return self._frame(x)

    def _whiten(self, x, sides, chosen):
        """One lung made as pale as what lies between the lungs: wholly, below a level, or above it."""
        n = len(x)
        side = sides.gather(1, torch.randint(0, 2, (n, 1, 1, 1), generator=self.generator).expand(n, 1, SIZE, SIZE))
        y, across = torch.linspace(0, 1, SIZE)[:, None], torch.linspace(-1, 1, SIZE)[None]
        level = self.uniform(n, 1, 1, 1, low=0.1, high=0.8) + self.uniform(n, 1, 1, 1, low=-0.3, high=0.3) * across**2
        sign = 1 - 2 * (self.uniform(n, 1, 1, 1) < 0.2).float()
        share = torch.sigmoid(sign * (y - level) / self.uniform(n, 1, 1, 1, low=0.01, high=0.1))
        share = share * F.avg_pool2d(side, 5, stride=1, padding=2) * self.uniform(n, 1, 1, 1, low=0.5)
        pale = x.flatten(1).quantile(0.9, dim=1).view(n, 1, 1, 1) * (1 + 0.06 * self.field(n, 1, 6))
        return x + chosen * share * (pale - x)

    def _ellipse(self, n: int):
        y, x = torch.meshgrid(torch.linspace(0, 1, SIZE), torch.linspace(0, 1, SIZE), indexing="ij")
        cy, cx = self.uniform(n, 1, 1, 1), self.uniform(n, 1, 1, 1)
        ry, rx = self.uniform(n, 1, 1, 1, low=0.04, high=0.3), self.uniform(n, 1, 1, 1, low=0.04, high=0.3)
        return torch.sigmoid(12 * (1 - ((y - cy) / ry) ** 2 - ((x - cx) / rx) ** 2))

    def _line(self, n: int):
        """A wire: a bright bent stripe."""
        y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
        angle, bend = self.uniform(n, 1, 1, 1, high=np.pi), self.uniform(n, 1, 1, 1, low=-0.7, high=0.7)
        along, across = x * torch.cos(angle) + y * torch.sin(angle), y * torch.cos(angle) - x * torch.sin(angle)
        off = across - bend * along**2 - self.uniform(n, 1, 1, 1, low=-0.7, high=0.7)
        return torch.exp(-((off / 0.015) ** 2))

    def _frame(self, x):
        """Bars of a letterbox or a collimator in half of the films, bright plates of text; and where no bar lies."""
        free = torch.ones_like(x)
        for k in range(len(x)):
            if torch.rand((), generator=self.generator) < 0.5:
                bars = (self.uniform(4, high=0.14) * SIZE * (self.uniform(4) < 0.5)).int().tolist()
                level = float(self.uniform(1, high=0.12)) if torch.rand((), generator=self.generator) < 0.8 else 0.95
                x[k, :, : bars[0]], x[k, :, SIZE - bars[1] :] = level, level
                x[k, :, :, : bars[2]], x[k, :, :, SIZE - bars[3] :] = level, level
                free[k, :, : bars[0]], free[k, :, SIZE - bars[1] :] = 0, 0
                free[k, :, :, : bars[2]], free[k, :, :, SIZE - bars[3] :] = 0, 0
            for _ in range(int(torch.randint(0, 3, (), generator=self.generator))):
                top, left = (int(v) for v in self.uniform(2) * (SIZE - 14))
                h, w = (int(v) + 3 for v in self.uniform(2) * 10)
                x[k, :, top : top + h, left : left + w] = float(self.uniform(1, low=0.5))
        return x, free

    def both(self, images, masks, strength: float = 1.0):
        """uint8 films (B, S, S), masks (B, 3, S, S), as one → (B, 1, S, S) in [-1, 1] and (B, 3, S, S) in {0, 1}."""
        x, m = torch.from_numpy(images).float()[:, None] / 255, torch.from_numpy(masks).float()
        grid = self.grid(len(x), strength)
        x = F.grid_sample(x, grid, align_corners=False, padding_mode="zeros")
        m = F.grid_sample(m, grid, align_corners=False, padding_mode="zeros")
        m = (m > 0.5).float()
        x, free = self.look(x, m[:, :2])
        return x * 2 - 1, m * free


def loss_of(logits, target):
    """Binary cross-entropy plus soft Dice, each averaged over organs."""
    p = torch.sigmoid(logits)
    overlap = 2 * (p * target).sum(dim=(2, 3)) + 1
    return (
        F.binary_cross_entropy_with_logits(logits, target)
        + (1 - overlap / (p.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)).mean()
    )


def fit(net, pools, seconds: float, rate: float, seed: int, batch: int = 16) -> int:
    """Train for so many CPU seconds on pools of (images, masks, share of the batch), averaging the weights; → steps."""
    changes, rng = Changes(seed), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    start, steps, shown = time.process_time(), 0, 0.0
    while (share := (time.process_time() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, 20 * share + 0.02) * 0.5 * (1 + np.cos(np.pi * share))
        picks = [rng.integers(len(images), size=max(1, round(batch * part))) for images, _, part in pools]
        x = np.concatenate([images[i] for i, (images, _, _) in zip(picks, pools, strict=True)])
        y = np.concatenate([masks[i] for i, (_, masks, _) in zip(picks, pools, strict=True)])
        x, y = changes.both(x, y)
        loss = loss_of(net(x.contiguous(memory_format=torch.channels_last)), y)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(net)
        steps, shown = steps + 1, 0.98 * shown + 0.02 * loss.item()
        if steps % 100 == 0:
            print(f"{steps} steps, {share:.0%}, loss {shown / (1 - 0.98**steps):.3f}", flush=True)
    net.load_state_dict(average.module.state_dict())
    return steps


@torch.no_grad()
def outline(net, images: np.ndarray, seed: int, rounds: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Mean probabilities (N, 3, S, S) over mild changes of contrast and size, each mapped back, and (N,) the least
    Dice of an organ between that mean's outline and a change's: how well the outlines stay put."""
    net.eval()
    changes, every = Changes(seed), np.zeros((rounds, len(images), 3, SIZE, SIZE), np.float16)
    for k in range(rounds):
        zoom, gamma = np.exp(changes.uniform(2, low=-0.15, high=0.15).numpy() * [1, 3] * (k > 0))
        theta = torch.tensor([[[zoom, 0, 0], [0, zoom, 0]]], dtype=torch.float32)
        back = torch.tensor([[[1 / zoom, 0, 0], [0, 1 / zoom, 0]]], dtype=torch.float32)
        for start in range(0, len(images), 64):
            x = (to_input(images[start : start + 64]) + 1) / 2
            n = len(x)
            there = F.affine_grid(theta.expand(n, 2, 3), x.shape, align_corners=False)
            again = F.affine_grid(back.expand(n, 2, 3), x.shape, align_corners=False)
            p = torch.sigmoid(net(F.grid_sample(x, there, align_corners=False).clamp(0, 1) ** float(gamma) * 2 - 1))
            p = F.grid_sample(p, again, align_corners=False)
            every[k, start : start + 64] = p.numpy()
    net.train()
    mean = every.mean(axis=0, dtype=np.float32)
    chosen, each = mean > 0.5, every > 0.5
    both = 2 * (each & chosen).sum(axis=(3, 4)) / np.maximum(each.sum(axis=(3, 4)) + chosen.sum(axis=(2, 3)), 1)
    return mean, both.min(axis=(0, 2))


def real_train_films(source: Path) -> tuple[np.ndarray, np.ndarray]:
    """The train patients' frontal films of a MIMIC-CXR-JPG tree, uint8 (N, S, S), and their names (N,).

    A film's name is its dicom_id, or what source.csv (path, source) calls it where the tree has one.
    """
    import pandas as pd

    from cars.imaging import decode, square

    split = pd.read_csv(source / "mimic-cxr-2.0.0-split.csv.gz")
    meta = pd.read_csv(source / "mimic-cxr-2.0.0-metadata.csv.gz")
    rows = split.merge(meta[["dicom_id", "ViewPosition"]], on="dicom_id")
    rows = rows[(rows["split"] == "train") & rows["ViewPosition"].isin(["PA", "AP"])]
    paths = [
        f"files/p{str(s)[:2]}/p{s}/s{t}/{d}.jpg"
        for d, s, t in rows[["dicom_id", "subject_id", "study_id"]].itertuples(index=False)
    ]
    names = rows["dicom_id"].to_numpy(str)
    if (source / "source.csv").is_file():
        names = pd.read_csv(source / "source.csv").set_index("path")["source"].loc[paths].to_numpy(str)
    return np.stack([square(decode(source / path, SIZE), SIZE) for path in paths]), names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--films", type=int, default=3000)
    parser.add_argument("--shapes", action="store_true", help="twice as many films more, bent to drawn lung shapes")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate of stage 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--real", type=Path, help="a folder in MIMIC-CXR-JPG's layout")
    parser.add_argument("--real-is", default="the user's own data set", help="what the card calls those films")
    parser.add_argument("--start", type=Path, help="a segmenter's folder to go on from")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "segmenter")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    shapes = drawn_shapes(held=False) if options.shapes else None
    images, masks = phantom_films(options.films, options.seed)
    if shapes is not None:
        more = phantom_films(2 * options.films, options.seed + 2, shapes)
        images, masks = (np.concatenate(pair) for pair in zip((images, masks), more, strict=True))
    held, truth = phantom_films(200, options.seed + 1)
    net, earlier = load(options.start) if options.start else (SegmenterNet(), None)
    net = net.train().to(memory_format=torch.channels_last)
    seconds = 60 * options.minutes
    strange = strange_films(options.films // 2, options.seed, images)
    no = np.zeros((len(strange), 3, SIZE, SIZE), bool)
    pools = [(images, masks, 0.8), (strange, no, 0.2)]
    first = 0.0 if options.real and options.start else 0.6 if options.real else 1.0
    steps = fit(net, pools, seconds * first, options.rate, options.seed) if first else 0
    sure = films = 0
    if options.real:
        real, names = real_train_films(options.real)
        films, used = len(real), np.zeros(len(real), bool)
        for turn in (1, 2):
            probabilities, steady = outline(net, real, options.seed + turn)
            found = to_masks(probabilities, SIZE, SIZE)
            kept = (found.confidence >= SURE) & (steady >= STEADY)
            sure, used = int(kept.sum()), used | kept
            print(f"outlines kept: {sure} of {films}", flush=True)
            turned = np.concatenate([strange, strange_films(len(real) // 2, options.seed + turn, real)])
            no = np.zeros((len(turned), 3, SIZE, SIZE), bool)
            pools = [(images, masks, 0.45), (real[kept], found.masks[kept], 0.4), (turned, no, 0.15)]
            steps += fit(net, pools, (1 - first) / 2 * seconds, options.rate / 3, options.seed + 10 * turn)
    net.eval()
    with torch.no_grad():
        probabilities = torch.cat([torch.sigmoid(net(to_input(held[k : k + 50]))) for k in range(0, 200, 50)]).numpy()
    found = to_masks(probabilities, SIZE, SIZE)
    scores = [float(np.mean([dice(found.masks[n, o], truth[n, o]) for n in range(200)])) for o in range(3)]
    config = {
        "trained_on": {
            "phantom films": options.films, "of drawn lung shapes": 2 * options.films * options.shapes,
            "drawn lung shapes": 0 if shapes is None else len(shapes),
            "real train films": films, "of them trusted": sure,
        },
        "steps": steps, "minutes": options.minutes, "threads": options.threads, "seed": options.seed,
        "phantom_dice": dict(zip(("left lung", "right lung", "heart"), np.round(scores, 4).tolist(), strict=True)),
        "earlier": earlier, "code_version": provenance.code_version(),
    }  # fmt: skip
    save(net, options.out, config)
    if options.real:
        write_text(options.out / "films.txt", "\n".join(sorted(names[used])) + "\n")
    write_text(options.out / "README.md", card(config, options.real_is if options.real else ""))
    print(config)


def card(config: dict, real: str) -> str:
    """The model card. real: which real films were used, "" for none."""
    trained = config["trained_on"]
    scores = ", ".join(f"{organ} {score:.3f}" for organ, score in config["phantom_dice"].items())
    lines = [
        "# Segmenter: left lung, right lung, heart",
        "",
        "A UNet of 0.26 M parameters for frontal films at 128 px, float16, made by `data/weights/train_segmenter.py`.",
        "",
        f"- Trained on {trained['phantom films']} phantom films (`cars.phantom`, synthetic) whose masks are exact,",
        f"  and {trained.get('of drawn lung shapes', 0)} bent to {trained.get('drawn lung shapes', 0)} drawn",
        "  lung shapes (`cars/phantom/drawn_lungs.py`: masks in torchxrayvision by V7 Labs, CC BY 4.0),",
        "  under strong random changes of exposure, processing, noise, overlays, frame and shape; every fifth film is",
        "  no upright frontal chest (lateral, turned, blank, noise, clouds) and has empty masks;",
        f"  {config['steps']} steps of 16 films, {config['minutes']:g} minutes on {config['threads']} CPU thread(s).",
    ]
    earlier = config["earlier"]
    while earlier:
        lines += [
            f"- It went on from an earlier run: {earlier['steps']} steps, {earlier['minutes']:g} minutes,",
            f"  {earlier['trained_on']['phantom films']} other phantom films, "
            f"{earlier['trained_on']['of them trusted']} of the same real ones.",
        ]
        earlier = earlier.get("earlier")
    if real:
        lines += [
            f"- Then also on {trained['of them trusted']} of {trained['real train films']} frontal films of the train",
            f"  patients of {real},",
            "  those whose outline, drawn by the network, it was sure of (`films.txt` names them). No human outline of",
            "  a film was used, no film of other patients.",
        ]
    lines += [
        f"- Mean Dice on 200 phantom films of another seed, unchanged: {scores}.",
        "- The lungs follow heart, mediastinum and dome, as JSRT's and Montgomery's masks do. Under an effusion",
        "  or a consolidation the outline follows the anatomy, not the visible air.",
        "- Not for lateral films, children, or any clinical use. `confidence` is low where it does not know, and CARS",
        "  edits no such film.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
