// SPDX-License-Identifier: Apache-2.0

/// What a decoder-only transformer is made of: everything that forward and backward interpret.
///
/// Shapes are written `[rows, columns]`, row-major; a linear layer's weight is `[output, input]`.
public struct TransformerSpec: Sendable, Equatable {
  /// How hidden states are normalised.
  public enum Norm: Sendable {
    /// Root mean square, with a weight (Zhang and Sennrich 2019).
    case rms
    /// Mean and variance, with a weight and a bias (Ba et al. 2016).
    case layer

    var hasBias: Bool {
      switch self {
      case .rms: false
      case .layer: true
      }
    }
  }

  /// Where a layer's norms of the hidden states stand.
  public enum NormPlacement: Sendable {
    /// Before attention and before the feed-forward layer.
    case before
    /// After each, before its sum with the stream (OLMo 2).
    case after
    /// Before and after each (Gemma 2).
    case around

    /// Whether what a block reads is normalised.
    package var isBefore: Bool { self != .after }
    /// Whether what a block gives is normalised.
    package var isAfter: Bool { self != .before }
  }

  /// Whether queries and keys are normalised, by root mean squares, before their rotation unless said.
  public enum QueryKeyNorm: Sendable {
    /// They are not.
    case none
    /// Each head by itself (Qwen 3).
    case head
    /// All heads together (OLMo 2).
    case all
    /// Each head by itself, after its rotation (Hunyuan).
    case headAfterRotation
  }

  /// What of attention differs between the layers of a model.
  public struct LayerAttention: Sendable, Equatable {
    /// How many positions a token sees, its own among them; nil: all before it.
    public var window: Int?
    /// How queries and keys are rotated; nil: not at all.
    public var positions: Positions?

    /// Makes a layer's attention.
    ///
    /// - Parameters:
    ///   - window: How many positions a token sees; nil: all before it.
    ///   - positions: How queries and keys are rotated; nil: not at all.
    public init(window: Int? = nil, positions: Positions?) {
      self.window = window
      self.positions = positions
    }
  }

  /// The feed-forward layer.
  public enum MLP: Sendable {
    /// `down(silu(gate(x)) · up(x))` (Shazeer 2020).
    case swiglu
    /// `down(gelu(gate(x)) · up(x))`, gelu in its tanh form (Shazeer 2020).
    case geglu
    /// `down(gelu(up(x)))`, gelu in its tanh form (Hendrycks and Gimpel 2016).
    case gelu
    /// The same with gelu as it is defined, by the error function.
    case exactGELU
    /// `down(max(up(x), 0))`.
    case relu

    /// Whether a gate stands beside `up`.
    package var isGated: Bool {
      switch self {
      case .swiglu, .geglu: true
      case .gelu, .exactGELU, .relu: false
      }
    }
  }

  /// How rotary frequencies are changed for texts longer than the model was first trained on.
  public enum RotaryScaling: Sendable, Equatable {
    /// As trained.
    case none
    /// All frequencies divided by `factor` (Chen et al. 2023).
    case linear(factor: Double)
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between them.
    case llama3(
      factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double,
      originalMaximumPositions: Int)
    /// As trained up to the longest text of the configuration, and changed for longer texts, which
    /// are not read.
    case dynamic(factor: Double)
    /// YaRN (Peng et al. 2023): a ramp over dimensions that turn between `betaSlow` and `betaFast`
    /// times in the original context, its ends rounded to whole dimensions where `truncates`, and
    /// cosines and sines multiplied by `attentionFactor`.
    case yarn(
      factor: Double, attentionFactor: Double, betaFast: Double, betaSlow: Double,
      originalMaximumPositions: Int, truncates: Bool = true)
    /// LongRoPE (Ding et al. 2024): each frequency divided by a factor of its own, and cosines and sines
    /// multiplied by `attentionFactor`. The factors for texts longer than the original context are not
    /// used: such texts are not read.
    case longRope(
      factors: [Double], longer: [Double], attentionFactor: Double, originalMaximumPositions: Int)
  }

  /// How a token's place in the text reaches the model.
  public enum Positions: Sendable, Equatable {
    /// Queries and keys are rotated, dimension i together with dimension i + headWidth / 2.
    case rotary(theta: Double, scaling: RotaryScaling)
    /// A learned vector a position is added to the token's.
    case learned
  }

