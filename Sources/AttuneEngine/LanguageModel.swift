// SPDX-License-Identifier: Apache-2.0

/// A language model as everything outside the engine knows it: scores, gradients, optimiser steps
/// and samples of token ids.
///
/// What every engine guarantees:
/// - A model has one owner on one thread. Several models of one engine belong to the same owner, and
///   none of their passes overlap.
/// - A model that is loaded or random is frozen. Models to train are copies of it, which share
///   whatever stays frozen: a policy, its reference and its reward model cost only what differs.
///   Until it is trained a copy computes the very numbers of its original, to the last bit.
/// - A score depends on the tokens before it alone: not on what else is in the batch, nor on
///   whether a prefix is shared or written out, but for rounding.
/// - The same calls on equal models give the same bits, where `engine`'s record says the same.
/// - A request that does not fit the model is an `EngineError` and changes nothing.
/// - In a task that was cancelled, no pass and no token is begun any more: `CancellationError`.
///
/// Nothing else is promised: memory may be anywhere, a pass may run on one device or many.
public protocol LanguageModel: AnyObject {
  /// What computes it.
  var engine: any Engine { get }
  /// The architecture.
  var spec: TransformerSpec { get }
  /// Which numbers are trained.
  var trainable: Trainable { get }
  /// How many numbers the model has, adapters and scalar head not counted.
  var parameterCount: Int { get }
  /// How many numbers are trained.
  var trainedCount: Int { get }
  /// Layers below this one are those of the model that this one was copied from.
  var sharedLayers: Int { get }
  /// Computes layers again in the backward pass instead of keeping what they computed: slower, in a
  /// small part of the memory. Changes no number.
  var recomputesActivations: Bool { get set }

  /// The tokens that the chat template puts before what is asked. A text without a parent is read in two parts,
  /// before and behind the last of them, and the first part once for all texts of a pass that begin with
  /// it; empty: texts are read whole. All models that were made from one have them; to be set before
  /// their first pass.
  var turnOpening: [Int32] { get set }

  /// Whether each of the processes that make one run keeps AdamW's moments of its share of the trained
  /// numbers, and tells the others what its steps make of them; to be set before the first step.
  var shardsMoments: Bool { get set }
  /// How much of the mean of the trained numbers over earlier steps a step keeps: 0 is no mean; from 0 to below
  /// 1, to be set before the first step. After step t the mean is Σ dᵗ⁻ⁱ·θᵢ / Σ dᵗ⁻ⁱ over the steps
  /// i = 1 … t: an exponential moving average (EMA) without its pull to the start.
  var averageDecay: Double { get set }
  /// The scalar head's weights, one a column of the width; nil without a scalar head.
  var scalarHeadWeights: [Float]? { get }
  /// Optimiser steps taken.
  var optimizerSteps: Int { get }

  /// The memory that a run takes at its largest which starts from this model, with its weights as they are
  /// kept here.
  ///
  /// - Parameter work: What the run asks for.
  /// - Returns: The bytes of each part.
  /// - Throws: `EngineError` if what is to be trained does not fit the model.
  func memory(for work: ModelWork) throws -> MemoryEstimate

  // MARK: Copies

  /// A model to train that shares what stays frozen with this one.
  ///
  /// - Parameters:
  ///   - trainable: Which numbers are trained; with `.frozen` only the scalar head is.
  ///   - scalarHead: How a scalar head starts; nil: none, unless this model has one, which is then
  ///     copied.
  /// - Returns: The copy; KL between the two is exactly 0 until it is trained. Training it changes
  ///   neither this model nor any other copy.
  /// - Throws: `EngineError` if this model is itself being trained, or a setting does not fit.
  func copy(training trainable: Trainable, scalarHead: ScalarHeadStart?) throws -> Self

  /// A frozen model of the same architecture with other weights.
  ///
  /// - Parameter weight: A weight by canonical name, asked for one after another so that they need not
  ///   all be there at once; `score.weight` too, nil if there is none.
  /// - Returns: A model in float32 that shares nothing with this one.
  /// - Throws: `EngineError` that names a weight that is missing or of another shape.
  func frozenCopy(of weight: (_ name: String) throws -> NamedTensor?) throws -> Self

