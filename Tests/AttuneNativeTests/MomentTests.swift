// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Testing

/// A model whose moments are kept in 8 bits.
///
/// Gradients have other last bits with another number of threads, which tests beside these would change: `make test` runs
/// these by themselves.
@Suite(.serialized)
struct MomentTests {
  /// Most tensors large enough to have codes, their last blocks short; norms and a scalar head too small.
  static let spec = TransformerSpec(
    architecture: .llama, vocabularySize: 97, width: 68, layers: 2, heads: 4, keyValueHeads: 2,
    headWidth: 18, mlpWidth: 100, maximumPositions: 64, tiedHead: true)

  let frozen: any LanguageModel

  init() throws { frozen = try NativeEngine(threads: 1).random(Self.spec, seed: 1) }

  /// Steps on a few texts; the loss before each.
  @discardableResult
  private static func steps(
    _ count: Int, _ model: any LanguageModel, _ optimizer: OptimizerName, rate: Double = 3e-3
  ) throws -> [Double] {
    var random = SplitMix(seed: 2)
    let segments = (0..<6).map { _ in
      Segment((0..<12).map { _ in Int32(random.next() % 97) }, scored: [1..<12])
    }
    let weights = segments.map { _ in [Double](repeating: 1.0 / 66, count: 11) }
    return try (0..<count).map { _ in
      model.zeroGradients()
      let scored = try model.accumulate([segments]) {
        try model.supervise($0, weights: weights).logProbabilities.joined().map { Double($0) }
      }
      try model.step(AdamW(optimizer, weightDecay: 0.01), learningRate: rate, maximumNorm: 1)
      return -scored.joined().reduce(0, +) / 66
    }
  }

  @Test(arguments: [Trainable.full, .lora(LoRASettings(rank: 64))])
  func `fifty steps with moments of 8 bits lose what those of float32 lose`(training: Trainable)
    throws
  {
    let exact = try Self.steps(50, try frozen.copy(training: training), .adamw)
    let coded = try Self.steps(50, try frozen.copy(training: training), .adamw8bit)
    // The first step's moments are those of float32.
    #expect(exact[0] == coded[0] && abs(exact[1] - coded[1]) < 1e-5)
    let worst = zip(exact, coded).map { abs($0 - $1) }.max() ?? 1
    print("\(training): loss \(exact[0]) to \(exact[49]), largest difference \(worst)")
    #expect(exact[49] < exact[0] - 1)
    #expect(worst > 0 && worst < 0.005, "\(exact[49]) and \(coded[49])")
  }

  @Test func `a state of codes goes on bit for bit, and has them as bytes`() throws {
    for training in [Trainable.full, .lora(LoRASettings(rank: 64))] {
      let (whole, part) = (
        try frozen.copy(training: training, scalarHead: .zero),
        try frozen.copy(training: training, scalarHead: .zero)
      )
      try Self.steps(6, whole, .adamw8bit)
      try Self.steps(3, part, .adamw8bit)
      var state: [NamedTensor] = []
      try part.withTrainingState { state.append($0) }
      #expect(part.trainingTensors.map(\.name) == state.map(\.name))
      #expect(part.trainingTensors.map(\.shape) == state.map(\.shape))
      for tensor in part.trainingTensors where tensor.name.hasPrefix("moment") {
        let count = tensor.shape.reduce(1, *)
        #expect(tensor.type == (count >= 4096 ? .uint8 : .float32), "\(tensor.name)")
      }
      #expect(Set(part.trainingTensors.map(\.type)) == [.float32, .uint8])
      let again = try frozen.copy(training: training, scalarHead: .zero)
      try again.restoreTrainingState(state, step: 3)
      try Self.steps(3, again, .adamw8bit)
      #expect(again.trainedParameters() == whole.trainedParameters())
      var (ends, ended): ([NamedTensor], [NamedTensor]) = ([], [])
      try whole.withTrainingState { ends.append($0) }
      try again.withTrainingState { ended.append($0) }
      #expect(ends == ended)
    }
  }

