// SPDX-License-Identifier: Apache-2.0
// What may be said of a question, and how it is put in words.

export const letter = i => String.fromCharCode(65 + i);

export const tasks = {
  pairs: "Which answer is better?",
  rankings: "Put the answers in order, the best first",
  thumbs: "Is this a good answer?",
};

/**
 * What may be said: key, sign, words, what is sent, and the side whose colour the button has.
 * `count` is how many answers there are; `ranks` gives the order of a ranking.
 */
export function verdicts(shape, count, ranks) {
  const all = Array(count).fill(1);
  switch (shape) {
    case "pairs": return [
      { key: "ArrowLeft", sign: "←", words: "A is better", side: "a", verdict: { ranks: [1, 2] } },
      { key: "ArrowDown", sign: "↓", words: "tie", side: "even", verdict: { ranks: all } },
      { key: "x", sign: "x", words: "both bad", side: "bad", verdict: { ranks: all, both_bad: true } },
      { key: "ArrowRight", sign: "→", words: "B is better", side: "b", verdict: { ranks: [2, 1] } },
    ];
    case "rankings": return [
      { key: "Enter", sign: "Enter", words: "this order", side: "a", get verdict() {
        return { ranks: ranks() };
      } },
      { key: "x", sign: "x", words: "all bad", side: "bad", verdict: { ranks: all, both_bad: true } },
    ];
    default: return [
      { key: "ArrowUp", sign: "↑", words: "good", side: "good", verdict: { good: true } },
      { key: "ArrowDown", sign: "↓", words: "bad", side: "bad", verdict: { good: false } },
    ];
  }
}

/** Which of them somebody said. */
export function isSaid(choice, given) {
  if ("good" in given) return choice.verdict.good === given.good;
  if (Boolean(choice.verdict.both_bad) !== Boolean(given.both_bad)) return false;
  return String(choice.verdict.ranks) === String(given.ranks);
}

/** What somebody said, in words. */
export function inWords(given, shape) {
  let words;
  if ("good" in given) words = given.good ? "good" : "bad";
  else if (given.both_bad) words = shape === "pairs" ? "both bad" : "all bad";
  else if (shape === "pairs") {
    const [a, b] = given.ranks;
    words = a === b ? "tie" : a < b ? "A is better" : "B is better";
  } else {
    const order = given.ranks.map((rank, i) => ({ rank, name: letter(i) })).sort((x, y) => x.rank - y.rank);
    words = order.map((one, i) =>
      i === 0 ? one.name : `${one.rank === order[i - 1].rank ? "=" : ">"} ${one.name}`).join(" ");
  }
  return given.strength ? `${words}, strength ${given.strength}` : words;
}
