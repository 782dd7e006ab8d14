// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
package import AttuneEngine

/// A tensor of the training state where it lies: floats, or codes of moments.
struct StatePlace {
  enum Memory {
    case floats(UnsafeMutablePointer<Float>)
    case codes(UnsafeMutablePointer<UInt8>)
    /// With another rank.
    case elsewhere
  }

  let name: String
  let shape: [Int]
  let type: Safetensors.ElementType
  let memory: Memory

  private var count: Int { shape.reduce(1, *) }

  /// A copy of what lies here.
  var tensor: NamedTensor {
    let values =
      switch memory {
      case .floats(let start): Array(UnsafeBufferPointer(start: start, count: count))
      case .codes(let start): UnsafeBufferPointer(start: start, count: count).map { Float($0) }
      case .elsewhere: [Float](repeating: 0, count: count)
      }
    return NamedTensor(name: name, shape: shape, values: values)
  }

  /// A copy, which its owner tells all ranks.
  func tensor(of owner: Int) throws -> NamedTensor {
    var tensor = tensor
    let parts = (0..<Collective.current.count).map { $0 == owner ? 0..<count : 0..<0 }
    try tensor.values.withUnsafeMutableBufferPointer {
      try Collective.current.spread(parts, of: $0)
    }
    return tensor
  }

  /// Overwrites it.
  ///
  /// - Throws: `EngineError` if there are more or fewer numbers, or what should be codes are none.
  func set(_ tensor: NamedTensor) throws {
    guard tensor.shape.reduce(1, *) == count, tensor.values.count == count else {
      throw EngineError(
        .badModel, "tensor \(name) has shape \(tensor.shape), the model's is \(shape)")
    }
    switch memory {
    case .floats(let start): start.update(from: tensor.values, count: count)
    case .codes(let start):
      for (i, value) in tensor.values.enumerated() {
        guard let code = UInt8(exactly: value) else {
          throw EngineError(.badModel, "tensor \(name) has \(value) among its codes of 8 bits")
        }
        start[i] = code
      }
    case .elsewhere: break
    }
  }
}

/// The state of training: trained numbers, their mean over steps, `average.NAME`, where one is kept,
/// then AdamW's moments, `moment1.NAME` and `moment2.NAME`.
/// Those of 8 bits are codes, with `scale1.NAME` and `scale2.NAME` beside them, which are empty where a
/// tensor's moments are in float32.
extension NativeModel {
  /// A buffer as long as the arena, by the names of the trained tensors.
  private func places(in buffer: FloatBuffer?, prefix: String = "") -> [StatePlace] {
    guard let buffer else { return [] }
    return trainedTensors.map {
      StatePlace(
        name: prefix + $0.name, shape: $0.shape, type: .float32,
        memory: .floats(buffer.pointer + $0.offset))
    }
  }

  /// The places of all moments, those of other ranks too, each with the rank that keeps it.
  private func places(of moments: Moments?) -> [(owner: Int, place: StatePlace)] {
    guard let moments else { return [] }
    return [1, 2].flatMap { moment in
      momentShares.enumerated().flatMap { owner, tensors in
        tensors.flatMap { moments.places(of: $0, moment) }.map { (owner, $0) }
      }
    }
  }

  /// Overwrites places by the tensors of their names.
  ///
  /// - Throws: `EngineError` that names a tensor that is missing, unknown or does not fit.
  private func set(
    _ places: [StatePlace], to names: some Sequence<String>,
    read: (String) throws -> NamedTensor
  ) throws {
    var left = Set(names)
    for place in places where left.remove(place.name) == nil {
      throw EngineError(.badModel, "tensor \(place.name) is missing")
    }
    if let name = left.min() {
      throw EngineError(.badModel, "tensor \(name) is not among those that this model trains")
    }
    for place in places { try place.set(read(place.name)) }
  }

  package func trainedParameters() -> [NamedTensor] { places(in: arena).map(\.tensor) }

  package func trainedGradients() -> [NamedTensor] {
    sumGradients()
    return places(in: gradients).map(\.tensor)
  }

  package func setTrainedParameters(_ parameters: [NamedTensor]) throws {
    guard let arena else {
      throw EngineError(.badRequest, "a frozen model has no trained parameters to set")
    }
    let named = Dictionary(parameters.map { ($0.name, $0) }) { $1 }
    try set(places(in: arena), to: named.keys) { name in
      guard let tensor = named[name] else {
        throw EngineError(.badModel, "tensor \(name) is missing")
      }
      return tensor
    }
    version += 1
  }

  package var trainingTensors: [(name: String, shape: [Int], type: Safetensors.ElementType)] {
    (places(in: arena) + places(in: average, prefix: "average.")
      + places(of: moments).map(\.place)).map { ($0.name, $0.shape, $0.type) }
  }

  package func withTrainingState(_ body: (NamedTensor) throws -> Void) throws {
    for place in places(in: arena) + places(in: average, prefix: "average.") {
      try body(place.tensor)
    }
    for (owner, place) in places(of: moments) { try body(place.tensor(of: owner)) }
  }

  package func restoreTrainingState(
    _ names: [String], step: Int, read: (String) throws -> NamedTensor
  ) throws {
    guard let arena else {
      throw EngineError(.badRequest, "a frozen model has no training state")
    }
    var restored: Moments?
    if names.contains(where: { $0.hasPrefix("moment1.") || $0.hasPrefix("moment2.") }) {
      let isCodes = names.contains { $0.hasPrefix("scale1.") || $0.hasPrefix("scale2.") }
      restored = try Moments(
        of: isCodes ? .adamw8bit : .adamw, ownMomentShare)
    }
    let average =
      try names.contains { $0.hasPrefix("average.") } ? FloatBuffer(arena.count) : nil
    try set(
      places(in: arena) + places(in: average, prefix: "average.")
        + places(of: restored).map(\.place), to: names, read: read)
    version += 1
    self.average = average
    moments = restored
    optimizerSteps = step
  }
}

extension Moments {
  /// Where a tensor's first or second moment lies: its numbers, and of codes their scales.
  fileprivate func places(of tensor: ArenaTensor, _ moment: Int) -> [StatePlace] {
    func place(
      _ kind: String, _ shape: [Int], type: Safetensors.ElementType = .float32,
      _ memory: StatePlace.Memory?
    ) -> StatePlace {
      StatePlace(
        name: "\(kind)\(moment).\(tensor.name)", shape: shape, type: type,
        memory: memory ?? .elsewhere)
    }
    switch self {
    case .float32(let first, let second, let start):
      let buffer = moment == 1 ? first : second
      let isHere = (start..<start + buffer.count).contains(tensor.offset)
      return [
        place(
          "moment", tensor.shape, isHere ? .floats(buffer.pointer + tensor.offset - start) : nil)
      ]
    case .codes(let codes):
      let here = codes.parts.first { $0.tensor.offset == tensor.offset }
      let part = here ?? MomentCodes.shape(tensor)
      return [
        place(
          "moment", tensor.shape, type: part.isCodes ? .uint8 : .float32,
          here.map {
            part.isCodes ? .codes(codes.codes($0, moment)) : .floats(codes.floats($0, moment))
          }),
        place("scale", [part.blocks], here.map { .floats(codes.scales($0, moment)) }),
      ]
    }
  }
}