  /// Ranks that do the same and keep a share of the moments each: the numbers of one that keeps all, and a
  /// state that goes on with any number of them.
  @Test(
    arguments: [Trainable.full, .lora(LoRASettings(rank: 64))], [OptimizerName.adamw, .adamw8bit])
  func `moments in shares give the same steps and the same state`(
    training: Trainable, optimizer: OptimizerName
  ) throws {
    struct End: Sendable {
      var parameters: [NamedTensor] = []
      var state: [NamedTensor] = []
      var bytes = 0
    }
    /// Three steps of each of so many ranks, from a state.
    func ends(_ count: Int, from earlier: [NamedTensor]? = nil) throws -> [End] {
      try RankThreads.run(count) { ranks in
        Result {
          try Collective.$current.withValue(ranks) {
            let start = try NativeEngine(threads: 1).random(Self.spec, seed: 1)
            let model = try start.copy(training: training, scalarHead: .zero)
            model.shardsMoments = true
            if let earlier { try model.restoreTrainingState(earlier, step: 3) }
            try Self.steps(3, model, optimizer)
            var end = End(parameters: model.trainedParameters())
            try model.withTrainingState { end.state.append($0) }
            end.bytes = (model as? NativeModel)?.momentBytes ?? 0
            return end
          }
        }
      }.map { try $0.get() }
    }
    let (half, whole) = (try ends(1)[0], try ends(1, from: ends(1)[0].state)[0])
    for count in [2, 3] {
      let halves = try ends(count)
      for end in halves { #expect(end.parameters == half.parameters && end.state == half.state) }
      // Whole tensors are dealt out, of which some are large.
      let bytes = halves.map(\.bytes)
      #expect(bytes.allSatisfy { $0 > 0 && $0 < half.bytes * 3 / 4 }, "\(bytes) of \(half.bytes)")
      #expect(bytes.reduce(0, +) >= half.bytes * 9 / 10 && bytes.reduce(0, +) <= half.bytes)
      for end in try ends(5 - count, from: halves[0].state) {
        #expect(end.parameters == whole.parameters && end.state == whole.state)
      }
    }
  }

  @Test func `a step of another optimiser than the moments' is refused`() throws {
    for (one, other) in [(OptimizerName.adamw, OptimizerName.adamw8bit), (.adamw8bit, .adamw)] {
      let model = try frozen.copy(training: .full)
      try Self.steps(1, model, one)
      var state: [NamedTensor] = []
      try model.withTrainingState { state.append($0) }
      let resumed = try frozen.copy(training: .full)
      try resumed.restoreTrainingState(state, step: 1)
      for refused in [model, resumed] {
        let error = #expect(throws: EngineError.self) { try Self.steps(1, refused, other) }
        #expect(error?.message.contains("--optimizer \(one.rawValue)") == true, "\(error as Any)")
        #expect(refused.optimizerSteps == 1)
        try Self.steps(1, refused, one)
      }
      #expect(model.trainedParameters() == resumed.trainedParameters())
    }
  }

  @Test func `a state of codes that does not fit is refused by name`() throws {
    let model = try frozen.copy(training: .full)
    try Self.steps(1, model, .adamw8bit)
    var state: [NamedTensor] = []
    try model.withTrainingState { state.append($0) }
    func refused(_ prefix: String, _ change: (inout [NamedTensor], Int) -> Void) throws {
      let at = try #require(state.firstIndex { $0.name.hasPrefix(prefix) })
      var changed = state
      change(&changed, at)
      let error = #expect(throws: EngineError.self) {
        try frozen.copy(training: .full).restoreTrainingState(changed, step: 1)
      }
      #expect(error?.message.contains(state[at].name) == true, "\(error as Any)")
    }
    for prefix in ["moment1.", "moment2.", "scale1.", "scale2."] {
      try refused(prefix) { $0.remove(at: $1) }
      try refused(prefix) { $0[$1].values.removeLast() }
    }
    for value in [Float(0.5), -1, 256] { try refused("moment1.") { $0[$1].values[3] = value } }
  }
}
