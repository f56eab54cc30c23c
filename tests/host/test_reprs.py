"""What the classes of a training say of themselves, in one short line."""

from qcloop.array import GoldenArray
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.device import builtin
from qcloop.training.trainer import Trainer


def test_a_device_says_its_states_and_its_range():
    assert repr(builtin("A")) == "<DeviceProfile 'A': 32 states, 0.5 to 16 G0, reading spread-variance>"


def test_a_trainer_and_its_crossbar_say_how_far_they_are(make_settings, profile_of, mnist):
    settings = make_settings(network="784-12-10", images=40)
    array = GoldenArray(settings.array_config)
    trainer = Trainer(settings, profile_of(settings), mnist, array)
    assert repr(trainer) == "<Trainer of 784-12-10 on A: epoch 0 of 1>"
    crossbar = trainer.network.crossbar
    cells = f"{784 * 16 + 12 * 16:,} of {array.config.cells:,}"  # each row takes two words of 8 lanes
    assert repr(crossbar) == f"<LayeredCrossbar on device A: 2 layers, {cells} cells, update mixed>"
    assert "0 layers, 0 of" in repr(LayeredCrossbar(settings, array))
    trainer.initialise()
    for _ in trainer.run_epoch():
        pass
    accuracy = 100 * trainer.progress.history[0].test_accuracy
    assert repr(trainer) == f"<Trainer of 784-12-10 on A: epoch 1 of 1, test accuracy {accuracy:.2f} %>"
