// SPDX-License-Identifier: Apache-2.0

public import AttuneRewards
public import AttuneTraining

/// What `attune evaluate` found: the object of `evaluate --json`.
public struct EvaluationReport: Codable, Sendable, Equatable {
  /// A mean over samples with its spread and its confidence interval over prompts.
  public struct Summary: Codable, Sendable, Equatable {
    /// The mean over all samples.
    public var mean: Double
    /// The standard deviation over all samples.
    public var sd: Double
    /// The confidence interval of the mean, prompts drawn anew.
    public var interval: Interval
  }

  /// One model's answers.
  public struct Model: Codable, Sendable, Equatable {
    /// Which model.
    public var model: String
    /// `policy`, `start` or `reference`.
    public var role: String
    /// Each reward by the name of its source.
    public var rewards: [String: Summary]
    /// Mean over samples of log π(y|x) − log π_ref(y|x), in nats a sequence; nil without a
    /// reference.
    public var kl: Double?
    /// The confidence interval of the KL.
    public var klInterval: Interval?
    /// The same without the luck of the draw of each token: the exact KL of the next token's
    /// distributions, summed over the positions of the samples; nil unless asked for.
    public var exactKL: Double?
    /// The confidence interval of the exact KL.
    public var exactKLInterval: Interval?
    /// Mean length in tokens, end of sequence included.
    public var length: Double
    /// The confidence interval of the length.
    public var lengthInterval: Interval
    /// Share of answers that ended by themselves.
    public var completed: Double
    /// The confidence interval of that share.
    public var completedInterval: Interval
    /// Different words over words, all answers together.
    public var distinct1: Double
    /// Different word pairs over word pairs.
    public var distinct2: Double
    /// Different word triples over word triples.
    public var distinct3: Double
    /// Share of answers' word 4-grams that occur before in the same answer.
    public var repetition: Double
    /// Its confidence interval.
    public var repetitionInterval: Interval?
    /// exp of the mean negative log-probability a token under the reference; nil without one.
    public var perplexity: Double?
    /// Its confidence interval.
    public var perplexityInterval: Interval?
    /// Share of the prompt's content words that an answer takes up, mean over samples.
    public var promptWords: Double
    /// The confidence interval of that share.
    public var promptWordsInterval: Interval
    /// Share of answers without any text.
    public var empty: Double
    /// Its confidence interval.
    public var emptyInterval: Interval?
    /// How far answers to the same prompt differ.
    public var diversity: Diversity
    /// How many answers are right; nil where no source checks them.
    public var right: Right?

    private enum CodingKeys: String, CodingKey {
      case model, role, rewards, kl, length, completed, repetition, perplexity, empty
      case diversity, right
      case klInterval = "kl_interval"
      case exactKL = "exact_kl"
      case exactKLInterval = "exact_kl_interval"
      case repetitionInterval = "repetition_interval"
      case perplexityInterval = "perplexity_interval"
      case emptyInterval = "empty_interval"
      case lengthInterval = "length_interval"
      case completedInterval = "completed_interval"
      case distinct1 = "distinct_1"
      case distinct2 = "distinct_2"
      case distinct3 = "distinct_3"
      case promptWords = "prompt_words"
      case promptWordsInterval = "prompt_words_interval"
    }
  }

  /// How often the policy's answer beats the start's.
  public struct WinRate: Codable, Sendable, Equatable {
    /// The share of pairs won, a tie half a win; every answer of a prompt against every other.
    public var value: Double
    /// Its confidence interval over prompts.
    public var interval: Interval
    /// Share of pairs with equal rewards.
    public var ties: Double
    /// The reward that decided, or the judge.
    public var reward: String
    /// What is known beside, where a judge decided; then `value` is its mean probability, and the
    /// i-th answers to a prompt are compared.
    public var judged: Judged?
  }

  /// A win rate by an AI judge: what its value alone does not say.
  public struct Judged: Codable, Sendable, Equatable {
    /// The win rate if both models' answers were equally long (Dubois et al. 2024).
    public var lengthControlled: Double
    /// Its confidence interval over prompts.
    public var lengthControlledInterval: Interval
    /// Pairs that count, two equal answers among them.
    public var pairs: Int
    /// Pairs without a valid answer of the judge, which do not count.
    public var unanswered: Int
    /// Mean probability that the letters have together, where log-probabilities are known.
    public var letterMass: Double?
    /// What the judge leans towards.
    public var bias: JudgeBias

    private enum CodingKeys: String, CodingKey {
      case pairs, unanswered, bias
      case lengthControlled = "length_controlled"
      case lengthControlledInterval = "length_controlled_interval"
      case letterMass = "letter_mass"
    }
  }

  /// The version of this format.
  public var formatVersion = 1
  /// The models: the start first, if there is one.
  public var models: [Model]
  /// Against the start, by the first source that is not a reward model, else by the first; nil
  /// without a start.
  public var winRate: WinRate?
  /// The win rate by every source.
  public var winRates: [WinRate]
  /// What the policy says of the pairs of the data, where it holds preferences and there is a reference.
  public var preferences: Preferences?
  /// What judges among the rewards took, by the source's name; nil without any.
  public var judges: [String: RewardCost]?
  /// Prompts that were answered.
  public var prompts: Int
  /// Answers to each prompt.
  public var samplesPerPrompt: Int
  /// The confidence of every interval.
  public var confidence: Double
  /// What the KL is against; nil without.
  public var reference: String?
  /// Seconds that it took.
  public var seconds: Double

  private enum CodingKeys: String, CodingKey {
    case formatVersion = "format_version"
    case models, prompts, preferences, judges, confidence, reference, seconds
    case winRate = "win_rate"
    case winRates = "win_rates"
    case samplesPerPrompt = "samples_per_prompt"
  }
}
