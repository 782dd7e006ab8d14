// SPDX-License-Identifier: Apache-2.0

/// The tensors of a file that is written, of which some families have one for several of the model's: the
/// reverse of reading by a `StoredTensor`.
struct StoredParts {
  /// The file's tensors, each once, in the order of the model's.
  private(set) var order: [StoredTensor] = []
  private var parts: [String: [(tensor: TransformerSpec.Tensor, stored: StoredTensor)]] = [:]

  /// - Parameter places: Each tensor of the model with its place.
  init(_ places: [(TransformerSpec.Tensor, StoredTensor)]) {
    for (tensor, stored) in places {
      if parts[stored.name] == nil { order.append(stored) }
      parts[stored.name, default: []].append((tensor, stored))
    }
  }

  /// The model's tensors that one of the file is made of.
  func tensors(of name: String) -> [TransformerSpec.Tensor] { (parts[name] ?? []).map(\.tensor) }

  /// A tensor of the file, row-major.
  ///
  /// - Parameters:
  ///   - stored: Which one.
  ///   - values: Gives one of the model's.
  func whole(
    _ stored: StoredTensor, _ values: (TransformerSpec.Tensor) throws -> [Float]
  ) throws -> [Float] {
    let own = parts[stored.name] ?? []
    if own.count == 1, stored.layout == .plain {
      let found = try values(own[0].tensor)
      return stored.shift == 0 ? found : found.map { $0 - stored.shift }
    }
    var whole = try [Float](count: stored.shape.reduce(1, *)) { $0.update(repeating: 0) }
    for (tensor, place) in own { Self.put(try values(tensor), place, in: &whole) }
    return whole
  }

  /// Puts one of the model's tensors in its place of the file's.
  static func put(
    _ values: [Float], _ stored: StoredTensor, in whole: inout [Float]
  ) {
    switch stored.layout {
    case .transposed(let columns):
      let (inputs, outputs) = (stored.shape[0], stored.shape[1])
      for (row, column) in columns.enumerated() {
        for input in 0..<inputs { whole[input * outputs + column] = values[row * inputs + input] }
      }
    case .plain, .rows, .rotaryPairs, .headParts:
      let (source, columns) = (stored.source, stored.shape.dropFirst().reduce(1, *))
      for row in 0..<values.count / max(columns, 1) {
        let start = source(row) * columns
        for column in 0..<columns {
          whole[start + column] = values[row * columns + column] - stored.shift
        }
      }
    }
  }
}
