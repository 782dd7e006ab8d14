// SPDX-License-Identifier: Apache-2.0

/// Weights to be had by canonical name (see `TransformerSpec.tensors`), as float32, whatever the
/// file's types, names and layouts are.
public protocol TensorSource: Sendable {
  /// The canonical names that it has, in a fixed order.
  var names: [String] { get }

  /// The shape of a weight; nil if it is not there.
  ///
  /// - Parameter canonicalName: Its canonical name.
  func shape(of canonicalName: String) -> [Int]?

  /// Reads a weight, converted to float32. Safe from several threads.
  ///
  /// - Parameters:
  ///   - canonicalName: Its canonical name.
  ///   - buffer: Room for exactly its elements, row-major.
  /// - Throws: `EngineError` that names the file and the tensor.
  func read(_ canonicalName: String, into buffer: UnsafeMutableBufferPointer<Float>) throws

  /// Reads rows of a matrix, converted to float32, so that a large one is never there whole.
  ///
  /// - Parameters:
  ///   - canonicalName: Its canonical name.
  ///   - rows: Which rows.
  ///   - buffer: Room for exactly their elements, row-major.
  /// - Throws: `EngineError` that names the file and the tensor.
  func read(
    _ canonicalName: String, rows: Range<Int>, into buffer: UnsafeMutableBufferPointer<Float>)
    throws
}

/// A source that can give matrices in the bytes in which the file has them.
package protocol StoredTensorSource: TensorSource {
  /// The smallest form that keeps a matrix's numbers as the file has them.
  func form(of canonicalName: String) -> WeightForm

  /// Reads a matrix in that form, to room for all of it.
  func readStored(_ canonicalName: String, into output: UnsafeMutableRawPointer) throws
}

extension TensorSource {
  /// Reads a weight into an array.
  ///
  /// - Parameter canonicalName: Its canonical name.
  /// - Returns: Its elements, row-major.
  /// - Throws: `EngineError` that names the file and the tensor.
  public func read(_ canonicalName: String) throws -> [Float] {
    guard let shape = shape(of: canonicalName) else {
      throw EngineError(.badModel, "there is no tensor \(canonicalName)")
    }
    return try [Float](count: shape.reduce(1, *)) { try read(canonicalName, into: $0) }
  }
}
