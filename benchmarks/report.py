"""The results as a page of Markdown."""

from benchmarks.contestants import CONTESTANTS
from benchmarks.measures import ACTIVATIONS, SCORING, SHAPES


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
    """Give the parts of the page on training: ratios, seconds and the profile."""
    settings, names = results["settings"], in_order(results["contestants"], CONTESTANTS)
    over_floor = in_order(results["ours_over_floor"], ACTIVATIONS)
    factors = ", ".join(f"{value:.2f} ({a})" for a, value in over_floor.items())
    profiles = in_order(results["profile"], ACTIVATIONS)
    fractions = {a: entry["fractions"] for a, entry in profiles.items()}
    first = next(iter(fractions.values()))
    overheads = ", ".join(
        f"{100 * entry['diagnostics_overhead']:.1f} % ({a})" for a, entry in profiles.items()
    )
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
        "## Where our time goes",
        "In % of the time:",
        by_activation(
            fractions,
            sorted(first, key=first.get, reverse=True),
            lambda share: f"{100 * share:.1f}",
        ),
        "Diagnostics (norms of the gradients, dead and saturated units, spread of the units, after "
        f"every epoch) add {overheads} to the time of the rest.",
    ]


def growth(results):
    """Give the parts of the page on other shapes of the network."""
    columns = {"seconds": ".3f", "gflop": ".1f", "ratio": ".2f", "gflop_ratio": ".2f",
               "gflop_per_second": ".0f"}  # fmt: skip
    rows = [
        [name, *(format(entry[key], digits) for key, digits in columns.items())]
        for name, entry in in_order(results["growth"], SHAPES).items()
    ]
    header = ["network", "s per epoch", "Gflop per epoch", "time ratio", "work ratio", "Gflop/s"]
    return [
        "## Growth",
        "Ours with relu. Time grows as the work does where the two ratios agree. The work counts "
        "what is left out, too:",
        table(header, rows),
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
        *growth(results),
        "## Scoring: thousand images per second",
        "`predict_proba` of the training images:",
        by_activation(results["images_per_second"], SCORING, lambda value: f"{value / 1000:.0f}"),
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
