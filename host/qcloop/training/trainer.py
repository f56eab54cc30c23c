"""A training run in progress: epochs of batches, evaluation, and the state to go on from."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import Array, array_digest
from qcloop.array.generator import Grng16
from qcloop.contract.generator import Stream
from qcloop.contract.images import ImageSet
from qcloop.contract.types import U8, Counters, Positions
from qcloop.crossbar import compiled as crossbar_compiled
from qcloop.crossbar.ageing import AgeingSteps
from qcloop.crossbar.chip import Chip
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.kernels import CrossbarKernels
from qcloop.crossbar.physics import Cost, array_settings
from qcloop.crossbar.wiring import Wires
from qcloop.data import Dataset, encode_inputs, shift_images
from qcloop.device import DeviceProfile
from qcloop.errors import CheckpointError, DivergenceError
from qcloop.training import compiled
from qcloop.training.array_network import ArrayNetwork
from qcloop.training.checks import check_network, check_run
from qcloop.training.image_run import ImageRun
from qcloop.training.image_set import image_set
from qcloop.training.kernels import F64, LayerKernels
from qcloop.training.memory import check_memory
from qcloop.training.network import Network
from qcloop.training.progress import EpochMetrics, Progress
from qcloop.training.read_energy import READ_IMAGES, read_energy
from qcloop.training.settings import Order, RunSettings, Step

#: Test images in one call of the array.
EVALUATION_BATCH = 500

State = dict[str, npt.NDArray[Any]]


class Trainer:
    """Trains a network on an array of any backend, epoch by epoch.

    Parameters
    ----------
    settings : RunSettings
    profile : DeviceProfile
    data : Dataset
    array : Array
        It is configured here.
    kernels : LayerKernels
        Module ``qcloop.training.compiled`` (default) or ``qcloop.training.reference``. Both give the same
        bits.
    crossbar_kernels : CrossbarKernels
        Module ``qcloop.crossbar.compiled`` (default) or ``qcloop.crossbar.reference``, likewise.

    Raises
    ------
    ConfigError
        If network, data and array do not fit one another, or the network does not fit the memory.
    """

    def __init__(
        self,
        settings: RunSettings,
        profile: DeviceProfile,
        data: Dataset,
        array: Array,
        kernels: LayerKernels = compiled,
        crossbar_kernels: CrossbarKernels = crossbar_compiled,
    ) -> None:
        self.settings, self.profile, self.array = settings, profile, array
        check_run(settings, profile, data)
        count = settings.images or len(data.train_labels)
        check_memory(settings, count)
        self._train_x = encode_inputs(data.train_images[:count], settings.input_bits)
        self._train_labels = data.train_labels[:count]
        self._image_shape = data.image_shape
        self.use_test_set(data)
        self._classes = settings.layer_sizes()[-1]
        self._picked: F64 = np.zeros(count)
        self._counted = Counters()
        #: Energy of reading an image, as it was found at the end of the run.
        self._read_energy: float | None = None
        self.progress = Progress()
        #: Classes (n,) uint8 given to the test images at the end of the last epoch.
        self.predictions: U8 = np.zeros(0, np.uint8)
        chip = Chip.of(settings, profile)
        array.configure(array_settings(settings, profile))
        wires = Wires.of(settings, profile)
        crossbar = LayeredCrossbar(settings, array, crossbar_kernels, chip, wires)
        self.network = make_network(settings, crossbar, kernels)
        self._ageing = self._aged(0)
        #: The epochs on images that the array keeps, if it does.
        self._image_run: ImageRun | None = None
        if settings.order is Order.BOARD and isinstance(self.network, ArrayNetwork):
            self._images = run_images(settings, data)
            array.use_images(self._images)
            self._image_run = ImageRun(settings, self.network, count, len(self._test_labels), self._rate)

    def __repr__(self) -> str:
        progress, settings = self.progress, self.settings
        reached = (
            f", test accuracy {100 * progress.history[-1].test_accuracy:.2f} %" if progress.history else ""
        )
        return (
            f"<Trainer of {settings.network} on {self.profile.name}: "
            f"epoch {progress.epoch} of {settings.epochs}{reached}>"
        )

    @property
    def images(self) -> int:
        """Images of one epoch."""
        return len(self._train_labels)

    @property
    def test_images(self) -> int:
        """Images that :meth:`evaluate` classifies."""
        return len(self._test_labels)

    @property
    def ahead(self) -> bool:
        """Whether the array goes on without the host: its cells are then not those of :attr:`progress`."""
        return self._image_run is not None and self._image_run.ahead

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.progress.epoch >= self.settings.epochs

    def use_test_set(self, data: Dataset) -> None:
        """Evaluate on the test images of ``data`` from now on; raises ConfigError if they do not fit."""
        check_network(self.settings, data)
        self._test_x = encode_inputs(data.test_images, self.settings.input_bits)
        self._test_labels = data.test_labels

    def initialise(self) -> None:
        """Program the initial weights and make the stuck cells stuck."""
        self.network.initialise()

    # -- running --------------------------------------------------------------------------------

    def run_epoch(self) -> Iterator[int]:
        """Train to the end of the current epoch; yields the number of images done, time and again.

        With the host's step that is after each batch. The last batch of an epoch may be smaller than the
        others. Whenever the number is yielded, :meth:`state` may be taken. At the end of the epoch the
        network is evaluated, and its metrics are appended to the history.
        """
        if self._image_run is not None:
            yield from self._run_stored_epoch(self._image_run)
            return
        progress, images = self.progress, self.network.call_images
        order = self._order(progress.epoch)
        rate = self._rate(progress.epoch)
        offsets = self._offsets(progress.epoch)
        while progress.image < self.images:
            chosen = order[progress.image : progress.image + images]
            picked = self._picked[progress.image : progress.image + images]
            x = self._train_x[chosen]
            if self.settings.shift:
                x = shift_images(x, self._image_shape, offsets[progress.image : progress.image + images])
            try:
                hits, penalty = self.network.train(x, self._train_labels[chosen], rate, picked)
            except DivergenceError as error:
                raise self._diverged(error) from error
            progress.hits, progress.penalty = progress.hits + hits, progress.penalty + penalty
            progress.image += len(chosen)
            yield progress.image
        self._finish_epoch(rate)

    def _run_stored_epoch(self, run: ImageRun) -> Iterator[int]:
        """Train to the end of the epoch on images that the array keeps, as :meth:`run_epoch` does."""
        progress = self.progress
        for done in run.parts(progress.epoch, progress.image):
            progress.image = done
            if (counted := run.counted()) is not None:
                progress.hits, progress.penalty = counted
            yield done
        end = run.end()
        progress.hits, progress.penalty = end.hits, end.penalty
        summary = end.summary
        counters = self._counted + Counters(
            set_pulses=summary.set_pulses,
            reset_pulses=summary.reset_pulses,
            programmed=summary.programmed,
            clipped=summary.clipped,
        )
        if progress.epoch + 1 == self.settings.epochs:
            self.evaluate()
        self._append(end.test_hits / self.test_images, counters, end.digest, self._rate(progress.epoch))

    def _diverged(self, error: DivergenceError) -> DivergenceError:
        """Return the error with the batch in which it happened, and what a user can change."""
        settings, progress = self.settings, self.progress
        return DivergenceError(
            f"training diverged in epoch {progress.epoch + 1}, batch {progress.image // settings.batch + 1}: "
            f"{error}; use a smaller rate than {settings.rate:g}, or weight-range than "
            f"{settings.weight_range:g}"
        )

    def _order(self, epoch: int) -> npt.NDArray[np.intp]:
        """Return the order of the images: they are sorted by 64-bit keys from stream ``SHUFFLE``."""
        words = Grng16(self.settings.seed, Stream.SHUFFLE, epoch * self.images * 4).take_words(
            self.images * 4
        )
        return np.argsort(np.ascontiguousarray(words).view("<u8"), kind="stable")

    def _offsets(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the (images, 2) shifts of an epoch's images in their order, from stream ``SHIFTS``."""
        shift = self.settings.shift
        if shift == 0:
            return np.zeros((0, 2), np.int64)
        words = Grng16(self.settings.seed, Stream.SHIFTS, epoch * self.images * 2).take_words(self.images * 2)
        return (words.astype(np.int64) * (2 * shift + 1) // 65536 - shift).reshape(-1, 2)

    def _rate(self, epoch: int) -> float:
        rate = self.settings.rate
        for _ in range(epoch):  # a power would differ in the last bit between machines
            rate *= self.settings.decay
        return rate

    def _aged(self, epochs: int) -> AgeingSteps | None:
        """Return what ages the devices from the end of an epoch on; None if they do not age."""
        relaxation, seconds = self.profile.relaxation, self.settings.age_seconds
        if relaxation is None or seconds is None:
            return None
        ageing = AgeingSteps(self.profile, relaxation)
        for epoch in range(epochs):
            ageing.step((epoch + 1) * seconds)
        return ageing

    def _finish_epoch(self, rate: float) -> None:
        if self._ageing is not None and (seconds := self.settings.age_seconds) is not None:
            self.network.crossbar.age(*self._ageing.step((self.progress.epoch + 1) * seconds))
        accuracy = self.evaluate()
        self.network.crossbar.measure_wires()
        digest = array_digest(self.array, self.network.crossbar.regions)
        self._append(accuracy, self.counters(), digest, rate)

    def _append(self, accuracy: float, counters: Counters, digest: str, rate: float) -> None:
        """Append the metrics of the epoch to the history."""
        progress = self.progress
        progress.history.append(
            EpochMetrics(
                epoch=progress.epoch + 1,
                train_loss=self.network.loss(self._picked, progress.penalty),
                test_accuracy=accuracy,
                array_sha256=digest,
                train_accuracy=progress.hits / self.images,
                rate=rate,
                programmed=counters.programmed,
                set_pulses=counters.set_pulses,
                reset_pulses=counters.reset_pulses,
                clipped=counters.clipped,
                stuck=None if self.settings.endurance is None else self.network.stuck,
            )
        )
        progress.epoch += 1
        progress.image = progress.hits = progress.penalty = 0

    def training_inputs(self, count: int) -> U8:
        """Return the first training images as inputs of the network: (count, inputs) uint8, or fewer."""
        return self._train_x[:count]

    def evaluate(self) -> float:
        """Classify the test images; fills :attr:`predictions` and returns the accuracy.

        Where wires have resistance, the products are those that they leave.
        """
        starts = range(0, len(self._test_labels), EVALUATION_BATCH)
        with self.network.crossbar.behind_wires():
            predicted = [self.network.predict(self._test_x[i : i + EVALUATION_BATCH]) for i in starts]
        self.predictions = np.concatenate(predicted)
        return float(np.mean(self.predictions == self._test_labels))

    # -- results --------------------------------------------------------------------------------

    def counters(self) -> Counters:
        """Return what the array counted over the whole run, also before the run was resumed."""
        return self._counted + self.array.counters()

    def cost(self) -> Cost:
        """Return the cost of the run in the device's own terms; the energy of reading once it is finished.

        That takes the cells and a part of the test images through a golden model; the array only reads cells.
        """
        cost = self.network.cost(self.profile, self.counters())
        if self.finished and self.profile.read is not None and self._read_energy is None:
            state = self.network.state()
            self._read_energy = image_read_energy(self.settings, self.profile, state, self._test_x)
        return replace(cost, image_read_energy_j=self._read_energy)

    def confusion(self) -> npt.NDArray[np.int64]:
        """Return the (classes, classes) counts of (true class, predicted class) of the last evaluation."""
        pairs = self._test_labels.astype(np.int64) * self._classes + self.predictions
        return np.bincount(pairs, minlength=self._classes**2).reshape(self._classes, self._classes)

    # -- state ----------------------------------------------------------------------------------

    def state(self) -> tuple[State, dict[str, Any]]:
        """Return arrays and plain values that :meth:`restore` goes on from, bit for bit."""
        arrays = self.network.state() | {
            "picked": self._picked[: self.progress.image],
            "predictions": self.predictions,
        }
        values = {
            "progress": self.progress.values(),
            "positions": self.array.positions().to_dict(),
            "counters": asdict(self.counters()),
            "rounding": self.network.crossbar.rounding_position,
        }
        return arrays, values

    def at_configuration(self) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
        """Return what :meth:`restore` needs, the cells apart, with an array that was not configured since.

        That is the progress now, and positions and counters as they were when the array was configured.
        """
        assert isinstance(self.network, ArrayNetwork)
        values = {
            "progress": self.progress.values(),
            "positions": self.array.start.to_dict(),
            "counters": asdict(self._counted),
            "rounding": self.network.crossbar.rounding_position,
        }
        return self.network.start, values

    def restore(self, arrays: State, values: dict[str, Any]) -> None:
        """Go on from a :meth:`state`; raises CheckpointError if it does not belong to this run."""
        try:
            progress = dict(values["progress"])
            history = [EpochMetrics(**row) for row in progress.pop("history")]
            positions = Positions.from_dict(values["positions"]).on(self.array.boards)
            self.array.configure(self.array.settings, positions)
            self.network.restore(arrays)
            self.network.crossbar.rounding_position = values["rounding"]
            self.progress = Progress(**progress, history=history)
            self._picked[: self.progress.image] = arrays["picked"]
            self.predictions = arrays["predictions"]
            self._counted = Counters.from_dict(values["counters"])
            self._ageing = self._aged(self.progress.epoch)
            self._read_energy = None
            if self._image_run is not None:
                if not self.array.has_images:
                    self.array.use_images(self._images)
                self._image_run.restart(self.progress.hits, self.progress.penalty)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit the run: {error}") from error


def run_images(settings: RunSettings, data: Dataset) -> ImageSet:
    """Return the images of a run as a set for an array that keeps them."""
    return image_set(data, settings.input_bits, settings.images)


def make_network(
    settings: RunSettings, crossbar: LayeredCrossbar, kernels: LayerKernels = compiled
) -> Network | ArrayNetwork:
    """Return the network of a run on a crossbar without layers, whose array is configured.

    Raises
    ------
    ConfigError
        If the layers do not fit the array, or their step cannot be written as a plan.
    ArrayError
        If the array is to make the step and cannot.
    """
    if settings.step is Step.ARRAY:
        return ArrayNetwork(settings, crossbar)
    return Network(settings, crossbar, kernels)


def image_read_energy(settings: RunSettings, profile: DeviceProfile, state: State, x: U8) -> float | None:
    """Return the mean energy in joules of reading the cells for one of the first images of a test set.

    ``state`` has the network as a checkpoint holds it; ``x`` (n, inputs) uint8 are the test set's inputs. See
    :func:`qcloop.training.read_energy.read_energy`.
    """
    return read_energy(settings, profile, make_network, state, x[:READ_IMAGES])