  // MARK: Scores and gradients

  /// Head scores of a batch.
  ///
  /// - Parameters:
  ///   - segments: The batch: tokens, what each continues, which positions are scored.
  ///   - request: Temperature, and what is wanted beside log-probabilities.
  ///   - trunk: Hidden states of the same segments below a layer that this model shares.
  /// - Returns: A list a segment.
  /// - Throws: `EngineError` if a segment does not fit, or a score is not finite.
  func score(
    _ segments: [Segment], _ request: HeadRequest, trunk: (any Trunk)?
  ) throws -> HeadScores

  /// Head scores of a batch, with what their gradients need kept.
  ///
  /// - Parameters:
  ///   - segments: The batch, as in `score`.
  ///   - request: As in `score`.
  ///   - trunk: As in `score`.
  /// - Returns: The very scores that `score` gives, and the way back from them.
  /// - Throws: `EngineError` if a segment does not fit, or a score is not finite.
  func pass(
    _ segments: [Segment], _ request: HeadRequest, trunk: (any Trunk)?
  ) throws -> Pass

  /// Scores and, in the same pass over the vocabulary, the gradient of −Σ weight·logProbability:
  /// supervised learning, whose gradient on each score is known beforehand.
  ///
  /// - Parameters:
  ///   - segments: The batch.
  ///   - weights: A weight for each scored token, a list a segment.
  ///   - trunk: Hidden states of the same segments below a layer that this model shares.
  /// - Returns: The log-probabilities; gradients of parameters are accumulated.
  /// - Throws: `EngineError` if a segment does not fit, or a score is not finite.
  func supervise(_ segments: [Segment], weights: [[Double]], trunk: (any Trunk)?) throws
    -> HeadScores

  /// How far the next-token distributions are from a teacher's, over the whole vocabulary, at each scored
  /// position, in nats; and the gradient of their weighted sum, which is known beforehand.
  ///
  /// - Parameters:
  ///   - segments: The batch.
  ///   - teacher: The teacher's side of it, and the divergence.
  ///   - weights: A weight for each scored position, a list a segment; nil: there is no gradient.
  ///   - trunk: Hidden states of the same segments below a layer that this model shares.
  /// - Returns: The divergences, a list a segment; gradients of parameters are accumulated.
  /// - Throws: `EngineError` if a segment does not fit, or the sides have another number of positions.
  func divergence(
    _ segments: [Segment], from teacher: TeacherRequest, weights: [[Double]]?, trunk: (any Trunk)?
  ) throws -> [[Double]]

  // MARK: Trunks

  /// Hidden states below a layer for a list of segments, to be used by every model that shares the
  /// layers below it.
  ///
  /// - Parameters:
  ///   - segments: The batch.
  ///   - layers: How many layers to run; at most `sharedLayers`.
  /// - Returns: The hidden states; nil where the engine keeps none, and every pass runs all layers.
  /// - Throws: `EngineError` if a segment does not fit the model.
  func trunk(_ segments: [Segment], layers: Int) throws -> (any Trunk)?

  /// Whether a trunk was computed by layers that this model has too.
  ///
  /// - Parameter trunk: Hidden states of some segments.
  /// - Returns: True if passes of this model can start from it.
  func accepts(_ trunk: any Trunk) -> Bool

  // MARK: Training

  /// Sets accumulated gradients to zero.
  func zeroGradients()

  /// Leaves room for the gradients of passes that other ranks of a run make: where a model sums the
  /// gradients of passes by a tree, theirs have places in it.
  ///
  /// - Parameter passes: How many.
  /// - Throws: `EngineError` if the memory can't be had.
  func skipGradients(_ passes: Int) throws

  /// The Euclidean norm of all gradients.
  ///
  /// - Returns: The norm; not finite if a gradient is not.
  func gradientNorm() -> Double

