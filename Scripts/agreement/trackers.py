# SPDX-License-Identifier: Apache-2.0
"""Has Attune train a tiny model with every tracker, and reads back what they wrote, by their own packages.

usage: trackers.py --attune .build/release/attune   (needs tensorboard, mlflow-skinny)

Every number of metrics.jsonl must be in all three, float32 in TensorBoard. Exit code 1 if one is not.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENIZER = {
    "added_tokens": [{"id": 0, "content": "</s>", "special": True}], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "merges": [], "vocab": {text: i for i, text in enumerate(["</s>"] + [chr(c) for c in range(33, 127)])}}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attune", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        (folder / "model").mkdir()
        source = ROOT / "Tests/Fixtures/models/llama-tied"
        for name in ("config.json", "generation_config.json", "model.safetensors"):
            (folder / "model" / name).write_bytes((source / name).read_bytes())
        (folder / "model/tokenizer.json").write_text(json.dumps(TOKENIZER))
        (folder / "rows.jsonl").write_text("".join(
            json.dumps({"prompt": f"abc{i}", "chosen": "x" * (i % 5 + 1), "rejected": "yz"}) + "\n" for i in range(40)))
        done = subprocess.run(
            [options.attune, "dpo", "--model", "model", "--data", "rows.jsonl", "--output", "runs/a", "--epochs", "2",
             "--track", "tensorboard", "--track", "mlflow", "--track", "csv"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        run = folder / "runs/a"
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        expected = {(line["step"], key): value for line in lines for key, value in line.items()
                    if key not in ("step", "stage", "time")}

        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        board = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
        board.Reload()
        found = {(event.step, tag): event.value for tag in board.Tags()["scalars"] for event in board.Scalars(tag)}
        texts = {tag: board.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in board.Tags()["tensors"]}

        import mlflow
        client = mlflow.MlflowClient((folder / "runs/mlruns").as_uri())
        kept = client.search_runs(["0"])
        assert len(kept) == 1, kept
        stored = {(item.step, key): item.value for key in kept[0].data.metrics
                  for item in client.get_metric_history(kept[0].info.run_id, key)}

        with open(run / "metrics.csv", newline="") as file:
            table = {(int(row["step"]), key): float(value) for row in csv.DictReader(file) for key, value in row.items()
                     if key not in ("step", "time") and value}

        failed = 0
        # Names with slashes are folders in MLflow's store.
        stored = {(step, "loss" if key == "loss/total" else key): value for (step, key), value in stored.items()}
        for name, values in (("tensorboard", found), ("mlflow", stored), ("csv", table)):
            bad = [key for key, value in expected.items()
                   if not math.isclose(values.get(key, math.nan), value, rel_tol=1e-6 if name == "tensorboard" else 1e-12, abs_tol=1e-30)]
            more = sorted({key for _, key in values if key.startswith("held_out/")})
            print(f"{name}: {len(expected) - len(bad)} of {len(expected)} numbers, final table {', '.join(more)}")
            failed += bool(bad)
        print(f"tensorboard texts: {', '.join(texts)}; beta in settings: {'| beta |' in texts.get('settings', '')}")
        print(f"mlflow: {kept[0].info.status}, {len(kept[0].data.params)} parameters, name {kept[0].info.run_name}")
        failed += "| beta |" not in texts.get("settings", "") or kept[0].info.status != "FINISHED"
        sys.exit(failed > 0)


main()