  /// The family, which decides the names in files.
  public var architecture: Architecture
  /// Number of token ids, V.
  public var vocabularySize: Int
  /// Width of the hidden states, D.
  public var width: Int
  /// Number of layers.
  public var layers: Int
  /// Number of query heads.
  public var heads: Int
  /// Number of key and value heads; divides `heads`.
  public var keyValueHeads: Int
  /// Width of a head; `heads · headWidth` need not be `width`.
  public var headWidth: Int
  /// Width inside the feed-forward layer.
  public var mlpWidth: Int
  /// Longest text, in tokens.
  public var maximumPositions: Int
  /// How hidden states are normalised.
  public var norm: Norm
  /// What is added to the variance before its root.
  public var normEpsilon: Double
  /// How positions reach the model.
  public var positions: Positions
  /// The feed-forward layer.
  public var mlp: MLP
  /// Whether q_proj, k_proj and v_proj have biases.
  public var queryKeyValueBias: Bool
  /// Whether o_proj has a bias.
  public var attentionOutputBias: Bool
  /// Whether the feed-forward layer's projections have biases.
  public var mlpBias: Bool
  /// Whether queries and keys are normalised.
  public var queryKeyNorm: QueryKeyNorm
  /// Whether the head's weight is the embedding.
  public var tiedHead: Bool
  /// The id that texts begin with, if the model has one.
  public var beginOfSequence: Int32?
  /// The ids that end an answer, the first of them the model's own end of sequence.
  public var endOfSequence: [Int32]
  /// Where a layer's norms stand.
  public var normPlacement = NormPlacement.before
  /// What is added to the weights of all norms: 1 in Gemma.
  public var normOffset = 0.0
  /// Whether both blocks of a layer read its input, so that their sum is added to it (GPT-NeoX).
  public var isParallel = false
  /// How many dimensions of a head are rotated, the first; all unless said.
  public var rotaryWidth: Int?
  /// Attention layer by layer, where not all of them see everything with `positions`; else empty.
  public var layerAttention: [LayerAttention] = []
  /// What the tokens' embeddings are multiplied by.
  public var embeddingScale = 1.0
  /// What attention's scores are multiplied by; `headWidth^-½` unless said.
  public var attentionScale: Double?
  /// What a block's output is multiplied by before it is added to the stream.
  public var residualScale = 1.0
  /// What logits are divided by.
  public var logitsDivisor = 1.0
  /// Attention's scores s become cap·tanh(s/cap), if there is a cap (Gemma 2).
  public var attentionCap: Double?
  /// The same of logits.
  public var logitsCap: Double?

  /// Makes a spec; what is not said is as in Llama.
  ///
  /// - Parameters:
  ///   - architecture: The family.
  ///   - vocabularySize: Number of token ids.
  ///   - width: Width of the hidden states.
  ///   - layers: Number of layers.
  ///   - heads: Number of query heads.
  ///   - keyValueHeads: Number of key and value heads, `heads` unless said.
  ///   - headWidth: Width of a head, `width / heads` unless said.
  ///   - mlpWidth: Width inside the feed-forward layer.
  ///   - maximumPositions: Longest text, in tokens.
  ///   - norm: How hidden states are normalised.
  ///   - normEpsilon: What is added to the variance.
  ///   - positions: How positions reach the model.
  ///   - mlp: The feed-forward layer.
  ///   - queryKeyValueBias: Whether q_proj, k_proj and v_proj have biases.
  ///   - attentionOutputBias: Whether o_proj has a bias.
  ///   - mlpBias: Whether the feed-forward layer has biases.
  ///   - queryKeyNorm: Whether queries and keys are normalised.
  ///   - tiedHead: Whether the head's weight is the embedding.
  ///   - beginOfSequence: The id that texts begin with.
  ///   - endOfSequence: The ids that end an answer.
  public init(
    architecture: Architecture, vocabularySize: Int, width: Int, layers: Int, heads: Int,
    keyValueHeads: Int? = nil, headWidth: Int? = nil, mlpWidth: Int, maximumPositions: Int,
    norm: Norm = .rms, normEpsilon: Double = 1e-5,
    positions: Positions = .rotary(theta: 10_000, scaling: .none), mlp: MLP = .swiglu,
    queryKeyValueBias: Bool = false, attentionOutputBias: Bool = false, mlpBias: Bool = false,
    queryKeyNorm: QueryKeyNorm = .none, tiedHead: Bool = false, beginOfSequence: Int32? = nil,
    endOfSequence: [Int32] = []
  ) {
    self.architecture = architecture
    self.vocabularySize = vocabularySize
    self.width = width
    self.layers = layers
    self.heads = heads
    self.keyValueHeads = keyValueHeads ?? heads
    self.headWidth = headWidth ?? (heads > 0 ? width / heads : 0)
    self.mlpWidth = mlpWidth
    self.maximumPositions = maximumPositions
    self.norm = norm
    self.normEpsilon = normEpsilon
    self.positions = positions
    self.mlp = mlp
    self.queryKeyValueBias = queryKeyValueBias
    self.attentionOutputBias = attentionOutputBias
    self.mlpBias = mlpBias
    self.queryKeyNorm = queryKeyNorm
    self.tiedHead = tiedHead
    self.beginOfSequence = beginOfSequence
    self.endOfSequence = endOfSequence
  }
}

extension TransformerSpec {
  /// The attention of a layer.
  package func attention(ofLayer layer: Int) -> LayerAttention {
    layerAttention.isEmpty ? LayerAttention(positions: positions) : layerAttention[layer]
  }

  /// The layers of a model that has so many, or of none that is in its senses: a count is checked only when
  /// the whole spec is.
  static func layers(_ count: Int) -> Range<Int> { 0..<max(0, min(count, 4096)) }

  /// Gives every layer for which it holds a window, whatever its rotation.
  mutating func setWindow(_ window: Int, where isWindowed: (_ layer: Int) -> Bool) {
    var layers = TransformerSpec.layers(layers).map { attention(ofLayer: $0) }
    for layer in layers.indices where isWindowed(layer) { layers[layer].window = window }
    layerAttention = layers
  }
}
