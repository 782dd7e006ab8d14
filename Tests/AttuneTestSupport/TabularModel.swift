// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

/// A model of `TabularEngine`.
final class TabularModel: LanguageModel {
  /// What models made from one another share: the frozen numbers, and which pass is the last.
  final class Base {
    let numbers: [String: [Float]]
    let engine: TabularEngine
    var pass = 0

    init(_ numbers: [String: [Float]], _ engine: TabularEngine) {
      self.numbers = numbers
      self.engine = engine
    }
  }

  let spec: TransformerSpec
  let trainable: Trainable
  var recomputesActivations = false
  var shardsMoments = false
  var averageDecay = 0.0
  var turnOpening: [Int32] = []
  private var average: [Float]?
  var optimizerSteps = 0
  let base: Base
  /// Trained numbers one after another, and where each tensor begins.
  let places: [(name: String, shape: [Int], start: Int)]
  var values: [Float]
  var gradients: [Float]
  var moments: (first: [Float], second: [Float])?
  private var hasEnded = false
  /// Each layer's table, a column after another; made anew when numbers change.
  private var tables: [[Double]] = []

  init(_ spec: TransformerSpec, _ numbers: [String: [Float]], on engine: TabularEngine) throws {
    guard spec.mlpWidth == spec.vocabularySize, spec.width > 1 else {
      throw EngineError(.badModel, "a table has a row for each of \(spec.vocabularySize) tokens")
    }
    for tensor in spec.tensors where numbers[tensor.name]?.count != tensor.count {
      throw EngineError(
        .badModel,
        numbers[tensor.name] == nil
          ? "tensor \(tensor.name) is missing"
          : "tensor \(tensor.name) is not of the model's shape \(tensor.shape)")
    }
    self.spec = spec
    trainable = .frozen
    base = Base(numbers, engine)
    (places, values, gradients) = ([], [], [])
  }

  private init(_ origin: TabularModel, _ trainable: Trainable, head: [Float]?) throws {
    let spec = origin.spec
    (self.spec, self.trainable, base) = (spec, trainable, origin.base)
    var places: [(name: String, shape: [Int], start: Int)] = []
    var values: [Float] = []
    func add(_ name: String, _ shape: [Int], _ numbers: [Float]) {
      places.append((name, shape, values.count))
      values += numbers
    }
    let first = trainable.frozenLayers(of: spec)
    switch trainable {
    case .frozen: break
    case .full, .lastLayers:
      for tensor in spec.tensors
      where trainable == .full || tensor.layer.map({ $0 >= first }) ?? (tensor.shape.count == 1) {
        add(tensor.name, tensor.shape, origin.base.numbers[tensor.name] ?? [])
      }
    case .lora(let settings):
      let modules = settings.projections.map { Self.modules[$0] ?? "" }
      for tensor in spec.tensors where tensor.layer.map({ $0 >= first }) ?? false {
        guard modules.contains(where: { tensor.name.hasSuffix($0 + ".weight") }) else { continue }
        var random = SplitMix(seed: UInt64(values.count))
        let (name, rank) = (String(tensor.name.dropLast(".weight".count)), settings.rank)
        let scale = 1 / Float(tensor.shape[1]).squareRoot()
        add(
          name + ".lora_A.weight", [rank, tensor.shape[1]],
          random.floats(rank * tensor.shape[1], scale: scale))
        add(
          name + ".lora_B.weight", [tensor.shape[0], rank],
          [Float](repeating: 0, count: tensor.shape[0] * rank))
      }
    }
    if let head { add("score.weight", [1, spec.width], head) }
    self.places = places
    self.values = values
    gradients = values.map { _ in 0 }
  }

  private static let modules: [Projection: String] = [
    .q: "q_proj", .k: "k_proj", .v: "v_proj", .o: "o_proj", .gate: "gate_proj", .up: "up_proj",
    .down: "down_proj",
  ]

  var engine: any Engine { base.engine }
  var parameterCount: Int { spec.parameterCount }
  var trainedCount: Int { values.count }
  var sharedLayers: Int { trainable.frozenLayers(of: spec) }
  var scalarHeadWeights: [Float]? { trained("score.weight") ?? base.numbers["score.weight"] }

  func copy(training trainable: Trainable, scalarHead: ScalarHeadStart?) throws
    -> TabularModel
  {
    func demand(_ holds: Bool, _ words: String) throws {
      if !holds { throw EngineError(.badRequest, words) }
    }
    try demand(
      values.isEmpty || self.trainable == .frozen, "a copy is made from a frozen model")
    if case .lastLayers(let k) = trainable {
      try demand((1...spec.layers).contains(k), "the model has \(spec.layers) layers")
    }
    if case .lora(let settings) = trainable {
      try demand(
        (1...spec.width).contains(settings.rank) && !settings.projections.isEmpty
          && (0...spec.layers).contains(settings.lastLayers), "no such adapters")
    }
    let head: [Float]?
    switch scalarHead {
    case nil: head = scalarHeadWeights
    case .zero: head = [Float](repeating: 0, count: spec.width)
    case .normal(let seed):
      var random = SplitMix(seed: seed)
      head = random.floats(spec.width, scale: 1 / Float(spec.width + 1).squareRoot())
    case .weights(let weights):
      try demand(weights.count == spec.width, "a scalar head has \(spec.width) weights")
      head = weights
    }
    return try TabularModel(self, trainable, head: head)
  }

