"""The losses of the original GAN, from logits.

The discriminator outputs a logit a(x) with D(x) = sigmoid(a(x)), so that log D = -softplus(-a) and
log(1 - D) = -softplus(a) neither overflow nor lose digits for any a; no epsilon inside a logarithm is
needed. All losses are to be minimised and are means over the batch, in nats.

Source: Goodfellow et al. 2014, "Generative Adversarial Nets" (arXiv 1406.2661), equation (1) and section 3.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import softplus

GeneratorLoss = Callable[[Tensor], Tensor]


def discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Minus the value function: -(E[log D(x)] + E[log(1 - D(G(z)))]).

    Its minimum over D is log 4 - 2 JSD(p, p_G): log 4 = 1.386 when the generator is perfect, 0 when the
    discriminator separates the two completely.

    Args:
        real_logits: Logits of real samples, any shape.
        fake_logits: Logits of generated samples, any shape.

    Returns:
        A scalar in ``[0, inf)``.
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def minimax(fake_logits: Tensor) -> Tensor:
    """The zero-sum generator loss E[log(1 - D(G(z)))].

    Args:
        fake_logits: Logits of generated samples, any shape.

    Returns:
        A scalar in ``(-inf, 0]``. Its gradient vanishes where the discriminator is certain.
    """
    return -softplus(fake_logits).mean()


def non_saturating(fake_logits: Tensor) -> Tensor:
    """The heuristic generator loss -E[log D(G(z))]: same fixed point, strong gradient early on.

    Args:
        fake_logits: Logits of generated samples, any shape.

    Returns:
        A scalar in ``[0, inf)``.
    """
    return softplus(-fake_logits).mean()


GENERATOR_LOSSES: dict[str, GeneratorLoss] = {"minimax": minimax, "non_saturating": non_saturating}
