"""f-divergences: f, its conjugate, and a variational bound that is stable for every output of a critic.

The f of table 5 of "f-GAN" (Nowozin, Cseke, Tomioka 2016, arXiv 1606.00709) are used as they are printed; the
table's integrals contradict them in places, which the classes name. Losses are meant to be trained on the fused
``output_activation`` and ``conjugate_of_activation``; ``f`` and ``conjugate`` are for measuring and checking.

An own f-divergence is one class:

    @register
    class ItakuraSaito(FDivergence):
        name = "itakura_saito"
        conjugate_domain = (-math.inf, 1.0)
        def f(self, u): return u - 1 - u.log()
        def conjugate(self, t): return -torch.log((1 - t).clamp(min=0))
        def output_activation(self, v): return -torch.expm1(-v)

after which ``get("itakura_saito")`` finds it. Whatever else it knows better than the defaults it may override.
"""

from lightning_gans.functional.f_divergences.alpha import Alpha
from lightning_gans.functional.f_divergences.base import FDivergence, GeneratorLossName
from lightning_gans.functional.f_divergences.chi_squared import Neyman, Pearson
from lightning_gans.functional.f_divergences.guard import bound_gradient, saturating_exp, saturating_expm1
from lightning_gans.functional.f_divergences.hellinger import SquaredHellinger
from lightning_gans.functional.f_divergences.jeffrey import Jeffrey
from lightning_gans.functional.f_divergences.jensen_shannon import JensenShannon, OriginalGAN, WeightedJensenShannon
from lightning_gans.functional.f_divergences.kullback_leibler import KullbackLeibler, ReverseKullbackLeibler
from lightning_gans.functional.f_divergences.le_cam import LeCam
from lightning_gans.functional.f_divergences.registry import find, get, names, register
from lightning_gans.functional.f_divergences.total_variation import TotalVariation

__all__ = [
    "Alpha",
    "FDivergence",
    "GeneratorLossName",
    "Jeffrey",
    "JensenShannon",
    "KullbackLeibler",
    "LeCam",
    "Neyman",
    "OriginalGAN",
    "Pearson",
    "ReverseKullbackLeibler",
    "SquaredHellinger",
    "TotalVariation",
    "WeightedJensenShannon",
    "bound_gradient",
    "find",
    "get",
    "names",
    "register",
    "saturating_exp",
    "saturating_expm1",
]
