# SPDX-License-Identifier: Apache-2.0
"""What differs between two records."""
import fnmatch
import json
import os

# Of one file: the first so many are told, the others counted.
SHOWN = 4


def leaves(value, path=""):
    """Every number, text and flag by its path; keys in another order are another file."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        # As JSON, or 1 and 1.0 and true would be equal.
        yield path, json.dumps(value, ensure_ascii=False)


def short(text):
    return text if len(text) < 70 else text[:67] + "…"


def isNear(before, after, near):
    """Whether two numbers are the same but for such a share of the larger one."""
    try:
        before, after = float(before), float(after)
    except ValueError:
        return False
    return abs(before - after) <= near * max(abs(before), abs(after))


def of(before, after, near=0):
    """Lines that say how two values differ."""
    old, new = dict(leaves(before)), dict(leaves(after))
    lines = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            lines.append(f"{path}: {short(old[path])} is gone")
        elif path not in old:
            lines.append(f"{path}: {short(new[path])} is new")
        elif old[path] != new[path] and not (near and isNear(old[path], new[path], near)):
            lines.append(f"{path}: {short(old[path])} → {short(new[path])}")
    if not lines and list(old) != list(new):
        lines.append("the same in another order of keys")
    return lines


def of_metrics(before, after, near=0):
    """The same of metrics.jsonl: from which step on, and what of it."""
    differ = [(old.get("step"), lines) for old, new in zip(before, after) if (lines := of(old, new, near))]
    if differ:
        step, lines = differ[0]
        more = f", {len(differ) - 1} more do" if len(differ) > 1 else ""
        return [f"step {step} is the first that differs{more}", *lines]
    if len(before) != len(after):
        return [f"{len(before)} lines → {len(after)} lines, of which those that both have are equal"]
    return []


def files(before, after, near=0):
    """Every file of two cases that differs, with what does."""
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            yield name, ["is no longer written"]
        elif name not in before:
            yield name, ["is new"]
        else:
            isMetrics = name.endswith("metrics.jsonl") and isinstance(before[name], list)
            lines = (of_metrics if isMetrics else of)(before[name], after[name], near)
            if lines:
                yield name, lines


def record(folder, pattern):
    """The files of a record's cases by their names."""
    top = os.path.join(folder, "cases")
    names = (os.path.relpath(os.path.join(place, name), top)[:-len(".json")]
             for place, _, names in os.walk(top) for name in names)
    return {name: os.path.join(top, name + ".json") for name in names if fnmatch.fnmatchcase(name, pattern)}


def compare(options):
    """Says what differs between two records; 1 if anything does."""
    facts = []
    for folder in (options.before, options.after):
        with open(os.path.join(folder, "record.json")) as file:
            facts.append(json.load(file))
    if facts[0]["machine"] != facts[1]["machine"]:
        print(f"Made on two machines, so numbers may differ: {facts[0]['machine']}; {facts[1]['machine']}")
    before, after = record(options.before, options.only), record(options.after, options.only)
    differ = 0
    for name in sorted(set(before) | set(after)):
        if name not in after or name not in before:
            print(f"{name}: {'is gone' if name in before else 'is new'}")
            differ += 1
            continue
        with open(before[name]) as one, open(after[name]) as two:
            old, new = json.load(one), json.load(two)
        found = [("", of(old["commands"], new["commands"])), *files(old["files"], new["files"])]
        if not any(lines for _, lines in found):
            continue
        differ += 1
        print(name)
        for file, lines in found:
            for line in lines[:SHOWN]:
                print(f"  {file + ': ' if file else ''}{line}")
            if len(lines) > SHOWN:
                print(f"  {file + ': ' if file else ''}… {len(lines) - SHOWN} more")
    all = len(set(before) | set(after))
    print(f"{differ} of {all} cases differ" if differ else f"{all} cases, all equal")
    return 1 if differ else 0
