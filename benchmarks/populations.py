"""Equal small networks as one batched network, each of which trains as it would alone."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from lightning_gans.randomness import derive_seed

State = dict[str, Tensor]


class Population:
    """Networks of one architecture as one: parameters (P, ...), inputs (P, B, ...)."""

    def __init__(self, make: Callable[[], nn.Module], keys: list[tuple[int | str, ...]]):
        networks = []
        for key in keys:
            torch.manual_seed(derive_seed(*key))  # initialisation draws from the global generator
            networks.append(make())
        parameters, _ = stack_module_state(networks)
        self.state: State = {name: p.detach().requires_grad_(True) for name, p in parameters.items()}
        self._template = networks[0].to("meta")

    def __call__(self, inputs: Tensor, state: State | None = None) -> Tensor:
        """Outputs of every member, with its own parameters or those of a state."""

        def one(parameters: State, x: Tensor) -> Tensor:
            output: Tensor = functional_call(self._template, parameters, (x,))
            return output

        outputs: Tensor = vmap(one)(self.state if state is None else state, inputs)
        return outputs

    @property
    def parameters(self) -> list[Tensor]:
        """All parameters, for an optimizer that treats each number by itself: every member then has its own."""
        return list(self.state.values())

    def frozen(self) -> State:
        """The parameters, without gradient."""
        return {name: p.detach() for name, p in self.state.items()}
