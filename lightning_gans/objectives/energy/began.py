"""BEGAN: boundary equilibrium GAN.

    L_D = L(x) - k_t L(G(z_D)),    L_G = L(G(z_G))             (Berthelot, Schumm, Metz 2017, section 3.4)
    k_{t+1} = k_t + λ_k (γ L(x) - L(G(z_G))),    k_0 = 0,      kept in [0, 1]
    L(v) = |v - Dec(Enc(v))|, the mean over all numbers of v   (equation 1 with η = 1)

What is matched are the distributions of the losses, by a lower bound on their Wasserstein distance (section 3.1), and
k keeps E[L(G(z))] = γ E[L(x)]: the discriminator has to reconstruct data and to tell them from what is generated, and
γ says how much of the second.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.energy import convergence_measure, equilibrium_loss, next_control
from lightning_gans.latent import Latent
from lightning_gans.networks.autoencoders import Autoencoder
from lightning_gans.objectives.energy.base import EnergyBased
from lightning_gans.objectives.regularisers import GradientRegulariser
from lightning_gans.objectives.synchronise import average_over_ranks


class BEGAN(EnergyBased):
    """The boundary equilibrium GAN; its k is part of the checkpoint.

    Args:
        discriminator: An autoencoder.
        diversity_ratio: γ in (0, 1], E[L(G(z))] / E[L(x)] at the equilibrium: lower is less diverse and sharper (0.3
            to 0.7 in the paper).
        control_rate: λ_k, how fast k follows (0.001 in the paper).
        relative_control: Whether k follows the balance as a share of the energy, k + λ_k (γ - L(G(z)) / L(x)), so that
            λ_k has no unit. The equilibrium is the same. An autoencoder's energy falls many times over as it learns,
            and with it the paper's steps of k: a λ_k that is large enough later sends k to 1 at the beginning.
        **kwargs: The arguments of `Adversarial`; codes, if the latent has any, are merely more noise here.
    """

    control: Tensor

    def __init__(
        self,
        discriminator: Autoencoder,
        diversity_ratio: float = 0.5,
        control_rate: float = 0.001,
        relative_control: bool = False,
        **kwargs: Any,
    ):
        super().__init__(discriminator=discriminator, **kwargs)
        if not 0 < diversity_ratio <= 1:
            raise InputError(f"diversity_ratio is {diversity_ratio}, but must lie in (0, 1]")
        if not 0 < control_rate <= 1:
            raise InputError(f"control_rate is {control_rate}, but must lie in (0, 1]")
        if any(isinstance(regulariser, GradientRegulariser) for regulariser in self.discriminator_regularisers):
            raise InputError(
                "discriminator_regularisers has a penalty on the gradient of the autoencoder's Euclidean distance, "
                "which is not BEGAN's energy; leave it out (SpectralNorm may stay)"
            )
        self.diversity_ratio = diversity_ratio
        self.control_rate = control_rate
        self.relative_control = relative_control
        self.register_buffer("control", torch.zeros(()))
        # mean energies of this round's turns
        self._real_energies: list[Tensor] = []
        self._fake_energies: list[Tensor] = []

    def energy(self, samples: Tensor) -> Tensor:
        """Mean absolute error of the reconstruction over all numbers of a sample, shape (B,)."""
        network = self.discriminator
        assert isinstance(network, Autoencoder)
        return (network.reconstruct(network.trunk(samples)) - samples).flatten(1).abs().mean(1)

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """E[L(x)] - k_t E[L(G(z_D))]."""
        real_energies = self.energy(self.shown(real, "real"))
        fake_energies = self.energy(self.shown(self.fake(latent), "fake"))
        loss = equilibrium_loss(real_energies, fake_energies, self.control)
        self.record("loss/discriminator", loss)
        self.record("energy/real", real_energies.mean())
        self.record("energy/fake", fake_energies.mean())
        if self.training:
            self._real_energies.append(real_energies.detach().mean())
        return loss

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """E[L(G(z_G))]."""
        loss = self.energy(self.shown(self.generated(latent), "fake")).mean()
        self.record("loss/generator", loss)
        if self.training:
            self._fake_energies.append(loss.detach())
        return loss

    def begin_round(self, batch: dict[str, Tensor], step: int | Tensor) -> None:
        """Forget the energies of a round that was broken off."""
        self._real_energies, self._fake_energies = [], []

    def finish_round(self, step: int | Tensor) -> None:
        """Let k follow the balance of this round's energies, the same on every rank."""
        super().finish_round(step)
        real, fake = (torch.stack(kept).mean() for kept in (self._real_energies, self._fake_energies))
        if self.trainer.world_size > 1:
            real, fake = average_over_ranks([real, fake])
        balance = self.diversity_ratio * real - fake
        step_of_k = balance / real.clamp_min(torch.finfo(real.dtype).tiny) if self.relative_control else balance
        self.control.copy_(next_control(self.control, self.control_rate, step_of_k))
        self.record("energy/control", self.control)
        self.record("energy/convergence", convergence_measure(real, balance))
