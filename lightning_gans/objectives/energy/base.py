"""What energy-based games have in common: an autoencoder whose reconstruction error is the energy."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.networks.autoencoders import Autoencoder
from lightning_gans.objectives.adversarial import Adversarial


class EnergyBased(Adversarial):
    """A game whose discriminator is an energy: it assigns a number to every sample, low where data are.

    No probability is meant, nothing is normalised. The discriminator pulls the energy of data down; the generator's
    samples are the contrastive points at which it pushes up, and so they show where the energy is too low (LeCun et
    al. 2006). An autoencoder of limited capacity reconstructs what it was trained on and little else.

    Args:
        discriminator: An autoencoder.
        **kwargs: The arguments of `Adversarial`; codes, if the latent has any, are merely more noise here.

    Raises:
        InputError: If the generator's samples are in another range than the autoencoder's reconstructions.
    """

    prediction: ClassVar[str] = "energy"

    def __init__(self, discriminator: Autoencoder, **kwargs: Any):
        super().__init__(discriminator=discriminator, **kwargs)
        made, reconstructed = self.generator.output_range, discriminator.output_range
        if made is not None and reconstructed is not None and tuple(made) != tuple(reconstructed):
            raise InputError(
                f"the generator makes samples in [{made[0]:g}, {made[1]:g}], but the autoencoder reconstructs "
                f"[{reconstructed[0]:g}, {reconstructed[1]:g}]; set output_range of one of them"
            )

    @abstractmethod
    def energy(self, samples: Tensor) -> Tensor:
        """The energy of samples (B, *sample_shape), shape (B,)."""

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The energies of samples, shape (B,)."""
        return self.energy(self.real(batch))
