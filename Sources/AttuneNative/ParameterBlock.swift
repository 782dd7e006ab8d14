// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

/// Numbers of one block: its own memory when frozen, a part of the model's arena when trained.
package final class ParameterBlock {
  package let layout: BlockLayout
  /// The memory that `floats` lies in.
  private let memory: FloatBuffer
  private let halfMemory: FloatBuffer?
  private let start: Int
  /// Matrices that the model's file has in fewer bytes, by the role that they start at; only of
  /// blocks whose numbers are those of the file.
  private var compact: [ModuleRole: (form: CompactForm, memory: FloatBuffer)] = [:]
  /// Matrices rounded to 8-bit codes, by the role that they start at, and the version of the numbers
  /// that they were made of.
  private var int8: (version: Int, memory: [ModuleRole: FloatBuffer])?

  /// A view of a part of an arena.
  package init(_ layout: BlockLayout, arena: FloatBuffer, at start: Int) {
    self.layout = layout
    memory = arena
    halfMemory = nil
    self.start = start
  }

  /// Memory of its own, matrices in float32 or bfloat16.
  package init(_ layout: BlockLayout, bfloat16: Bool = false) throws {
    self.layout = layout
    start = 0
    memory = try FloatBuffer(bfloat16 ? layout.vectorCount : layout.count)
    halfMemory = try bfloat16 ? FloatBuffer((layout.matrixCount + 1) / 2) : nil
  }

  package var isBFloat16: Bool { halfMemory != nil }

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
    guard let group = layout.group(role) else { return nil }
    let first = group.modules[0].weight
    let storage: Matrix.Storage? =
      halves(first).map { .bfloat16($0) } ?? floats(first).map { .float32($0) }
    guard let storage else { return nil }
    var matrix = Matrix(storage, rows: group.outputs, columns: group.inputs)
    matrix.compact = compact[first.role].map { ($0.form, UnsafeRawPointer($0.memory.pointer)) }
    matrix.int8 = int8?.memory[first.role].map { UnsafeRawPointer($0.pointer) }
    return matrix
  }

  /// Rounds matrices to 8-bit codes, unless that was done for this version of the numbers.
  ///
  /// - Parameters:
  ///   - roles: Those that the matrices start at; nil: all matrices.
  ///   - version: Of the numbers as they are now.
  /// - Throws: `EngineError` if the memory can't be had.
  func makeInt8(_ roles: [ModuleRole]? = nil, version: Int) throws {
    guard int8?.version != version else { return }
    var memory = int8?.memory ?? [:]
    // What fails half-way is of no version.
    int8 = nil
    let all = layout.groups.filter(\.isMatrix).map { $0.modules[0].weight.role }
    for role in roles ?? all {
      guard let matrix = matrix(role) else { continue }
      let bytes = atk_int8_bytes(matrix.rows, matrix.columns)
      let buffer = try memory[role] ?? FloatBuffer((bytes + 3) / 4)
      let (values, format) = matrix.stored
      atk_int8_pack(buffer.pointer, values, format, matrix.rows, matrix.columns)
      memory[role] = buffer
    }
    int8 = (version, memory)
  }

  /// Gives the memory of 8-bit codes back.
  func releaseInt8() { int8 = nil }

  /// Whether its numbers lie in a buffer.
  func lies(in buffer: FloatBuffer?) -> Bool { memory === buffer }

  /// Keeps the matrices that a source has in fewer bytes in that form too, for the decoder.
  func keepCompact(_ source: any CompactTensorSource) throws {
    for weights in layout.groups.filter(\.isMatrix).map({ $0.modules.map(\.weight) }) {
      guard let form = source.compactForm(of: weights[0].name),
        weights.allSatisfy({ source.compactForm(of: $0.name) == form })
      else { continue }
      let bytes = form.bytes(weights.reduce(0) { $0 + $1.count })
      let memory = try FloatBuffer((bytes + 3) / 4)
      var place = UnsafeMutableRawPointer(memory.pointer)
      for tensor in weights {
        try source.readCompact(tensor.name, into: place)
        place += form.bytes(tensor.count)
      }
      compact[weights[0].role] = (form, memory)
    }
  }

  /// A tensor's floats, for reading and writing; nil for a bfloat16 matrix.
  package func floats(_ tensor: TransformerSpec.Tensor) -> UnsafeMutablePointer<Float>? {
    guard let place = layout.place(tensor), !(isBFloat16 && tensor.isMatrix) else { return nil }
    return memory.pointer + start + (isBFloat16 ? place.packedOffset : place.offset)
  }

  /// A bfloat16 matrix's numbers.
  private func halves(_ tensor: TransformerSpec.Tensor) -> UnsafeMutablePointer<UInt16>? {
    guard let halfMemory, let place = layout.place(tensor), tensor.isMatrix else { return nil }
    return UnsafeMutableRawPointer(halfMemory.pointer).assumingMemoryBound(to: UInt16.self)
      + place.packedOffset
  }

  /// Copies a tensor out as float32.
  package func copy(_ tensor: TransformerSpec.Tensor, to out: UnsafeMutablePointer<Float>) {
    if let floats = floats(tensor) {
      out.update(from: floats, count: tensor.count)
    } else if let halves = halves(tensor) {
      atk_float_from_bf16(out, halves, tensor.count)
    }
  }

  /// Writes a tensor from float32, rounding where it is kept in bfloat16.
  package func set(_ tensor: TransformerSpec.Tensor, from values: UnsafePointer<Float>) {
    if let floats = floats(tensor) {
      floats.update(from: values, count: tensor.count)
    } else if let halves = halves(tensor) {
      atk_bf16_from_float(halves, values, tensor.count)
    }
  }
}
