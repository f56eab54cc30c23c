"""The report of a run: the contents of its folder on one page."""

import platform
import shlex
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop import __version__
from qcloop.contract.formats import STUCK_LEVEL
from qcloop.crossbar.settings import spell
from qcloop.device import BUILTIN_NAMES, DeviceProfile, resolve_device
from qcloop.device.draw import profile_title
from qcloop.device.nonlinearity import profile_nonlinearity
from qcloop.figure import to_svg
from qcloop.report.page import (
    Block,
    Details,
    Facts,
    Picture,
    Pre,
    Section,
    Table,
    Text,
    Verdict,
    render_page,
)
from qcloop.run import plots
from qcloop.run.ageing import age_rows, age_summary
from qcloop.run.contents import RunContents, read_run
from qcloop.run.figures import rates_of, run_figures
from qcloop.table import ResultTable
from qcloop.text import quantity, shown_unit
from qcloop.training.geometry import has_kernels, spell_out
from qcloop.training.read_energy import READ_IMAGES
from qcloop.training.settings import RunSettings, resolve

#: The figures as ``svg`` elements, by name.
Svg = Mapping[str, str]

_NONE = "–"
#: A command is continued on a new line after so many characters.
_LINE = 72


def run_report(path: Path) -> str:
    """Return a page on a run, finished or not. The run is only read, and may go on meanwhile.

    Raises
    ------
    RunError
        If there is no run, or if it has not finished an epoch.
    CheckpointError
        If its checkpoint is damaged or belongs to other settings.
    """
    state = read_run(path)
    svg = {name: to_svg(plot.figure, name) for name, plot in run_figures(state)}
    sections = [
        Section("Summary", _summary(state)),
        Section("Learning curves", _learning(state, svg)),
        Section("Classes", _classes(state, svg)),
        Section("Conductances", _conductances(state, svg)),
        Section("Endurance", _endurance(state, svg)),
        *([Section("Time", _ageing(state.ageing, state, svg))] if state.ageing is not None else []),
        Section("Cost", _cost(state)),
        Section("Device", _device(state, svg)),
        Section("Configuration", _configuration(state)),
        Section("Versions", _versions(state)),
    ]
    settings, profile = state.settings, state.profile
    return render_page(
        f"{settings.network} on device {profile.name}, {profile.states} states",
        f"Training on an emulated memristor array: data {state.config['data'].get('name', 'unnamed')}, "
        f"update {settings.update}, policy {settings.policy}, seed {settings.seed}",
        sections,
        f"Made by qcloop {__version__} from the checkpoint of the run.",
    )


# -- sections -------------------------------------------------------------------------------------


def _summary(state: RunContents) -> list[Block]:
    settings, profile, last = state.settings, state.profile, state.history[-1]
    best = max(state.history, key=lambda row: row.test_accuracy)
    varied = settings.describe_variation(shown_unit(profile.unit))
    facts = [
        ("Test accuracy", f"{100 * last.test_accuracy:.2f} %"),
        (f"Best, after epoch {best.epoch}", f"{100 * best.test_accuracy:.2f} %"),
        ("Network", settings.network),
        ("Device", f"{profile.name}, {profile.states} states"),
        *([("Variation", varied)] if varied else []),
        ("Update rule", str(settings.update)),
        ("Epochs", f"{last.epoch} of {settings.epochs}"),
        ("Writes of the worst cell", _count(state.cost.most_writes)),
        ("Write energy", _quantity(state.cost.write_energy_j, "J")),
    ]
    blocks: list[Block] = [Facts(facts)]
    if has_kernels(settings.network):
        blocks.append(_layers(state))
    if last.epoch < settings.epochs or state.image:
        here = f"; {state.image:,} images of the next are done" if state.image else ""
        blocks.append(
            Verdict(
                f"The run is not finished: {last.epoch} of {settings.epochs} epochs{here}. Accuracies are "
                "those of the last finished epoch; cells, writes and cost are as they are now.",
                None,
            )
        )
    return blocks


