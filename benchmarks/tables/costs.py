"""Tables of time, memory and bytes."""

from tables.records import read


def cost_of_scores() -> list[str]:
    record = read("fidelity")
    assert record is not None
    trace, evaluation = record["trace"], record["evaluation"]
    return [
        "| what | ratio |",
        "|---|---|",
        f"| trace of the Fréchet distance, d = {trace['dimensions']}, against `scipy.linalg.sqrtm` "
        f"| {trace['times_faster']:.1f} times faster |",
        f"| FID and IS of {evaluation['samples']:,} MNIST images, against all of `{evaluation['config']}` "
        f"| {evaluation['share']:.1%} |",
    ]


def celeba_input() -> list[str]:
    record = read("celeba_input")
    assert record is not None
    found = record["throughput"]
    return [
        "| the array against torchvision's decoding | times faster |",
        "|---|---|",
        f"| as many workers (none), by the clock | {found['times_faster']:.1f} |",
        f"| as many workers, in processor time | {found['times_faster_in_process_time']:.1f} |",
        f"| torchvision with 2 workers, by the clock | {found['times_faster_than_2_workers']:.1f} |",
    ]


def communication() -> list[str]:
    record = read("communication")
    assert record is not None
    sent, spent = record["bytes_per_step"], record["milliseconds_per_step"]
    lines = [
        "| gradients averaged | MB sent per step | ms per step, 2 processes here | modelled ms on 8 / 64 / 512 GPUs |",
        "|---|---|---|---|",
    ]
    for way, label in (("once", "once per update, by the game"), ("reducer", "in every backward, by Lightning")):
        model = " / ".join(f"{record['modelled'][n][way]['milliseconds']:.2f}" for n in ("8", "64", "512"))
        lines.append(f"| {label} | {sent[way] / 1e6:.0f} | {spent[way]:.0f} | {model} |")
    return [*lines, f"| one process alone | 0 | {spent['one process alone']:.0f} | |"]


def speed() -> list[str]:
    """The short form of `throughput`."""
    record = read("throughput")
    assert record is not None
    sides = {"fit": "`fit`", "fast": "with `fast.yaml`", "reuse": "and samples reused"}
    lines = [f"| updates per second over those of a loop by hand | {' | '.join(sides.values())} |"]
    lines.append("|---" * (len(sides) + 1) + "|")
    for name, entry in record.items():
        ratios = [entry["ratios"][f"{side} / bare"]["wall"]["ratio"] for side in sides]
        lines.append(f"| {name} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return lines


def throughput() -> list[str]:
    record = read("throughput")
    assert record is not None
    pairs = {
        "fit / bare": "`fit` / by hand",
        "fast / bare": "`fast.yaml` / by hand",
        "reuse / bare": "and samples reused / by hand",
        "compiled / bare": "`fast.yaml` and compiled / by hand",
        "fit / fed": "`fit` / by hand, fed by a DataLoader",
        "fit / half": "`fit` / `fit` on half the data",
    }
    lines = [
        f"| game | `fit`, updates/s | {' | '.join(pairs.values())} | peak MB, `fit` and by hand |",
        "|---" * (len(pairs) + 3) + "|",
    ]
    for name, entry in record.items():
        ratios = [entry["ratios"][pair]["wall"] for pair in pairs]
        shown = [f"{r['ratio']:.2f} ({r['interval_95'][0]:.2f} to {r['interval_95'][1]:.2f})" for r in ratios]
        memory = entry["peak_memory_mb"]
        lines.append(
            f"| {name} | {entry['updates_per_second']['fit']:.2g} | {' | '.join(shown)} "
            f"| {memory['fit']:.0f}, {memory['bare']:.0f} |"
        )
    return lines


def time_to_error() -> list[str]:
    record = read("time_to_error")
    assert record is not None
    lines = ["| configuration, machine | seconds to the error | steps | error there |", "|---|---|---|---|"]
    for name, entry in record.items():
        seconds = "not reached" if entry["seconds"] is None else f"{entry['seconds']:.0f}"
        lines.append(f"| {name} | {seconds} | {entry['steps']:,} | {entry['error']:.2%} |")
    return lines