  /// One optimiser step with the gradients accumulated, by all ranks of a run, which are left as they are.
  ///
  /// - Parameters:
  ///   - optimizer: AdamW's constants.
  ///   - learningRate: The learning rate of this step.
  ///   - maximumNorm: Gradients are scaled down to this norm; nil: never.
  /// - Returns: The gradients' norm before scaling.
  /// - Throws: `EngineError` if a gradient is not finite, or the moments are another optimiser's; nothing
  ///   is changed then.
  @discardableResult
  func step(_ optimizer: AdamW, learningRate: Double, maximumNorm: Double?) throws -> Double

  /// Puts the mean over steps into the place of the trained numbers, and these into its place: once more
  /// undoes it. Changes nothing where no mean is kept. No step may be made in between.
  func exchangeAverage()

  // MARK: Numbers

  /// The trained numbers by name: adapters (`….lora_A.weight`, `….lora_B.weight`), weights by
  /// canonical name, and `score.weight`.
  ///
  /// - Returns: Copies, in a fixed order.
  func trainedParameters() -> [NamedTensor]

  /// The gradients of the trained numbers, named as `trainedParameters`.
  ///
  /// - Returns: Copies, in the same order.
  func trainedGradients() -> [NamedTensor]

  /// Sets trained numbers: a saved adapter, a checkpoint.
  ///
  /// - Parameter parameters: Tensors named and shaped as those of `trainedParameters`, all of them.
  /// - Throws: `EngineError` that names a tensor that is missing, unknown or of another shape.
  func setTrainedParameters(_ parameters: [NamedTensor]) throws

  /// Names, shapes and types of the training state: trained numbers, then AdamW's moments (`moment1.…`,
  /// `moment2.…`, in 8 bits also their `scale1.…` and `scale2.…`) and the mean over steps, where there is one
  /// (`average.…`), once a step was made.
  var trainingTensors: [(name: String, shape: [Int], type: Safetensors.ElementType)] { get }

  /// Hands out everything that a checkpoint needs beside `optimizerSteps` for a run to go on bit for
  /// bit: copies of `trainingTensors`, in their order and one at a time, since three times the
  /// trained numbers are too many to hold twice.
  ///
  /// - Parameter body: Is given each tensor; what it throws ends the walk.
  /// - Throws: Also `Collective.Failure`, where moments are dealt out and messages can't be passed.
  func withTrainingState(_ body: (NamedTensor) throws -> Void) throws

  /// Goes back to a saved state: from there on the model computes what the one that gave it would.
  ///
  /// - Parameters:
  ///   - names: Those of the tensors that `withTrainingState` gave.
  ///   - step: The optimiser's step.
  ///   - read: Gives the tensor of a name; is asked for one after another, for all are more than can be
  ///     held beside the model.
  /// - Throws: `EngineError` that names a tensor that does not fit, what was read before it being set.
  func restoreTrainingState(
    _ names: [String], step: Int, read: (String) throws -> NamedTensor
  ) throws

  /// Gives back gradients, AdamW's moments and what `exchangeAverage` would bring once nothing is trained any more: the model scores, samples
  /// and is written as before, and what would train it throws.
  func endTraining()

  /// A weight by canonical name, adapters merged in, or `score.weight`.
  ///
  /// - Parameter name: Its canonical name.
  /// - Returns: Shape and numbers; nil if the model has no such weight.
  /// - Throws: `EngineError` if adapters can't be merged.
  func weight(_ name: String) throws -> NamedTensor?

  /// Gives back memory that only passes need: activations, scratch, a sampler's codes.
  func releaseMemory()

  // MARK: Samples

  /// Draws answers to prompts.
  ///
  /// What is drawn depends on the model, the prompt, the settings, the seed and the sample's stream
  /// alone: not on the batch, on other prompts or on where a run was resumed.
  ///
  /// - Parameters:
  ///   - prompts: Token ids, at least one each.
  ///   - settings: How to draw.
  ///   - streams: For each prompt the stream of random numbers of its first answer; later answers
  ///     count up from it. Unless given, answers are numbered through all prompts.
  ///   - onToken: Called after each token; false ends that answer there, an error ends the call.
  /// - Returns: For each prompt its answers.
  /// - Throws: `EngineError` if a setting or prompt does not fit the model, or logits are not finite.
  func sample(
    _ prompts: [[Int32]], _ settings: SamplingSettings, streams: [UInt64]?,
    onToken: ((SampleEvent) throws -> Bool)?
  ) throws -> [[Sample]]

