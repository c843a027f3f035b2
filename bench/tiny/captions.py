"""What the small text-conditioned models are told: class names in a few sentences, nothing that is not known."""

from __future__ import annotations

from typing import Final

CIFAR_CLASSES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR_TEMPLATES: Final = (
    "a photo of {}",
    "a picture of {}",
    "a small picture of {}",
    "a tiny image of {}",
    "an image that shows {}",
    "{}",
    "this is {}",
    "there is {} in the picture",
)
DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_TEMPLATES: Final = (
    "the digit {} bounces",
    "a bouncing {}",
    "a handwritten {} moves and bounces off the walls",
    "a clip of the number {}",
)


def with_article(noun: str) -> str:
    """``"an airplane"``, ``"a cat"``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def captions(names: tuple[str, ...], templates: tuple[str, ...]) -> tuple[str, ...]:
    """All sentences; the one at ``i`` is about class ``i % len(names)``, so that any run of them is even."""
    return tuple(template.format(name) for template in templates for name in names)


def image_captions() -> tuple[str, ...]:
    """The 80 captions of the text-to-image model; the class of caption ``i`` is ``i % 10``."""
    return captions(tuple(map(with_article, CIFAR_CLASSES)), CIFAR_TEMPLATES)


def clip_captions() -> tuple[str, ...]:
    """The 40 captions of the video model; the digit of caption ``i`` is ``i % 10``."""
    return captions(DIGITS, DIGIT_TEMPLATES)
