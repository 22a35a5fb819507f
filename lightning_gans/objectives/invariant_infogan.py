"""InfoGAN whose categorical codes must survive small changes of the image.

InfoGAN asks that c can be read off G(z, c), and does not care how: after a few hundred updates the bound is
at its maximum whatever the categories stand for, and training rarely leaves the partition that it found
first. Here the reading must also be *robust*. With T a random small rotation, scaling, shear and shift,

    1. on generated images, a categorical code's bound is the mean of the plain one and of the one read
       after T:      (L_I(c; x) + L_I(c; T(x))) / 2,  x = G(z, c);
    2. on real images, Q's answers for x and T(x) must agree and use all categories: their mutual
       information I(Q(x); Q(T(x))) (Ji et al. 2019, arXiv 1807.06653, equation 3) is maximised beside L_I.

Slant, place and size no longer pass as categories, and Q's borders move to where real images are rare. No
label is used. Continuous codes keep InfoGAN's plain bound: slant and width are theirs to express.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.invariance import paired_mutual_information
from lightning_gans.functional.transformations import random_affine
from lightning_gans.latent import Latent
from lightning_gans.objectives.infogan import InfoGAN


@dataclass(frozen=True)
class Transformation:
    """The random change T of an image under which a categorical code must keep its meaning.

    Args:
        rotation: Largest angle in degrees, either way.
        scale: Largest relative change of the frame's width and of its height.
        shear: Largest horizontal shear.
        translation: Largest shift, as a fraction of the image's size.
    """

    rotation: float = 20.0
    scale: float = 0.15
    shear: float = 0.25
    translation: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise InputError(f"transformation.{field.name} is {value}, but must be 0 or more, and finite")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A transformed copy of images of shape (B, C, H, W)."""
        return random_affine(images, generator, self.rotation, self.scale, self.shear, self.translation)


SMALL_AFFINE = Transformation()


class InvariantInfoGAN(InfoGAN):
    """InfoGAN with categorical codes that are invariant to small geometric changes.

    Q is trained by the discriminator's optimizer, as in the authors' code.

    Args:
        transformation: The random change T.
        agreement_weight: Weight of I(Q(x); Q(T(x))) on real images, for each categorical code.
        **kwargs: The arguments of `InfoGAN`, without the choice of who trains Q.
    """

    def __init__(self, transformation: Transformation = SMALL_AFFINE, agreement_weight: float = 1.0, **kwargs: Any):
        super().__init__(recognition_trained_with="discriminator", **kwargs)
        if not self.latent.categorical:
            raise InputError("InvariantInfoGAN needs a categorical code; without one use InfoGAN")
        if self.generator.output_range is None:
            raise InputError("InvariantInfoGAN transforms images, but these networks are for points; use InfoGAN")
        if not agreement_weight >= 0:
            raise InputError(f"agreement_weight is {agreement_weight}, but must be 0 or more")
        self.transformation = transformation
        self.agreement_weight = agreement_weight

    def information(self, fake: Tensor, features: Tensor, latent: Latent) -> dict[str, Tensor]:
        """L_I of each code; for categorical ones the mean of before and after T."""
        plain = super().information(fake, features, latent)
        moved = self.transform(fake, "transformation of generated images")
        after = self.latent.information(latent.codes, self.recognition(self.discriminator.trunk(moved)))
        for name in self.latent.categorical:
            self.record(f"information_after_transformation/{name}", after[name])
        return plain | {name: (plain[name] + after[name]) / 2 for name in self.latent.categorical}

    def transform(self, images: Tensor, purpose: str) -> Tensor:
        """T(x) of images in the generator's range; what comes in from outside is black."""
        assert self.generator.output_range is not None
        black, _ = self.generator.output_range
        return self.transformation(images - black, self.random(purpose)) + black

    def recognition_loss(
        self, real: Tensor, real_features: Tensor, fake: Tensor, fake_features: Tensor, latent: Latent
    ) -> Tensor:
        """- sum λ L_I, and minus the agreement of Q's answers for x and T(x) on real images."""
        loss = super().recognition_loss(real, real_features, fake, fake_features, latent)
        moved = self.transform(real, "transformation of real images")
        before = self.latent.split_posterior(self.recognition(real_features))
        after = self.latent.split_posterior(self.recognition(self.discriminator.trunk(moved)))
        for name in self.latent.categorical:
            agreement = paired_mutual_information(before[name].softmax(-1), after[name].softmax(-1))
            self.record(f"agreement/{name}", agreement)
            loss = loss - self.agreement_weight * agreement
        return loss
