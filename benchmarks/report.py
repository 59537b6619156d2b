"""The results as a page of Markdown."""

from benchmarks.contestants import CONTESTANTS
from benchmarks.measures import ACTIVATIONS, FLOOR, SCORING


def in_order(entries, names):
    """Give entries by these names, as far as there are any: JSON has them in another order."""
    return {name: entries[name] for name in names if name in entries}


def table(header, rows):
    """Format a Markdown table; columns after the first are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def by_activation(entries, names, cell):
    """Make a table of entries by activation, then by name; a row for each name."""
    entries = in_order(entries, ACTIVATIONS)
    rows = [
        [name, *(cell(entry[name]) if name in entry else "absent" for entry in entries.values())]
        for name in names
    ]
    return table(["", *entries], rows)


def training(results):
    """Give the parts of the page on training: ratios and seconds."""
    settings, names = results["settings"], in_order(results["contestants"], CONTESTANTS)
    fit = in_order(results["fit"], ACTIVATIONS)
    factors = ", ".join(f"{1 / of[FLOOR]['ratio']:.2f} ({a})" for a, of in fit.items())
    return [
        "Written by `make bench`. All train the 784-256-128-64-32-10 network in float32 (but for "
        "MLPClassifier float64) by plain gradient descent, batches of 128, each in a process "
        f"pinned to one core with one thread. Medians over {settings['rounds']} rounds of "
        f"{settings['epochs']} epochs in which all had their turn, each after an epoch that does "
        "not count; ratios are taken within a round.",
        "## Training: time / ours",
        by_activation(results["fit"], names, lambda entry: f"{entry['ratio']:.2f}"),
        f"Ours is {factors} times the bare products: the 14 matrix products of every batch with "
        "all 784 columns of the images, and nothing else. Ours leaves out about half of the zeros "
        "of the images, so its first layer multiplies less than that; with images that are zero "
        "nowhere, or at random places, it cannot. Ours and MLPClassifier also compute the epoch's "
        "loss, ours its accuracy too.",
        "## Training: seconds per epoch",
        by_activation(results["fit"], names, lambda entry: f"{entry['seconds']:.3f}"),
    ]


def markdown(results):
    """Write the page of the results that `benchmarks.__main__.main` gathers."""
    machine, grid = results["machine"], results["grid"]
    about = [f"{key} {value}" for key, value in machine.items() if key not in ("blas", "simd")]
    contestants = in_order(results["contestants"], CONTESTANTS)
    alone, together = grid["seconds"]["one core"], grid["seconds"]["all cores"]
    parts = [
        "# Benchmark",
        *training(results),
        "## Scoring: thousand images per second",
        "`predict_proba` of the training images:",
        by_activation(results["predict_proba"], SCORING, lambda e: f"{1e-3 / e['seconds']:.0f}"),
        "## The twelve cells and memory",
        f"The twelve cells of the study, {results['settings']['epochs']} epochs each, start "
        f"of the processes and loading of the data included: {together['seconds']:.1f} s in "
        f"{grid['cores']} processes, one per core; {alone['seconds']:.1f} s in one, "
        f"{alone['ratio']:.2f} times as long.",
        f"Peak memory of one training of the pipeline: {results['peak_memory_mib']:.0f} MiB.",
        "## Measured on",
        f"{', '.join(about)}; BLAS {', '.join(machine['blas'])}.",
        "\n".join(f"- {name}: {what}" for name, what in contestants.items()),
    ]
    return "\n\n".join(parts) + "\n"
