"""The sampler that all diffusion editors share: two ways to edit, batched over films and noise levels.

Both walk down the noise levels by DDPM's posterior, as DDIM with η = 1 writes it (Song et al. 2021, "Denoising
Diffusion Implicit Models", arXiv 2010.02502). After every step but the last, what lies outside the ROI is replaced by
the film's own latent of the level that is reached.

Inversion is edit-friendly (Huberman-Spiegelglas et al. 2023, "An Edit Friendly DDPM Noise Space", arXiv 2304.06140):
the film is noised to every level independently. So what the network says of these latents does not wait for the walk:
it is asked for AHEAD levels at once, in one forward pass.

Guidance asks the network twice a step, under the source's and the target's condition; both are one forward pass. A
film whose conditions are equal (a sham) is asked once, for guidance between equals changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

#: Levels of an inversion whose own latents go through the network together.
AHEAD = 4


class Walk:
    """One batch of B films on its way. A subclass sets these and says how to ask its network:

    source: (B, C, s, s), the films in the network's space. roi: (B, 1, s, s), 1 where a cell may change.
    before, after: (B, …), the conditions. guidance: (B, 1, 1, 1). noise: (levels + 1, B, C, s, s), standard normal.
    steps: the scheduler's time steps, noisiest first. alpha: ᾱ of each, and 1, that of the film itself.
    """

    #: "v_prediction" or "epsilon": what the network predicts.
    prediction = "v_prediction"

    torch: Any
    source: Any
    roi: Any
    before: Any
    after: Any
    guidance: Any
    noise: Any
    steps: list[int]
    alpha: list[float]

    def network(self, x: Any, steps: Any, condition: Any, rows: Any) -> Any:
        """One forward pass of N latents. rows: (N,), which of the B films each one is of."""
        raise NotImplementedError

    def bounded(self, clean: Any) -> Any:
        """A prediction of the film without noise, kept to what a film can be."""
        return clean

    def draw(self, seeds: list[int], device: str) -> Any:
        """The noise of each level and film. Each film has its own, drawn on the CPU: a result depends neither on the
        film's neighbours in the batch nor on the device."""
        shape = (len(self.steps) + 1, *self.source.shape[1:])
        drawn = [self.torch.randn(shape, generator=self.torch.Generator().manual_seed(seed)) for seed in seeds]
        return self.torch.stack(drawn, dim=1).to(device)

    def ask(self, *asked: tuple[Any, int, Any, Any]) -> list[Any]:
        """The predictions for each (latents, level, condition, rows), float32, in one forward pass."""
        x, condition, rows = (self.torch.cat([each[k] for each in asked]) for k in (0, 2, 3))
        steps = [self.torch.full((len(each[0]),), self.steps[each[1]], device=x.device) for each in asked]
        found = self.network(x, self.torch.cat(steps), condition, rows).float()
        return list(found.split([len(each[0]) for each in asked]))

    @cached_property
    def rows(self) -> Any:
        """(B,): every film."""
        return self.torch.arange(len(self.source), device=self.source.device)

    @cached_property
    def changed(self) -> Any:
        """The films whose two conditions differ."""
        return (self.before != self.after).flatten(1).any(dim=1).nonzero()[:, 0]

    def latent(self, level: int) -> Any:
        """The films at a noise level, noised independently of the other levels; at the last, the films themselves."""
        a = self.alpha[level]
        return a**0.5 * self.source + (1 - a) ** 0.5 * self.noise[level]

    def spread(self, level: int) -> float:
        """σ of the sampler's step from this level to the next; 0 on the last."""
        a, b = self.alpha[level], self.alpha[level + 1]
        return ((1 - b) / (1 - a)) ** 0.5 * max(0.0, 1 - a / b) ** 0.5

    def clean_and_noise(self, x: Any, prediction: Any, level: int) -> tuple[Any, Any]:
        """What x is made of, by this prediction: the film without noise, bounded, and the noise that is left then."""
        a = self.alpha[level]
        if self.prediction == "epsilon":
            clean = (x - (1 - a) ** 0.5 * prediction) / a**0.5
        else:
            clean = a**0.5 * x - (1 - a) ** 0.5 * prediction
        clean = self.bounded(clean)
        return clean, (x - a**0.5 * clean) / (1 - a) ** 0.5

    def mean(self, x: Any, prediction: Any, level: int) -> Any:
        """The mean of the next latents."""
        clean, noise = self.clean_and_noise(x, prediction, level)
        b = self.alpha[level + 1]
        return b**0.5 * clean + max(0.0, 1 - b - self.spread(level) ** 2) ** 0.5 * noise

    def blend(self, x: Any, latent: Any) -> Any:
        """x in the ROI, the film's own latent outside."""
        return self.roi * x + (1 - self.roi) * latent

    def blended(self, x: Any, level: int) -> Any:
        """The latents of the level after `level`, the films' own outside the ROI. Where the walk ends nothing is put
        back: how far the network has drifted there is reported."""
        return self.blend(x, self.latent(level + 1)) if level + 1 < len(self.steps) else x

    def guided(self, x: Any, level: int, own: Any = None) -> Any:
        """The source condition's prediction, led towards the target's. own: the former, where it is known."""
        changed = self.changed
        asked = [] if own is not None else [(x, level, self.before, self.rows)]
        if len(changed):
            asked.append((x[changed], level, self.after[changed], changed))
        found = self.ask(*asked) if asked else []
        own = found.pop(0) if own is None else own
        if not found:
            return own
        towards = self.torch.zeros_like(own)
        towards[changed] = self.guidance[changed] * (found[0] - own[changed])
        return own + towards

    def own(self, first: int) -> Iterator[Any]:
        """What the network says of each level's own latents under the source's condition, AHEAD levels a pass."""
        for start in range(first, len(self.steps), AHEAD):
            levels = range(start, min(start + AHEAD, len(self.steps)))
            yield from self.ask(*((self.latent(level), level, self.before, self.rows) for level in levels))

    def inversion(self, skip: float) -> Any:
        """Walk from the level after the skipped share of steps; the film's own residual is added after each step."""
        first = int(skip * len(self.steps))
        x = self.latent(first)
        for level, own in enumerate(self.own(first), first):
            residual = self.latent(level + 1) - self.mean(self.latent(level), own, level)
            # the walk begins at the film's own latent, of which the network was asked already
            prediction = self.guided(x, level, own if level == first else None)
            x = self.blended(self.mean(x, prediction, level) + residual, level)
        return x

    def inpaint(self, first: int = 0) -> Any:
        """The ROI from noise, the outside from the film. first: begin at this level with the noised film (SDEdit)."""
        x = self.latent(first) if first else self.blend(self.noise[0], self.latent(0))
        # fresh noise for the steps, other than that of the outside's latents
        fresh = self.torch.flip(self.noise, dims=(0,)).roll(1, dims=-1)
        for level in range(first, len(self.steps)):
            x = self.mean(x, self.guided(x, level), level) + self.spread(level) * fresh[level]
            x = self.blended(x, level)
        return x
