// SPDX-License-Identifier: Apache-2.0

/// The terms of this field in plain words: `Documentation/Glossary.md` is printed from them, and a page
/// explains those that it uses.
public enum Glossary {
  /// A term.
  public struct Term: Sendable, Equatable {
    /// What it is called.
    public let name: String
    /// What else stands for it on a page, in lower case.
    let forms: [String]
    /// What it means.
    public let meaning: String

    fileprivate init(_ name: String, _ meaning: String, also forms: [String] = []) {
      self.name = name
      self.forms = [name.lowercased()] + forms
      self.meaning = meaning
    }
  }

  /// All terms, by the alphabet.
  public static let terms: [Term] = [
    Term(
      "advantage",
      "How much better an answer (or a token) did than was to be expected: its reward minus a baseline. "
        + "What is above 0 is made more probable, what is below less."),
    Term(
      "Bradley–Terry",
      "The model that the better of two is preferred with probability σ(difference of their scores). "
        + "Reward models and ratings are fitted to it."),
    Term(
      "calibration",
      "Whether a model that says 80 % is right in 80 % of such cases. The expected calibration error is "
        + "the mean distance between the two."),
    Term(
      "confidence interval",
      "The range that a figure would fall into again and again if other prompts had been drawn. At 95 % "
        + "one in twenty misses the truth. Here prompts are drawn anew (bootstrap), since answers to one "
        + "prompt resemble each other.", also: ["95 % interval", "intervals over prompts"]),
    Term(
      "distillation",
      "Bringing a policy to the distribution of another model, its teacher, which says of every token how "
        + "probable it is. Of answers that the policy samples itself it learns where it goes wrong.",
      also: ["distill"]),
    Term(
      "distinct",
      "Different words (pairs, triples) over all of them: low where answers repeat each other.",
      also: ["distinct word"]),
    Term(
      "Elo",
      "A rating: 400 points more are odds of 10 to 1 to be preferred. The same model as Bradley–Terry on "
        + "another scale."),
    Term(
      "entropy",
      "How undecided the model is about the next token, in nats: 0 where it is sure. A policy that found "
        + "one rewarded answer loses it."),
    Term(
      "exact KL",
      "KL without the luck of the draw of each token: at every position of an answer the KL of the next "
        + "token's whole distribution, summed over the answer. In the mean over answers it is the KL, with "
        + "less noise than the log-ratio of the tokens drawn, and never below 0."),
    Term(
      "gold reward",
      "The score that stands for what is really wanted. Training never sees it; it shows whether the "
        + "learned reward is being fooled.", also: ["gold"]),
    Term(
      "greedy answer",
      "The answer that takes the most probable token at each place: no luck of a draw in it.",
      also: ["greedy"]),
    Term(
      "held out",
      "Kept away from training, so that what is measured on it says something about new data.",
      also: ["held-out"]),
    Term(
      "implicit reward",
      "What a policy trained without a reward model rewards by itself: β times the log-ratio to the "
        + "reference."),
    Term(
      "k1, k2, k3",
      "Three estimates of KL from the policy's own samples, of r, the log-probability under the reference "
        + "minus that under the policy: −r, r²/2, and e^r − 1 − r. k3 is never negative and varies "
        + "little.", also: ["k3", "k1"]),
    Term(
      "KL",
      "Kullback–Leibler divergence: how far the policy has moved from the reference, in nats. 0 is not at "
        + "all; ten nats an answer is far for a short answer. The more, the more reward can be had, and "
        + "the odder answers can get."),
    Term(
      "learned reward",
      "What a reward model gives: a guess at what people (or a labeller) prefer."),
    Term(
      "log-probability",
      "The logarithm of how probable a model holds an answer, in nats: always below 0, nearer to 0 is more "
        + "probable. Of an answer it is the sum over its tokens."),
    Term(
      "margin",
      "Reward of the preferred answer minus that of the other: above 0 the pair is ranked right."),
    Term(
      "nats",
      "The unit of information with natural logarithms: 0.69 nats are one bit; a difference of 1 nat is a "
        + "factor of 2.72 in probability.", also: ["nat"]),
    Term(
      "perplexity",
      "e to the mean loss: how many tokens the model hesitates between at each place. High where a text "
        + "looks odd to it."),
    Term("policy", "The model that is trained and gives the answers."),
    Term(
      "reference",
      "The model that KL is measured from, nearly always the one that training began with."),
    Term(
      "reward hacking",
      "The learned reward rises while the gold reward falls: the policy found what fools the reward "
        + "model."),
    Term(
      "reward model",
      "A model that gives an answer a number, trained on which answers were preferred."),
    Term("rollout", "Answers that are sampled from the policy at once and then trained on."),
    Term("SD", "Standard deviation: how far numbers typically are from their mean."),
    Term(
      "self-BLEU",
      "How alike the answers to one prompt are: 1 where all are the same."),
    Term(
      "teacher",
      "The model that a policy is to become like: a larger one, or the same under other words."),
    Term(
      "temperature",
      "What logits are divided by before a token is drawn: below 1 the probable tokens get more probable, 0 "
        + "is greedy. Log-probabilities and KL are taken at the sampling temperature."),
    Term(
      "win rate",
      "How often the new answer is preferred to the old one to the same prompt; a tie counts half.",
      also: ["wins against", "wins by", "new answers win"]),
    Term("β", "The price of KL: the larger, the nearer the policy stays to the reference."),
  ]

  /// The terms that a page uses.
  ///
  /// - Parameter html: The page's text, tags and all.
  static func used(in html: String) -> [Term] {
    var text: [UInt8] = []
    var isTag = false
    for byte in html.utf8 {
      switch byte {
      case UInt8(ascii: "<"):
        isTag = true
        text.append(UInt8(ascii: " "))
      case UInt8(ascii: ">"): isTag = false
      default: if !isTag { text.append(byte) }
      }
    }
    let words = Array(String(decoding: text, as: UTF8.self).lowercased().utf8)
    func isLetter(_ place: Int) -> Bool {
      words.indices.contains(place)
        && (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(words[place])
    }
    func holds(_ form: String) -> Bool {
      let form = Array(form.utf8)
      guard form.count <= words.count else { return false }
      return (0...words.count - form.count).contains { start in
        words[start] == form[0] && words[start..<start + form.count].elementsEqual(form)
          && !isLetter(start - 1) && !isLetter(start + form.count)
      }
    }
    return terms.filter { $0.forms.contains(where: holds) }
  }

  /// A fold with the terms that a page uses; empty where it uses none.
  static func section(for html: String) -> String {
    let terms = used(in: html)
    guard !terms.isEmpty else { return "" }
    return "<h2>Terms</h2>\n<details><summary>What the words on this page mean</summary>\n<dl>\n"
      + terms.map { "<dt>\(escapedHTML($0.name))</dt><dd>\(escapedHTML($0.meaning))</dd>\n" }
      .joined()
      + "</dl></details>\n"
  }

  /// The page of the documentation.
  public static var document: String {
    """
    # Glossary

    The terms of this field in plain words, printed from `Sources/AttuneStudies/Reports/Glossary.swift`
    (`ATTUNE_WRITE_DOCUMENTATION=1 make test` prints them anew). A report explains those that it uses. What the
    names in `metrics.jsonl` mean is in [Metrics](Metrics.md).

    | term | meaning |
    | --- | --- |
    \(terms.map { "| \($0.name) | \($0.meaning) |" }.joined(separator: "\n"))

    """
  }
}