def _layers(state: RunContents) -> Block:
    """Return the layers of a network with kernels."""
    rows = []
    for index, shape in enumerate(state.settings.layers(), 1):
        c, made = shape.convolution, f"{shape.outputs:,}"
        what = "plain"
        if c is not None:
            padded = f", padded by {c.padding}" * (c.padding > 0)
            pooled = f", pooled {c.pool}x{c.pool}" * (c.pool > 1)
            image = f"{c.height}x{c.width}x{c.channels}"
            what = f"{c.kernels} kernels of {c.size}x{c.size} on {image}{padded}{pooled}"
            made = "{}x{}x{}".format(*c.pooled, c.kernels)
        rows.append((str(index), what, f"{shape.rows} x {shape.cols}", f"{shape.vectors:,}", made))
    network = state.settings.network
    spelled = spell_out(network)
    note = "" if spelled == network else f"{network} is {spelled}"
    head = ("layer", "what it is", "weights", "vectors of an image", "outputs")
    return Table(head, rows, note, numeric=False)


def _learning(state: RunContents, svg: Svg) -> list[Block]:
    history = state.history
    last = history[-1]
    rows = [
        (
            str(row.epoch),
            f"{row.rate:.4g}",
            f"{row.train_loss:.4f}",
            _percent(row.train_accuracy),
            _percent(row.test_accuracy),
            f"{row.programmed:,}",
        )
        for row in history
    ]
    head = ("epoch", "learning rate", "training loss", "training accuracy", "test accuracy", "writes so far")
    return [
        Picture(
            svg["accuracy"],
            f"Accuracy against the epoch; that of the test set is {_percent(last.test_accuracy)} at the end.",
            "Accuracy of the test set after each epoch; of the training images, each before it was learned.",
        ),
        Picture(
            svg["loss"],
            f"Training loss against the epoch; {last.train_loss:.4f} at the end.",
            "Mean cross-entropy of the training images, each before it was learned.",
        ),
        Details("Figures of each epoch", [Table(head, rows)]),
    ]


def _classes(state: RunContents, svg: Svg) -> list[Block]:
    counts = state.confusion()
    if counts is None:
        return [Verdict(f"The confusion matrix needs the data of the run: {state.data_error}.", None)]
    classes = len(counts)
    right = np.diag(counts)
    recall, precision = rates_of(counts)
    rows = []
    for label in range(classes):
        wrong = counts[label].copy()
        wrong[label] = 0
        rows.append(
            (
                str(label),
                f"{counts[label].sum():,}",
                _percent(recall[label]),
                _percent(precision[label]),
                f"{wrong.argmax()} ({wrong.max():,})" if wrong.any() else _NONE,
            )
        )
    total = f"{right.sum():,} of {counts.sum():,} test images are right"
    return [
        Picture(
            svg["confusion"],
            f"Confusion matrix: {total}.",
            f"Confusion matrix: {total}; shaded by the share of the true class.",
        ),
        Picture(
            svg["rates"],
            "Recall and precision of each class.",
            "Recall: share of the images of a class that are recognised. Precision: share of the images "
            "taken for a class that belong to it.",
        ),
        Table(("class", "test images", "recall", "precision", "most often taken for"), rows),
    ]


def _conductances(state: RunContents, svg: Svg) -> list[Block]:
    profile, cells = state.profile, state.cells
    rows = []
    for index, (levels, codes) in enumerate(cells):
        known = levels < profile.states
        g = codes * profile.lsb
        off = g[known] - np.array(profile.mean)[levels[known]]
        rows.append(
            (
                str(index + 1),
                f"{codes.shape[0]} x {codes.shape[1]}",
                f"{g.mean():.3f}",
                f"{np.sqrt(np.mean(off**2)):.3f}" if off.size else _NONE,
                _percent(float(np.mean(levels == 0))),
                _percent(float(np.mean(levels == profile.states - 1))),
                f"{np.count_nonzero(levels == STUCK_LEVEL) if profile.states <= STUCK_LEVEL else 0:,}",
            )
        )
    head = (
        "layer",
        "cells",
        f"mean ({shown_unit(profile.unit)})",
        f"rms error ({shown_unit(profile.unit)})",
        "at the lowest level",
        "at the highest level",
        "stuck",
    )
    return [
        Picture(
            svg["conductance"],
            "Histogram of the conductances of each layer.",
            "Conductances that the cells really have, by layer, over the nominal states.",
        ),
        Picture(
            svg["occupation"],
            "Number of cells at each level, by layer.",
            "Levels that the cells were programmed to, by layer; stuck cells are not counted.",
        ),
        Table(head, rows, "rms error: root mean square of the distance of a cell from the mean of its level"),
    ]


