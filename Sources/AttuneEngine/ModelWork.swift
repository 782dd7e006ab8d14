// SPDX-License-Identifier: Apache-2.0

/// What a run asks of a model and of those made from it, in counts alone: an engine says from them how
/// much memory the run takes, before any weight is there.
public struct ModelWork: Sendable, Equatable {
  /// Which numbers are trained.
  public var trainable: Trainable
  /// What trains them.
  public var optimizer = OptimizerName.adamw
  /// Whether the processes of a run keep its moments in shares.
  public var shardsMoments = false
  /// Whether the mean of the trained numbers over steps is kept.
  public var averages = false
  /// Whether the model that is trained has a scalar head.
  public var scalarHead = false
  /// Whether the weights that training starts from are still read once it has begun: by a reference.
  public var keepsStart = false
  /// Models that are trained at once, each with numbers, gradients and moments of its own.
  public var trainedModels = 1
  /// Further copies with numbers of their own that are not trained: a proposal.
  public var heldCopies = 0
  /// How frozen matrices are kept; nil: as the engine, or the model, keeps them.
  public var basePrecision: BasePrecision?
  /// Whether adapters are merged where the model is written.
  public var merges = false
  /// The passes; memory is as large as the largest of them asks.
  public var passes: Set<PassShape> = []
  /// Passes whose gradients make a step.
  public var passesPerStep = 1
  /// Whether activations are computed again in the backward pass.
  public var recomputes = false
  /// Tokens whose hidden states below the trained layers are kept, where some layers are frozen.
  public var trunkTokens = 0
  /// The answers that are drawn side by side, between the steps.
  public var sampling: SamplingShape?
  /// Those that are drawn before the first step and after the last alone.
  public var asking: SamplingShape?

  /// Work of a model of which some numbers are trained.
  ///
  /// - Parameter trainable: Which numbers.
  public init(_ trainable: Trainable) { self.trainable = trainable }
}

/// A pass in counts.
public struct PassShape: Sendable, Hashable {
  /// What it is for.
  public enum Kind: Sendable {
    /// Scores alone (`score`).
    case scores
    /// Scores and their gradients (`pass`).
    case gradients
    /// Scores and gradients that are known beforehand (`supervise`).
    case supervised
    /// Divergences from a teacher and their gradients (`divergence`).
    case distilled
  }

  /// What it is for.
  public var kind: Kind
  /// Tokens.
  public var rows: Int
  /// Scored tokens.
  public var scored: Int
  /// Tokens at which the scalar head is read.
  public var scalars: Int
  /// Whether entropies are asked for.
  public var entropies: Bool
  /// Whether it begins at hidden states that are kept.
  public var fromTrunk: Bool
  /// The teacher's width, whose states are kept beside.
  public var teacherWidth = 0

  /// Makes a shape.
  public init(
    _ kind: Kind, rows: Int, scored: Int, scalars: Int = 0, entropies: Bool = false,
    fromTrunk: Bool = false
  ) {
    self.kind = kind
    self.rows = rows
    self.scored = scored
    self.scalars = scalars
    self.entropies = entropies
    self.fromTrunk = fromTrunk
  }
}

/// A call of `sample` in counts.
public struct SamplingShape: Sendable, Equatable {
  /// Prompts of the call.
  public var prompts: Int
  /// Answers to each.
  public var samplesPerPrompt: Int
  /// Tokens of the longest prompt.
  public var promptTokens: Int
  /// Longest answer in tokens.
  public var maxTokens: Int
  /// Which numbers they are drawn with.
  public var sampler: Sampler

  /// Makes a shape.
  public init(
    prompts: Int, samplesPerPrompt: Int, promptTokens: Int, maxTokens: Int, sampler: Sampler = .same
  ) {
    self.sampler = sampler
    self.prompts = prompts
    self.samplesPerPrompt = samplesPerPrompt
    self.promptTokens = promptTokens
    self.maxTokens = maxTokens
  }
}

/// The memory that a run takes at its largest, part by part, in bytes.
public struct MemoryEstimate: Sendable, Equatable {
  /// What memory is for.
  public enum Part: String, Codable, CaseIterable, Sendable {
    /// Frozen weights that all models of the run share.
    case base
    /// The trained numbers.
    case weights
    /// What the start has in the place of the trained numbers, for a reference; copies of them.
    case reference
    /// Their gradients.
    case gradients
    /// AdamW's moments.
    case moments
    /// The mean of the trained numbers over steps.
    case average
    /// What the largest pass works in and keeps for its way back.
    case activations
    /// The logits of a pass, and what the head works in.
    case logits
    /// Hidden states of the frozen layers that are kept.
    case trunk
    /// Keys and values of the answers that are drawn, and what decoding works in.
    case cache
    /// What the sampler has made of the weights: rounded, or in another order.
    case sampler
    /// At the end the written model, read again, and the answers to a few prompts, beyond what passes and
    /// training have given back by then.
    case check
    /// What the kernels work in.
    case scratch

    /// What it is, for people.
    public var meaning: String {
      switch self {
      case .base: "frozen weights"
      case .weights: "trained weights"
      case .reference: "the start's weights beside them"
      case .gradients: "gradients"
      case .moments: "AdamW's moments"
      case .average: "the trained weights' mean over steps"
      case .activations: "activations of the largest pass"
      case .logits: "logits of the largest pass"
      case .trunk: "results of frozen layers"
      case .cache: "keys and values while sampling"
      case .sampler: "weights as the sampler reads them"
      case .check: "the written model, read and asked again"
      case .scratch: "scratch of the kernels"
      }
    }
  }

  private var bytes: [Part: Int] = [:]

  /// Nothing.
  public init() {}

  /// The bytes of a part.
  public subscript(part: Part) -> Int {
    get { bytes[part] ?? 0 }
    set { bytes[part] = newValue }
  }

  /// The bytes of all parts, which are there at once.
  public var total: Int { bytes.values.reduce(0, +) }
}
