// SPDX-License-Identifier: Apache-2.0

/// A named run of numbers of a model.
public struct NamedTensor: Sendable, Equatable {
  /// Its name.
  public var name: String
  /// Its shape.
  public var shape: [Int]
  /// Its numbers, row-major.
  public var values: [Float]

  /// Makes a tensor.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - shape: Its shape.
  ///   - values: Its numbers, row-major.
  public init(name: String, shape: [Int], values: [Float]) {
    self.name = name
    self.shape = shape
    self.values = values
  }
}
