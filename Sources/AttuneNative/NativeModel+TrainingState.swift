// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine

/// A tensor of the training state where it lies: floats, or codes of moments.
struct StatePlace {
  enum Memory {
    case floats(UnsafeMutablePointer<Float>)
    case codes(UnsafeMutablePointer<UInt8>)
  }

  let name: String
  let shape: [Int]
  let memory: Memory

  private var count: Int { shape.reduce(1, *) }

  var type: Safetensors.ElementType {
    switch memory {
    case .floats: .float32
    case .codes: .uint8
    }
  }

  /// A copy.
  var tensor: NamedTensor {
    let values =
      switch memory {
      case .floats(let start): Array(UnsafeBufferPointer(start: start, count: count))
      case .codes(let start): UnsafeBufferPointer(start: start, count: count).map { Float($0) }
      }
    return NamedTensor(name: name, shape: shape, values: values)
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
    }
  }
}

/// The state of training: trained numbers, then AdamW's moments, `moment1.NAME` and `moment2.NAME`.
/// Those of 8 bits are codes, with `scale1.NAME` and `scale2.NAME` beside them, which are empty where a
/// tensor's moments are in float32.
extension NativeModel {
  /// A buffer as long as the arena, by the names of the trained tensors.
  func places(in buffer: FloatBuffer?, prefix: String = "") -> [StatePlace] {
    guard let buffer else { return [] }
    return trainedTensors.map {
      StatePlace(
        name: prefix + $0.name, shape: $0.shape, memory: .floats(buffer.pointer + $0.offset))
    }
  }

  private func places(of moments: Moments?) -> [StatePlace] {
    switch moments {
    case nil: return []
    case .float32(let first, let second):
      return places(in: first, prefix: "moment1.") + places(in: second, prefix: "moment2.")
    case .codes(let codes):
      return [1, 2].flatMap { moment in
        codes.parts.flatMap { part in
          [
            StatePlace(
              name: "moment\(moment).\(part.tensor.name)", shape: part.tensor.shape,
              memory: part.isCodes
                ? .codes(codes.codes(part, moment)) : .floats(codes.floats(part, moment))),
            StatePlace(
              name: "scale\(moment).\(part.tensor.name)", shape: [part.blocks],
              memory: .floats(codes.scales(part, moment))),
          ]
        }
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
    (places(in: arena) + places(of: moments)).map { ($0.name, $0.shape, $0.type) }
  }

  package func withTrainingState(_ body: (NamedTensor) throws -> Void) rethrows {
    for place in places(in: arena) + places(of: moments) { try body(place.tensor) }
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
        of: isCodes ? .adamw8bit : .adamw, trainedTensors, count: arena.count)
    }
    try set(places(in: arena) + places(of: restored), to: names, read: read)
    version += 1
    moments = restored
    optimizerSteps = step
  }
}
