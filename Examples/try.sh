#!/usr/bin/env bash
# Builds the examples as packages of their own, without the server, and runs them on a tiny model that
# the program beside them makes: `make examples`.
set -euo pipefail
attune=$(realpath "${1:?the attune binary}")
cd "$(dirname "$0")"
# One build folder: what both depend on is built once. Modules whole, as in release, but not optimised, which takes
# a sixth less time than a debug build. The kernels are optimised in any case.
build=$(realpath -m ../.build/examples)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for example in Thumbs WeightedRegression; do
  swift build -c release -Xswiftc -Onone --package-path $example --scratch-path "$build" \
    --explicit-target-dependency-import-check error
done
if compgen -G "$build/*/release/Hummingbird.build/*.o" > /dev/null; then
  echo "the examples built the server" >&2
  exit 1
fi

cat > "$work/config.json" <<'JSON'
{"model_type": "llama", "vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 2,
 "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
 "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": true}
JSON
for i in 1 2 3 4 5 6 7 8; do echo "{\"text\": \"question $i: answer $i\"}"; done > "$work/texts.jsonl"
"$attune" sft --init "$work/config.json" --data "$work/texts.jsonl" --output "$work/model" \
  --set max_steps=2 --json > "$work/sft.json"

for i in 1 2 3 4 5 6 7 8; do printf 'question %s\n%s\n' $i "$([ $((i % 2)) = 0 ] && echo y || echo n)"; done |
  "$build/release/Thumbs" "$work/model" > "$work/thumbs.txt"
grep -q 'learning 3/3' "$work/thumbs.txt" && grep -q '^  good, .* nats: ' "$work/thumbs.txt"
"$build/release/WeightedRegression" "$work/model" 2 > "$work/regression.txt"
grep -q '^step 2: reward -' "$work/regression.txt" && grep -q '^Say hello. → ' "$work/regression.txt"
echo "Both examples ran."