def _endurance(state: RunContents, svg: Svg) -> list[Block]:
    blocks: list[Block] = [Text(_most_written(state))]
    if not state.writes:
        return blocks
    blocks += _wear(state, svg)
    shares = (0.5, 0.9, 0.99)
    rows = []
    for index, writes in enumerate(state.writes):
        side = plots.image_side(writes.shape[0]) if state.takes_pixels(index) else None
        blocks.append(
            Picture(
                svg[f"endurance{index + 1}"],
                f"Writes of each cell of layer {index + 1}; at most {writes.max():,}.",
                _endurance_caption(index, writes, side),
            )
        )
        quantiles = (f"{np.quantile(writes, share, method='higher'):,}" for share in shares)
        rows.append(
            (
                str(index + 1),
                f"{writes.size:,}",
                f"{writes.sum():,}",
                _percent(float(np.mean(writes <= 1))),
                f"{writes.mean():,.1f}",
                *quantiles,
                f"{writes.max():,}",
            )
        )
    head = ("layer", "cells", "writes", "never rewritten", "mean", "median", "90 %", "99 %", "most")
    return [*blocks, Table(head, rows, "Writes of a cell, initial programming included")]


def _wear(state: RunContents, svg: Svg) -> list[Block]:
    """Return how many cells have reached what they endure; nothing if they endure any number of writes."""
    settings, last = state.settings, state.history[-1]
    if settings.endurance is None or last.stuck is None:
        return []
    cells = sum(writes.size for writes in state.writes)
    spread = 100 * settings.endurance_spread
    varied = f" (± {spread:g} % from cell to cell)" if spread else ""
    return [
        Text(
            f"A cell endures {settings.endurance:,} writes{varied}, and is then stuck. After epoch "
            f"{last.epoch}, {last.stuck:,} of {cells:,} cells are stuck ({_percent(last.stuck / cells)})."
        ),
        Picture(
            svg["wear"],
            f"Histogram of the writes of {cells:,} cells.",
            "Writes of the cells of all layers, initial programming included.",
        ),
        Picture(
            svg["stuck"],
            f"Stuck cells against the epoch; {_percent(last.stuck / cells)} at the end.",
            "Share of the cells that are stuck after each epoch.",
        ),
    ]


def _most_written(state: RunContents) -> str:
    worst = state.cost
    if worst.most_written_layer is None or worst.most_written_row is None:
        return (
            f"The array trained by itself and programmed {worst.writes:,} cells. It does not count the "
            "writes of each cell; `--step host` does, and so does a run with `--endurance`."
        )
    where = f"layer {worst.most_written_layer + 1}, input {worst.most_written_row}"
    convolution = state.settings.layers()[worst.most_written_layer].convolution
    pixels = state.takes_pixels(worst.most_written_layer)
    side = plots.image_side(state.writes[0].shape[0]) if pixels else None
    if convolution is not None:
        pixel, channel = divmod(worst.most_written_row, convolution.channels)
        line, column = divmod(pixel, convolution.size)
        where += f" (line {line} and column {column} of a kernel, channel {channel}, from 0)"
    elif side is not None:
        where += " (line {} and column {} of the image, from 0)".format(*divmod(worst.most_written_row, side))
    return (
        f"The most-written cell is that of {where}, column {worst.most_written_column}: "
        f"{worst.most_writes:,} programming requests. A red ring marks the most-written cell of each layer."
    )


def _endurance_caption(index: int, writes: npt.NDArray[np.uint32], side: int | None) -> str:
    if side is None:
        return f"Layer {index + 1}: {writes.shape[0]} inputs by {writes.shape[1]} columns."
    shown, columns = len(plots.shown_columns(writes)), writes.shape[1]
    which = f"its {columns} columns" if shown == columns else f"the {shown} most-written of {columns} columns"
    return f"Layer {index + 1}: {which}, each as the {side} x {side} image of its inputs."


def _ageing(table: ResultTable, state: RunContents, svg: Svg) -> list[Block]:
    """Return what `qcloop age` has found."""
    summary, epoch = age_summary(table), table["epoch"][0]
    n, relaxation = summary["n"][0], table["relaxation"][0]
    head, rows = age_rows(summary)
    last = rows[-1]
    blocks: list[Block] = [
        Picture(
            svg["ageing"],
            f"Test accuracy over time; {last[1]} % after {last[0]}.",
            f"Accuracy of the test set while the devices relax ({relaxation}): mean and standard deviation "
            f"of {n} repeats. Rescaled: all products of a layer are multiplied by one factor, which makes "
            "its sums as large on average as they were after training.",
        ),
        Table(head, rows, f"{n} repeats; made by `qcloop age`"),
    ]
    if epoch != state.history[-1].epoch:
        now = state.history[-1].epoch
        blocks.insert(
            0, Verdict(f"This is of epoch {epoch}; the run has done {now} since then: age it anew.", None)
        )
    return blocks


