"""How many replicas a number of listeners needs, and what they cost: python -m deploy.capacity [--help].

    replicas = ceil(listeners x share spoken to x (1 - share from the cache) x RTF / utilisation)

Each listener who hears speech takes a second of sound each second, and RTF is the seconds that a replica computes for
it. The figures at the top are measured (bench/README.md says how); the others are assumptions, which options change.
"""

import argparse
import math
from dataclasses import dataclass

CORES = 2
"""The cores of a replica; those measured had 2.8 GHz and AVX-512, but no bfloat16."""
BASE_MB = 390
"""The memory of a replica without models: 318 MB, and 69 for the front ends of zh, ja and en, rounded up."""
CACHE_MB = 64
"""The default of cache_mb in models.toml."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model and its measured figures."""

    name: str
    rtf: float
    """Seconds of computing on CORES cores for a second of sound, over HTTP."""
    weights_mb: int


FULL_SIZE = Model("full-size, float32", 0.26, 122)
MODELS = (FULL_SIZE, Model("slt, the small voice", 0.04, 18))

LISTENERS = (1, 10, 100, 1_000, 10_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """The assumptions."""

    utilisation: float = 0.7
    """How busy replicas may be on average; above this, queues grow fast."""
    spoken_to: float = 1.0
    """The share of the listeners who hear speech at a time."""
    cached: float = 0.0
    """The share of the sound that the cache already has."""
    models: int = 1
    """How many models each replica has loaded."""
    price: float = 0.04
    """The price of one core and its memory for an hour."""

    def streams(self, model: Model) -> float:
        """Listeners that one core serves."""
        return self.utilisation / (model.rtf * CORES * self.spoken_to * (1 - self.cached))

    def replicas(self, model: Model, listeners: int) -> int:
        """Replicas that the listeners need."""
        return math.ceil(listeners / (self.streams(model) * CORES))

    def replica_mb(self, model: Model) -> int:
        """Memory of one replica."""
        return BASE_MB + CACHE_MB + self.models * model.weights_mb

    def hour_of_speech(self, model: Model) -> float:
        """Price of computing an hour of sound that no cache has, at full use of what is paid for."""
        return model.rtf * CORES * self.price / self.utilisation

    def table(self) -> str:
        """A row for each model and number of listeners."""
        lines = [
            "| model | listeners | replicas | cores | memory, GB | price of an hour |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for model in MODELS:
            for listeners in LISTENERS:
                replicas = self.replicas(model, listeners)
                cores, memory_gb = replicas * CORES, replicas * self.replica_mb(model) / 1000
                price = f"{cores * self.price:,.2f}"
                lines.append(
                    f"| {model.name} | {listeners:,} | {replicas:,} | {cores:,} | {memory_gb:,.1f} | {price} |"
                )
        return "\n".join(lines)

    def summary(self) -> str:
        """A row for each model: what one core and one hour come to."""
        lines = [
            "| model | RTF | listeners a core | memory of a replica, MB | price of an hour of speech |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for model in MODELS:
            figures = f"{model.rtf:g} | {self.streams(model):.1f} | {self.replica_mb(model)}"
            lines.append(f"| {model.name} | {figures} | {self.hour_of_speech(model):.4f} |")
        return "\n".join(lines)


def main() -> None:
    """Print both tables for the assumptions on the command line."""
    parser = argparse.ArgumentParser("python -m deploy.capacity")
    defaults = Plan()
    for name in ("utilisation", "spoken_to", "cached", "models", "price"):
        default = getattr(defaults, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    plan = Plan(**vars(parser.parse_args()))
    print(plan.summary(), plan.table(), sep="\n\n")


if __name__ == "__main__":
    main()
