"""FLUX.1-schnell: FLUX distilled to 1 to 4 steps, no guidance.

arXiv 2403.12015; ``bench show flux_schnell`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="FLUX.1-schnell: FLUX distilled to 1 to 4 steps, no guidance.",
    family="released",
    papers=(
        Paper(
            title="Fast High-Resolution Image Synthesis with Latent Adversarial Diffusion Distillation",
            authors=(
                "Axel Sauer and Frederic Boesel and Tim Dockhorn and Andreas Blattmann and "
                "Patrick Esser and Robin Rombach"
            ),
            year=2024,
            arxiv="2403.12015",
        ),
    ),
    requires=("diffusers", "weights"),
)


class FluxSchnell(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="black-forest-labs/FLUX.1-schnell",
        revision="741f7c3ce8b383c54771c7003378a50191e9efe9",
        kind="transformer",
        files={0: "transformer"},
        base=("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-schnell"),
        pipelines=("FluxPipeline",),
        licence="apache-2.0",
        sampler="euler",
        timesteps={1: (1000.0,), 2: (1000.0, 500.0), 3: (1000.0, 666.6667, 333.3333), 4: (1000.0, 750.0, 500.0, 250.0)},
        unit="flow",
        guidance_scale=1.0,
        prediction="velocity",
        start="scaled",
        source={
            "settings": "https://github.com/huggingface/diffusers/blob/main/docs/source/en/api/pipelines/flux.md",
            "licence": (
                "https://huggingface.co/black-forest-labs/FLUX.1-schnell/tree/8e48687bab3241d35328b3d08ba0d2873e73f7ee"
            ),
            "revision": "pinned by several public repositories on github.com",
        },
        unverified=("that the paper is its method", "numbers of evaluations other than 4"),
        note="Prompts are encoded with max_sequence_length=256 at most: set it in the suite.",
    )