def _count(value: int | None) -> str:
    return _NONE if value is None else f"{value:,}"


def _cost(state: RunContents) -> list[Block]:
    total, counters = state.cost, state.counters
    images = state.images
    seen = None if images is None else len(state.history) * images + state.image
    energy = total.write_energy_j
    rows = [
        ("SET pulses", f"{total.set_pulses:,}", "raise a cell, or bring it to the ON state"),
        ("RESET pulses", f"{total.reset_pulses:,}", "lower a cell"),
        ("Writes", f"{total.writes:,}", "cells programmed, each request counted"),
        ("Writes of the most-written cell", _count(total.most_writes), "its wear"),
        ("Training images seen", _NONE if seen is None else f"{seen:,}", "over all epochs"),
        ("Programming time", _duration(total.programming_time_s), "all pulses one after the other"),
        ("Write energy", _quantity(energy, "J"), "all pulses, at mean conductances"),
        ("Energy of an image", _quantity(_ratio(energy, seen), "J"), "write energy over training images"),
        ("Energy of a write", _quantity(_ratio(energy, total.writes), "J"), "write energy over writes"),
        ("Writes of an image", _NONE if not seen else f"{total.writes / seen:.2f}", "over training images"),
        *_reading(state),
        ("Clipped draws", f"{counters.clipped:,}", "conductances beyond the range of codes"),
        ("Saturated products", f"{counters.saturated:,}", "by the ADC"),
        ("Unverified writes", f"{counters.unverified:,}", "out of tries, policy verify only"),
        ("Words read", f"{counters.cycles:,}", "array cycles of forward and backward products"),
    ]
    blocks: list[Block] = [Table(("quantity", "value", "what it is"), rows, numeric=False)]
    if state.profile.pulses is None:
        blocks.insert(0, Verdict("The device profile states no pulses: time and energy are not known.", None))
    elif energy is None:
        blocks.insert(
            0,
            Verdict(
                "The array trained by itself, and its counters tell the write energy only where nearly every "
                "write moved a cell by one level (policy direct): the energy is not known.",
                None,
            ),
        )
    return blocks


def _reading(state: RunContents) -> list[tuple[str, str, str]]:
    """Return the row on the energy of reading, where the profile tells the pulse."""
    pulse, energy = state.profile.read, state.cost.image_read_energy_j
    if pulse is None:
        return []
    what = f"cells only, {pulse.words()}, mean over the first {READ_IMAGES} test images or all"
    return [("Energy of reading an image", _quantity(energy, "J"), what)]


def _device(state: RunContents, svg: Svg) -> list[Block]:
    profile = state.profile
    rows = [
        (
            str(level),
            str(profile.stage(level)),
            f"{profile.mean[level]:.5g}",
            f"{profile.spread[level]:.4g}",
            f"{profile.mean_siemens()[level] * 1e6:.5g}",
            f"{profile.pulses.reset_volts[profile.stage(level) - 1]:.4g}" if profile.pulses else _NONE,
        )
        for level in reversed(range(profile.states))
    ]
    unit = shown_unit(profile.unit)
    head = ("level", "stage", f"mean ({unit})", f"spread ({unit})", "mean (µS)", "RESET pulse (V)")
    return [
        Text(f"{profile_title(profile)}. {profile.source}\n\n{ways_of(state)}{_relaxation(profile)}"),
        Picture(
            svg["device"],
            "Mean conductance and spread of each pulse stage.",
            "Conductance after each RESET pulse of the ramp; stage 1 is the highest state.",
        ),
        Picture(
            svg["spread"],
            "Spread of each pulse stage.",
            "Programming fluctuation: one standard deviation of what a write gives.",
        ),
        Details("Table of the device", [Table(head, rows)]),
    ]


def _relaxation(profile: DeviceProfile) -> str:
    """Return a paragraph on what time does to the device, if that is known."""
    law = profile.relaxation
    return "" if law is None else f"\n\nThe conductances relax: {law.words()}. {law.source}"