  /// A decoder of requests that come one by one.
  ///
  /// - Parameter settings: How much it does at once.
  /// - Returns: The decoder, with memory for that.
  /// - Throws: `EngineError` if there is no room for it, or the engine has none.
  func decoder(_ settings: DecoderSettings) throws -> any ContinuousDecoder
}

extension LanguageModel {
  /// Nothing: one process makes all passes.
  public func skipGradients(_ passes: Int) throws {}

  /// As the engine keeps weights of any file.
  public func memory(for work: ModelWork) throws -> MemoryEstimate {
    try engine.memory(for: work, of: spec)
  }

  /// Whether it has a scalar head (a reward or a value).
  public var hasScalarHead: Bool { scalarHeadWeights != nil }

  /// The exact KL divergence KL(this ‖ other) of the next-token distributions, in nats, at each
  /// scored position.
  ///
  /// - Parameters:
  ///   - segments: The batch.
  ///   - other: A model of the same engine over the same vocabulary.
  ///   - temperature: Of both distributions.
  ///   - trunk: Hidden states below a layer that both share.
  /// - Returns: A list a segment.
  /// - Throws: `EngineError` if a segment does not fit.
  public func klDivergence(
    _ segments: [Segment], to other: any LanguageModel, temperature: Double, trunk: (any Trunk)?
  ) throws -> [[Double]] {
    var teacher = TeacherRequest(other, segments, mix: 1, temperature: temperature)
    teacher.trunk = trunk
    return try divergence(segments, from: teacher, weights: nil, trunk: trunk)
  }

  /// A model to train, with a scalar head only if this one has one.
  public func copy(training trainable: Trainable) throws -> Self {
    try copy(training: trainable, scalarHead: nil)
  }

  /// Head scores of a batch without a trunk.
  public func score(
    _ segments: [Segment], _ request: HeadRequest = HeadRequest()
  ) throws -> HeadScores {
    try score(segments, request, trunk: nil)
  }

  /// Log-probabilities and scalars of a batch.
  public func score(_ segments: [Segment], trunk: (any Trunk)?) throws -> HeadScores {
    try score(segments, HeadRequest(), trunk: trunk)
  }

  /// A pass without a trunk.
  public func pass(_ segments: [Segment], _ request: HeadRequest = HeadRequest()) throws -> Pass {
    try pass(segments, request, trunk: nil)
  }

  /// A pass for log-probabilities and scalars.
  public func pass(_ segments: [Segment], trunk: (any Trunk)?) throws -> Pass {
    try pass(segments, HeadRequest(), trunk: trunk)
  }

  /// Supervised learning without a trunk.
  public func supervise(_ segments: [Segment], weights: [[Double]]) throws -> HeadScores {
    try supervise(segments, weights: weights, trunk: nil)
  }

  /// One optimiser step, gradients never scaled.
  @discardableResult
  public func step(_ optimizer: AdamW, learningRate: Double) throws -> Double {
    try step(optimizer, learningRate: learningRate, maximumNorm: nil)
  }

  /// Goes back to a saved state that is in memory.
  public func restoreTrainingState(_ tensors: [NamedTensor], step: Int) throws {
    let named = Dictionary(tensors.map { ($0.name, $0) }) { $1 }
    try restoreTrainingState(tensors.map(\.name), step: step) { name in
      guard let tensor = named[name] else {
        throw EngineError(.badModel, "tensor \(name) is missing")
      }
      return tensor
    }
  }

  /// Draws answers to prompts, numbered through all of them.
  public func sample(
    _ prompts: [[Int32]], _ settings: SamplingSettings,
    onToken: ((SampleEvent) throws -> Bool)? = nil
  ) throws -> [[Sample]] {
    try sample(prompts, settings, streams: nil, onToken: onToken)
  }
}
