"""T2V-Turbo on ModelScope's text-to-video model.

arXiv 2405.18750; ``bench show t2v_turbo_ms`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="T2V-Turbo on ModelScope's text-to-video model.",
    family="released",
    papers=(
        Paper(
            title=("T2V-Turbo: Breaking the Quality Bottleneck of Video Consistency Model with Mixed Reward Feedback"),
            authors=(
                "Jiachen Li and Weixi Feng and Tsu-Jui Fu and Xinyi Wang and Sugato Basu and "
                "Wenhu Chen and William Yang Wang"
            ),
            year=2024,
            arxiv="2405.18750",
            code="Ji4chenLi/t2v-turbo",
        ),
    ),
    requires=("diffusers", "weights"),
)


class T2VTurboMS(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="jiachenli-ucsb/T2V-Turbo-MS",
        kind="lora",
        files={0: "unet_lora.pt"},
        base=("ali-vilab/text-to-video-ms-1.7b",),
        pipelines=("TextToVideoSDPipeline",),
        licence="not read",
        sampler="consistency",
        timesteps={4: (999, 759, 519, 279), 8: (999, 879, 759, 639, 519, 399, 279, 159)},
        guidance_scale=7.5,
        embedded=True,
        prediction="eps",
        boundary=10.0,
        source={
            "settings": "https://github.com/Ji4chenLi/t2v-turbo/blob/main/app_ms.py",
            "timesteps": "https://github.com/Ji4chenLi/t2v-turbo/blob/main/scheduler/t2v_turbo_scheduler.py",
            "embedded": "https://github.com/Ji4chenLi/t2v-turbo/blob/main/pipeline/t2v_turbo_ms_pipeline.py",
        },
        unverified=(
            "the revision: no public source that we could read gives the full hash",
            "the licence",
            "8 evaluations, the most that the authors' demo offers",
        ),
        note=(
            "Declared, but refused on the base as it is: the authors add an input for the guidance scale, 256 wide, to "
            "its U-Net before they merge this LoRA, a pickle."
        ),
    )