def ways_of(state: RunContents) -> str:
    """Return words on how the training took the ways up and down of the device."""
    factor = profile_nonlinearity(state.profile)
    up = {
        "reset-only": "A way up is one SET and then RESET pulses down to the state",
        "verify": "A way up is written like a way down, and repeated until the conductance is near enough",
    }.get(state.settings.policy, "A way up takes one pulse a state, as a way down does")
    return (
        f"Nonlinearity of these states over the pulse stage: {factor:.2f} (0 is a straight line). {up}. "
        "Both ways lead to the same states, so this training used no curve of potentiation beside one of "
        "depression."
    )


def _configuration(state: RunContents) -> list[Block]:
    settings, data = state.settings, state.config["data"]
    needs = []
    if settings.device not in BUILTIN_NAMES:
        needs.append(
            f"It needs the device file {settings.device}; its contents are kept in the "
            "section [profile] of the run's config.toml."
        )
    if data.get("directory"):
        needs.append(f"It needs the data in {data['directory']}, with the SHA-256 below.")
    usual = RunSettings()
    rows = [
        (
            spell(f.name),
            _setting(getattr(settings, f.name)),
            _setting(getattr(usual, f.name)),
            f.metadata["help"].partition(" [default")[0],
        )
        for f in settings.options()
    ]
    facts = [
        ("data", str(data.get("name", _NONE))),
        ("SHA-256 of the data", str(data.get("sha256", _NONE))),
        ("folder of the data", str(data.get("directory", "built in"))),
        ("rows and columns swapped", "yes" if data.get("transpose") else "no"),
        (f"SHA-256 of the array after epoch {state.history[-1].epoch}", state.history[-1].array_sha256),
    ]
    return [
        Text(" ".join(["This command repeats the run, to the same last code of every cell.", *needs])),
        Pre(_shell(command_line(state.config))),
        Table(("what", "value"), facts, numeric=False),
        Details(
            "All settings",
            [Table(("setting", "value", "default", "what it is"), rows, numeric=False)],
        ),
    ]


def _versions(state: RunContents) -> list[Block]:
    made = state.config.get("qcloop", {})
    rows = [
        ("qcloop", made.get("version"), __version__),
        ("Python", made.get("python"), platform.python_version()),
        ("NumPy", made.get("numpy"), np.__version__),
        ("Matplotlib", None, version("matplotlib")),
    ]
    texts = [(name, str(then or _NONE), now) for name, then, now in rows]
    return [Table(("", "when the run was made", "when this page was made"), texts, numeric=False)]


# -- the command ----------------------------------------------------------------------------------


def command_line(config: dict[str, Any]) -> list[str]:
    """Return the words of the command that repeats a run.

    They name the network, the device and the seed, and every setting that is not the default. ``config`` is
    what :func:`qcloop.run.folder.read_config` returns.
    """
    settings, data = RunSettings.from_dict(config["settings"]), config["data"]
    decisive = {name: getattr(settings, name) for name in ("network", "update", "step", "cells_per_weight")}
    usual = resolve(None, decisive)  # what the command takes for settings that it does not name
    if settings.device in BUILTIN_NAMES:
        profile = resolve_device(settings.device)
        usual = usual.on(profile)
    else:  # a device file states both
        usual = replace(usual, states=settings.states, reading=settings.reading)
    words = ["qcloop", "train"]
    for f in settings.options():
        value = getattr(settings, f.name)
        default = getattr(RunSettings if f.name in decisive else usual, f.name)
        if value != default or f.name in ("network", "device", "seed"):
            words += [f"--{f.name.replace('_', '-')}", str(value)]
    if data.get("directory"):
        words += ["--data", str(data["directory"])]
    if data.get("transpose"):
        words.append("--transpose")
    return words


def _shell(words: list[str]) -> str:
    """Return words as a command for a shell, on as many lines as it needs."""
    lines = [""]
    for word in words:
        if len(lines[-1]) > _LINE and word.startswith("--"):
            lines.append("   ")
        lines[-1] += f" {shlex.quote(word)}"
    return " \\\n".join(lines).strip()


# -- figures as texts -----------------------------------------------------------------------------


def _setting(value: object) -> str:
    return _NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if isfinite(share) else _NONE


def _ratio(part: float | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None


def _quantity(value: float | None, unit: str) -> str:
    return _NONE if value is None else quantity(value, unit)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    hours, rest = divmod(round(seconds), 3600)
    return f"{seconds:,.2f} s" + (f" ({hours:,} h {rest // 60} min)" if hours else "")