  func frozenCopy(of weight: (_ name: String) throws -> NamedTensor?) throws -> TabularModel {
    var numbers: [String: [Float]] = [:]
    for name in spec.tensors.map(\.name) + ["score.weight"] {
      numbers[name] = try weight(name)?.values
    }
    return try TabularModel(spec, numbers, on: base.engine)
  }

  // MARK: - Numbers

  /// A trained tensor's numbers; nil if it is not trained.
  private func trained(_ name: String) -> [Float]? {
    places.first { $0.name == name }.map { Array(values[$0.start..<$0.start + count($0.shape)]) }
  }

  private func count(_ shape: [Int]) -> Int { shape.reduce(1, *) }

  func weight(_ name: String) throws -> NamedTensor? {
    if name == "score.weight" {
      return scalarHeadWeights.map { NamedTensor(name: name, shape: [1, spec.width], values: $0) }
    }
    guard let tensor = spec.tensors.first(where: { $0.name == name }) else { return nil }
    var numbers = trained(name) ?? base.numbers[name] ?? []
    let module = name.dropLast(".weight".count)
    if case .lora(let settings) = trainable, let a = trained(module + ".lora_A.weight"),
      let b = trained(module + ".lora_B.weight")
    {
      let (rank, columns) = (settings.rank, tensor.shape[1])
      let scale = Float(settings.alpha / Double(rank))
      for row in 0..<tensor.shape[0] {
        for r in 0..<rank where b[row * rank + r] != 0 {
          let factor = scale * b[row * rank + r]
          for c in 0..<columns { numbers[row * columns + c] += factor * a[r * columns + c] }
        }
      }
    }
    return NamedTensor(name: name, shape: tensor.shape, values: numbers)
  }

  /// The table of each layer, [D][V].
  func columns() throws -> [[Double]] {
    if tables.isEmpty {
      tables = try (0..<spec.layers).map { layer in
        let table = try weight(Self.table(layer))?.values ?? []
        let (v, d) = (spec.vocabularySize, spec.width)
        return (0..<d * v).map { base.engine.gain * Double(table[$0 % v * d + $0 / v]) }
      }
    }
    return tables
  }

  static func table(_ layer: Int) -> String { "model.layers.\(layer).mlp.up_proj.weight" }

  /// Adds the gradient of every layer's table, [D][V], to those of the numbers that make it.
  func accumulate(_ table: [Double], scalarHead: [Double]) {
    let (v, d) = (spec.vocabularySize, spec.width)
    let table = table.map { base.engine.gain * $0 }
    func add(_ place: (name: String, shape: [Int], start: Int), _ of: (Int) -> Double) {
      for i in 0..<count(place.shape) { gradients[place.start + i] += Float(of(i)) }
    }
    for place in places {
      if place.name == "score.weight" {
        add(place) { scalarHead[$0] }
      } else if place.name.hasSuffix("mlp.up_proj.weight") {
        add(place) { table[$0 % d * v + $0 / d] }
      } else if case .lora(let settings) = trainable, place.name.contains("mlp.up_proj.lora_") {
        let (rank, scale) = (settings.rank, settings.alpha / Double(settings.rank))
        let other = place.name.replacing(
          place.name.contains("lora_A") ? "lora_A" : "lora_B",
          with: place.name.contains("lora_A") ? "lora_B" : "lora_A")
        let factors = trained(other) ?? []
        if place.name.contains("lora_A") {
          add(place) { i in
            (0..<v).reduce(0) { $0 + Double(factors[$1 * rank + i / d]) * table[i % d * v + $1] }
              * scale
          }
        } else {
          add(place) { i in
            (0..<d).reduce(0) {
              $0 + Double(factors[i % rank * d + $1]) * table[$1 * v + i / rank]
            } * scale
          }
        }
      }
    }
  }

  // MARK: - Training

  func zeroGradients() { gradients = values.map { _ in 0 } }

  func gradientNorm() -> Double {
    gradients.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
  }

  func endTraining() {
    hasEnded = true
    (moments, average) = (nil, nil)
  }

  func requireTraining() throws {
    if hasEnded { throw EngineError(.badRequest, "training of this model has ended") }
  }

