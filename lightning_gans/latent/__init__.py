"""What the generator is given: incompressible noise and named, structured codes, declared once."""

from lightning_gans.latent.codes import CategoricalCode, CodePrior, ContinuousCode, GaussianCode, UniformCode
from lightning_gans.latent.declaration import Code, Noise
from lightning_gans.latent.spec import Axis, Latent, LatentSpec

__all__ = [
    "Axis",
    "CategoricalCode",
    "Code",
    "CodePrior",
    "ContinuousCode",
    "GaussianCode",
    "Latent",
    "LatentSpec",
    "Noise",
    "UniformCode",
]
