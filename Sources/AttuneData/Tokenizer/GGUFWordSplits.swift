// SPDX-License-Identifier: Apache-2.0

/// How words are split behind a name of `tokenizer.ggml.pre`, by the patterns that the models' own
/// `tokenizer.json` have.
struct GGUFWordSplits: Sendable {
  /// Patterns, each on the parts that those before it left; empty for GPT-2's own.
  var patterns: [String] = []
  /// Whether digits are split off one by one first.
  var splitsDigits = false
  /// Whether texts are composed (NFC) before.
  var composes = false
  /// Whether a word that is a token stays one.
  var ignoresMerges = false
  /// Whether texts begin with a token where the file does not say.
  var begins = false

  /// The names that are read, for errors.
  static let names = all.flatMap(\.names).sorted()

  /// A name of each way of splitting, those that treat whole words in the same way first.
  static func candidates(ignoringMerges: Bool) -> [String] {
    let (alike, others) = (
      all.filter { $0.splits.ignoresMerges == ignoringMerges },
      all.filter { $0.splits.ignoresMerges != ignoringMerges }
    )
    return (alike + others).compactMap(\.names.first)
  }

  /// What stands behind a name; nil if it is not known.
  init?(_ name: String) {
    guard let found = Self.all.first(where: { $0.names.contains(name) })?.splits else { return nil }
    self = found
  }

  private init(
    _ patterns: [String] = [], splitsDigits: Bool = false, composes: Bool = false,
    ignoresMerges: Bool = false, begins: Bool = false
  ) {
    self.patterns = patterns
    self.splitsDigits = splitsDigits
    self.composes = composes
    self.ignoresMerges = ignoresMerges
    self.begins = begins
  }

  private static let all: [(names: [String], splits: GGUFWordSplits)] = [
    (["gpt-2", "gpt2", "phi-2", "olmo", "exaone4", "granite-docling", "mellum"], .init()),
    (
      ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"],
      .init(splitsDigits: true)
    ),
    (
      ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"],
      .init([words(digits: "{1,3}")], ignoresMerges: true, begins: true)
    ),
    (["dbrx", "smaug-bpe", "glm4"], .init([words(digits: "{1,3}")])),
    (["qwen2", "deepseek-r1-qwen", "megrez"], .init([words(digits: "")], composes: true)),
    (["stablelm2", "hunyuan", "solar-open"], .init([words(digits: "")])),
    (
      ["minicpm5"], .init([#"\p{N}{1,3}"#, words(digits: "+")], ignoresMerges: true)
    ),
    (
      ["qwen35"],
      .init(
        [
          #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"#
            + #"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        ], composes: true)
    ),
    (
      ["tekken"], .init([capitals(digits: "", ending: "")], ignoresMerges: true, begins: true)
    ),
    (
      ["gpt-4o", "llama4", "kanana2"],
      .init([capitals(digits: "{1,3}", ending: "(?i:'s|'t|'re|'ve|'m|'ll|'d)?")])
    ),
    (
      ["deepseek-v3", "hunyuan-dense"],
      .init([
        #"\p{N}{1,3}"#, "[一-龥\u{3040}-ゟ゠-ヿ]+",
        ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##
          + #"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
      ])
    ),
  ]

  /// Llama 3's pattern (digits in threes from the left) and Qwen 2's (digits alone).
  private static func words(digits: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"# + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// GPT-4o's pattern and Mistral's: a word begins at a capital letter too.
  private static func capitals(digits: String, ending: String) -> String {
    let (upper, lower) = (#"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"#, #"\p{Ll}\p{Lm}\p{Lo}\p{M}"#)
    let start = #"[^\r\n\p{L}\p{N}]?"#
    return "\(start)[\(upper)]*[\(lower)]+\(ending)|\(start)[\(upper)]+[\(lower)]*\(ending)"
      + #"|\p{N}"# + digits + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }
}
