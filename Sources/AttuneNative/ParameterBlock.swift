// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

/// Numbers of one block: a part of the model's arena, in float32, when trained; memory of its own when
/// frozen, each group's matrices in a form of their own.
package final class ParameterBlock {
  /// A group's matrices, one below another.
  private struct Kept {
    let form: WeightForm
    let memory: FloatBuffer
  }

  package let layout: BlockLayout
  /// The arena, or the vectors of a frozen block.
  private let memory: FloatBuffer
  private let start: Int
  /// Of a frozen block, by the group's index.
  private let matrices: [Int: Kept]
  /// A sampler's copies of matrices, by the role that they start at, and the version of the numbers that
  /// they were made of.
  private var copies: [SamplerCopy: (version: Int, memory: [ModuleRole: FloatSlice])] = [:]

  /// A view of a part of an arena.
  package init(_ layout: BlockLayout, arena: FloatBuffer, at start: Int) {
    self.layout = layout
    memory = arena
    self.start = start
    matrices = [:]
  }

  /// Memory of its own.
  ///
  /// - Parameters:
  ///   - layout: What it holds.
  ///   - form: How a group's matrices are kept.
  /// - Throws: `EngineError` if the memory can't be had.
  package init(
    _ layout: BlockLayout,
    form: (TransformerSpec.ModuleGroup) throws -> WeightForm = { _ in .float32 }
  ) throws {
    self.layout = layout
    start = 0
    memory = try FloatBuffer(layout.vectorCount)
    var matrices: [Int: Kept] = [:]
    for (i, group) in layout.groups.enumerated() where group.isMatrix {
      matrices[i] = try Self.room(for: group, in: form(group))
    }
    self.matrices = matrices
  }

  private static func room(
    for group: TransformerSpec.ModuleGroup, in form: WeightForm
  ) throws -> Kept {
    Kept(
      form: form, memory: try FloatBuffer((form.bytes(group.outputs * group.inputs) + 3) / 4))
  }

  /// A norm's weights.
  package func vector(_ role: ModuleRole) -> UnsafeMutablePointer<Float>? {
    layout.group(role).flatMap { floats($0.modules[0].weight) }
  }

  /// The biases of a role's whole group: those of keys and values after those of queries.
  package func bias(_ role: ModuleRole) -> UnsafeMutablePointer<Float>? {
    layout.group(role)?.modules[0].bias.flatMap { floats($0) }
  }

  /// The matrix of a role's whole group: the rows of queries, then keys, then values.
  package func matrix(_ role: ModuleRole) -> Matrix? {
    guard let group = layout.group(role), let place = stored(group.modules[0].weight) else {
      return nil
    }
    var matrix = Matrix(place.form, place.start, rows: group.outputs, columns: group.inputs)
    if !copies.isEmpty {
      let role = group.modules[0].weight.role
      matrix.int8 = copies[.int8]?.memory[role].map { UnsafeRawPointer($0.pointer) }
      matrix.bf16 = copies[.bf16]?.memory[role].map { UnsafeRawPointer($0.pointer) }
    }
    return matrix
  }

  /// Makes a sampler's copies of matrices, unless that was done for this version of the numbers.
  ///
  /// - Parameters:
  ///   - copy: What copies.
  ///   - roles: Those that the matrices start at; nil: all matrices.
  ///   - version: Of the numbers as they are now.
  ///   - memory: Of which the first copies take their room.
  func make(
    _ copy: SamplerCopy, of roles: [ModuleRole]?, version: Int, in memory: inout FloatSlice?
  ) {
    guard copies[copy]?.version != version else { return }
    var places = copies[copy]?.memory ?? [:]
    for (role, matrix) in matrices(roles) {
      let count = Self.room(for: copy, of: matrix)
      guard count > 0, let place = places[role] ?? memory?.take(count) else { continue }
      copy.make(place.pointer, of: matrix)
      places[role] = place
    }
    copies[copy] = (version, places)
  }

  /// Floats that the first copies of matrices take; 0 when they were made.
  func room(for copy: SamplerCopy, of roles: [ModuleRole]?) -> Int {
    if copies[copy] != nil { return 0 }
    return matrices(roles).reduce(0) { $0 + Self.room(for: copy, of: $1.matrix) }
  }

  /// Whole cache lines.
  private static func room(for copy: SamplerCopy, of matrix: Matrix) -> Int {
    let bytes = copy.bytes(rows: matrix.rows, columns: matrix.columns, form: matrix.form)
    return (bytes + 63) / 64 * 16
  }

  private func matrices(_ roles: [ModuleRole]?) -> [(role: ModuleRole, matrix: Matrix)] {
    let all = layout.groups.filter(\.isMatrix).map { $0.modules[0].weight.role }
    return (roles ?? all).compactMap { role in matrix(role).map { (role, $0) } }
  }

  /// How a group's matrices are kept.
  func form(of group: TransformerSpec.ModuleGroup) -> WeightForm {
    matrix(group.modules[0].role)?.form ?? .float32
  }

  /// Bytes of samplers' copies.
  var copiesBytes: Int {
    copies.values.flatMap(\.memory.values).reduce(0) { $0 + 4 * $1.count }
  }

  /// Gives their memory back.
  func releaseCopies() { copies = [:] }

  /// Whether its numbers lie in a buffer.
  func lies(in buffer: FloatBuffer?) -> Bool { memory === buffer }

  /// A tensor's floats, for reading and writing; nil for a matrix that is kept otherwise.
  package func floats(_ tensor: TransformerSpec.Tensor) -> UnsafeMutablePointer<Float>? {
    guard let (form, start) = stored(tensor), form == .float32 else { return nil }
    return start.assumingMemoryBound(to: Float.self)
  }

  /// How a tensor is kept, and where.
  func stored(
    _ tensor: TransformerSpec.Tensor
  ) -> (form: WeightForm, start: UnsafeMutableRawPointer)? {
    guard let place = layout.place(tensor) else { return nil }
    if matrices.isEmpty {
      return (.float32, UnsafeMutableRawPointer(memory.pointer + start + place.offset))
    }
    guard tensor.isMatrix else {
      return (.float32, UnsafeMutableRawPointer(memory.pointer + place.ownOffset))
    }
    return matrices[place.group].map {
      ($0.form, UnsafeMutableRawPointer($0.memory.pointer) + $0.form.bytes(place.ownOffset))
    }
  }

  /// Copies a tensor out as float32.
  package func copy(_ tensor: TransformerSpec.Tensor, to out: UnsafeMutablePointer<Float>) {
    guard let (form, start) = stored(tensor) else { return }
    let columns = tensor.shape.last ?? 1
    atk_weights_to_float(out, start, form.kernelFormat, tensor.count / max(columns, 1), columns)
  }

  /// Writes a tensor from float32, rounded to what it is kept in.
  ///
  /// - Parameters:
  ///   - tensor: The tensor.
  ///   - values: Its numbers, or those of the rows.
  ///   - rows: Which rows of a matrix; all unless said.
  package func set(
    _ tensor: TransformerSpec.Tensor, from values: UnsafePointer<Float>, rows: Range<Int>? = nil
  ) {
    guard let (form, start) = stored(tensor) else { return }
    let columns = tensor.shape.last ?? 1
    let rows = rows ?? 0..<tensor.count / max(columns, 1)
    atk_weights_from_float(
      start + form.bytes(rows.lowerBound * columns), form.kernelFormat, values, rows.count, columns)
  }
}
