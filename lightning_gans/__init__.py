"""GANs as games that minimise a divergence or maximise information."""

__version__ = "0.1.0"
