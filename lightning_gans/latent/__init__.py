"""What the generator is given: incompressible noise and named, structured codes, declared once."""

from lightning_gans.latent.codes import CategoricalCode, CodePrior, ContinuousCode, GaussianCode, UniformCode
from lightning_gans.latent.spec import Axis, Code, Latent, LatentSpec, Noise

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
