"""What PyTorch does with whole modules: it copies, pickles, replicates and scripts them."""

import copy
from typing import Any, NoReturn, Self

from torch import nn

from qcloop.errors import ConfigError
from qcloop.torch.crossbar import Crossbar


class OnArray(nn.Module):
    """A module whose devices are on an array: it can be copied with its crossbar, and is nowhere twice."""

    crossbar: Crossbar

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy on a copy of the crossbar, which all layers of a network share again.

        Gradients are not copied. Raises ConfigError if the crossbar cannot be copied.
        """
        copy.deepcopy(self.crossbar, memo)  # first of all, since memo knows its layers then
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self._without_devices(), memo))
        copied._adopt(self)
        return copied

    def _without_devices(self) -> dict[str, Any]:
        """Return the attributes that are copied as they are."""
        raise NotImplementedError

    def _adopt(self, original: Self) -> None:
        """Take what else the original has, as a copy that shares nothing with it."""
        raise NotImplementedError

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise ConfigError(
            f"a {type(self).__name__} cannot be pickled or copied by copy.copy, since its devices are on an "
            "array: save the state_dict of network and crossbar, and load both into others that were made in "
            "the same way; copy.deepcopy copies a network in the same process"
        )

    def _replicate_for_data_parallel(self) -> NoReturn:
        raise ConfigError(
            f"a {type(self).__name__} cannot be replicated by nn.DataParallel, since its devices are on one "
            "array: wrap the float modules before and after it, and call it with the whole batch"
        )

    def __prepare_scriptable__(self) -> NoReturn:
        raise ConfigError(
            f"a {type(self).__name__} cannot be scripted by torch.jit, since its devices are on an array: "
            "save the state_dict, or script a network of nn.Linear layers with weight.clone() of each layer"
        )