  @discardableResult
  func step(
    _ optimizer: AdamW, learningRate: Double, maximumNorm: Double?
  ) throws -> Double {
    guard !values.isEmpty else {
      throw EngineError(.badRequest, "a frozen model has nothing to train")
    }
    try requireTraining()
    try OptimizerName.adamw.require(optimizer.name)
    let norm = gradientNorm()
    guard norm.isFinite else {
      throw EngineError(
        .notFinite, "the gradient of step \(optimizerSteps + 1) is not finite (norm \(norm))")
    }
    let scale = Float(maximumNorm.map { norm > $0 ? $0 / (norm + 1e-6) : 1 } ?? 1)
    var (first, second) = moments ?? (values.map { _ in 0 }, values.map { _ in 0 })
    optimizerSteps += 1
    tables = []
    let (a, b) = (Float(optimizer.beta1), Float(optimizer.beta2))
    var (powerA, powerB) = (1.0, 1.0)
    for _ in 0..<optimizerSteps {
      powerA *= optimizer.beta1
      powerB *= optimizer.beta2
    }
    for i in values.indices {
      let g = gradients[i] * scale
      first[i] = a * first[i] + (1 - a) * g
      second[i] = b * second[i] + (1 - b) * g * g
      let mean = first[i] / Float(1 - powerA)
      let root = (second[i] / Float(1 - powerB)).squareRoot()
      values[i] -= Float(learningRate * optimizer.weightDecay) * values[i]
      values[i] -= Float(learningRate) * mean / (root + Float(optimizer.epsilon))
    }
    moments = (first, second)
    guard averageDecay > 0 else { return norm }
    var power = 1.0
    for _ in 0..<optimizerSteps { power *= averageDecay }
    let share = Float((1 - averageDecay) / (1 - power))
    average = zip(average ?? values, values).map { $0 + share * ($1 - $0) }
    return norm
  }

  func exchangeAverage() {
    guard let average else { return }
    (values, self.average, tables) = (average, values, [])
  }

  private func tensors(_ prefix: String, _ numbers: [Float]) -> [NamedTensor] {
    places.map {
      NamedTensor(
        name: prefix + $0.name, shape: $0.shape,
        values: Array(numbers[$0.start..<$0.start + count($0.shape)]))
    }
  }

  func trainedParameters() -> [NamedTensor] { tensors("", values) }
  func trainedGradients() -> [NamedTensor] { tensors("", gradients) }

  private func numbers(_ tensors: [NamedTensor], _ prefix: String) throws -> [Float] {
    var left = Dictionary(tensors.map { ($0.name, $0) }) { $1 }
    let numbers = try places.flatMap { place in
      guard let tensor = left.removeValue(forKey: prefix + place.name) else {
        throw EngineError(.badModel, "tensor \(prefix + place.name) is missing")
      }
      guard tensor.values.count == count(place.shape) else {
        throw EngineError(
          .badModel,
          "tensor \(tensor.name) has shape \(tensor.shape), the model's is \(place.shape)")
      }
      return tensor.values
    }
    if let name = left.keys.min() {
      throw EngineError(.badModel, "tensor \(name) is not among those that this model trains")
    }
    return numbers
  }

  func setTrainedParameters(_ parameters: [NamedTensor]) throws {
    guard !values.isEmpty else {
      throw EngineError(.badRequest, "a frozen model has no trained parameters to set")
    }
    values = try numbers(parameters, "")
    tables = []
  }

  var trainingTensors: [(name: String, shape: [Int], type: Safetensors.ElementType)] {
    let (mean, both) = (average == nil ? [] : ["average."], ["moment1.", "moment2."])
    let prefixes = [""] + mean + (moments == nil ? [] : both)
    return prefixes.flatMap { prefix in
      places.map { (prefix + $0.name, $0.shape, .float32) }
    }
  }

  func withTrainingState(_ body: (NamedTensor) throws -> Void) rethrows {
    try tensors("", values).forEach(body)
    if let average { try tensors("average.", average).forEach(body) }
    if let moments {
      try tensors("moment1.", moments.first).forEach(body)
      try tensors("moment2.", moments.second).forEach(body)
    }
  }

  func restoreTrainingState(
    _ names: [String], step: Int, read: (String) throws -> NamedTensor
  ) throws {
    let tensors = try names.map(read)
    let first = tensors.filter { $0.name.hasPrefix("moment1.") }
    let second = tensors.filter { $0.name.hasPrefix("moment2.") }
    let mean = tensors.filter { $0.name.hasPrefix("average.") }
    try setTrainedParameters(
      tensors.filter { !$0.name.hasPrefix("moment") && !$0.name.hasPrefix("average.") })
    average = mean.isEmpty ? nil : try numbers(mean, "average.")
    moments =
      first.isEmpty && second.isEmpty
      ? nil : (try numbers(first, "moment1."), try numbers(second, "moment2."))
    optimizerSteps = step
  }

  func releaseMemory() { base.pass += 1 }
}
