"""The losses of the original GAN, from logits, and what they say about the two distributions.

The discriminator outputs a logit a(x) with D(x) = sigmoid(a(x)), so that log D = -softplus(-a) and
log(1 - D) = -softplus(a) neither overflow nor lose digits for any a; no epsilon inside a logarithm is
needed. All losses are to be minimised and are means over the batch, in nats.

Source: Goodfellow et al. 2014, "Generative Adversarial Nets" (arXiv 1406.2661), equation (1) and section 3.
"""

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import softplus

GeneratorLoss = Callable[[Tensor], Tensor]


def discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Minus the value function: -(E[log D(x)] + E[log(1 - D(G(z)))]).

    Its minimum over D is log 4 - 2 JSD(p, p_G): log 4 = 1.386 when the generator is perfect, 0 when the
    discriminator separates the two completely.

    With a real label α below 1 (one-sided label smoothing; Salimans et al. 2016, section 3.4) the first term
    is E[α log D(x) + (1 - α) log(1 - D(x))], and the optimal D is α p / (p + p_G): bounded by α, so that the
    discriminator is never rewarded for certainty. Fake labels are not smoothed: that would reinforce what
    the generator does already.

    Args:
        real_logits: Logits of real samples, any shape.
        fake_logits: Logits of generated samples, any shape.
        real_label: α in (0, 1].

    Returns:
        A scalar in ``[0, inf)``.
    """
    real = softplus(-real_logits)
    if real_label != 1.0:
        # α log D + (1 - α) log(1 - D) = log D - (1 - α) a
        real = real + (1 - real_label) * real_logits
    return real.mean() + softplus(fake_logits).mean()


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


def jensen_shannon_bound(value: Tensor) -> Tensor:
    """What a value V(D, G) of the game says about how far apart the distributions are: (V + log 4) / 2.

    For any D a lower bound on JSD(p, p_G), attained by the optimal one (Goodfellow et al. 2014, theorem 1).

    It is also what D knows about where a sample comes from. Toss a fair coin s, show a real sample for heads
    and a generated one for tails: I(x; s) = JSD(p, p_G), and D as a guess of s gives the Barber-Agakov bound
    I(x; s) >= H(s) + E[log q(s|x)] = log 2 + V/2, the same number. Divided by log 2 it is the share of the
    coin's one bit that D can read off a sample.

    Args:
        value: V = E[log D(x)] + E[log(1 - D(G(z)))], without label smoothing, in nats.

    Returns:
        In nats, at most log 2 = 0.693; negative if D does worse than always answering one half.
    """
    return (value + math.log(4)) / 2


GENERATOR_LOSSES: dict[str, GeneratorLoss] = {"minimax": minimax, "non_saturating": non_saturating}
