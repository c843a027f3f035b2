"""rCM: score-regularised continuous-time consistency model of Wan 2.1 1.3B, 1 to 4 steps.

arXiv 2510.08431; ``bench show rcm_wan_1_3b`` says how it is run.
"""

from __future__ import annotations

from bench.released.method import Checkpoint, Info, Paper, Released

INFO = Info(
    summary="rCM: score-regularised continuous-time consistency model of Wan 2.1 1.3B, 1 to 4 steps.",
    family="released",
    papers=(
        Paper(
            title="Large Scale Diffusion Distillation via Score-Regularized Continuous-Time Consistency",
            authors=(
                "Kaiwen Zheng and Yuji Wang and Qianli Ma and Huayu Chen and Jintao Zhang and "
                "Yogesh Balaji and Jianfei Chen and Ming-Yu Liu and Jun Zhu and Qinsheng Zhang"
            ),
            year=2025,
            arxiv="2510.08431",
            code="NVlabs/rcm",
        ),
    ),
    requires=("diffusers", "weights"),
)


class RCMWan13B(Released):
    """The checkpoint and what its authors prescribe.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint = Checkpoint(
        repository="worstcoder/rcm-Wan",
        revision="2162526923c21087a30b141ee40bfd099b4eb8c0",
        kind="transformer",
        files={0: "rCM_Wan2.1_T2V_1.3B_480p.pt"},
        base=("Wan-AI/Wan2.1-T2V-1.3B-Diffusers",),
        pipelines=("WanPipeline",),
        licence="apache-2.0",
        sampler="consistency",
        timesteps={
            1: (987.6543,),
            2: (987.6543, 933.7811),
            3: (987.6543, 933.7811, 852.8954),
            4: (987.6543, 933.7811, 852.8954, 608.979),
        },
        unit="flow",
        guidance_scale=1.0,
        prediction="velocity",
        start="scaled",
        source={
            "settings": "https://github.com/NVlabs/rcm/blob/main/rcm/inference/wan2pt1_t2v_rcm_infer.py",
            "revision": "https://huggingface.co/worstcoder/rcm-Wan/tree/2162526923c21087a30b141ee40bfd099b4eb8c0",
        },
        note=(
            "Reproduced by the authors' university; a pickle with names of its own and a linear patch"
            " embedding, to be converted."
        ),
    )
