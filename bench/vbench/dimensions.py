"""The 16 dimensions of VBench 0.1.5 (Huang et al., arXiv 2311.17982): what each needs and how its score is normalised.

Limits, weights and groups are those of the official ``scripts/constant.py`` (Vchitect/VBench, commit 45e79ec); file
places are where ``vbench/utils.py`` of the 0.1.5 wheel looks, below ``$VBENCH_CACHE_DIR``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import unknown

VERSION = "0.1.5"
QUALITY_WEIGHT = 4.0
SEMANTIC_WEIGHT = 1.0

Group = Literal["quality", "semantic"]
Text = Literal["", "prompt", "action", "auxiliary"]
Reader = Literal["cv2", "decord"]


@dataclass(frozen=True)
class Dimension:
    """One dimension.

    Attributes:
        name: as VBench calls it.
        group: which of the two scores it counts towards, and with which ``weight``.
        low, high: raw scores that are normalised to 0 and 1; the result is not clipped.
        lowest: the smallest raw score there can be; -1 for a cosine. The largest is 1.
        parts: (entry of the manifest of weights, where VBench looks for it).
        text: what it needs beside the clip: nothing, any prompt, the prompt of an action, or one of VBench's own
            prompts for this dimension, with its auxiliary information.
        reader: what VBench decodes the clip with.
        frames: fewest frames it can work with.
        rate: frames per second that it looks at, of which ``frames`` are needed; 0 is all.
        detectron2: whether it needs that package, which is on no index.
    """

    name: str
    group: Group
    low: float = 0.0
    high: float = 1.0
    weight: float = 1.0
    lowest: float = 0.0
    parts: tuple[tuple[str, str], ...] = ()
    text: Text = ""
    reader: Reader = "decord"
    frames: int = 2
    rate: int = 0
    detectron2: bool = False

    @property
    def weights(self) -> tuple[str, ...]:
        """Names in the manifest of weights."""
        return tuple(dict.fromkeys(entry for entry, _ in self.parts))

    def normalised(self, raw: float) -> float:
        """The raw score on the scale of the group's score."""
        return (raw - self.low) / (self.high - self.low)


_CLIP_B = ("clip-vit-b-32-openai", "clip_model/ViT-B-32.pt")
_CLIP_L = ("clip-vit-l-14-openai", "clip_model/ViT-L-14.pt")
_DINO = (
    ("vbench-dino", "dino_model/dino_vitbase16_pretrain.pth"),
    ("vbench-dino", "hub/checkpoints/dino_vitbase16_pretrain.pth"),  # where torch.hub looks, whatever the path
    ("vbench-dino-code-hubconf", "dino_model/facebookresearch_dino_main/hubconf.py"),
    ("vbench-dino-code-vision-transformer", "dino_model/facebookresearch_dino_main/vision_transformer.py"),
    ("vbench-dino-code-utils", "dino_model/facebookresearch_dino_main/utils.py"),
)
_AESTHETIC = ("vbench-aesthetic", "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth")
_MUSIQ = ("vbench-musiq", "pyiqa_model/musiq_spaq_ckpt-358bb6af.pth")
_AMT = ("vbench-amt", "amt_model/amt-s.pth")
_RAFT = ("vbench-raft", "raft_model/models/raft-things.pth")
_UMT = ("vbench-umt", "umt_model/l16_ptk710_ftk710_ftk400_f16_res224.pth")
_BERT = (
    ("vbench-bert-config", "bert-base-uncased/config.json"),
    ("vbench-bert-vocab", "bert-base-uncased/vocab.txt"),
    ("vbench-bert-tokenizer", "bert-base-uncased/tokenizer.json"),
    ("vbench-bert-tokenizer-config", "bert-base-uncased/tokenizer_config.json"),
)
_GRIT = (("vbench-grit", "grit_model/grit_b_densecap_objectdet.pth"), *_BERT)
_TAG2TEXT = (
    ("vbench-tag2text", "caption_model/tag2text_swin_14m.pth"),
    ("vbench-bert-model", "bert-base-uncased/model.safetensors"),
    *_BERT,
)
_VICLIP = (("vbench-viclip", "ViCLIP/ViClip-InternVid-10M-FLT.pth"),)

_ALL = (
    Dimension("subject_consistency", "quality", 0.1462, parts=_DINO),
    Dimension("background_consistency", "quality", 0.2615, parts=(_CLIP_B,)),
    Dimension("temporal_flickering", "quality", 0.6293, reader="cv2"),
    Dimension("motion_smoothness", "quality", 0.706, 0.9975, parts=(_AMT,), reader="cv2", frames=3),
    # a clip moves if round(n / 4) of its n - 1 steps are large: all clips of 2 frames would, and none of 1
    Dimension("dynamic_degree", "quality", weight=0.5, parts=(_RAFT,), reader="cv2", frames=3, rate=8),
    Dimension("aesthetic_quality", "quality", parts=(_CLIP_L, _AESTHETIC), frames=1),
    Dimension("imaging_quality", "quality", parts=(_MUSIQ,), frames=1),
    Dimension("object_class", "semantic", parts=_GRIT, text="auxiliary", frames=1, detectron2=True),
    Dimension("multiple_objects", "semantic", parts=_GRIT, text="auxiliary", frames=1, detectron2=True),
    Dimension("human_action", "semantic", parts=(_UMT,), text="action", frames=1),
    Dimension("color", "semantic", parts=_GRIT, text="auxiliary", frames=1, detectron2=True),
    Dimension("spatial_relationship", "semantic", parts=_GRIT, text="auxiliary", frames=1, detectron2=True),
    Dimension("scene", "semantic", high=0.8222, parts=_TAG2TEXT, text="auxiliary", frames=1),
    Dimension("appearance_style", "semantic", 0.0009, 0.2855, lowest=-1, parts=(_CLIP_B,), text="auxiliary", frames=1),
    Dimension("temporal_style", "semantic", high=0.364, lowest=-1, parts=_VICLIP, text="prompt", frames=1),
    Dimension("overall_consistency", "semantic", high=0.364, lowest=-1, parts=_VICLIP, text="prompt", frames=1),
)

DIMENSIONS = {dimension.name: dimension for dimension in _ALL}
"""In the order of the official table."""


def dimension(name: str) -> Dimension:
    """The dimension of a name; spaces stand for underscores.

    Raises:
        UsageError: there is none.
    """
    found = DIMENSIONS.get(name.strip().replace(" ", "_"))
    if found is None:
        raise unknown("dimension of VBench", name, DIMENSIONS)
    return found
