"""AnimateLCM: motion modules and a spatial LoRA distilled to a consistency model.

arXiv 2402.00769; ``bench show animatelcm`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="AnimateLCM: motion modules and a spatial LoRA distilled to a consistency model.",
    family="released",
    papers=(
        Paper(
            title=(
                "AnimateLCM: Accelerating the Animation of Personalized Diffusion Models and Adapters "
                "with Decoupled Consistency Learning"
            ),
            authors=(
                "Fu-Yun Wang and Zhaoyang Huang and Xiaoyu Shi and Weikang Bian and Guanglu Song and "
                "Yu Liu and Hongsheng Li"
            ),
            year=2024,
            arxiv="2402.00769",
            code="G-U-N/AnimateLCM",
        ),
    ),
    requires=("diffusers", "weights"),
)


class AnimateLCM(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="wangfuyun/AnimateLCM",
        revision="3d4d00fc113225e1040f4d3bec504b6ec750c10c",
        kind="motion",
        files={0: "diffusion_pytorch_model.safetensors"},
        lora="AnimateLCM_sd15_t2v_lora.safetensors",
        lora_scale=0.8,
        base=("emilianJR/epiCRealism", "stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        pipelines=("AnimateDiffPipeline",),
        licence="not read",
        sampler="consistency",
        timesteps={
            4: (999, 759, 499, 259),
            6: (999, 839, 679, 499, 339, 179),
            8: (999, 879, 759, 639, 499, 379, 259, 139),
        },
        guidance_scale=1.5,
        prediction="eps",
        schedule={"beta_schedule": "linear"},
        boundary=10.0,
        source={
            "settings": "https://github.com/G-U-N/AnimateLCM",
            "schedule": "https://github.com/huggingface/diffusers/pull/7024",
            "lora": "https://github.com/G-U-N/AnimateLCM/blob/master/animatelcm_sd15/README.md",
            "revision": "pinned by a public repository on github.com",
            "lora_scale": "https://huggingface.co/wangfuyun/AnimateLCM, as copied in public repositories on github.com",
        },
        unverified=(
            "the licence",
            "the name of the motion modules' file, diffusers' default",
        ),
        note="Guidance as the authors' usage tips prefer it; the model card's example has 2.0.",
    )
